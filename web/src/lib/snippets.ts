import { SERVER_URL } from './base';

export type Client = 'claude' | 'codex' | 'cursor' | 'aider' | 'openai' | 'curl';

export interface Snippet {
  client: Client;
  name: string;
  /** What is copied, with the real key. */
  code: (key: string, os: 'unix' | 'windows') => string;
  hasOs: boolean;
}

const set = (os: 'unix' | 'windows', name: string, value: string) =>
  os === 'windows' ? `$env:${name} = "${value}"` : `export ${name}="${value}"`;

/** What each client has to be told, as its current version wants it. */
export const SNIPPETS: Snippet[] = [
  {
    client: 'claude',
    name: 'Claude Code',
    hasOs: true,
    code: (key, os) =>
      [
        set(os, 'ANTHROPIC_BASE_URL', SERVER_URL),
        set(os, 'ANTHROPIC_AUTH_TOKEN', key),
        os === 'windows'
          ? 'Remove-Item Env:ANTHROPIC_API_KEY -ErrorAction Ignore'
          : 'unset ANTHROPIC_API_KEY',
        'claude',
      ].join('\n'),
  },
  {
    client: 'codex',
    name: 'Codex',
    hasOs: true,
    code: (key, os) =>
      [
        '# ~/.codex/config.toml',
        'model_provider = "catalyst"',
        '',
        '[model_providers.catalyst]',
        'name = "Catalyst"',
        `base_url = "${SERVER_URL}/v1"`,
        'env_key = "CATALYST_KEY"',
        'wire_api = "responses"',
        '',
        os === 'windows' ? '# in PowerShell' : '# in the shell',
        set(os, 'CATALYST_KEY', key),
      ].join('\n'),
  },
  {
    client: 'cursor',
    name: 'Cursor',
    hasOs: false,
    code: (key) =>
      [`OpenAI API Key            ${key}`, `Override OpenAI Base URL  ${SERVER_URL}/v1`].join('\n'),
  },
  {
    client: 'aider',
    name: 'Aider',
    hasOs: false,
    code: (key) =>
      `aider --openai-api-base ${SERVER_URL}/v1 --openai-api-key ${key} --model openai/gpt-5-mini`,
  },
  {
    client: 'openai',
    name: 'OpenAI SDK',
    hasOs: true,
    code: (key, os) =>
      [set(os, 'OPENAI_BASE_URL', `${SERVER_URL}/v1`), set(os, 'OPENAI_API_KEY', key)].join('\n'),
  },
  {
    client: 'curl',
    name: 'curl',
    hasOs: true,
    code: (key, os) =>
      os === 'windows'
        ? [
            `curl.exe ${SERVER_URL}/v1/chat/completions \``,
            `  -H "Authorization: Bearer ${key}" -H "Content-Type: application/json" \``,
            `  -d '{\\"model\\":\\"gpt-5-mini\\",\\"messages\\":[{\\"role\\":\\"user\\",\\"content\\":\\"Hello\\"}]}'`,
          ].join('\n')
        : [
            `curl ${SERVER_URL}/v1/chat/completions \\`,
            `  -H 'Authorization: Bearer ${key}' -H 'Content-Type: application/json' \\`,
            `  -d '{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hello"}]}'`,
          ].join('\n'),
  },
];

export const mask = (key: string) => (key.length > 16 ? `${key.slice(0, 12)}…${key.slice(-4)}` : key);
