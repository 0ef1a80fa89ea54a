import clsx from 'clsx';

/** Two letters and a colour for a kind of provider: no logos of others. */
const LOOK: Record<string, [string, number]> = {
  openai: ['OA', 1],
  anthropic: ['AN', 2],
  gemini: ['GE', 3],
  azure: ['AZ', 3],
  openrouter: ['OR', 5],
  ollama: ['OL', 4],
  vllm: ['VL', 4],
  'llama.cpp': ['LC', 4],
  mistral: ['MI', 2],
  groq: ['GR', 5],
  deepseek: ['DS', 3],
};

/** Letters are mixed with ink until they can be read on their own tint. */
const COLOURS = [
  '',
  'text-[color-mix(in_oklab,var(--series-1)_55%,var(--ink))] bg-[color-mix(in_oklab,var(--series-1)_14%,transparent)]',
  'text-[color-mix(in_oklab,var(--series-2)_45%,var(--ink))] bg-[color-mix(in_oklab,var(--series-2)_16%,transparent)]',
  'text-[color-mix(in_oklab,var(--series-3)_55%,var(--ink))] bg-[color-mix(in_oklab,var(--series-3)_14%,transparent)]',
  'text-ink-2 bg-hover',
  'text-[color-mix(in_oklab,var(--series-5)_55%,var(--ink))] bg-[color-mix(in_oklab,var(--series-5)_14%,transparent)]',
];

export function KindMark({ kind, className }: { kind: string; className?: string }) {
  const [letters, colour] = LOOK[kind] ?? [kind.slice(0, 2).toUpperCase(), 4];
  return (
    <span
      aria-hidden
      className={clsx(
        'grid size-8 flex-none place-items-center rounded-md text-2xs font-semibold tracking-wide',
        COLOURS[colour],
        className,
      )}
    >
      {letters}
    </span>
  );
}

export const KIND_NAMES: Record<string, string> = {
  openai: 'OpenAI',
  anthropic: 'Anthropic',
  gemini: 'Google Gemini',
  azure: 'Azure OpenAI',
  openrouter: 'OpenRouter',
  ollama: 'Ollama',
  vllm: 'vLLM',
  'llama.cpp': 'llama.cpp',
  llamacpp: 'llama.cpp',
  mistral: 'Mistral',
  groq: 'Groq',
  deepseek: 'DeepSeek',
  xai: 'xAI',
  together: 'Together',
  fireworks: 'Fireworks',
  cerebras: 'Cerebras',
  moonshot: 'Moonshot',
  deepinfra: 'DeepInfra',
};
export const kindName = (kind: string) => KIND_NAMES[kind] ?? kind;
