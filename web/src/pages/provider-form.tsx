import { useQuery, useQueryClient } from '@tanstack/react-query';
import clsx from 'clsx';
import { useState } from 'react';
import {
  changeProvider,
  createProvider,
  kindsQuery,
  type ProviderForm as ProviderBody,
  testProvider,
} from '@/api/queries';
import type { KindName, Provider, ProviderKind, ProviderTest } from '@/api/types';
import { duration } from '@/lib/format';
import { t } from '@/lib/i18n';
import { Input, SecretInput, Select } from '@/ui/field';
import { FormField, type FormState, required, useForm } from '@/ui/form';
import { Note } from '@/ui/states';
import { KindMark, kindName } from './kinds';

/** Shown as cards; the rest stands in a list below them. */
const FIRST = ['openai', 'anthropic', 'gemini', 'openrouter', 'ollama'];

export interface ProviderValues {
  kind: string;
  name: string;
  base_url: string;
  api_key: string;
  models: string;
}

export function splitList(text: string): string[] {
  return text
    .split(/[\s,]+/)
    .map((one) => one.trim())
    .filter(Boolean);
}

/** Saves, then asks the provider itself whether the key is good. */
export function useProviderForm(options: {
  provider?: Provider | undefined;
  /** Before anything is saved. */
  onStart?: () => void;
  /** The key is good. */
  onSaved: (provider: Provider, test: ProviderTest) => void;
}) {
  const client = useQueryClient();
  const { data: kinds } = useQuery(kindsQuery);
  const [made, setMade] = useState<Provider | undefined>(options.provider);
  const [test, setTest] = useState<ProviderTest | null>(null);
  const kindOf = (name: string): ProviderKind | undefined => kinds?.items.find((kind) => kind.name === name);
  const form = useForm<ProviderValues>({
    initial: {
      kind: options.provider?.kind ?? 'openai',
      name: options.provider?.name ?? '',
      base_url: options.provider?.base_url ?? '',
      api_key: '',
      models: options.provider?.models?.join(', ') ?? '',
    },
    check: (values) => ({
      api_key: kindOf(values.kind)?.needs_key && !made?.has_key ? required(values.api_key) : undefined,
      base_url: kindOf(values.kind)?.base_url === null ? required(values.base_url) : undefined,
    }),
    submit: async (values) => {
      setTest(null);
      options.onStart?.();
      const models = splitList(values.models);
      const body: ProviderBody = {
        name: values.name.trim() || values.kind,
        kind: values.kind as KindName,
        base_url: values.base_url.trim() || undefined,
        api_key: values.api_key || undefined,
        models: models.length > 0 || made ? models : undefined,
      };
      const { kind: _kind, ...change } = body;
      const provider =
        made && made.kind === values.kind
          ? await changeProvider(made.id, change)
          : await createProvider(body);
      setMade(provider);
      const result = await testProvider(provider.id);
      setTest(result);
      await client.invalidateQueries({ queryKey: ['provider'] });
      if (result.is_ok) options.onSaved(provider, result);
    },
  });
  return { form, test, made, kinds: kinds?.items ?? [], kind: kindOf(form.values.kind) };
}

export function ProviderFields(props: {
  form: FormState<ProviderValues>;
  kinds: ProviderKind[];
  kind: ProviderKind | undefined;
  made: Provider | undefined;
  isShort?: boolean;
}) {
  const { form, kind } = props;
  // The usual address is right for nearly everybody: the short form asks for another one only when told to.
  const [isAddressAsked, setIsAddressAsked] = useState(false);
  const isAddressOpen =
    !props.isShort ||
    isAddressAsked ||
    kind?.base_url === null ||
    kind?.needs_key === false ||
    Boolean(form.errors.base_url);
  const others = props.kinds.filter((one) => !FIRST.includes(one.name));
  const choose = (name: string) => {
    form.set('kind', name);
    form.set('base_url', '');
  };
  return (
    <>
      {!props.made && (
        <fieldset>
          <legend className="mb-1.5 text-sm font-medium">{t('provider.kind')}</legend>
          <div className="grid grid-cols-2 gap-2 sm:grid-cols-3">
            {FIRST.filter(
              (name) => props.kinds.length === 0 || props.kinds.some((one) => one.name === name),
            ).map((name) => (
              <label
                key={name}
                className="flex min-h-12 cursor-pointer items-center gap-2.5 rounded-lg border border-line bg-raised px-2.5 text-sm font-medium hover:border-line-strong has-checked:border-accent has-checked:bg-accent-soft has-focus-visible:outline-2 has-focus-visible:outline-[var(--focus)]"
              >
                <input
                  type="radio"
                  name="kind"
                  className="sr-only"
                  value={name}
                  checked={form.values.kind === name}
                  onChange={() => choose(name)}
                />
                <KindMark kind={name} className="size-7" />
                <span className="truncate">{kindName(name)}</span>
              </label>
            ))}
            {others.length > 0 && (
              <Select
                aria-label={t('provider.other')}
                className={clsx(
                  'min-h-12',
                  !FIRST.includes(form.values.kind) && 'border-accent bg-accent-soft',
                )}
                value={FIRST.includes(form.values.kind) ? '' : form.values.kind}
                onChange={(e) => e.target.value && choose(e.target.value)}
                options={[
                  { value: '', label: t('provider.other') },
                  ...others.map((one) => ({ value: one.name, label: kindName(one.name) })),
                ]}
              />
            )}
          </div>
        </fieldset>
      )}
      {kind?.needs_key !== false && (
        <FormField
          form={form}
          name="api_key"
          label={t('provider.api_key')}
          isRequired={!props.made?.has_key}
          hint={
            props.made?.has_key && props.made.key_hint
              ? t('provider.key_kept', { hint: props.made.key_hint })
              : t('provider.key_hint')
          }
        >
          {(control) => (
            <SecretInput
              {...control}
              autoComplete="off"
              onChange={(e) => form.set('api_key', e.target.value)}
            />
          )}
        </FormField>
      )}
      {isAddressOpen ? (
        <FormField
          form={form}
          name="base_url"
          label={t('provider.base_url')}
          isRequired={kind?.base_url === null}
          hint={kind?.base_url ? t('provider.base_url_hint', { url: kind.base_url }) : undefined}
        >
          {(control) => (
            <Input
              {...control}
              type="url"
              spellCheck={false}
              autoComplete="off"
              placeholder={kind?.base_url ?? 'https://…'}
              onChange={(e) => form.set('base_url', e.target.value)}
            />
          )}
        </FormField>
      ) : (
        <div>
          <button type="button" className="link min-h-6 text-sm" onClick={() => setIsAddressAsked(true)}>
            {t('provider.other_address')}
          </button>
        </div>
      )}
      {!props.isShort && (
        <>
          <FormField form={form} name="name" label={t('field.name')} hint={t('provider.name_hint')}>
            {(control) => (
              <Input
                {...control}
                autoComplete="off"
                spellCheck={false}
                placeholder={form.values.kind}
                onChange={(e) => form.set('name', e.target.value)}
              />
            )}
          </FormField>
          <FormField form={form} name="models" label={t('provider.models')} hint={t('provider.models_hint')}>
            {(control) => (
              <Input
                {...control}
                autoComplete="off"
                spellCheck={false}
                className="font-mono text-sm"
                onChange={(e) => form.set('models', e.target.value)}
              />
            )}
          </FormField>
        </>
      )}
    </>
  );
}

export function TestResult({ test }: { test: ProviderTest }) {
  return test.is_ok ? (
    <Note tone="good" title={t('provider.test_ok', { ms: duration(test.latency_ms) })}>
      {test.models.length > 0 && (
        <span className="text-ink-2">
          {t('provider.test_models', { n: test.models.length, some: test.models.slice(0, 4).join(', ') })}
        </span>
      )}
    </Note>
  ) : (
    <Note
      tone="bad"
      isAlert
      title={
        test.status ? t('provider.test_failed_status', { status: test.status }) : t('provider.test_failed')
      }
    >
      {test.detail}
    </Note>
  );
}
