// doubles.test.mjs - the official SDKs straight at the doubles: what they find right here is what the tests
// of the gateway may rely on.

import { describe } from 'node:test';
import { startProvider } from '../lib/catalyst.mjs';
import { anthropicCases } from './anthropic.cases.mjs';
import { openaiCases } from './openai.cases.mjs';

const opens = (suffix) => async (t) => {
  const double = await startProvider(t, { key: 'sk-double' });
  return { baseURL: double.origin + suffix, key: 'sk-double', double, isGateway: false };
};

describe("OpenAI's SDK at the double", () => openaiCases(opens('/v1')));
describe("Anthropic's SDK at the double", () => anthropicCases(opens('')));
