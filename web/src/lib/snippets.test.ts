import { describe, expect, it } from 'vitest';
import { SERVER_URL } from './base';
import { mask, SNIPPETS } from './snippets';

const code = (client: string, os: 'unix' | 'windows' = 'unix', kind = 'openai') =>
  SNIPPETS.find((one) => one.client === client)?.code('cvk_key', os, kind) ?? '';

describe('snippets', () => {
  it('hold the key and this server', () => {
    for (const { client } of SNIPPETS)
      for (const os of ['unix', 'windows'] as const) {
        expect(code(client, os), client).toContain('cvk_key');
        expect(code(client, os), client).toContain(SERVER_URL);
      }
  });
  it('give Claude Code the address without /v1, and take away the key that would win', () => {
    expect(code('claude')).toContain(`ANTHROPIC_BASE_URL="${SERVER_URL}"`);
    expect(code('claude')).toContain('unset ANTHROPIC_API_KEY');
    expect(code('claude', 'windows')).toContain('Remove-Item Env:ANTHROPIC_API_KEY');
  });
  it('give Codex a provider of its own that speaks responses', () => {
    expect(code('codex')).toContain('wire_api = "responses"');
    expect(code('codex')).not.toMatch(/model_provider = "openai"/);
  });
  it('ask what the provider at hand can answer', () => {
    expect(code('curl')).toContain('/v1/chat/completions');
    expect(code('curl', 'unix', 'anthropic')).toContain('/v1/messages');
    expect(code('curl', 'unix', 'anthropic')).toContain('"max_tokens":256');
    expect(code('curl', 'windows')).toContain('{\\"model\\":\\"gpt-5-mini\\"');
  });
  it('show a key only by its ends', () => {
    expect(mask('cvk_abcdefgh_0123456789abcdef')).toBe('cvk_abcdefgh…cdef');
  });
});
