// openai.test.mjs - OpenAI's official SDK through Catalyst.

import { describe } from 'node:test';
import { NO_BINARY, startGateway } from '../lib/catalyst.mjs';
import { openaiCases } from './openai.cases.mjs';

const open = async (t) => {
  const { catalyst, key, double } = await startGateway(t);
  return { baseURL: catalyst.origin + '/v1', key, double: double.openai, isGateway: true };
};

describe("OpenAI's SDK through Catalyst", () => openaiCases(open, { skip: NO_BINARY }));
