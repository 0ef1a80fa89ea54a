// anthropic.test.mjs - Anthropic's official SDK through Catalyst.

import { describe } from 'node:test';
import { NO_BINARY, startGateway } from '../lib/catalyst.mjs';
import { anthropicCases } from './anthropic.cases.mjs';

const open = async (t) => {
  const { catalyst, key, double } = await startGateway(t);
  return { baseURL: catalyst.origin, key, double: double.anthropic, isGateway: true };
};

describe("Anthropic's SDK through Catalyst", () => anthropicCases(open, { skip: NO_BINARY }));
