import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { Command } from 'cmdk';
import {
  FolderGit2,
  KeyRound,
  LogOut,
  Moon,
  Plug,
  Search,
  Sun,
  User,
  UserPlus,
  WalletCards,
} from 'lucide-react';
import { Dialog } from 'radix-ui';
import { type ReactNode, useState } from 'react';
import { membersQuery, projectsQuery } from '@/api/queries';
import { type MessageId, t } from '@/lib/i18n';
import { setPref, themeInForce, usePrefs } from '@/lib/prefs';
import { useNav, useSignOut } from './shell';
import { GO, isHelpOpen, isPaletteOpen } from './shortcuts';

const close = () => isPaletteOpen.set(false);

function Item(props: {
  icon: ReactNode;
  children: ReactNode;
  keys?: string;
  value: string;
  isAlways?: boolean;
  onSelect: () => void;
}) {
  return (
    <Command.Item
      value={props.value}
      forceMount={props.isAlways ?? false}
      className="menu-item"
      onSelect={() => {
        close();
        props.onSelect();
      }}
    >
      {props.icon}
      <span className="min-w-0 flex-1 truncate">{props.children}</span>
      {props.keys && (
        <span className="flex gap-1" aria-hidden>
          {props.keys.split(' ').map((key) => (
            <kbd key={key} className="kbd">
              {key}
            </kbd>
          ))}
        </span>
      )}
    </Command.Item>
  );
}

/** Go to, do, find: everything by its name. */
export default function Palette() {
  const [text, setText] = useState('');
  const navigate = useNavigate();
  const leave = useSignOut();
  const groups = useNav();
  const { theme } = usePrefs();
  const { data: projects } = useQuery({ ...projectsQuery, retry: false });
  const { data: members } = useQuery({ ...membersQuery, retry: false });
  const isDark = themeInForce(theme) !== 'light';
  const go = (to: string, search: Record<string, string> = {}) => void navigate({ to, search } as never);
  const icon = { 'aria-hidden': true, strokeWidth: 1.75 } as const;
  return (
    <Dialog.Root open onOpenChange={(isOpen) => !isOpen && close()}>
      <Dialog.Portal>
        <Dialog.Overlay className="scrim-in fixed inset-0 z-40 bg-[var(--scrim)]" />
        <Dialog.Content
          aria-describedby={undefined}
          className="dialog-in fixed inset-x-0 top-[max(1rem,12vh)] z-50 mx-auto w-[min(38rem,calc(100vw-1.5rem))] overflow-hidden rounded-xl border border-line bg-raised shadow-2"
        >
          <Dialog.Title className="sr-only">{t('search.open')}</Dialog.Title>
          <Command label={t('search.open')} loop>
            <div className="flex items-center gap-2.5 border-b border-line px-4">
              <Search aria-hidden className="size-4.5 flex-none text-ink-3" strokeWidth={1.75} />
              <Command.Input
                value={text}
                onValueChange={setText}
                placeholder={t('search.placeholder')}
                className="h-13 min-w-0 flex-1 bg-transparent text-md text-ink outline-none"
              />
              <kbd className="kbd">Esc</kbd>
            </div>
            <Command.List className="max-h-[min(26rem,60vh)] overflow-y-auto p-1.5">
              <Command.Empty className="px-3 py-8 text-center text-sm text-ink-2">
                {t('search.nothing')}
              </Command.Empty>
              <Command.Group heading={t('search.go')}>
                {groups
                  .flatMap((group) => group.places)
                  .map((place) => (
                    <Item
                      key={place.to}
                      icon={<place.icon {...icon} />}
                      value={t(place.label)}
                      keys={`g ${GO.find((one) => one.to === place.to)?.key ?? ''}`}
                      onSelect={() => go(place.to)}
                    >
                      {t(place.label)}
                    </Item>
                  ))}
                <Item
                  icon={<User {...icon} />}
                  value={t('nav.profile')}
                  keys="g u"
                  onSelect={() => go('/settings/profile')}
                >
                  {t('nav.profile')}
                </Item>
              </Command.Group>
              <Command.Group heading={t('search.do')}>
                {(
                  [
                    ['search.new_key', KeyRound, '/settings/keys'],
                    ['search.new_provider', Plug, '/settings/providers'],
                    ['search.new_budget', WalletCards, '/settings/budgets'],
                    ['search.invite', UserPlus, '/workspace'],
                  ] as [MessageId, typeof KeyRound, string][]
                ).map(([label, Icon, to]) => (
                  <Item
                    key={label}
                    icon={<Icon {...icon} />}
                    value={t(label)}
                    onSelect={() => go(to, { new: '1' })}
                  >
                    {t(label)}
                  </Item>
                ))}
                <Item
                  icon={isDark ? <Sun {...icon} /> : <Moon {...icon} />}
                  value={t('search.theme')}
                  onSelect={() => setPref('theme', isDark ? 'light' : 'dark')}
                >
                  {t('search.theme')}
                </Item>
                <Item
                  icon={<Search {...icon} />}
                  value={t('help.title')}
                  keys="?"
                  onSelect={() => isHelpOpen.set(true)}
                >
                  {t('help.title')}
                </Item>
                <Item icon={<LogOut {...icon} />} value={t('user.sign_out')} onSelect={() => void leave()}>
                  {t('user.sign_out')}
                </Item>
              </Command.Group>
              {(projects?.items.length ?? 0) > 0 && (
                <Command.Group heading={t('search.projects')}>
                  {projects?.items.map((project) => (
                    <Item
                      key={project.id}
                      icon={<FolderGit2 {...icon} />}
                      value={`${project.name} ${project.id}`}
                      onSelect={() => go('/requests', { project: project.id })}
                    >
                      {project.name}
                    </Item>
                  ))}
                </Command.Group>
              )}
              {(members?.items.length ?? 0) > 0 && (
                <Command.Group heading={t('search.people')}>
                  {members?.items.map((member) => (
                    <Item
                      key={member.user_id}
                      icon={<User {...icon} />}
                      value={`${member.name} ${member.email}`}
                      onSelect={() => go('/workspace')}
                    >
                      {member.name} <span className="text-ink-3">{member.email}</span>
                    </Item>
                  ))}
                </Command.Group>
              )}
              {/* Never the first: its value fits nothing that one types. */}
              {text.trim() && (
                <Command.Group heading={t('search.find')} forceMount>
                  <Item
                    icon={<Search {...icon} />}
                    value="⌕"
                    isAlways
                    onSelect={() => go('/requests', { text: text.trim() })}
                  >
                    {t('search.requests', { text: text.trim() })}
                  </Item>
                </Command.Group>
              )}
            </Command.List>
          </Command>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
