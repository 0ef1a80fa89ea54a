import { SERVER_URL } from './base';

export type Client = 'claude' | 'codex' | 'cursor' | 'aider' | 'openai' | 'curl';

export interface Snippet {
  client: Client;
  name: string;
  /** What is copied, with the real key. */
  code: (key: string, os: Os, kind: string) => string;
  hasOs: boolean;
}

type Os = 'unix' | 'windows';

/** A model that one may expect a provider of this kind to have. */
const MODELS: Record<string, string> = {
  anthropic: 'claude-haiku-4-5',
  gemini: 'gemini-2.5-flash',
  openrouter: 'openai/gpt-5-mini',
  ollama: 'llama3.2',
};
const modelOf = (kind: string) => MODELS[kind] ?? 'gpt-5-mini';

const set = (os: Os, name: string, value: string) =>
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
    code: (key, os, kind) => {
      const isMessages = kind === 'anthropic';
      const body = JSON.stringify({
        model: modelOf(kind),
        ...(isMessages ? { max_tokens: 256 } : {}),
        messages: [{ role: 'user', content: 'Hello' }],
      });
      const fields = [
        isMessages ? `x-api-key: ${key}` : `Authorization: Bearer ${key}`,
        ...(isMessages ? ['anthropic-version: 2023-06-01'] : []),
        'Content-Type: application/json',
      ];
      const url = `${SERVER_URL}/v1/${isMessages ? 'messages' : 'chat/completions'}`;
      return os === 'windows'
        ? [
            `curl.exe ${url} \``,
            ...fields.map((field) => `  -H "${field}" \``),
            `  -d '${body.replaceAll('"', '\\"')}'`,
          ].join('\n')
        : [`curl ${url} \\`, ...fields.map((field) => `  -H '${field}' \\`), `  -d '${body}'`].join('\n');
    },
  },
];

export const mask = (key: string) => (key.length > 16 ? `${key.slice(0, 12)}…${key.slice(-4)}` : key);
