import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Ellipsis, Pencil, Plug, Plus, Power, Trash2, Zap } from 'lucide-react';
import { useState } from 'react';
import { changeProvider, deleteProvider, providersQuery, testProvider } from '@/api/queries';
import type { Provider, ProviderTest } from '@/api/types';
import { useMay } from '@/app/session';
import { duration } from '@/lib/format';
import { t } from '@/lib/i18n';
import { Badge, Chip } from '@/ui/badge';
import { Button } from '@/ui/button';
import { useNew } from '@/ui/data-page';
import { ConfirmByName, Dialog } from '@/ui/dialog';
import { Form } from '@/ui/form';
import { Menu, MenuItem, MenuSeparator } from '@/ui/menu';
import { Page } from '@/ui/page';
import { Empty, NoPermission, QueryView, SkeletonRows } from '@/ui/states';
import { toast } from '@/ui/toast';
import { KindMark, kindName } from './kinds';
import { ProviderFields, TestResult, useProviderForm } from './provider-form';

export default function Providers() {
  const may = useMay('llm.providers');
  return may ? (
    <List />
  ) : (
    <Page title={t('nav.providers')}>
      <NoPermission permission="llm.providers" />
    </Page>
  );
}

function List() {
  const query = useQuery(providersQuery);
  const [isNew, setIsNew] = useNew();
  const [edited, setEdited] = useState<Provider | null>(null);
  const [deleted, setDeleted] = useState<Provider | null>(null);
  const client = useQueryClient();
  const add = (
    <Button variant="primary" icon={Plus} data-create onClick={() => setIsNew(true)}>
      {t('provider.add')}
    </Button>
  );
  return (
    <Page
      title={t('nav.providers')}
      intro={t('provider.intro')}
      actions={query.data?.items.length ? add : undefined}
    >
      <div className="card">
        <QueryView query={query} loading={<SkeletonRows rows={3} />}>
          {(list) =>
            list.items.length === 0 ? (
              <Empty icon={Plug} title={t('provider.empty')} action={add}>
                {t('provider.empty_hint')}
              </Empty>
            ) : (
              <ul aria-label={t('nav.providers')} className="divide-y divide-line">
                {list.items.map((provider) => (
                  <Row
                    key={provider.id}
                    provider={provider}
                    onEdit={() => setEdited(provider)}
                    onDelete={() => setDeleted(provider)}
                  />
                ))}
              </ul>
            )
          }
        </QueryView>
      </div>
      {isNew && <Edit onClose={() => setIsNew(false)} />}
      {edited && <Edit provider={edited} onClose={() => setEdited(null)} />}
      <ConfirmByName
        isOpen={deleted !== null}
        onClose={() => setDeleted(null)}
        title={t('provider.delete_title', { name: deleted?.name ?? '' })}
        name={deleted?.name ?? ''}
        action={t('action.delete')}
        onConfirm={async () => {
          if (deleted) await deleteProvider(deleted.id);
          await client.invalidateQueries({ queryKey: ['provider'] });
        }}
      >
        {t('provider.delete_hint')}
      </ConfirmByName>
    </Page>
  );
}

function Row({
  provider,
  onEdit,
  onDelete,
}: {
  provider: Provider;
  onEdit: () => void;
  onDelete: () => void;
}) {
  const client = useQueryClient();
  const [result, setResult] = useState<ProviderTest | null>(null);
  const test = useMutation({
    mutationFn: () => testProvider(provider.id),
    onSuccess: setResult,
    onError: (error) => toast({ tone: 'bad', title: error.message }),
  });
  const toggle = useMutation({
    mutationFn: () => changeProvider(provider.id, { is_enabled: !provider.is_enabled }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: () => client.invalidateQueries({ queryKey: ['provider'] }),
  });
  const isFile = provider.origin === 'file';
  const models = provider.models ?? [];
  return (
    <li data-row className="px-4 py-4 hover:bg-sunken sm:px-5">
      <div className="flex flex-wrap items-center gap-x-4 gap-y-3">
        <KindMark kind={provider.kind} className="size-10 text-xs" />
        <div className="min-w-0 flex-1 basis-56">
          <div className="flex flex-wrap items-center gap-2">
            <h2 className="text-base font-semibold">
              {isFile ? (
                provider.name
              ) : (
                <button type="button" data-row-link className="min-h-6 hover:underline" onClick={onEdit}>
                  {provider.name}
                </button>
              )}
            </h2>
            {provider.is_enabled ? (
              <Badge tone="good">{t('provider.on')}</Badge>
            ) : (
              <Badge>{t('provider.off')}</Badge>
            )}
            {isFile && <Badge tone="accent">{t('from_file')}</Badge>}
          </div>
          <p className="mt-0.5 truncate text-xs text-ink-3">
            {kindName(provider.kind)} · {provider.base_url}
          </p>
        </div>
        <div className="hidden min-w-0 basis-64 flex-wrap gap-1 lg:flex">
          {models.slice(0, 4).map((model) => (
            <Chip key={model}>{model}</Chip>
          ))}
          {models.length > 4 && (
            <span className="text-xs text-ink-3">{t('and_more', { n: models.length - 4 })}</span>
          )}
        </div>
        <div className="w-28 text-xs text-ink-3">
          {provider.has_key ? (
            <span className="font-mono" title={t('provider.key_stored')}>
              •••• {provider.key_hint}
            </span>
          ) : (
            t('provider.no_key')
          )}
        </div>
        <div className="flex items-center gap-1.5">
          <Button size="sm" icon={Zap} isBusy={test.isPending} onClick={() => test.mutate()}>
            {t('provider.test')}
          </Button>
          <Menu
            align="end"
            trigger={
              <Button
                size="sm"
                variant="ghost"
                icon={Ellipsis}
                label={t('table.actions_of', { name: provider.name })}
              />
            }
          >
            <MenuItem icon={Pencil} isDisabled={isFile} onSelect={onEdit}>
              {t('action.edit')}
            </MenuItem>
            <MenuItem icon={Power} isDisabled={isFile} onSelect={() => toggle.mutate()}>
              {t(provider.is_enabled ? 'action.disable' : 'action.enable')}
            </MenuItem>
            <MenuSeparator />
            <MenuItem icon={Trash2} isDanger isDisabled={isFile} onSelect={onDelete}>
              {t('action.delete')}
            </MenuItem>
          </Menu>
        </div>
      </div>
      {result && (
        <div className="mt-3">
          <TestResult test={result} />
        </div>
      )}
    </li>
  );
}

function Edit({ provider, onClose }: { provider?: Provider; onClose: () => void }) {
  const { form, test, made, kinds, kind } = useProviderForm({
    provider,
    onSaved: (saved, result) => {
      toast({
        tone: 'good',
        title: t('provider.saved', { name: saved.name }),
        detail: t('provider.test_ok', { ms: duration(result.latency_ms) }),
      });
      onClose();
    },
  });
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={provider ? t('provider.edit', { name: provider.name }) : t('provider.add')}
      description={t('provider.form_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="provider" variant="primary" isBusy={form.isBusy}>
            {t('provider.save')}
          </Button>
        </>
      }
    >
      <Form form={form} id="provider">
        <ProviderFields form={form} kinds={kinds} kind={kind} made={made} />
        {test && !test.is_ok && <TestResult test={test} />}
      </Form>
    </Dialog>
  );
}
