import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import clsx from 'clsx';
import { ArrowRight, Check, PartyPopper } from 'lucide-react';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { onLive, useLiveState } from '@/api/live';
import {
  budgetsQuery,
  callsQuery,
  createBudget,
  createGatewayKey,
  gatewayKeysQuery,
  providersQuery,
} from '@/api/queries';
import type { Call } from '@/api/types';
import { useMay, useSession } from '@/app/session';
import { duration, money } from '@/lib/format';
import { t } from '@/lib/i18n';
import { setPref } from '@/lib/prefs';
import { createStore, useStore } from '@/lib/store';
import { Button, buttonClass } from '@/ui/button';
import { SecretOnce } from '@/ui/copy';
import { Input } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Page } from '@/ui/page';
import { Note } from '@/ui/states';
import { Money } from '@/ui/values';
import { ProviderFields, TestResult, useProviderForm } from './provider-form';
import { Snippets } from './snippets';

type StepId = 'account' | 'provider' | 'key' | 'budget';

/** The secret of the first key, as long as the page is open: it can be shown once only, and people come back to it. */
const firstSecret = createStore<string | null>(null);

function Step(props: {
  n: number;
  title: string;
  done: ReactNode | null;
  isOpen: boolean;
  onOpen: () => void;
  children: ReactNode;
  isLast?: boolean;
}) {
  const isDone = props.done !== null;
  return (
    <li className="relative flex gap-4 sm:gap-5">
      {!props.isLast && (
        <span
          aria-hidden
          className={clsx(
            'absolute top-9 bottom-0 start-[0.97rem] w-px',
            isDone ? 'bg-accent-line' : 'bg-line',
          )}
        />
      )}
      <span
        aria-hidden
        className={clsx(
          'nums relative mt-2.5 grid size-8 flex-none place-items-center rounded-full text-sm font-semibold',
          isDone
            ? 'bg-accent text-[var(--accent-ink)]'
            : props.isOpen
              ? 'border-2 border-accent text-accent'
              : 'border border-line-strong text-ink-3',
        )}
      >
        {isDone ? <Check className="size-4" /> : props.n}
      </span>
      <div className="min-w-0 flex-1 pb-6">
        <h2>
          <button
            type="button"
            aria-expanded={props.isOpen}
            onClick={props.onOpen}
            className={clsx(
              'flex min-h-13 w-full flex-wrap items-center gap-x-3 text-start text-md font-semibold',
              !props.isOpen && !isDone && 'text-ink-2',
            )}
          >
            {props.title}
            {isDone && <span className="text-sm font-normal text-ink-3">{props.done}</span>}
          </button>
        </h2>
        {props.isOpen && <div className="dialog-in card mt-1 p-4 sm:p-5">{props.children}</div>}
      </div>
    </li>
  );
}

export function Onboarding() {
  const { me } = useSession();
  const providers = useQuery(providersQuery);
  const keys = useQuery(gatewayKeysQuery);
  const budgets = useQuery(budgetsQuery);
  const calls = useInfiniteQuery(callsQuery({}));
  const client = useQueryClient();
  const [asked, setAsked] = useState<StepId | null>(null);
  const [isBudgetSkipped, setIsBudgetSkipped] = useState(false);
  const secret = useStore(firstSecret);
  const provider = providers.data?.items[0];
  const key = keys.data?.items.find((one) => one.origin === 'database') ?? keys.data?.items[0];
  const budget = budgets.data?.items[0];
  const call = calls.data?.pages[0]?.items[0];

  // The tick of the first call: by the live stream, else by asking while this page is looked at.
  useEffect(
    () =>
      onLive(({ type }) => {
        if (type === 'call.finished') void client.invalidateQueries({ queryKey: ['call', 'list'] });
      }),
    [client],
  );
  // Being here once keeps one here until all is done, though the first call alone would end it.
  useEffect(() => setPref('onboarding', 'open'), []);

  const open: StepId | 'end' =
    asked ??
    (!provider
      ? 'provider'
      : !key || (!call && secret !== null) || !call
        ? 'key'
        : !budget && !isBudgetSkipped
          ? 'budget'
          : 'end');
  const isAllDone = Boolean(provider && key && call && (budget || isBudgetSkipped));
  const steps = [
    true,
    Boolean(provider) && open !== 'provider',
    Boolean(key && call),
    Boolean(budget) || isBudgetSkipped,
  ];
  const n = steps.filter(Boolean).length;
  const leave = () => setPref('onboarding', 'skipped');
  if (providers.isPending || keys.isPending || budgets.isPending)
    return <Page title={t('start.title')}>{null}</Page>;
  return (
    <Page
      title={t('start.title')}
      intro={t('start.intro')}
      width="narrow"
      actions={
        <>
          <span className="nums text-xs text-ink-3">{t('start.progress', { n, of: steps.length })}</span>
          {!isAllDone && (
            <Button variant="ghost" onClick={leave}>
              {t('start.skip')}
            </Button>
          )}
        </>
      }
    >
      <ol className="mt-1">
        <Step
          n={1}
          title={t('start.account')}
          done={me.user.email}
          isOpen={open === 'account'}
          onOpen={() => setAsked(open === 'account' ? null : 'account')}
        >
          <p className="text-sm text-ink-2">{t('start.account_text', { name: me.user.name })}</p>
        </Step>
        <Step
          n={2}
          title={t('start.provider')}
          done={provider && open !== 'provider' ? provider.name : null}
          isOpen={open === 'provider'}
          onOpen={() => setAsked(open === 'provider' ? null : 'provider')}
        >
          <ProviderStep onStart={() => setAsked('provider')} onDone={() => setAsked(null)} />
        </Step>
        <Step
          n={3}
          title={t('start.key')}
          done={key && call ? t('start.first_call', { model: call.model ?? call.model_asked ?? '' }) : null}
          isOpen={open === 'key'}
          onOpen={() => setAsked(open === 'key' ? null : 'key')}
        >
          <KeyStep
            hasKey={key !== undefined}
            secret={secret}
            call={call}
            onMade={() => setAsked('key')}
            onNext={() => setAsked(null)}
          />
        </Step>
        <Step
          n={4}
          title={t('start.budget')}
          done={budget ? money(budget.limit_nanousd) : isBudgetSkipped ? t('start.skipped') : null}
          isOpen={open === 'budget'}
          onOpen={() => setAsked(open === 'budget' ? null : 'budget')}
          isLast
        >
          <BudgetStep
            onSkip={() => {
              setIsBudgetSkipped(true);
              setAsked(null);
            }}
            onDone={() => setAsked(null)}
          />
        </Step>
      </ol>
      {isAllDone && (
        <div className="dialog-in mt-2 flex flex-wrap items-center gap-4 rounded-xl border border-accent-line bg-accent-soft px-5 py-5">
          <PartyPopper aria-hidden className="size-7 flex-none text-accent" strokeWidth={1.5} />
          <div className="min-w-0 flex-1 basis-64">
            <p className="text-md font-semibold">{t('start.done')}</p>
            <p className="text-sm text-ink-2">{t('start.done_hint')}</p>
          </div>
          <Button
            variant="primary"
            size="lg"
            icon={ArrowRight}
            onClick={() => setPref('onboarding', 'skipped')}
          >
            {t('start.to_overview')}
          </Button>
        </div>
      )}
    </Page>
  );
}

function ProviderStep({ onStart, onDone }: { onStart: () => void; onDone: () => void }) {
  const { form, test, made, kinds, kind } = useProviderForm({ onStart, onSaved: onDone });
  return (
    <Form form={form}>
      <p className="text-sm text-ink-2">{t('start.provider_text')}</p>
      <ProviderFields form={form} kinds={kinds} kind={kind} made={made} isShort />
      {test && <TestResult test={test} />}
      <div>
        <Button type="submit" variant="primary" isBusy={form.isBusy}>
          {t('start.provider_submit')}
        </Button>
      </div>
    </Form>
  );
}

function KeyStep({
  hasKey,
  secret,
  call,
  onMade,
  onNext,
}: {
  hasKey: boolean;
  secret: string | null;
  call: Call | undefined;
  onMade: () => void;
  onNext: () => void;
}) {
  const client = useQueryClient();
  const [isAnother, setIsAnother] = useState(false);
  const form = useForm({
    initial: { name: hasKey ? 'second-key' : 'first-key' },
    check: (values) => ({ name: required(values.name) }),
    submit: async ({ name }) => {
      const answer = await createGatewayKey({ name: name.trim() });
      firstSecret.set(answer.key ?? null);
      onMade();
      setIsAnother(false);
      await client.invalidateQueries({ queryKey: ['gateway_key'] });
    },
  });
  if ((!hasKey && !secret) || isAnother)
    return (
      <Form form={form}>
        <p className="text-sm text-ink-2">{t('start.key_text')}</p>
        <FormField form={form} name="name" label={t('field.name')} isRequired className="max-w-sm">
          {(control) => (
            <Input {...control} autoComplete="off" onChange={(e) => form.set('name', e.target.value)} />
          )}
        </FormField>
        <div>
          <Button type="submit" variant="primary" isBusy={form.isBusy}>
            {t('start.key_submit')}
          </Button>
        </div>
      </Form>
    );
  return (
    <div className="flex flex-col gap-5">
      {secret ? (
        <SecretOnce secret={secret} what={t('start.once')} />
      ) : (
        <Note tone="info">
          {t('start.key_kept')}{' '}
          <button type="button" className="link min-h-6" onClick={() => setIsAnother(true)}>
            {t('start.another_key')}
          </button>
        </Note>
      )}
      <Snippets secret={secret} />
      <Waiting call={call} onNext={onNext} />
    </div>
  );
}

function Waiting({ call, onNext }: { call: Call | undefined; onNext: () => void }) {
  const state = useLiveState();
  const seen = useRef(call?.id);
  return (
    <div
      role="status"
      className={clsx(
        'flex flex-wrap items-center gap-3 rounded-lg border px-4 py-3 text-sm',
        call ? 'border-good/40 bg-good-soft' : 'border-copper/40 bg-copper-soft',
      )}
    >
      {call ? (
        <>
          <span className="grid size-6 place-items-center rounded-full bg-good text-[var(--surface)]">
            <Check aria-hidden className="size-4" />
          </span>
          <span className="min-w-0 flex-1 font-medium">
            {t(seen.current ? 'start.call_was' : 'start.call_came', {
              model: call.model ?? call.model_asked ?? '',
            })}
            <span className="ms-2 font-normal text-ink-2">
              {duration(call.timing.total_us / 1000)} · <Money nanousd={call.cost_nanousd} />
            </span>
          </span>
          <Link to="/requests/$id" params={{ id: call.id }} className={buttonClass('plain', 'sm')}>
            {t('start.look')}
          </Link>
          <Button size="sm" variant="primary" onClick={onNext}>
            {t('start.next')}
          </Button>
        </>
      ) : (
        <>
          <span aria-hidden className="mx-1.5 size-2.5 rounded-full bg-copper pulse-dot" />
          <span className="font-medium">{t('start.waiting')}</span>
          <span className="text-xs text-ink-2">
            {state === 'live' ? t('start.waiting_live') : t(`live.${state}`)}
          </span>
        </>
      )}
    </div>
  );
}

function BudgetStep({ onSkip, onDone }: { onSkip: () => void; onDone: () => void }) {
  const client = useQueryClient();
  const may = useMay('budgets.manage');
  const form = useForm({
    initial: { limit_usd: '50' },
    check: (values) => ({ limit_usd: Number(values.limit_usd) > 0 ? undefined : t('field.positive') }),
    submit: async ({ limit_usd }) => {
      await createBudget({
        scope: 'workspace',
        period: 'monthly',
        limit_usd,
        is_hard: true,
        alerts_at: [50, 80, 100],
      });
      await client.invalidateQueries({ queryKey: ['budget'] });
      onDone();
    },
  });
  return (
    <Form form={form}>
      <p className="text-sm text-ink-2">{t('start.budget_text')}</p>
      <FormField form={form} name="limit_usd" label={t('start.budget_label')} isRequired className="max-w-xs">
        {(control) => (
          <Input
            {...control}
            inputMode="decimal"
            onChange={(e) => form.set('limit_usd', e.target.value.replace(',', '.'))}
          />
        )}
      </FormField>
      <div className="flex gap-2">
        <Button type="submit" variant="primary" isBusy={form.isBusy} disabled={!may}>
          {t('start.budget_submit')}
        </Button>
        <Button variant="ghost" onClick={onSkip}>
          {t('start.budget_skip')}
        </Button>
      </div>
    </Form>
  );
}
