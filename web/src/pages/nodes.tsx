import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Server, ShieldOff, Trash2 } from 'lucide-react';
import { useState } from 'react';
import { forgetNode, nodesQuery } from '@/api/queries';
import type { Node } from '@/api/types';
import { useSession } from '@/app/session';
import { bytes, number } from '@/lib/format';
import { t } from '@/lib/i18n';
import { Badge, type Tone } from '@/ui/badge';
import { Button } from '@/ui/button';
import { ConfirmByName } from '@/ui/dialog';
import { Checkbox } from '@/ui/field';
import { Page } from '@/ui/page';
import { Empty, Note, QueryView, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { toast } from '@/ui/toast';
import { Money, Time } from '@/ui/values';

const TONES: Record<Node['state'], Tone> = {
  starting: 'copper',
  serving: 'good',
  draining: 'warn',
  stopped: 'plain',
  away: 'bad',
};

const isGone = (node: Node) => node.state === 'stopped' || node.state === 'away';
const isBusy = (node: Node) => node.journal.calls > 0 || node.leased_nanousd > 0;

export default function Nodes() {
  const { me } = useSession();
  return (
    <Page title={t('nav.nodes')} intro={t('node.intro')}>
      {me.user.is_instance_admin ? (
        <NodeList />
      ) : (
        <Empty icon={ShieldOff} title={t('state.no_permission')}>
          {t('node.admins_only')}
        </Empty>
      )}
    </Page>
  );
}

/** What an administrator should know of all of them together. */
function Hints({ nodes }: { nodes: Node[] }) {
  const away = nodes.filter((node) => node.state === 'away');
  const versions = [...new Set(nodes.filter((node) => !isGone(node)).map((node) => node.version))].sort();
  return (
    <div className="mb-4 flex flex-col gap-2 empty:hidden">
      {away.length > 0 && (
        <Note
          tone="warn"
          title={t('node.away_title', { n: away.length, names: away.map((n) => n.name).join(', ') })}
        >
          {t('node.away_hint')}
        </Note>
      )}
      {versions.length > 1 && (
        <Note tone="info" title={t('node.versions_title', { versions: versions.join(', ') })}>
          {t('node.versions_hint')}
        </Note>
      )}
    </div>
  );
}

function NodeList() {
  const query = useQuery(nodesQuery);
  const client = useQueryClient();
  const [forgotten, setForgotten] = useState<Node | null>(null);
  const [isLost, setIsLost] = useState(false);
  const close = () => {
    setForgotten(null);
    setIsLost(false);
  };
  return (
    <QueryView
      query={query}
      loading={
        <div className="card overflow-hidden">
          <SkeletonRows />
        </div>
      }
    >
      {(list) => (
        <>
          <Hints nodes={list.items} />
          <div className="card overflow-hidden">
            {list.items.length === 0 ? (
              <Empty icon={Server} title={t('node.empty')}>
                {t('node.empty_hint')}
              </Empty>
            ) : (
              <Table
                label={t('nav.nodes')}
                rows={list.items}
                keyOf={(node) => node.id}
                columns={[
                  {
                    id: 'name',
                    header: t('node.node'),
                    sortBy: (node) => node.name,
                    cell: (node) => (
                      <span className="block py-2">
                        <span className="flex flex-wrap items-center gap-2 font-medium">
                          {node.name} {node.is_self && <Badge tone="accent">{t('node.self')}</Badge>}
                        </span>
                        <span className="font-mono text-2xs text-ink-3 [overflow-wrap:anywhere]">
                          {node.address} · {node.id.slice(0, 8)}
                        </span>
                      </span>
                    ),
                  },
                  {
                    id: 'state',
                    header: t('node.state'),
                    sortBy: (node) => node.state,
                    cell: (node) => <Badge tone={TONES[node.state]}>{t(`node.${node.state}`)}</Badge>,
                  },
                  {
                    id: 'version',
                    header: t('node.version'),
                    sortBy: (node) => node.version,
                    cell: (node) => (
                      <span className="nums whitespace-nowrap" title={t('node.schema', { n: node.schema })}>
                        {node.version}
                      </span>
                    ),
                  },
                  {
                    id: 'lag',
                    header: t('node.lag'),
                    align: 'right',
                    sortBy: (node) => Math.max(node.log_lag, node.snapshot_lag),
                    cell: (node) => (
                      <span
                        className="nums"
                        title={t('node.lag_of', {
                          log: number(node.log_lag),
                          snapshot: number(node.snapshot_lag),
                        })}
                      >
                        {number(Math.max(node.log_lag, node.snapshot_lag))}
                      </span>
                    ),
                  },
                  {
                    id: 'journal',
                    header: t('node.journal'),
                    align: 'right',
                    sortBy: (node) => node.journal.calls,
                    cell: (node) => (
                      <span className="nums whitespace-nowrap">
                        {node.journal.calls === 0
                          ? t('node.nothing')
                          : t('node.waiting', { n: node.journal.calls, size: bytes(node.journal.bytes) })}
                      </span>
                    ),
                  },
                  {
                    id: 'leased',
                    header: t('node.leased'),
                    align: 'right',
                    sortBy: (node) => node.leased_nanousd,
                    cell: (node) => <Money nanousd={node.leased_nanousd} />,
                  },
                  {
                    id: 'streams',
                    header: t('node.streams'),
                    align: 'right',
                    sortBy: (node) => node.streams,
                    cell: (node) => <span className="nums">{number(node.streams)}</span>,
                  },
                  {
                    id: 'started',
                    header: t('node.started'),
                    cell: (node) => <Time iso={node.started_at} />,
                  },
                  { id: 'seen', header: t('node.seen'), cell: (node) => <Time iso={node.last_seen_at} /> },
                  {
                    id: 'actions',
                    header: t('table.actions'),
                    align: 'right',
                    cell: (node) =>
                      isGone(node) ? (
                        <Button
                          size="sm"
                          variant="ghost"
                          icon={Trash2}
                          label={t('node.forget_one', { name: node.name })}
                          onClick={() => setForgotten(node)}
                        />
                      ) : null,
                  },
                ]}
              />
            )}
          </div>
          <ConfirmByName
            isOpen={forgotten !== null}
            onClose={close}
            title={t('node.forget_title', { name: forgotten?.name ?? '' })}
            name={forgotten?.name ?? ''}
            action={t('node.forget')}
            onConfirm={async () => {
              if (!forgotten) return;
              await forgetNode(forgotten.id, isLost);
              toast({ tone: 'good', title: t('node.forgotten', { name: forgotten.name }) });
              await client.invalidateQueries({ queryKey: ['node'] });
            }}
          >
            <p>{t('node.forget_hint')}</p>
            {forgotten && isBusy(forgotten) && (
              <div className="mt-3">
                <p className="mb-2 font-medium text-ink">{t('node.busy_hint')}</p>
                <Checkbox
                  checked={isLost}
                  onChange={(e) => setIsLost(e.target.checked)}
                  label={t('node.lost')}
                />
              </div>
            )}
          </ConfirmByName>
        </>
      )}
    </QueryView>
  );
}
