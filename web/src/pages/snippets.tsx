import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { providersQuery } from '@/api/queries';
import { t } from '@/lib/i18n';
import { setPref, usePrefs } from '@/lib/prefs';
import { type Client, mask, SNIPPETS } from '@/lib/snippets';
import { CodeBlock } from '@/ui/copy';
import { Note } from '@/ui/states';
import { Tabs } from '@/ui/tabs';

const isLocal = /^(localhost|127\.|\[::1\])/.test(location.host);

/** How each client is pointed at this server, ready to be pasted. */
export function Snippets({ secret }: { secret: string | null }) {
  const [client, setClient] = useState<Client>('claude');
  const { os } = usePrefs();
  const { data: providers } = useQuery({ ...providersQuery, retry: false });
  const kind = (providers?.items.find((one) => one.is_enabled) ?? providers?.items[0])?.kind ?? 'openai';
  const key = secret ?? 'cvk_…';
  const current = SNIPPETS.find((one) => one.client === client);
  return (
    <div>
      <Tabs
        label={t('snippet.label')}
        value={client}
        onChange={setClient}
        tabs={SNIPPETS.map((snippet) => ({
          value: snippet.client,
          label: snippet.name,
          panel: (
            <div className="flex flex-col gap-3">
              <CodeBlock
                code={snippet.code(key, os, kind)}
                shown={snippet.code(secret ? mask(secret) : key, os, kind)}
                label={t('snippet.of', { client: snippet.name })}
              />
              {snippet.client === 'cursor' && (
                <Note tone={isLocal ? 'warn' : 'info'}>
                  {t(isLocal ? 'snippet.cursor_local' : 'snippet.cursor')}
                </Note>
              )}
              {snippet.client === 'claude' && <p className="text-xs text-ink-3">{t('snippet.claude')}</p>}
              {snippet.client === 'codex' && <p className="text-xs text-ink-3">{t('snippet.codex')}</p>}
            </div>
          ),
        }))}
      />
      {current?.hasOs && (
        <div role="radiogroup" aria-label={t('snippet.os')} className="mt-2 flex gap-4 text-xs">
          {(['unix', 'windows'] as const).map((one) => (
            <label key={one} className="flex min-h-6 cursor-pointer items-center gap-1.5 text-ink-2">
              <input
                type="radio"
                className="check"
                name="os"
                checked={os === one}
                onChange={() => setPref('os', one)}
              />
              {one === 'unix' ? 'macOS, Linux' : 'Windows'}
            </label>
          ))}
        </div>
      )}
    </div>
  );
}
