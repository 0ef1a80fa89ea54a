// resources.mjs - for every endpoint of the control plane a request that would succeed, if the caller may make it: the
// ids in its path belong to things that exist, fresh for each request, and its body is in order.
//
// An entry is a function of {world, who, scene}: world is the workspace that the things are made in ({id, owner}), who the
// principal that will ask, scene the whole test. It returns
//   params   values of the path's parameters
//   body     of the request
//   ok       status when it is allowed (a list when it depends on the moment)
//   as       who asks instead, when the request would end the principal's own session
//   expect   a status that the table cannot know, for this principal
//   strange  bodies that name things of another workspace, with their status
//   isStream the answer does not end

import { Caller, PASSWORD, newMember } from './api.mjs';
import { until } from './wait.mjs';

let n = 0;
const fresh = (what) => `${what} ${++n}`;

const make = async (world, path, body) => world.owner.must(201, world.owner.post(path, body));
const project = (world) => make(world, '/api/projects', { name: fresh('project') });
const inWorkspace = ({ world }) => ({ params: { id: world.id } });

const invitation = (world, role = 'viewer') =>
  make(world, `/api/workspaces/${world.id}/invite`, { email: `${fresh('guest').replace(' ', '')}@example.com`, role });
const tokenOf = (i) => i.link.slice(i.link.indexOf('#') + 1);

/** A key of whoever asks, when they can have one in this world; else of its owner. */
async function apiKey({ world, who }) {
  const maker = who.role && who.caller.csrf && who.caller.workspace === world.id ? who.caller : world.owner;
  return maker.must(201, maker.post('/api/keys', { name: fresh('key'), scopes: ['projects.read'] }, { 'x-catalyst-workspace': world.id }));
}

/** A session of the principal beside the one they ask with; what is foreign is the session of somebody else. */
async function session({ who, world, scene }) {
  const isOwn = who.email && world === scene.worlds.a;
  const person = isOwn ? await new Caller(who.caller.origin).signIn(who.email) : scene.worlds.a.owner;
  return (await person.get('/api/auth/sessions')).json.items.find((s) => s.is_current).id;
}

async function exportJob(world, isDone) {
  const started = await until('an export to start', async () => {
    const answer = await world.owner.post(`/api/workspaces/${world.id}/export`, {});
    return answer.status === 202 && answer.json.job;
  });
  if (isDone)
    await until('the export to end', async () => (await world.owner.get(`/api/jobs/${started.id}`)).json.state === 'succeeded');
  return started.id;
}

/** Jobs belong to who started them; others see them with audit.read. */
async function job({ world, who }) {
  const sees = who.isKey ? who.scopes.has('audit.read') : ['owner', 'admin'].includes(who.role);
  return { params: { id: await exportJob(world, true) }, expect: who.role || who.isKey ? (sees ? undefined : 404) : undefined };
}

/** In flagd's form. */
const aFlag = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off' };

export const requests = {
  'GET /api/setup': () => ({}),
  'POST /api/setup': () => ({
    body: { token: 'f'.repeat(64), email: 'eve@example.com', name: 'Eve', password: PASSWORD, workspace_name: 'Mine' },
  }),
  'POST /api/auth/login': ({ who }) => ({
    body: { email: 'ada@example.com', password: PASSWORD },
    as: who.caller.with({}),
    ok: 200,
  }),
  'POST /api/auth/logout': async ({ who, scene }) => ({ as: await scene.again(who), ok: 204 }),
  'GET /api/auth/me': () => ({}),
  'POST /api/auth/reauthenticate': () => ({ body: { password: PASSWORD }, ok: 204 }),
  'POST /api/auth/password': () => ({ body: { current_password: PASSWORD, new_password: 'short' }, ok: 400 }),
  'GET /api/auth/sessions': () => ({}),
  'DELETE /api/auth/sessions/:id': async (c) => ({ params: { id: await session(c) }, ok: 204 }),
  'GET /api/users': () => ({}),
  'GET /api/permissions': () => ({}),

  'GET /api/workspaces': () => ({}),
  'POST /api/workspaces': () => ({ body: { name: fresh('workspace') }, ok: 201 }),
  'GET /api/workspaces/:id': inWorkspace,
  'PUT /api/workspaces/:id': ({ world }) => ({ params: { id: world.id }, body: { name: fresh('workspace') } }),
  'PATCH /api/workspaces/:id': ({ world }) => ({ params: { id: world.id }, body: { settings: { n: ++n } } }),
  'GET /api/workspaces/:id/members': inWorkspace,
  'PUT /api/workspaces/:id/members/:user_id': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, body: { role: 'developer' } };
  },
  'DELETE /api/workspaces/:id/members/:user_id': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, ok: 204 };
  },
  'POST /api/workspaces/:id/invite': ({ world }) => ({
    params: { id: world.id },
    body: { email: `${fresh('guest').replace(' ', '')}@example.com`, role: 'viewer' },
    ok: 201,
  }),
  'GET /api/workspaces/:id/invitations': inWorkspace,
  'DELETE /api/workspaces/:id/invitations/:invitation_id': async ({ world }) => ({
    params: { id: world.id, invitation_id: (await invitation(world)).id },
    ok: 204,
  }),
  'GET /api/invitations/:token': async ({ world }) => ({ params: { token: tokenOf(await invitation(world)) } }),
  'POST /api/invitations/:token/accept': async ({ world, who }) => ({
    params: { token: tokenOf(await invitation(world)) },
    body: { name: fresh('guest'), password: PASSWORD },
    as: who.caller.with({}),
    expect: who.caller.csrf ? 403 : undefined /* it is for another address than theirs */,
  }),
  'POST /api/workspaces/:id/export': ({ world }) => ({ params: { id: world.id }, ok: [202, 409] }),
  'GET /api/workspaces/:id/exports/:job_id/:part': async ({ world }) => ({
    params: { id: world.id, job_id: await exportJob(world, true), part: '1' },
  }),

  'GET /api/keys': () => ({}),
  'POST /api/keys': ({ scene, world }) => ({
    body: { name: fresh('key'), scopes: ['projects.read'] },
    ok: 201,
    strange: [
      { body: { name: fresh('key'), scopes: ['projects.read'], project_ids: [scene.other(world).project] }, status: 404 },
      { body: { name: fresh('key'), scopes: ['projects.read'], project_ids: [world.project, scene.other(world).project] }, status: 404 },
    ],
  }),
  'POST /api/keys/:id/rotate': async (c) => ({ params: { id: (await apiKey(c)).id }, body: { overlap_hours: 1 }, ok: 201 }),
  'DELETE /api/keys/:id': async (c) => ({ params: { id: (await apiKey(c)).id }, ok: 204 }),

  'GET /api/projects': () => ({}),
  'POST /api/projects': () => ({ body: { name: fresh('project') }, ok: 201 }),
  'GET /api/projects/:id': async ({ world }) => ({ params: { id: (await project(world)).id } }),
  'PUT /api/projects/:id': async ({ world }) => ({ params: { id: (await project(world)).id }, body: { name: fresh('project') } }),
  'PATCH /api/projects/:id': async ({ world }) => ({ params: { id: (await project(world)).id }, body: { description: fresh('text') } }),
  'DELETE /api/projects/:id': async ({ world }) => ({ params: { id: (await project(world)).id }, ok: 204 }),

  'GET /api/jobs': () => ({}),
  'GET /api/jobs/:id': job,
  'DELETE /api/jobs/:id': async (c) => ({ ...(await job(c)), ok: 409 /* it has ended */ }),
  'GET /api/notifications': () => ({}),
  'GET /api/notifications/count': () => ({}),
  'POST /api/notifications/read': () => ({ body: { all: true }, ok: 204 }),
  'GET /api/notifications/preferences': () => ({}),
  'PUT /api/notifications/preferences': async ({ who }) => ({
    body: who.caller.csrf || who.isKey ? (await who.caller.get('/api/notifications/preferences')).json : {},
  }),
  'GET /api/settings': () => ({}),
  'PUT /api/settings': () => ({ body: { values: {} } }),
  'PATCH /api/settings': () => ({ body: { values: {} } }),
  'GET /api/flags': () => ({}),
  'GET /api/flags/evaluate': () => ({}),
  'PUT /api/flags/:name': () => ({ params: { name: fresh('flag').replace(' ', '-') }, body: aFlag, ok: 201 }),
  'DELETE /api/flags/:name': async ({ world }) => {
    const name = fresh('flag').replace(' ', '-');
    const made = await world.owner.put(`/api/flags/${name}`, aFlag);
    if (made.status >= 300) throw new Error(made.text);
    return { params: { name }, ok: 204 };
  },
  'GET /api/events': () => ({ isStream: true }),
  'GET /api/openapi.json': () => ({}),
};
