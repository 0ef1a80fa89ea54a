import { useNavigate } from '@tanstack/react-router';
import { LogOut, Plus, UserRoundCog } from 'lucide-react';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import type { Project } from '@/api/types';
import { t } from '@/lib/i18n';
import { setPref, usePrefs } from '@/lib/prefs';
import { Menu, MenuChoice, MenuItem, MenuLabel, MenuSeparator } from '@/ui/menu';
import { useMay, useSession } from './session';
import { THEMES, useSignOut } from './shell';

const NewProject = lazy(() => import('./new-project'));
const NewWorkspace = lazy(() => import('./new-workspace'));

export function WorkspaceMenu({ trigger }: { trigger: ReactNode }) {
  const { me, workspace } = useSession();
  const navigate = useNavigate();
  const [isNew, setIsNew] = useState(false);
  return (
    <>
      <Menu className="w-64" trigger={trigger}>
        <MenuLabel>{t('workspace.yours')}</MenuLabel>
        <MenuChoice
          value={workspace.id}
          options={me.workspaces.map((w) => ({ value: w.id, label: w.name }))}
          onChange={(ws) => void navigate({ to: '/', search: { ws } })}
        />
        <MenuSeparator />
        <MenuItem icon={Plus} onSelect={() => setIsNew(true)}>
          {t('workspace.new')}
        </MenuItem>
      </Menu>
      {isNew && (
        <Suspense>
          <NewWorkspace onClose={() => setIsNew(false)} />
        </Suspense>
      )}
    </>
  );
}

const ALL = 'all';

export function ProjectMenu(props: { trigger: ReactNode; projects: Project[]; project: string | undefined }) {
  const navigate = useNavigate();
  const [isNew, setIsNew] = useState(false);
  const mayCreate = useMay('projects.create');
  return (
    <>
      <Menu className="w-60" trigger={props.trigger}>
        <MenuLabel>{t('project.show')}</MenuLabel>
        <MenuChoice
          value={props.project ?? ALL}
          options={[
            { value: ALL, label: t('project.all') },
            ...props.projects.map((p) => ({ value: p.id, label: p.name })),
          ]}
          onChange={(id) =>
            void navigate({
              to: '.',
              search: (old: Record<string, unknown>) => ({ ...old, project: id === ALL ? undefined : id }),
            } as never)
          }
        />
        {mayCreate && (
          <>
            <MenuSeparator />
            <MenuItem icon={Plus} onSelect={() => setIsNew(true)}>
              {t('project.new')}
            </MenuItem>
          </>
        )}
      </Menu>
      {isNew && (
        <Suspense>
          <NewProject onClose={() => setIsNew(false)} />
        </Suspense>
      )}
    </>
  );
}

export function UserMenu({ trigger }: { trigger: ReactNode }) {
  const { me } = useSession();
  const { theme } = usePrefs();
  const navigate = useNavigate();
  const leave = useSignOut();
  return (
    <Menu align="end" className="w-60" trigger={trigger}>
      <div className="px-2 pt-1.5 pb-2">
        <div className="truncate text-sm font-medium text-ink">{me.user.name}</div>
        <div className="truncate text-xs text-ink-3">{me.user.email}</div>
      </div>
      <MenuSeparator />
      <MenuItem icon={UserRoundCog} onSelect={() => void navigate({ to: '/settings/profile' })}>
        {t('nav.profile')}
      </MenuItem>
      <MenuSeparator />
      <MenuLabel>{t('theme.label')}</MenuLabel>
      <MenuChoice
        value={theme}
        options={THEMES.map((one) => ({ value: one.value, label: t(one.label) }))}
        onChange={(value) => setPref('theme', value)}
      />
      <MenuSeparator />
      <MenuItem icon={LogOut} onSelect={() => void leave()}>
        {t('user.sign_out')}
      </MenuItem>
    </Menu>
  );
}
