// month.mjs - an installation as a team has it after a month, made through the API and the journal.
//
// People, workspaces, keys, budgets and projects come from the API, and so do the events about them, with what is personal in them in boxes.
// Calls are written into the journal by tests/month/journal.c as a server's loops write them, and drained by the server's next start, so that what was
// charged, when a key was last used and how far the journal was read are what a server makes of it.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { newMember } from './api.mjs';
import { BINARY } from './catalyst.mjs';
import { startManaged } from './gateway.mjs';
import { until } from './wait.mjs';

const run = promisify(execFile);
const HELPER = BINARY && (process.env.CATALYST_MONTH_JOURNAL ?? path.join(path.dirname(BINARY), 'tests', 'month_journal'));
export const NO_MONTH = HELPER && existsSync(HELPER) ? false : 'no month_journal: build the tests';

export const DAY_US = 86_400_000_000;

/** Every scalar value of Unicode but the controls, in pieces of at most `most` UTF-16 units. */
export function* allOfUnicode(most, step = 1) {
  let piece = '';
  for (let cp = 0x20; cp <= 0x10ffff; cp += step) {
    if ((cp >= 0xd800 && cp <= 0xdfff) || (cp >= 0x7f && cp < 0xa0)) continue;
    const letter = String.fromCodePoint(cp);
    if (piece.length + letter.length > most) {
      yield piece;
      piece = '';
    }
    piece += letter;
  }
  yield piece;
}

/** Rows of SQLite's database NAME of a data folder, as objects. */
export async function sqlite(dataDir, name, text, { writes = false } = {}) {
  const mode = writes ? [] : ['-readonly'];
  const file = path.join(dataDir, 'db', `${name}.db`);
  const { stdout } = await run('sqlite3', [...mode, '-json', '-cmd', '.timeout 5000', file, text], { maxBuffer: 1 << 30 });
  return stdout.trim() === '' ? [] : JSON.parse(stdout);
}

/** Runs the tasks, at most `n` at once. */
export async function inParallel(n, tasks) {
  const iterator = tasks[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: n }, async () => {
      for (const task of iterator) await task();
    }),
  );
}

/** Calls in the journal of a folder that is not served. keys: those of {id, name, workspace, project, projectName, user}. */
export async function writeCalls(dataDir, { keys, n, fromUs, toUs, open = 0 }) {
  const lines = keys.map((k) =>
    [k.id.replaceAll('-', ''), k.name, k.workspace, k.project ?? '-', k.projectName ?? '', k.user ?? '-'].join('\t'),
  );
  const child = run(HELPER, [dataDir, n, fromUs, toUs, open].map(String));
  child.child.stdin.end(`${lines.join('\n')}\n`);
  await child;
}

/** What a workspace of the month has; adds its keys to month.keys. */
async function fillWorkspace(month, caller, { people, projects, changes, unicodeStep, workspaceNo }) {
  const members = [];
  for (let i = 0; i < people; i++) members.push(await newMember(caller, ['admin', 'developer', 'viewer'][i % 3]));
  const pieces = [...allOfUnicode(1000, unicodeStep)];
  const made = [];
  await inParallel(
    8,
    Array.from({ length: projects }, (_, i) => async () => {
      const body = {
        name: `project ${workspaceNo}.${i} ${'é漢🙂'.repeat(1 + (i % 20))}`.slice(0, 90),
        description: pieces[i % pieces.length],
        repository: i % 3 ? null : `https://example.com/${'r'.repeat(i % 900)}`,
        settings: { n: i, nothing: null, deep: { list: [1, 'two', null, true], text: pieces[(i * 7) % pieces.length].slice(0, 100) } },
      };
      made.push(await caller.must(201, caller.post('/api/projects', body)));
    }),
  );
  await inParallel(
    8,
    Array.from({ length: changes }, (_, i) => async () => {
      const project = made[i % made.length];
      const by = i % 2 || !members.length ? caller : members[(i % Math.ceil(members.length / 3)) * 3];
      await by.must(200, by.patch(`/api/projects/${project.id}`, { description: `${i}: ${pieces[i % pieces.length].slice(0, 300)}` }));
    }),
  );
  for (let i = 0; i < projects; i++) {
    const project = made[i];
    const key = await caller.must(
      201,
      caller.post('/api/gateway/keys', {
        name: `key ${workspaceNo}.${i}`,
        project_id: i % 4 ? project.id : null,
        user_id: i % 5 || !members.length ? null : members[i % members.length].user.id,
        limits: { requests_per_minute: i + 1 },
        allowed_models: i % 6 ? [] : ['gpt-*', 'claude-*'],
      }),
    );
    month.keys.push({
      id: key.id,
      name: key.name,
      workspace: caller.workspace,
      project: key.project_id,
      projectName: key.project_id ? `project ${workspaceNo}.${i}` : '',
      user: key.user_id,
    });
    if (i % 3 === 0)
      await caller.must(
        201,
        caller.post('/api/gateway/budgets', {
          scope: 'key',
          scope_id: key.id,
          period: ['daily', 'weekly', 'monthly', 'total'][i % 4],
          limit_usd: String(1 + i),
          is_hard: i % 2 === 0,
        }),
      );
    if (i % 4 === 0)
      await caller.must(200, caller.put(`/api/gateway/limits/${project.id}`, { requests_per_minute: 1 + i }));
  }
  await caller.must(201, caller.post('/api/gateway/budgets', { scope: 'workspace', period: 'monthly', limit_usd: '1152921504.606846975', is_hard: false }));
  await caller.must(200, caller.put('/api/gateway/aliases/fast', { model: 'gpt-4o-mini' }));
  await caller.must(
    201,
    caller.put('/api/flags/new-page', { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'on' }),
  );
  const gone = await caller.must(201, caller.post('/api/projects', { name: 'gone again' }));
  await caller.must(204, caller.delete(`/api/projects/${gone.id}`));
  await caller.must(201, caller.post(`/api/workspaces/${caller.workspace}/invite`, { email: `late${workspaceNo}@example.com`, role: 'viewer' }));
  return { members, projects: made };
}

/**
 * A month: {catalyst, ada, callers, keys, calls, fromUs, toUs, dataDir, config}, its server running and everything drained.
 *
 * calls, workspaces, people and projects (of each workspace), changes (events about projects, of each workspace), open (calls that never ended),
 * unicodeStep (1: every letter)
 */
export async function startMonth(t, { calls, workspaces = 3, people = 3, projects = 12, changes = 40, open = 3, unicodeStep = 97, dataDir, config } = {}) {
  const toUs = (Math.floor(Date.now() / 86_400_000) * 86_400_000 - 3_600_000) * 1000;
  const fromUs = toUs - 30 * DAY_US;
  const scene = await startManaged(t, { dataDir, config: { api: { rate_per_minute: 0, rate_per_address_per_minute: 0 }, ...config } });
  const month = { ...scene, dataDir: scene.catalyst.dataDir, keys: [], callers: [], calls: calls + open, fromUs, toUs };
  for (let i = 0; i < workspaces; i++) {
    const caller =
      i === 0
        ? scene.ada
        : scene.ada.with({ workspace: (await scene.ada.must(201, scene.ada.post('/api/workspaces', { name: `Workspace ${i} Ω` }))).id });
    month.callers.push(caller);
    await fillWorkspace(month, caller, { people, projects, changes, unicodeStep, workspaceNo: i });
  }
  await scene.catalyst.stop();
  await writeCalls(month.dataDir, { keys: month.keys, n: calls, fromUs, toUs, open });
  await scene.catalyst.start().ready(600_000);
  await until(
    'the month to be drained',
    async () => (await sqlite(month.dataDir, 'usage', 'SELECT COUNT(*) AS n FROM calls'))[0].n === month.calls,
    { deadline_ms: 600_000, every_ms: 100 },
  );
  for (const caller of month.callers) {
    caller.origin = scene.catalyst.origin;
    const { job } = await caller.must(202, caller.post(`/api/workspaces/${caller.workspace}/export`));
    await until('an export', async () => (await caller.must(200, caller.get(`/api/jobs/${job.id}`))).state === 'succeeded', { deadline_ms: 120_000 });
    caller.exportJob = job.id;
  }
  return month;
}

/** Without what ticks by itself. */
const still = (value) => JSON.parse(JSON.stringify(value, (name, v) => (name === 'last_active_at' ? undefined : v)));

async function all(caller, address) {
  const items = [];
  for (let cursor = ''; cursor !== null; ) {
    const join = address.includes('?') ? '&' : '?';
    const page = await caller.must(200, caller.get(`${address}${join}limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`));
    items.push(...page.items);
    cursor = page.next_cursor ?? null;
  }
  return items;
}

/** What the API says of a workspace and the month: to be compared before and after. most: newest calls that are read one by one. */
export async function answersOf(month, caller, { most = 400 } = {}) {
  const iso = (us) => new Date(us / 1000).toISOString();
  const range = `since=${iso(month.fromUs)}&until=${iso(month.toUs + 1)}`;
  const answers = {};
  for (const by of ['model', 'provider', 'key', 'project', 'user', 'day', 'session'])
    answers[`usage by ${by}`] = await caller.must(200, caller.get(`/api/gateway/usage?by=${by}&${range}`));
  for (const address of [
    '/api/projects',
    '/api/users',
    '/api/gateway/keys',
    '/api/gateway/budgets',
    '/api/gateway/providers',
    '/api/gateway/aliases',
    '/api/notifications',
    `/api/workspaces/${caller.workspace}/members`,
    `/api/workspaces/${caller.workspace}/invitations`,
    '/api/jobs?state=succeeded',
  ])
    answers[address] = await all(caller, address);
  for (const address of ['/api/flags', `/api/workspaces/${caller.workspace}`, '/api/notifications/count'])
    answers[address] = await caller.must(200, caller.get(address));
  const calls = [];
  for (let cursor = ''; cursor !== null && calls.length < most; ) {
    const page = await caller.must(200, caller.get(`/api/gateway/requests?${range}&limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`));
    calls.push(...page.items);
    cursor = page.next_cursor ?? null;
  }
  answers.calls = calls;
  return still(answers);
}

/** The files of the export that startMonth made; they lie in the folder of the node that made them. */
export async function exportOf(caller) {
  const job = await caller.must(200, caller.get(`/api/jobs/${caller.exportJob}`));
  const parts = [];
  for (let part = 1; part <= job.result.parts; part++) {
    const answer = await caller.get(`/api/workspaces/${caller.workspace}/exports/${caller.exportJob}/${part}`);
    if (answer.status !== 200) throw new Error(`part ${part} of the export: ${answer.status}`);
    parts.push(answer.text);
  }
  return parts;
}
