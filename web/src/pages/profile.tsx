import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { MonitorSmartphone } from 'lucide-react';
import { changePassword, endSession, sessionsQuery } from '@/api/queries';
import type { Session } from '@/api/types';
import { useSession } from '@/app/session';
import { THEMES, useSignOut } from '@/app/shell';
import { t } from '@/lib/i18n';
import { type Prefs, setPref, usePrefs } from '@/lib/prefs';
import { Badge } from '@/ui/badge';
import { Button } from '@/ui/button';
import { Checkbox, Choice, SecretInput } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Page, Section } from '@/ui/page';
import { QueryView, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { Tabs } from '@/ui/tabs';
import { toast } from '@/ui/toast';
import { Time } from '@/ui/values';
import { checkPassword, NewPassword, PASSWORD_MIN } from './new-password';

function Account() {
  const { me } = useSession();
  const leave = useSignOut();
  return (
    <div className="flex flex-col gap-6">
      <Section title={t('profile.you')}>
        <dl className="grid gap-x-8 gap-y-3 px-5 py-4 text-sm sm:grid-cols-[10rem_1fr]">
          <dt className="text-ink-3">{t('account.name')}</dt>
          <dd>{me.user.name}</dd>
          <dt className="text-ink-3">{t('account.email')}</dt>
          <dd className="[overflow-wrap:anywhere]">{me.user.email}</dd>
          <dt className="text-ink-3">{t('profile.since')}</dt>
          <dd>
            <Time iso={me.user.created_at} as="full" />
          </dd>
        </dl>
        <div className="border-t border-line px-5 py-3">
          <Button onClick={() => void leave()}>{t('user.sign_out')}</Button>
        </div>
      </Section>
      <Password />
    </div>
  );
}

function Password() {
  const { me } = useSession();
  const client = useQueryClient();
  const form = useForm({
    initial: { current_password: '', new_password: '' },
    check: (values) => ({
      current_password: required(values.current_password),
      new_password: checkPassword(values.new_password),
    }),
    submit: async (values) => {
      await changePassword(values);
      form.reset();
      await client.invalidateQueries({ queryKey: ['session'] });
      toast({ tone: 'good', title: t('profile.password_changed') });
    },
  });
  return (
    <Section title={t('profile.password')} hint={t('profile.password_hint')}>
      <Form form={form} className="flex max-w-md flex-col gap-4 px-5 py-4">
        {/* Password managers want to know whose password it is. */}
        <input type="text" hidden readOnly autoComplete="username" value={me.user.email} />
        <FormField form={form} name="current_password" label={t('profile.current_password')} isRequired>
          {(control) => (
            <SecretInput
              {...control}
              autoComplete="current-password"
              onChange={(e) => form.set('current_password', e.target.value)}
            />
          )}
        </FormField>
        <FormField
          form={form}
          name="new_password"
          label={t('profile.new_password')}
          hint={t('password.hint', { min: PASSWORD_MIN })}
          isRequired
        >
          {(control) => (
            <NewPassword {...control} onChange={(e) => form.set('new_password', e.target.value)} />
          )}
        </FormField>
        <div>
          <Button type="submit" variant="primary" isBusy={form.isBusy}>
            {t('profile.change_password')}
          </Button>
        </div>
      </Form>
    </Section>
  );
}

/** "Firefox on Linux", as far as the User-Agent tells. */
function browserOf(agent: string): string {
  const browser = /Edg\//.test(agent)
    ? 'Edge'
    : /Firefox\//.test(agent)
      ? 'Firefox'
      : /Chrom(e|ium)\//.test(agent)
        ? 'Chromium'
        : /Safari\//.test(agent)
          ? 'Safari'
          : agent.split(/[/ ]/)[0] || agent;
  const system = /Windows/.test(agent)
    ? 'Windows'
    : /Android/.test(agent)
      ? 'Android'
      : /iPhone|iPad/.test(agent)
        ? 'iOS'
        : /Mac OS/.test(agent)
          ? 'macOS'
          : /Linux/.test(agent)
            ? 'Linux'
            : '';
  return system ? t('session.browser', { browser, system }) : browser;
}

function Sessions() {
  const client = useQueryClient();
  const query = useQuery(sessionsQuery);
  const end = useMutation({
    mutationFn: (session: Session) => endSession(session.id),
    onSuccess: () => toast({ tone: 'good', title: t('session.ended') }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: () => client.invalidateQueries({ queryKey: ['session'] }),
  });
  return (
    <Section title={t('session.title')} hint={t('session.hint')}>
      <QueryView query={query} loading={<SkeletonRows rows={3} />}>
        {(list) => (
          <Table
            label={t('session.title')}
            rows={list.items}
            keyOf={(s) => s.id}
            columns={[
              {
                id: 'browser',
                header: t('session.where'),
                cell: (s) => (
                  <span className="flex items-center gap-2.5 py-1.5">
                    <MonitorSmartphone aria-hidden className="size-4 text-ink-3" strokeWidth={1.75} />
                    <span title={s.user_agent}>{browserOf(s.user_agent)}</span>
                    {s.is_current && <Badge tone="good">{t('session.this')}</Badge>}
                  </span>
                ),
              },
              {
                id: 'address',
                header: t('session.address'),
                cell: (s) => <span className="font-mono text-xs">{s.address}</span>,
              },
              { id: 'seen', header: t('session.seen'), cell: (s) => <Time iso={s.last_seen_at} /> },
              { id: 'created', header: t('session.created'), cell: (s) => <Time iso={s.created_at} /> },
              {
                id: 'end',
                header: t('table.actions'),
                align: 'right',
                cell: (s) =>
                  s.is_current ? null : (
                    <Button
                      size="sm"
                      isBusy={end.isPending && end.variables.id === s.id}
                      onClick={() => end.mutate(s)}
                    >
                      {t('session.end')}
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </QueryView>
    </Section>
  );
}

function Look() {
  const prefs = usePrefs();
  return (
    <Section title={t('look.title')} hint={t('look.hint')}>
      <div className="grid gap-6 px-5 py-5 md:grid-cols-2">
        <Choice
          label={t('theme.label')}
          value={prefs.theme}
          options={THEMES.map((one) => ({ value: one.value, label: t(one.label) }))}
          onChange={(value) => setPref('theme', value)}
        />
        <Choice<Prefs['density']>
          label={t('look.density')}
          value={prefs.density}
          options={[
            { value: 'comfortable', label: t('look.comfortable') },
            { value: 'compact', label: t('look.compact') },
          ]}
          onChange={(value) => setPref('density', value)}
        />
        <Choice<Prefs['locale']>
          label={t('look.language')}
          value={prefs.locale}
          options={[
            { value: 'auto', label: t('look.auto') },
            { value: 'en', label: 'English' },
            { value: 'de', label: 'Deutsch' },
          ]}
          onChange={(value) => setPref('locale', value)}
        />
        <Choice<Prefs['zone']>
          label={t('look.zone')}
          value={prefs.zone}
          options={[
            { value: 'browser', label: Intl.DateTimeFormat().resolvedOptions().timeZone },
            { value: 'utc', label: 'UTC' },
          ]}
          onChange={(value) => setPref('zone', value)}
        />
        <div className="md:col-span-2">
          <Checkbox
            label={t('help.single_keys')}
            hint={t('help.single_keys_hint')}
            checked={prefs.shortcuts === 'on'}
            onChange={(e) => setPref('shortcuts', e.target.checked ? 'on' : 'off')}
          />
        </div>
      </div>
    </Section>
  );
}

const TABS = ['account', 'sessions', 'look'] as const;

export default function Profile() {
  const { tab } = useSearch({ strict: false }) as { tab?: string };
  const navigate = useNavigate();
  const value = TABS.find((one) => one === tab) ?? 'account';
  return (
    <Page title={t('nav.profile')} intro={t('profile.intro')} width="narrow">
      <Tabs
        label={t('nav.profile')}
        value={value}
        onChange={(next) =>
          void navigate({ to: '/settings/profile', search: { tab: next }, replace: true } as never)
        }
        tabs={[
          { value: 'account', label: t('profile.account'), panel: <Account /> },
          { value: 'sessions', label: t('session.title'), panel: <Sessions /> },
          { value: 'look', label: t('look.title'), panel: <Look /> },
        ]}
      />
    </Page>
  );
}
