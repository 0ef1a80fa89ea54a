import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Ellipsis, Pencil, Plus, Trash2, WalletCards } from 'lucide-react';
import { useState } from 'react';
import {
  budgetsQuery,
  changeBudget,
  createBudget,
  deleteBudget,
  gatewayKeysQuery,
  membersQuery,
  projectsQuery,
} from '@/api/queries';
import type { Budget, BudgetPeriod, BudgetScope } from '@/api/types';
import { useMay } from '@/app/session';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { useNew } from '@/ui/data-page';
import { Dialog } from '@/ui/dialog';
import { Checkbox, Choice, Input, Select } from '@/ui/field';
import { Form, FormField, useForm } from '@/ui/form';
import { Menu, MenuItem, MenuSeparator } from '@/ui/menu';
import { Page } from '@/ui/page';
import { Empty, QueryView, SkeletonRows } from '@/ui/states';
import { toast, undoable } from '@/ui/toast';
import { alertsOf, BudgetRow, budgetName } from './budget-row';

export default function Budgets() {
  const query = useQuery(budgetsQuery);
  const may = useMay('budgets.manage');
  const client = useQueryClient();
  const [isNew, setIsNew] = useNew();
  const [edited, setEdited] = useState<Budget | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const add = may ? (
    <Button variant="primary" icon={Plus} data-create onClick={() => setIsNew(true)}>
      {t('budget.new')}
    </Button>
  ) : undefined;

  function remove(budget: Budget) {
    const show = () => setHidden((old) => new Set([...old].filter((id) => id !== budget.id)));
    setHidden((old) => new Set([...old, budget.id]));
    undoable({
      title: t('budget.deleted', { name: budgetName(budget) }),
      undo: show,
      commit: async () => {
        await deleteBudget(budget.id);
        await client.invalidateQueries({ queryKey: ['budget'] });
      },
    });
  }

  return (
    <Page
      title={t('nav.budgets')}
      intro={t('budget.intro')}
      actions={query.data?.items.length ? add : undefined}
      width="narrow"
    >
      <div className="card">
        <QueryView query={query} loading={<SkeletonRows rows={3} />}>
          {(list) => {
            const shown = list.items.filter((budget) => !hidden.has(budget.id));
            return shown.length === 0 ? (
              <Empty icon={WalletCards} title={t('budget.empty')} action={add}>
                {t('budget.empty_hint')}
              </Empty>
            ) : (
              <ul aria-label={t('nav.budgets')} className="divide-y divide-line">
                {shown.map((budget) => (
                  <li key={budget.id} data-row>
                    <BudgetRow
                      budget={budget}
                      actions={
                        may && (
                          <Menu
                            align="end"
                            trigger={
                              <Button
                                size="sm"
                                variant="ghost"
                                icon={Ellipsis}
                                label={t('table.actions_of', { name: budgetName(budget) })}
                              />
                            }
                          >
                            <MenuItem icon={Pencil} onSelect={() => setEdited(budget)}>
                              {t('action.edit')}
                            </MenuItem>
                            <MenuSeparator />
                            <MenuItem icon={Trash2} isDanger onSelect={() => remove(budget)}>
                              {t('action.delete')}
                            </MenuItem>
                          </Menu>
                        )
                      }
                    />
                  </li>
                ))}
              </ul>
            );
          }}
        </QueryView>
      </div>
      {isNew && <Edit onClose={() => setIsNew(false)} />}
      {edited && <Edit budget={edited} onClose={() => setEdited(null)} />}
    </Page>
  );
}

const SCOPES: BudgetScope[] = ['workspace', 'project', 'user', 'key'];
const PERIODS: BudgetPeriod[] = ['daily', 'weekly', 'monthly', 'total'];
const MARKS = [50, 80, 100];

function Edit({ budget, onClose }: { budget?: Budget; onClose: () => void }) {
  const client = useQueryClient();
  const projects = useQuery({ ...projectsQuery, retry: false });
  const members = useQuery({ ...membersQuery, retry: false });
  const keys = useQuery({ ...gatewayKeysQuery, retry: false });
  const form = useForm({
    initial: {
      scope: budget?.scope ?? ('workspace' as BudgetScope),
      scope_id: budget?.scope_id ?? '',
      period: budget?.period ?? ('monthly' as BudgetPeriod),
      limit_usd: budget ? String(budget.limit_nanousd / 1e9) : '',
      is_hard: budget?.is_hard ?? true,
      alerts_at: budget ? alertsOf(budget) : MARKS,
    },
    check: (values) => ({
      limit_usd: Number(values.limit_usd) > 0 ? undefined : t('field.positive'),
      scope_id: values.scope !== 'workspace' && !values.scope_id ? t('field.required') : undefined,
    }),
    submit: async (values) => {
      if (budget)
        await changeBudget(budget.id, {
          limit_usd: values.limit_usd,
          is_hard: values.is_hard,
          alerts_at: values.alerts_at,
        });
      else
        await createBudget({
          scope: values.scope,
          scope_id: values.scope === 'workspace' ? undefined : values.scope_id,
          period: values.period,
          limit_usd: values.limit_usd,
          is_hard: values.is_hard,
          alerts_at: values.alerts_at,
        });
      await client.invalidateQueries({ queryKey: ['budget'] });
      toast({ tone: 'good', title: t('budget.saved') });
      onClose();
    },
  });
  const choices =
    form.values.scope === 'project'
      ? (projects.data?.items ?? []).map((p) => ({ value: p.id, label: p.name }))
      : form.values.scope === 'user'
        ? (members.data?.items ?? []).map((m) => ({ value: m.user_id, label: m.name }))
        : (keys.data?.items ?? []).map((k) => ({ value: k.id, label: k.name }));
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={budget ? t('budget.edit', { name: budgetName(budget) }) : t('budget.new')}
      description={budget ? undefined : t('budget.new_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="budget" variant="primary" isBusy={form.isBusy}>
            {t('action.save')}
          </Button>
        </>
      }
    >
      <Form form={form} id="budget">
        {!budget && (
          <Choice
            label={t('budget.for')}
            value={form.values.scope}
            options={SCOPES.map((scope) => ({ value: scope, label: t(`budget.scope_${scope}`) }))}
            onChange={(scope) => {
              form.set('scope', scope);
              form.set('scope_id', '');
            }}
          />
        )}
        {!budget && form.values.scope !== 'workspace' && (
          <FormField form={form} name="scope_id" label={t(`budget.which_${form.values.scope}`)} isRequired>
            {(control) => (
              <Select
                {...control}
                options={[{ value: '', label: t('field.choose') }, ...choices]}
                onChange={(e) => form.set('scope_id', e.target.value)}
              />
            )}
          </FormField>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <FormField form={form} name="limit_usd" label={t('budget.limit')} isRequired>
            {(control) => (
              <Input
                {...control}
                inputMode="decimal"
                placeholder="100.00"
                onChange={(e) => form.set('limit_usd', e.target.value.replace(',', '.'))}
              />
            )}
          </FormField>
          {!budget && (
            <FormField form={form} name="period" label={t('budget.period')} hint={t('budget.utc')} isRequired>
              {(control) => (
                <Select
                  {...control}
                  options={PERIODS.map((period) => ({ value: period, label: t(`period.${period}_name`) }))}
                  onChange={(e) => form.set('period', e.target.value as BudgetPeriod)}
                />
              )}
            </FormField>
          )}
        </div>
        <Checkbox
          label={t('budget.is_hard')}
          hint={t('budget.is_hard_hint')}
          checked={form.values.is_hard}
          onChange={(e) => form.set('is_hard', e.target.checked)}
        />
        <fieldset>
          <legend className="mb-1.5 text-sm font-medium">{t('budget.alerts')}</legend>
          <div className="flex flex-wrap gap-4">
            {MARKS.map((mark) => (
              <Checkbox
                key={mark}
                label={`${mark} %`}
                checked={form.values.alerts_at.includes(mark)}
                onChange={(e) =>
                  form.set(
                    'alerts_at',
                    MARKS.filter((one) =>
                      one === mark ? e.target.checked : form.values.alerts_at.includes(one),
                    ),
                  )
                }
              />
            ))}
          </div>
        </fieldset>
      </Form>
    </Dialog>
  );
}
