import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { createApiKey, createGatewayKey, permissionsQuery, projectsQuery } from '@/api/queries';
import type { BudgetPeriod } from '@/api/types';
import { useSession } from '@/app/session';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { SecretOnce } from '@/ui/copy';
import { Dialog } from '@/ui/dialog';
import { Checkbox, Input, Select } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Note } from '@/ui/states';
import { OVERLAP_HOURS } from './key-overlap';
import { splitList } from './provider-form';
import { Snippets } from './snippets';

const EXPIRY_DAYS = ['', '7', '30', '90', '365'];

const PERIODS = ['daily', 'weekly', 'monthly', 'total'] as const;

export function NewGatewayKey({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const { data: projects } = useQuery({ ...projectsQuery, retry: false });
  const [secret, setSecret] = useState<string | null>(null);
  const form = useForm({
    initial: {
      name: '',
      project_id: '',
      budget_usd: '',
      budget_period: 'monthly' as BudgetPeriod,
      allowed_models: '',
      expires: '',
      requests_per_minute: '',
      tokens_per_minute: '',
      parallel_calls: '',
    },
    check: (values) => ({
      name: required(values.name),
      budget_usd: values.budget_usd && !(Number(values.budget_usd) > 0) ? t('field.positive') : undefined,
    }),
    submit: async (values) => {
      const limit = (text: string) => (text ? Number(text) : undefined);
      const limits = {
        ...(values.requests_per_minute && {
          requests_per_minute: limit(values.requests_per_minute) as number,
        }),
        ...(values.tokens_per_minute && { tokens_per_minute: limit(values.tokens_per_minute) as number }),
        ...(values.parallel_calls && { parallel_calls: limit(values.parallel_calls) as number }),
      };
      const answer = await createGatewayKey({
        name: values.name.trim(),
        project_id: values.project_id || undefined,
        allowed_models: values.allowed_models ? splitList(values.allowed_models) : undefined,
        expires_at: values.expires
          ? new Date(Date.now() + Number(values.expires) * 86_400_000).toISOString()
          : undefined,
        limits: Object.keys(limits).length > 0 ? limits : undefined,
        budget_usd: values.budget_usd || undefined,
        budget_period: values.budget_usd ? values.budget_period : undefined,
      });
      await Promise.all([
        client.invalidateQueries({ queryKey: ['gateway_key'] }),
        client.invalidateQueries({ queryKey: ['budget'] }),
      ]);
      setSecret(answer.key ?? '');
    },
    names: { expires_at: 'expires' },
  });
  if (secret)
    return (
      <Dialog
        isOpen
        onClose={onClose}
        isModalOnly
        size="lg"
        title={t('key.made', { name: form.values.name })}
        footer={
          <Button variant="primary" onClick={onClose}>
            {t('key.have_it')}
          </Button>
        }
      >
        <div className="flex flex-col gap-5">
          <SecretOnce secret={secret} what={t('key.once')} />
          <Snippets secret={secret} />
        </div>
      </Dialog>
    );
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={t('key.new')}
      description={t('key.new_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="new-key" variant="primary" isBusy={form.isBusy}>
            {t('key.create')}
          </Button>
        </>
      }
    >
      <Form form={form} id="new-key">
        <FormField form={form} name="name" label={t('field.name')} hint={t('key.name_hint')} isRequired>
          {(control) => (
            <Input {...control} autoComplete="off" onChange={(e) => form.set('name', e.target.value)} />
          )}
        </FormField>
        <div className="grid gap-4 sm:grid-cols-2">
          <FormField form={form} name="project_id" label={t('call.project')}>
            {(control) => (
              <Select
                {...control}
                options={[
                  { value: '', label: t('key.no_project') },
                  ...(projects?.items ?? []).map((p) => ({ value: p.id, label: p.name })),
                ]}
                onChange={(e) => form.set('project_id', e.target.value)}
              />
            )}
          </FormField>
          <FormField form={form} name="expires" label={t('key.expires')}>
            {(control) => (
              <Select
                {...control}
                options={EXPIRY_DAYS.map((days) => ({
                  value: days,
                  label: days ? t('key.in_days', { n: Number(days) }) : t('key.never'),
                }))}
                onChange={(e) => form.set('expires', e.target.value)}
              />
            )}
          </FormField>
          <FormField form={form} name="budget_usd" label={t('key.budget_usd')} hint={t('key.budget_hint')}>
            {(control) => (
              <Input
                {...control}
                inputMode="decimal"
                placeholder="25.00"
                onChange={(e) => form.set('budget_usd', e.target.value.replace(',', '.'))}
              />
            )}
          </FormField>
          <FormField form={form} name="budget_period" label={t('budget.period')} isRequired>
            {(control) => (
              <Select
                {...control}
                options={PERIODS.map((period) => ({ value: period, label: t(`period.${period}_name`) }))}
                onChange={(e) => form.set('budget_period', e.target.value as BudgetPeriod)}
              />
            )}
          </FormField>
        </div>
        <FormField form={form} name="allowed_models" label={t('key.models')} hint={t('key.models_hint')}>
          {(control) => (
            <Input
              {...control}
              autoComplete="off"
              spellCheck={false}
              placeholder="gpt-5*, claude-sonnet-*"
              className="font-mono text-sm"
              onChange={(e) => form.set('allowed_models', e.target.value)}
            />
          )}
        </FormField>
        <details className="rounded-lg border border-line px-3.5 py-2.5">
          <summary className="cursor-pointer text-sm font-medium">{t('key.limits')}</summary>
          <div className="mt-3 grid gap-4 sm:grid-cols-3">
            {(['requests_per_minute', 'tokens_per_minute', 'parallel_calls'] as const).map((name) => (
              <FormField key={name} form={form} name={name} label={t(`key.${name}`)}>
                {(control) => (
                  <Input
                    {...control}
                    inputMode="numeric"
                    onChange={(e) => form.set(name, e.target.value.replace(/\D/g, ''))}
                  />
                )}
              </FormField>
            ))}
          </div>
        </details>
      </Form>
    </Dialog>
  );
}
export function SecretDialog({
  name,
  secret,
  onClose,
}: {
  name: string;
  secret: string;
  onClose: () => void;
}) {
  return (
    <Dialog
      isOpen
      onClose={onClose}
      isModalOnly
      title={t('key.rotated', { name })}
      footer={
        <Button variant="primary" onClick={onClose}>
          {t('key.have_it')}
        </Button>
      }
    >
      <div className="flex flex-col gap-4">
        <SecretOnce secret={secret} what={t('key.once')} />
        <Note tone="info">{t('key.overlap', { hours: OVERLAP_HOURS })}</Note>
      </div>
    </Dialog>
  );
}

export function NewApiKey({
  onClose,
  run,
}: {
  onClose: () => void;
  run: <T>(work: () => Promise<T>) => Promise<T>;
}) {
  const client = useQueryClient();
  const { workspace } = useSession();
  const [secret, setSecret] = useState<string | null>(null);
  const { data: catalogue } = useQuery(permissionsQuery);
  const possible = (catalogue?.permissions ?? [])
    .filter((p) => p.is_for_keys && workspace.permissions.includes(p.name))
    .map((p) => p.name)
    .sort();
  const areas = Map.groupBy(possible, (scope) => scope.split('.')[0] as string);
  const form = useForm({
    initial: {
      name: '',
      expires_in_days: '90',
      scopes: [] as string[],
    },
    check: (values) => ({
      name: required(values.name),
      scopes: values.scopes.length === 0 ? t('key.no_scope') : undefined,
    }),
    submit: async (values) => {
      const answer = await run(() =>
        createApiKey({
          name: values.name.trim(),
          scopes: values.scopes,
          expires_in_days: Number(values.expires_in_days),
        }),
      );
      await client.invalidateQueries({ queryKey: ['api_key'] });
      setSecret(answer.key ?? '');
    },
  });
  if (secret)
    return (
      <Dialog
        isOpen
        onClose={onClose}
        isModalOnly
        title={t('key.made', { name: form.values.name })}
        footer={
          <Button variant="primary" onClick={onClose}>
            {t('key.have_it')}
          </Button>
        }
      >
        <SecretOnce secret={secret} what={t('key.once')} />
      </Dialog>
    );
  const toggle = (scopes: string[], isOn: boolean) =>
    form.set(
      'scopes',
      isOn
        ? [...new Set([...form.values.scopes, ...scopes])]
        : form.values.scopes.filter((s) => !scopes.includes(s)),
    );
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={t('key.new_api')}
      description={t('key.new_api_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="new-api-key" variant="primary" isBusy={form.isBusy}>
            {t('key.create')}
          </Button>
        </>
      }
    >
      <Form form={form} id="new-api-key">
        <FormField form={form} name="name" label={t('field.name')} isRequired>
          {(control) => (
            <Input {...control} autoComplete="off" onChange={(e) => form.set('name', e.target.value)} />
          )}
        </FormField>
        <FormField form={form} name="expires_in_days" label={t('key.expires')} isRequired>
          {(control) => (
            <Select
              {...control}
              options={EXPIRY_DAYS.filter(Boolean).map((days) => ({
                value: days,
                label: t('key.in_days', { n: Number(days) }),
              }))}
              onChange={(e) => form.set('expires_in_days', e.target.value)}
            />
          )}
        </FormField>
        <fieldset>
          <legend className="mb-2 text-sm font-medium">{t('key.scopes')}</legend>
          {form.errors.scopes && (
            <Note tone="bad" isAlert className="mb-2">
              {form.errors.scopes}
            </Note>
          )}
          <div
            className="grid max-h-64 gap-x-6 gap-y-3 overflow-y-auto rounded-lg border border-line p-3 sm:grid-cols-2"
            tabIndex={0}
            role="group"
            aria-label={t('key.scopes')}
          >
            {[...areas].map(([area, scopes]) => (
              <div key={area}>
                <div className="eyebrow mb-1">{area}</div>
                {scopes.map((scope) => (
                  <div key={scope} className="py-0.5">
                    <Checkbox
                      label={<span className="font-mono text-xs">{scope}</span>}
                      checked={form.values.scopes.includes(scope)}
                      onChange={(e) => toggle([scope], e.target.checked)}
                    />
                  </div>
                ))}
              </div>
            ))}
          </div>
          <div className="mt-2 flex gap-2">
            <Button size="sm" onClick={() => toggle(possible, true)}>
              {t('key.all_scopes')}
            </Button>
            <Button size="sm" onClick={() => toggle(possible, false)}>
              {t('key.no_scopes')}
            </Button>
          </div>
        </fieldset>
      </Form>
    </Dialog>
  );
}
