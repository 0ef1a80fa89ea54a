import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  parseSearchWith,
  redirect,
  retainSearchParams,
  stringifySearchWith,
} from '@tanstack/react-router';
import { credentials } from '@/api/client';
import { meQuery, setupQuery } from '@/api/queries';
import { BASE } from '@/lib/base';
import { type Area, loadArea } from '@/lib/i18n';
import { chooseWorkspace, enterWorkspace } from './session';
import { Failed, Loading, NotFound, Shell } from './shell';

interface Context {
  client: QueryClient;
}

/** A page and the messages that it is written in, loaded together. */
// biome-ignore lint/suspicious/noExplicitAny: what a page's props are is the router's business
function page(area: Area, load: () => Promise<{ default: React.ComponentType<any> }>) {
  return lazyRouteComponent(async () => (await Promise.all([load(), loadArea(area)]))[0]);
}

const texts = (...names: string[]) => {
  return (search: Record<string, unknown>) => {
    const out: Record<string, string> = {};
    for (const name of names) {
      const value = search[name];
      if (typeof value === 'string' && value !== '') out[name] = value;
    }
    return out;
  };
};

const root = createRootRouteWithContext<Context>()({ component: Outlet, notFoundComponent: NotFound });

const setup = createRoute({
  getParentRoute: () => root,
  path: '/setup',
  component: page('account', () => import('@/pages/setup')),
});
const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: texts('next') as (s: Record<string, unknown>) => { next?: string },
  component: page('account', () => import('@/pages/login')),
});
const invitation = createRoute({
  getParentRoute: () => root,
  path: '/invite',
  component: page('account', () => import('@/pages/invite')),
});

/** Everything behind the sign-in. */
const app = createRoute({
  getParentRoute: () => root,
  id: 'app',
  validateSearch: texts('ws', 'project') as (s: Record<string, unknown>) => { ws?: string; project?: string },
  search: { middlewares: [retainSearchParams(['ws', 'project'])] },
  beforeLoad: async ({ context: { client }, location, search }) => {
    const me = await client.ensureQueryData(meQuery);
    if (!me) {
      const { is_needed } = await client.fetchQuery(setupQuery).catch(() => ({ is_needed: false }));
      if (is_needed) throw redirect({ to: '/setup' });
      throw redirect({ to: '/login', search: location.href === '/' ? {} : { next: location.href } });
    }
    credentials.csrf = me.csrf_token ?? '';
    const workspace = chooseWorkspace(me, search.ws);
    if (workspace) enterWorkspace(workspace, client);
    return { me, workspace };
  },
  component: Shell,
});

const at = <P extends string, S extends object = object>(
  path: P,
  area: Area,
  load: () => Promise<{ default: React.ComponentType }>,
  validateSearch?: (search: Record<string, unknown>) => S,
) =>
  createRoute({
    getParentRoute: () => app,
    path,
    component: page(area, load),
    validateSearch: (validateSearch ?? (() => ({}))) as (search: Record<string, unknown>) => S,
  });

export interface CallSearch {
  model?: string;
  provider?: string;
  key_id?: string;
  outcome?: string;
  session?: string;
  text?: string;
  since?: string;
}
const requests = at(
  '/requests',
  'requests',
  () => import('@/pages/requests'),
  texts('model', 'provider', 'key_id', 'outcome', 'session', 'text', 'since') as (
    s: Record<string, unknown>,
  ) => CallSearch,
);
const request = createRoute({
  getParentRoute: () => requests,
  path: '$id',
  component: page('requests', () => import('@/pages/request')),
});

const tree = root.addChildren([
  setup,
  login,
  invitation,
  app.addChildren([
    at('/', 'home', () => import('@/pages/home')),
    requests.addChildren([request]),
    at(
      '/settings/providers',
      'gateway',
      () => import('@/pages/providers'),
      texts('new') as (s: Record<string, unknown>) => { new?: string },
    ),
    at(
      '/settings/keys',
      'gateway',
      () => import('@/pages/keys'),
      texts('tab', 'new') as (s: Record<string, unknown>) => { tab?: string; new?: string },
    ),
    at(
      '/settings/budgets',
      'gateway',
      () => import('@/pages/budgets'),
      texts('new') as (s: Record<string, unknown>) => { new?: string },
    ),
    at(
      '/settings/profile',
      'account',
      () => import('@/pages/profile'),
      texts('tab') as (s: Record<string, unknown>) => { tab?: string },
    ),
    at(
      '/jobs',
      'team',
      () => import('@/pages/jobs'),
      texts('state') as (s: Record<string, unknown>) => { state?: string },
    ),
    at('/nodes', 'team', () => import('@/pages/nodes')),
    at(
      '/workspace',
      'team',
      () => import('@/pages/workspace'),
      texts('tab', 'new') as (s: Record<string, unknown>) => { tab?: string; new?: string },
    ),
  ]),
]);

export function makeRouter(client: QueryClient) {
  return createRouter({
    routeTree: tree,
    context: { client },
    basepath: BASE,
    // The address holds plain texts, no JSON: ?text=timeout, not ?text=%22timeout%22.
    parseSearch: parseSearchWith((value) => value),
    stringifySearch: stringifySearchWith(String),
    defaultPreload: 'intent',
    defaultPreloadStaleTime: 0,
    defaultPendingMs: 150,
    defaultPendingMinMs: 0,
    defaultPendingComponent: Loading,
    defaultErrorComponent: Failed,
    defaultNotFoundComponent: NotFound,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
