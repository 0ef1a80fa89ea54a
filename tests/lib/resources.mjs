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
//   strange  bodies that name things of another workspace, with their status: the same as for things that do not exist
//   isLate   the thing is looked up after the permission: without it 403, whatever the id
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

/** Something of the workspace that its owner makes, named in the path behind the workspace. */
const under = (name, making, { body, ...more } = {}) => async ({ world, who, scene }) => ({
  params: { id: world.id, [name]: (await making({ world, who, scene })).id },
  ...(body ? { body: body() } : {}),
  ...more,
});
const role = ({ world }) => make(world, `/api/workspaces/${world.id}/roles`, { name: fresh('role'), permissions: ['projects.read'] });
const inRole = (more) => under('role_id', role, more);

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

/** A device that waits to be let in: one is enough for all who only look. */
const devices = new WeakMap();
const newDevice = (world) => world.owner.must(200, new Caller(world.owner.origin).post('/api/auth/device', { client: 'a test' }));
function device({ world, scene }) {
  if (!devices.has(scene)) devices.set(scene, newDevice(world));
  return devices.get(scene);
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

/** What belongs to one person others see with audit.read: 404 for a member without it. */
function unlessTheirs(who) {
  const sees = who.isKey ? who.scopes.has('audit.read') : ['owner', 'admin'].includes(who.role);
  return who.role && !sees ? 404 : undefined;
}

async function job({ world, who }) {
  return { params: { id: await exportJob(world, true) }, expect: unlessTheirs(who) };
}

// --- the gateway ---

const word = (what) => fresh(what).replace(' ', '-');
const aProvider = (scene) => ({ name: word('provider'), kind: 'ollama', base_url: scene.provider.openaiUrl, models: [word('model')] });
const provider = ({ world, scene }) => make(world, '/api/gateway/providers', aProvider(scene));
const virtualKey = ({ world }) => make(world, '/api/gateway/keys', { name: fresh('key') });
const aBudget = (project) => ({ scope: 'project', scope_id: project, period: 'monthly', limit_usd: '5' });
const budget = async ({ world }) => make(world, '/api/gateway/budgets', aBudget((await project(world)).id));
const withId = (making, more = {}) => async (c) => ({ params: { id: (await making(c)).id }, ...more });
const withProject = (more = {}) => async ({ world }) => ({ params: { project_id: (await project(world)).id }, ...more });

/** A call that has been made in this world; one is enough for everybody. */
const calls = new WeakMap();
function call({ world, scene }) {
  if (!calls.has(world)) calls.set(world, makeCall(world, scene));
  return calls.get(world);
}
async function makeCall(world, scene) {
  const { models } = await provider({ world, scene });
  const { key } = await virtualKey({ world });
  const answer = await fetch(`${world.owner.origin}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: models[0], messages: [{ role: 'user', content: 'Hello' }] }),
  });
  if (answer.status !== 200) throw new Error(await answer.text());
  return until('the call to be listed', async () => (await world.owner.get('/api/gateway/requests')).json.items[0]);
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
  'POST /api/auth/login/factor': async () => ({ body: { transaction: '01a20fda-9598-78f0-9fbc-ceee2b15ab61', code: '000000' }, ok: 401 }),
  'POST /api/auth/login/factor/options': async () => ({ body: { transaction: '01a20fda-9598-78f0-9fbc-ceee2b15ab61' }, ok: 401 }),
  'POST /api/auth/login/passkey': async () => ({ body: {}, ok: 400 }),
  'POST /api/auth/login/passkey/options': async () => ({ ok: 200 }),
  'GET /api/auth/mfa': () => ({}),
  'POST /api/auth/mfa/totp': () => ({ body: {}, ok: 201 }),
  'POST /api/auth/mfa/totp/confirm': () => ({ body: { code: '0' }, ok: [400, 409] }),
  'POST /api/auth/mfa/passkeys/options': () => ({ ok: 200 }),
  'POST /api/auth/mfa/passkeys': () => ({ body: { credential: {} }, ok: 400 }),
  'POST /api/auth/mfa/recovery-codes': () => ({ ok: 409 }), // there is no other factor
  'PATCH /api/auth/mfa/:id': () => ({ params: { id: '01a20fda-9598-78f0-9fbc-ceee2b15ab61' }, body: { name: 'x' }, ok: 404 }),
  'DELETE /api/auth/mfa/:id': () => ({ params: { id: '01a20fda-9598-78f0-9fbc-ceee2b15ab61' }, ok: 404 }),
  'POST /api/auth/logout': async ({ who, scene }) => ({ as: await scene.again(who), ok: 204 }),
  'GET /api/auth/me': () => ({}),
  'POST /api/auth/token': ({ who, world }) => ({ body: { workspace_id: world.id }, ok: 201, expect: who.role ? undefined : 404 }),
  'POST /api/auth/refresh': () => ({ body: { refresh_token: 'crt_none' }, ok: 400 }),
  'POST /api/auth/revoke': () => ({ body: { refresh_token: 'crt_none' }, ok: 204 }),
  'POST /api/auth/device': () => ({ body: {}, ok: [200, 429] }),
  'POST /api/auth/device/token': async (c) => ({ body: { device_code: (await device(c)).device_code }, ok: 400 }),
  'GET /api/auth/device/:user_code': async (c) => ({ params: { user_code: (await device(c)).user_code } }),
  'POST /api/auth/device/:user_code': async (c) => ({
    params: { user_code: (await (c.who.email ? newDevice(c.world) : device(c))).user_code },
    body: { approve: false },
    ok: 204,
  }),
  'GET /.well-known/jwks.json': () => ({}),
  'POST /api/admin/signing-keys/rotate': () => ({ body: {} }),
  'POST /api/auth/reauthenticate': () => ({ body: { password: PASSWORD }, ok: 204 }),
  'POST /api/auth/reauthenticate/options': () => ({ ok: 200 }),
  'POST /api/auth/password': () => ({ body: { current_password: PASSWORD, new_password: 'short' }, ok: 400 }),
  'GET /api/auth/sessions': () => ({}),
  'DELETE /api/auth/sessions': async ({ who, world }) => ({ as: who.email ? await newMember(world.owner, 'viewer') : undefined, ok: 204 }),
  'DELETE /api/workspaces/:id/members/:user_id/sessions': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, ok: 204 };
  },
  'DELETE /api/auth/sessions/:id': async (c) => ({ params: { id: await session(c) }, ok: 204 }),
  'GET /api/users': () => ({}),
  'GET /api/audit/logs': () => ({}),
  'GET /api/audit/logs/:id': async ({ world }) => ({
    params: { id: (await world.owner.get('/api/audit/logs?limit=1')).json.items[0].id },
  }),
  'GET /api/audit/heads': () => ({}),
  'GET /api/audit/proof': async ({ world }) => {
    await until('a signed head', async () => (await world.owner.get('/api/audit/heads')).json.items.length);
    return {};
  },
  'GET /api/audit/anchors': () => ({}),
  'POST /api/audit/verify': () => ({ body: {}, ok: [202, 409] }), // one at a time
  'GET /api/admin/audit/logs': () => ({}),
  'GET /api/admin/audit/logs/:id': async ({ scene }) => ({
    params: { id: (await scene.worlds.a.owner.get('/api/admin/audit/logs?limit=1')).json.items[0].id },
    isLate: true,
  }),
  'GET /api/nodes': () => ({}),
  'DELETE /api/nodes/:id': async ({ scene }) => ({
    params: { id: (await scene.worlds.a.owner.get('/api/nodes')).json.items[0].id },
    isLate: true,
    ok: 409, // it runs
  }),
  'GET /api/permissions': () => ({}),

  'GET /api/workspaces': () => ({}),
  'POST /api/workspaces': () => ({ body: { name: fresh('workspace') }, ok: 201 }),
  'GET /api/workspaces/:id': inWorkspace,
  'PUT /api/workspaces/:id': ({ world }) => ({ params: { id: world.id }, body: { name: fresh('workspace') } }),
  'PATCH /api/workspaces/:id': ({ world }) => ({ params: { id: world.id }, body: { settings: { default_llm_provider: word('provider') } } }),
  'GET /api/workspaces/:id/billing': inWorkspace,
  'PUT /api/workspaces/:id/billing': ({ world }) => ({ params: { id: world.id }, body: { plan: 'enterprise' } }),
  'GET /api/workspaces/:id/members': inWorkspace,
  'PUT /api/workspaces/:id/members/:user_id': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, body: { role: 'developer' } };
  },
  'DELETE /api/workspaces/:id/members/:user_id': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, ok: 204 };
  },
  'DELETE /api/workspaces/:id/members/:user_id/factors': async ({ world }) => {
    const person = await newMember(world.owner, 'viewer');
    return { params: { id: world.id, user_id: person.user.id }, ok: 409 }; // they have none
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
  'POST /api/workspaces/:id/invitations/:invitation_id/resend': async ({ world }) => ({
    params: { id: world.id, invitation_id: (await invitation(world)).id },
    ok: [200, 429] /* a minute after the first mail */,
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

  'GET /api/workspaces/:id/roles': inWorkspace,
  'POST /api/workspaces/:id/roles': ({ world }) => ({
    params: { id: world.id },
    body: { name: fresh('role'), permissions: ['projects.read'] },
    ok: 201,
  }),
  'GET /api/workspaces/:id/roles/:role_id': inRole(),
  'PUT /api/workspaces/:id/roles/:role_id': inRole({ body: () => ({ name: fresh('role'), permissions: ['projects.read'] }) }),
  'DELETE /api/workspaces/:id/roles/:role_id': inRole({ ok: 204 }),

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
  'POST /api/mail/test': () => ({ ok: 204 }),
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
  'GET /api/gateway/kinds': () => ({}),
  'GET /api/gateway/models': () => ({}),
  'GET /api/gateway/providers': () => ({}),
  'POST /api/gateway/providers': ({ scene }) => ({ body: aProvider(scene), ok: 201 }),
  'GET /api/gateway/providers/:id': withId(provider),
  'PUT /api/gateway/providers/:id': async (c) => ({ params: { id: (await provider(c)).id }, body: aProvider(c.scene) }),
  'PATCH /api/gateway/providers/:id': withId(provider, { body: { is_enabled: false } }),
  'DELETE /api/gateway/providers/:id': withId(provider, { ok: 204 }),
  'POST /api/gateway/providers/:id/test': withId(provider),
  'GET /api/gateway/aliases': () => ({}),
  'PUT /api/gateway/aliases/:name': () => ({ params: { name: word('alias') }, body: { model: 'gpt-4o-mini' }, ok: [200, 201] }),
  'DELETE /api/gateway/aliases/:name': async ({ world }) => {
    const name = word('alias');
    const made = await world.owner.put(`/api/gateway/aliases/${name}`, { model: 'gpt-4o-mini' });
    if (made.status >= 300) throw new Error(made.text);
    return { params: { name }, ok: 204 };
  },
  'GET /api/gateway/keys': () => ({}),
  'POST /api/gateway/keys': ({ world, scene }) => ({
    body: { name: fresh('key') },
    ok: 201,
    strange: [
      { body: { name: fresh('key'), project_id: scene.other(world).project }, status: 400 },
      { body: { name: fresh('key'), user_id: scene.other(world).owner.user.id }, status: 400 },
    ],
  }),
  'GET /api/gateway/keys/:id': withId(virtualKey),
  'PATCH /api/gateway/keys/:id': async (c) => ({
    params: { id: (await virtualKey(c)).id },
    body: { is_enabled: false },
    strange: [{ body: { project_id: c.scene.other(c.world).project }, status: 400 }],
  }),
  'DELETE /api/gateway/keys/:id': withId(virtualKey, { ok: 204 }),
  'POST /api/gateway/keys/:id/rotate': withId(virtualKey, { body: { overlap_hours: 1 }, ok: 201 }),
  'GET /api/gateway/budgets': () => ({}),
  'POST /api/gateway/budgets': async ({ world, scene }) => ({
    body: aBudget((await project(world)).id),
    ok: 201,
    strange: [
      { body: aBudget(scene.other(world).project), status: 400 },
      { body: { ...aBudget(scene.other(world).owner.user.id), scope: 'user' }, status: 400 },
    ],
  }),
  'GET /api/gateway/budgets/:id': withId(budget),
  'PATCH /api/gateway/budgets/:id': withId(budget, { body: { limit_usd: '7' } }),
  'DELETE /api/gateway/budgets/:id': withId(budget, { ok: 204 }),
  'GET /api/gateway/limits/:project_id': withProject(),
  'PUT /api/gateway/limits/:project_id': withProject({ body: { requests_per_minute: 60 } }),
  'GET /api/optimizer/budget/:project_id': withProject(),
  'POST /api/optimizer/budget/:project_id': withProject({ body: { limit_usd: '5' }, ok: 201 }),
  'GET /api/gateway/requests': () => ({}),
  'GET /api/gateway/requests/:id': async (c) => ({ params: { id: (await call(c)).id }, expect: unlessTheirs(c.who), isLate: true }),
  'GET /api/gateway/usage': () => ({}),
  'GET /api/events': () => ({ isStream: true }),
  'GET /api/openapi.json': () => ({}),
};
