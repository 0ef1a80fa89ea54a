import { useQuery, useQueryClient } from '@tanstack/react-query';
import {
  type ErrorComponentProps,
  Link,
  Outlet,
  useMatches,
  useNavigate,
  useRouter,
  useRouterState,
} from '@tanstack/react-router';
import clsx from 'clsx';
import {
  Activity,
  Bell,
  ChevronsUpDown,
  CircleHelp,
  CircleUser,
  Compass,
  Gauge,
  KeyRound,
  ListChecks,
  type LucideIcon,
  Menu as MenuIcon,
  PanelLeftClose,
  PanelLeftOpen,
  Plug,
  Search,
  Server,
  UserRoundCog,
  Users,
  WalletCards,
  WifiOff,
} from 'lucide-react';
import {
  lazy,
  Suspense,
  useCallback,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { sessionEnded } from '@/api/client';
import { useLiveState } from '@/api/live';
import { projectsQuery, signOut, unreadQuery } from '@/api/queries';
import type { Me, Membership } from '@/api/types';
import { type MessageId, t, useLanguage } from '@/lib/i18n';
import { type Prefs, setPref, usePrefs } from '@/lib/prefs';
import { useStore } from '@/lib/store';
import { Button, buttonClass } from '@/ui/button';
import { Mark } from '@/ui/logo';
import { useTitle } from '@/ui/page';
import { Empty, ErrorState, Skeleton, SkeletonRows } from '@/ui/states';
import { Toasts } from '@/ui/toast';
import { leaveSession, SessionContext, useLiveSession, useSession } from './session';
import { GO, isHelpOpen, isPaletteOpen, useShortcuts } from './shortcuts';

const Palette = lazy(() => import('./palette'));
const Help = lazy(() => import('./help'));
const Notifications = lazy(() => import('./notifications'));
const SignInAgain = lazy(() => import('./sign-in-again'));
const NewWorkspace = lazy(() => import('./new-workspace'));
const WorkspaceMenu = lazy(() => import('./menus').then((m) => ({ default: m.WorkspaceMenu })));
const ProjectMenu = lazy(() => import('./menus').then((m) => ({ default: m.ProjectMenu })));
const UserMenu = lazy(() => import('./menus').then((m) => ({ default: m.UserMenu })));
const MobileNav = lazy(() => import('./mobile-nav'));

interface Place {
  to: string;
  label: MessageId;
  icon: LucideIcon;
}
interface Group {
  label: MessageId | null;
  places: Place[];
  /** Only for administrators of the instance. */
  isInstance?: boolean;
}

const NAV: Group[] = [
  {
    label: null,
    places: [
      { to: '/', label: 'nav.home', icon: Gauge },
      { to: '/requests', label: 'nav.requests', icon: Activity },
    ],
  },
  {
    label: 'nav.gateway',
    places: [
      { to: '/settings/providers', label: 'nav.providers', icon: Plug },
      { to: '/settings/keys', label: 'nav.keys', icon: KeyRound },
      { to: '/settings/budgets', label: 'nav.budgets', icon: WalletCards },
    ],
  },
  {
    label: 'nav.workspace',
    places: [
      { to: '/workspace', label: 'nav.members', icon: Users },
      { to: '/jobs', label: 'nav.jobs', icon: ListChecks },
    ],
  },
  {
    label: 'nav.instance',
    isInstance: true,
    places: [{ to: '/nodes', label: 'nav.nodes', icon: Server }],
  },
];
/** Where whoever is signed in can go. */
export function useNav(): Group[] {
  const { me } = useSession();
  return NAV.filter((group) => !group.isInstance || me.user.is_instance_admin);
}
const PROFILE: Place = { to: '/settings/profile', label: 'nav.profile', icon: UserRoundCog };

function isAt(path: string, to: string) {
  return to === '/' ? path === '/' : path === to || path.startsWith(`${to}/`);
}

function NavLink({
  place,
  isClosed,
  onGo,
}: {
  place: Place;
  isClosed: boolean;
  onGo?: (() => void) | undefined;
}) {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const isHere = isAt(path, place.to);
  const Icon = place.icon;
  return (
    <Link
      to={place.to}
      onClick={onGo}
      aria-current={isHere ? 'page' : undefined}
      title={isClosed ? t(place.label) : undefined}
      className={clsx(
        'group relative flex h-8 items-center gap-2.5 rounded-md text-sm font-medium',
        isClosed ? 'justify-center px-0' : 'px-2.5',
        isHere
          ? 'bg-surface text-ink shadow-1 outline outline-line'
          : 'text-ink-2 hover:bg-pressed/60 hover:text-ink',
      )}
    >
      <Icon
        aria-hidden
        strokeWidth={1.75}
        className={clsx('size-4 flex-none', isHere ? 'text-accent' : 'text-ink-3 group-hover:text-ink-2')}
      />
      <span className={isClosed ? 'sr-only' : 'truncate'}>{t(place.label)}</span>
    </Link>
  );
}

export function NavList({ isClosed, onGo }: { isClosed: boolean; onGo?: () => void }) {
  const groups = useNav();
  return (
    <nav aria-label={t('nav.label')} className="flex min-h-0 flex-1 flex-col gap-5 overflow-y-auto px-3 py-2">
      {groups.map((group) => (
        <div key={group.label ?? 'top'}>
          {group.label && !isClosed && <div className="eyebrow px-2.5 pb-1.5">{t(group.label)}</div>}
          {group.label && isClosed && <div aria-hidden className="mx-2 mb-2 h-px bg-line" />}
          <ul className="flex flex-col gap-0.5">
            {group.places.map((place) => (
              <li key={place.to}>
                <NavLink place={place} isClosed={isClosed} onGo={onGo} />
              </li>
            ))}
          </ul>
        </div>
      ))}
      <div className="mt-auto">
        <NavLink place={PROFILE} isClosed={isClosed} onGo={onGo} />
      </div>
    </nav>
  );
}

function initials(name: string) {
  const parts = name.trim().split(/\s+/);
  return ((parts[0]?.[0] ?? '') + (parts.length > 1 ? (parts.at(-1)?.[0] ?? '') : '')).toUpperCase();
}

/** The workspace's button; the menu comes with the rest of the menus (menus.tsx), which the first sight does not need. */
export function WorkspaceSwitcher({ isClosed }: { isClosed: boolean }) {
  const { workspace } = useSession();
  const trigger = (
    <button
      type="button"
      aria-label={t('workspace.switch', { name: workspace.name })}
      className={clsx(
        'flex h-11 w-full items-center gap-2.5 rounded-md text-start hover:bg-pressed/60',
        isClosed ? 'justify-center' : 'px-1.5',
      )}
    >
      <Mark className="size-7" />
      {!isClosed && (
        <>
          <span className="min-w-0 flex-1">
            <span className="block truncate text-sm/4.5 font-semibold text-ink">{workspace.name}</span>
            <span className="block text-2xs/4 text-ink-3">Catalyst</span>
          </span>
          <ChevronsUpDown aria-hidden className="size-3.5 flex-none text-ink-3" />
        </>
      )}
    </button>
  );
  return (
    <Suspense fallback={trigger}>
      <WorkspaceMenu trigger={trigger} />
    </Suspense>
  );
}

function Side() {
  const { nav } = usePrefs();
  const isClosed = nav === 'closed';
  return (
    <aside
      className={clsx(
        'sticky top-0 hidden h-dvh flex-none flex-col md:flex',
        isClosed ? 'w-[3.75rem]' : 'w-[14.5rem]',
      )}
    >
      <div className="px-3 pt-2.5 pb-2">
        <WorkspaceSwitcher isClosed={isClosed} />
      </div>
      <NavList isClosed={isClosed} />
      <div className="px-3 pt-1 pb-3">
        <Button
          variant="ghost"
          icon={isClosed ? PanelLeftOpen : PanelLeftClose}
          className={clsx('w-full', !isClosed && 'justify-start px-2.5 gap-2.5')}
          label={isClosed ? t('nav.open') : t('nav.close')}
          onClick={() => setPref('nav', isClosed ? 'open' : 'closed')}
        >
          {isClosed ? null : <span className="text-xs font-normal text-ink-3">{t('nav.close')}</span>}
        </Button>
      </div>
    </aside>
  );
}

function Crumbs() {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const group = [...NAV, { label: null, places: [PROFILE] }].find((g) =>
    g.places.some((p) => isAt(path, p.to)),
  );
  const place = group?.places.find((p) => isAt(path, p.to));
  const rest =
    place && path.length > place.to.length && place.to !== '/' ? path.slice(place.to.length + 1) : '';
  return (
    <nav aria-label={t('nav.breadcrumb')} className="hidden min-w-0 lg:block">
      <ol className="flex items-center gap-1.5 text-sm text-ink-3">
        {group?.label && (
          <li className="flex items-center gap-1.5">
            {t(group.label)} <span aria-hidden>/</span>
          </li>
        )}
        {place && (
          <li className="flex min-w-0 items-center gap-1.5">
            {rest ? (
              <Link to={place.to} className="hover:text-ink">
                {t(place.label)}
              </Link>
            ) : (
              <span aria-current="page" className="truncate font-medium text-ink-2">
                {t(place.label)}
              </span>
            )}
          </li>
        )}
        {rest && (
          <li className="flex min-w-0 items-center gap-1.5">
            <span aria-hidden>/</span>
            <span aria-current="page" className="truncate font-mono text-xs text-ink-2">
              {rest.slice(-12)}
            </span>
          </li>
        )}
      </ol>
    </nav>
  );
}

function ProjectSwitcher() {
  const { data } = useQuery({ ...projectsQuery, retry: false });
  const project = useRouterState({ select: (s) => (s.location.search as { project?: string }).project });
  const current = data?.items.find((p) => p.id === project);
  const trigger = (
    <button type="button" className={clsx(buttonClass('ghost'), 'max-w-48 min-w-0 max-sm:hidden')}>
      <span className="sr-only">{t('project.switch')}</span>
      <span className="truncate">{current?.name ?? t('project.all')}</span>
      <ChevronsUpDown aria-hidden className="text-ink-3" />
    </button>
  );
  return (
    <Suspense fallback={trigger}>
      <ProjectMenu trigger={trigger} projects={data?.items ?? []} project={project} />
    </Suspense>
  );
}

function LiveMark() {
  const state = useLiveState();
  const label = t(`live.${state}`);
  return (
    <span
      className="hidden items-center gap-1.5 px-1.5 text-xs text-ink-3 xl:flex"
      title={t(`live.${state}_hint`)}
    >
      <span
        aria-hidden
        className={clsx(
          'size-1.5 rounded-full',
          state === 'live' ? 'pulse-dot bg-good' : state === 'connecting' ? 'bg-ink-3' : 'bg-warn',
        )}
      />
      {label}
    </span>
  );
}

function BellButton() {
  const { data } = useQuery({ ...unreadQuery, retry: false });
  const [isOpen, setIsOpen] = useState(false);
  const unread = data?.unread ?? 0;
  const label = unread > 0 ? t('bell.unread', { n: unread }) : t('bell.label');
  const button = (
    <Button
      variant="ghost"
      label={label}
      className="relative btn-icon"
      onClick={() => setIsOpen(true)}
      aria-haspopup="dialog"
    >
      <Bell aria-hidden strokeWidth={1.75} />
      {unread > 0 && (
        <span
          aria-hidden
          className="nums absolute top-0.5 end-0.5 grid h-3.5 min-w-3.5 place-items-center rounded-full bg-copper px-0.5 text-[0.5625rem] leading-none font-semibold text-[var(--surface)]"
        >
          {unread > 99 ? '99+' : unread}
        </span>
      )}
    </Button>
  );
  return isOpen ? (
    <Suspense fallback={button}>
      <Notifications trigger={button} onClose={() => setIsOpen(false)} />
    </Suspense>
  ) : (
    button
  );
}

export const THEMES: { value: Prefs['theme']; label: MessageId }[] = [
  { value: 'system', label: 'theme.system' },
  { value: 'light', label: 'theme.light' },
  { value: 'dark', label: 'theme.dark' },
  { value: 'contrast', label: 'theme.contrast' },
];

export function useSignOut() {
  const client = useQueryClient();
  const navigate = useNavigate();
  return async () => {
    await signOut().catch(() => undefined);
    leaveSession(client);
    await navigate({ to: '/login', search: {} });
  };
}

function UserSwitcher() {
  const { me } = useSession();
  const trigger = (
    <button
      type="button"
      aria-label={t('user.menu', { name: me.user.name })}
      className="ms-1 grid size-8 flex-none place-items-center rounded-full bg-accent-soft text-xs font-semibold text-accent hover:outline hover:outline-accent-line"
    >
      {initials(me.user.name) || <CircleUser aria-hidden className="size-4" />}
    </button>
  );
  return (
    <Suspense fallback={trigger}>
      <UserMenu trigger={trigger} />
    </Suspense>
  );
}

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

function TopBar() {
  const [isNavOpen, setIsNavOpen] = useState(false);
  return (
    <header className="sticky top-0 z-20 flex h-13 items-center gap-1 border-b border-line bg-surface/95 px-2 backdrop-blur-sm sm:px-4 md:rounded-ss-xl">
      <Button
        variant="ghost"
        icon={MenuIcon}
        label={t('nav.menu')}
        className="md:hidden"
        onClick={() => setIsNavOpen(true)}
      />
      {isNavOpen && (
        <Suspense>
          <MobileNav onClose={() => setIsNavOpen(false)} />
        </Suspense>
      )}
      <div className="min-w-0 flex-initial overflow-hidden ps-1 sm:ps-4">
        <Crumbs />
      </div>
      <div className="ms-auto flex min-w-0 items-center gap-1">
        <LiveMark />
        <ProjectSwitcher />
        <button
          type="button"
          onClick={() => isPaletteOpen.set(true)}
          className="flex h-8 min-w-9 items-center gap-2 overflow-hidden rounded-md border border-line bg-sunken px-2 text-sm whitespace-nowrap text-ink-3 hover:border-line-strong hover:text-ink-2 sm:w-48 lg:w-56"
        >
          <Search aria-hidden className="size-4 flex-none" strokeWidth={1.75} />
          <span className="sr-only truncate sm:not-sr-only">{t('search.open')}</span>
          <kbd className="kbd ms-auto hidden sm:inline-flex">{isMac ? '⌘K' : 'Ctrl K'}</kbd>
        </button>
        <BellButton />
        <Button
          variant="ghost"
          icon={CircleHelp}
          label={t('help.open')}
          className="max-sm:hidden"
          onClick={() => isHelpOpen.set(true)}
        />
        <UserSwitcher />
      </div>
    </header>
  );
}

function useIsOnline() {
  return useSyncExternalStore(
    (notify) => {
      addEventListener('online', notify);
      addEventListener('offline', notify);
      return () => {
        removeEventListener('online', notify);
        removeEventListener('offline', notify);
      };
    },
    () => navigator.onLine,
  );
}

/** A new page is announced and gets the focus, as a loaded document would. */
function useArrival(main: React.RefObject<HTMLElement | null>) {
  const path = useRouterState({ select: (s) => s.resolvedLocation?.pathname });
  const before = useRef<string | undefined>(undefined);
  const [arrival, setArrival] = useState('');
  useEffect(() => {
    if (before.current !== undefined && path !== before.current && !document.querySelector('[role=dialog]')) {
      main.current?.focus({ preventScroll: true });
      const timer = setTimeout(() => setArrival(document.title), 100);
      before.current = path;
      return () => clearTimeout(timer);
    }
    before.current = path;
  }, [path, main]);
  return arrival;
}

export function Shell() {
  const { me, workspace } = useMatches({
    select: (matches) => {
      const match = matches.find((m) => m.routeId === '/app');
      return match?.context as unknown as { me: Me; workspace: Membership | undefined };
    },
  });
  useLanguage();
  const client = useQueryClient();
  const navigate = useNavigate();
  const isOnline = useIsOnline();
  const hasEnded = useStore(sessionEnded) > 0;
  const isSearching = useStore(isPaletteOpen);
  const isHelping = useStore(isHelpOpen);
  const main = useRef<HTMLElement>(null);
  const arrival = useArrival(main);
  useShortcuts(useCallback((to: string) => void navigate({ to }), [navigate]));
  useLiveSession(client, workspace?.id ?? '');
  const session = useMemo(() => (workspace ? { me, workspace } : null), [me, workspace]);
  if (!session) return <NoWorkspace />;
  return (
    <SessionContext.Provider value={session}>
      <a
        href="#main"
        className="btn btn-primary fixed top-2 start-2 z-60 -translate-y-20 focus:translate-y-0"
      >
        {t('nav.skip')}
      </a>
      <div className="flex min-h-dvh">
        <Side />
        <div className="flex min-w-0 flex-1 flex-col bg-surface md:mt-1.5 md:rounded-ss-xl md:border-t md:border-s md:border-line">
          <TopBar />
          {!isOnline && (
            <div
              role="status"
              className="flex items-center gap-2 bg-warn-soft px-4 py-2 text-sm text-ink sm:px-8"
            >
              <WifiOff aria-hidden className="size-4 text-warn" />
              {t('offline.banner')}
            </div>
          )}
          <main id="main" ref={main} tabIndex={-1} className="min-w-0 flex-1 outline-none">
            <Suspense fallback={<Loading />}>
              <Outlet />
            </Suspense>
          </main>
        </div>
      </div>
      <div aria-live="polite" className="sr-only">
        {arrival}
      </div>
      <Suspense>
        {isSearching && <Palette />}
        {isHelping && <Help />}
        {hasEnded && <SignInAgain me={me} />}
      </Suspense>
      <Toasts />
    </SessionContext.Provider>
  );
}

function NoWorkspace() {
  const [isNew, setIsNew] = useState(false);
  const leave = useSignOut();
  useTitle(t('workspace.none'));
  return (
    <main className="grid min-h-dvh place-items-center">
      <Empty
        icon={Users}
        isPage
        title={t('workspace.none')}
        action={
          <>
            <Button variant="primary" onClick={() => setIsNew(true)}>
              {t('workspace.new')}
            </Button>
            <Button onClick={() => void leave()}>{t('user.sign_out')}</Button>
          </>
        }
      >
        {t('workspace.none_hint')}
      </Empty>
      {isNew && (
        <Suspense>
          <NewWorkspace onClose={() => setIsNew(false)} />
        </Suspense>
      )}
    </main>
  );
}

/** In the place of a page that is on its way. */
export function Loading() {
  return (
    <div className="mx-auto w-full max-w-[80rem] px-4 pt-8 sm:px-8">
      <Skeleton className="mb-2 h-8 w-52" />
      <Skeleton className="mb-7 h-4 w-80 max-w-full" />
      <div className="card">
        <SkeletonRows />
      </div>
    </div>
  );
}

export function Failed({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  useTitle(t('state.error'));
  return (
    <div className="grid min-h-[60dvh] place-items-center">
      <h1 className="sr-only">{t('state.error')}</h1>
      <ErrorState
        error={error}
        retry={() => {
          reset();
          void router.invalidate();
        }}
      />
    </div>
  );
}

export function NotFound() {
  useTitle(t('not_found.title'));
  return (
    <main className="grid min-h-[70dvh] place-items-center">
      <Empty
        icon={Compass}
        isPage
        title={t('not_found.title')}
        action={
          <Link to="/" className={buttonClass('primary')}>
            {t('not_found.home')}
          </Link>
        }
      >
        {t('not_found.hint')}
      </Empty>
    </main>
  );
}

export { GO };
