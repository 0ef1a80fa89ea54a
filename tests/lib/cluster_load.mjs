// cluster_load.mjs - clients of a cluster that keep books of their own: what was acknowledged, what was refused, what they never
// learned; and the judge who compares the books with the database.
//
// Changes: each client makes, changes and deletes projects through nodes chosen at random. An answer that did not come, or came
// as 5xx, tells nothing: the request is sent again, to any node, until it is answered (POST with the same Idempotency-Key, PATCH with
// the same If-Match).
// Calls: each client calls the gateway on a connection of its own and notes the ids of answers that it saw to their end.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { bodyOf, callBytes } from './call.mjs';
import { startCluster } from './cluster.mjs';
import { RawConnection } from './raw.mjs';
import { readLog, rebuild, sealedLog } from './rebuild.mjs';
import { EventStream, openStream } from './stream.mjs';
import { until } from './wait.mjs';

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const quantile = (sorted, q) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : 0);

/** Milliseconds: {n, p50, p99, most}. */
export function spread(times) {
  const sorted = [...times].sort((a, b) => a - b);
  return { n: sorted.length, p50: Math.round(quantile(sorted, 0.5)), p99: Math.round(quantile(sorted, 0.99)), most: Math.round(sorted.at(-1) ?? 0) };
}

let n_loads = 0;

/** Clients that go on until they are stopped. Members of who extends it: n, running, errors. */
class Load {
  /** Resolves when n more requests have been answered. */
  async more(n, deadline_ms = 30_000) {
    const goal = this.n + n;
    await until(`${n} more ${this.constructor.name.toLowerCase()}`, () => this.errors.length || this.n >= goal, { deadline_ms, every_ms: 10 });
    if (this.errors.length) throw this.errors[0];
  }

  async stop() {
    this.isOver = true;
    await Promise.all(this.running);
    if (this.errors.length) throw this.errors[0];
    return this;
  }
}

export class Changes extends Load {
  /**
   * nodes: indices of those to use (an array that may change, or all); caller: who; rate: requests a second in all, 0: as many as
   * there can be.
   */
  constructor(t, cluster, { workers = 8, nodes = null, caller = cluster.ada, deadline_ms = 15_000, rate = 0 } = {}) {
    super();
    Object.assign(this, { cluster, nodes, caller, deadline_ms, rate });
    this.prefix = `load${process.pid}x${++n_loads}`;
    this.projects = []; // {name, id, description, isDeleted, changes}
    this.refused = []; // names that were refused
    this.acknowledged = []; // {at, node, took_ms} of changes answered at the first try
    this.unknown = 0; // answers that told nothing
    this.replays = 0;
    this.statuses = {};
    this.isOver = false;
    this.errors = [];
    t.after(() => (this.isOver = 'given up'));
    this.running = Array.from({ length: workers }, (_, w) => this.#worker(w).catch((error) => this.errors.push(error)));
  }

  #someNode(except = -1) {
    const all = this.nodes ?? this.cluster.nodes.map((_, i) => i);
    const others = all.filter((i) => i !== except);
    return pick(others.length ? others : all);
  }

  /** One request; null when nothing was learned. */
  async #once(i, method, path, body, headers) {
    const started = performance.now();
    try {
      const answer = await this.cluster.at(i, this.caller).with({ deadline_ms: this.deadline_ms }).call(method, path, body, headers);
      this.statuses[answer.status] = (this.statuses[answer.status] ?? 0) + 1;
      if (answer.status >= 500 || answer.status === 429) throw new Error(`${answer.status}: ${answer.text}`);
      this.acknowledged.push({ at: started, node: i, took_ms: performance.now() - started });
      return answer;
    } catch (error) {
      this.unknown++;
      this.lastTrouble = error;
      return null;
    }
  }

  /** Until it is answered. isAgain tells whether an earlier try may have been done. */
  async #surely(method, path, body, headers = {}) {
    let i = this.#someNode();
    const end = performance.now() + 90_000;
    for (let isAgain = false; ; isAgain = true) {
      if (isAgain && this.isOver === 'given up') throw new Error(`${method} ${path} was given up`);
      const answer = await this.#once(i, method, path, body, headers);
      if (answer) return { answer, isAgain, node: i };
      if (performance.now() > end) throw new Error(`${method} ${path} was not answered: ${this.lastTrouble}`);
      await pause(20 + Math.random() * 80);
      i = this.#someNode(i);
    }
  }

  async #create(name) {
    const key = randomUUID();
    const body = { name, description: 'new' };
    const headers = { 'idempotency-key': key };
    // Now and then two nodes get it at once.
    const both = Math.random() < 0.1 ? [0, 1] : [0];
    const [first, second] = await Promise.all(both.map(() => this.#surely('POST', '/api/projects', body, headers)));
    let { answer } = first;
    if (second) {
      // One of the two is a replay of the other, or was turned away while the other was at work.
      if (answer.status !== 201) answer = second.answer;
      if (first.answer.status === 201 && second.answer.status === 201)
        assert.equal(first.answer.json.id, second.answer.json.id, 'one key, two projects');
    }
    assert.equal(answer.status, 201, answer.text);
    const made = { name, id: answer.json.id, etag: answer.headers.get('etag'), description: 'new', isDeleted: false, changes: 0 };
    this.projects.push(made);
    if (Math.random() < 0.2) {
      const i = this.#someNode(first.node);
      const again = await this.#once(i, 'POST', '/api/projects', body, headers);
      if (again) {
        this.replays++;
        assert.equal(again.status, 201, `replayed at another node: ${again.text}`);
        assert.equal(again.json.id, made.id, 'a replay at another node made another project');
      }
    }
    return made;
  }

  async #worker(w) {
    const own = [];
    for (let n = 0; !this.isOver; n++) {
      const started = performance.now();
      const draw = Math.random();
      if (own.length < 3 || draw < 0.45) {
        own.push(await this.#create(`${this.prefix} ${w} ${n}`));
      } else if (draw < 0.5) {
        // A name that is taken: refused, and nothing of it may be there.
        const taken = pick(own);
        const mark = `${this.prefix} refused ${w} ${n}`;
        const { answer } = await this.#surely('POST', '/api/projects', { name: taken.name, description: mark });
        assert.equal(answer.status, 409, answer.text);
        this.refused.push(mark);
      } else if (draw < 0.85) {
        const p = pick(own);
        const description = `${w} ${n}`;
        // The first try may be done late, after the node woke up: it must not undo what came after.
        let { answer, isAgain } = await this.#surely('PATCH', `/api/projects/${p.id}`, { description }, { 'if-match': p.etag });
        if (isAgain && answer.status === 412) {
          ({ answer } = await this.#surely('GET', `/api/projects/${p.id}`));
          assert.equal(answer.json.description, description, 'changed by nobody');
        }
        assert.equal(answer.status, 200, answer.text);
        p.etag = answer.headers.get('etag');
        p.description = description;
        p.changes++;
      } else {
        const p = pick(own);
        const { answer, isAgain } = await this.#surely('DELETE', `/api/projects/${p.id}`);
        assert.ok(answer.status === 204 || (isAgain && answer.status === 404), answer.text);
        p.isDeleted = true;
        own.splice(own.indexOf(p), 1);
      }
      if (this.rate) await pause(Math.max(0, (1000 * this.running.length) / this.rate - (performance.now() - started)));
    }
  }

  /** How many requests were answered so far. */
  get n() {
    return this.acknowledged.length;
  }

  /** After stop(): every acknowledged change is there exactly once with its event, no refused one is. Gives the log. */
  async check() {
    const log = await sealedLog({ databaseUrl: this.cluster.url });
    rebuild(log);
    const events = new Map();
    for (const { event } of log) {
      if (event.resource.type !== 'project') continue;
      if (!events.has(event.resource.id)) events.set(event.resource.id, []);
      events.get(event.resource.id).push(event.type.slice('project.'.length));
    }
    const rows = await this.cluster.query(`SELECT id, name, description FROM projects WHERE name LIKE '${this.prefix} %'`);
    const byId = new Map(rows.map((r) => [r.id, r]));
    for (const p of this.projects) {
      const wanted = { created: 1, updated: p.changes, deleted: p.isDeleted ? 1 : 0 };
      const found = { created: 0, updated: 0, deleted: 0 };
      for (const type of events.get(p.id) ?? []) found[type]++;
      assert.deepEqual(found, wanted, `events of ${p.name}`);
      const row = byId.get(p.id);
      assert.equal(Boolean(row), !p.isDeleted, `${p.name} is ${row ? '' : 'not '}there`);
      if (row) assert.equal(row.description, p.description, p.name);
    }
    const known = new Set(this.projects.map((p) => p.id));
    assert.deepEqual(rows.filter((r) => !known.has(r.id)), [], 'projects that nobody was told of');
    assert.ok(!rows.some((r) => this.refused.includes(r.description)), 'what was refused is there');
    return log;
  }

  get summary() {
    const all = spread(this.acknowledged.map((a) => a.took_ms));
    return `${this.n} changes answered (p50 ${all.p50} ms, p99 ${all.p99} ms, most ${all.most} ms), ${this.unknown} unanswered, ${this.replays} replays`;
  }
}

export class Calls extends Load {
  /** key: {key}; dialects and streams in turn. isFine: which statuses besides 200 are in order (402 with a budget, 503 …). */
  constructor(t, cluster, key, { workers = 4, nodes = null, body = {}, others = [], pause_ms = 0 } = {}) {
    super();
    Object.assign(this, { cluster, key, nodes, body, others, pause_ms });
    this.seen = new Map(); // request id → {node, at, took_ms}: answers seen to their end
    this.broken = 0; // connections that ended before
    this.statuses = {};
    this.isOver = false;
    this.errors = [];
    t.after(() => (this.isOver = 'given up'));
    this.running = Array.from({ length: workers }, (_, w) => this.#client(w).catch((error) => this.errors.push(error)));
  }

  async #client(w) {
    for (let n = w; !this.isOver; ) {
      const all = this.nodes ?? this.cluster.nodes.map((_, i) => i);
      const i = all[n % all.length];
      const node = this.cluster.nodes[i];
      let c;
      try {
        c = await RawConnection.open(node.port);
        for (const end = n + 20; n < end && !this.isOver; n++) {
          const isStream = n % 3 === 0;
          const scene = this.cluster.scene(i, this.key);
          const started = performance.now();
          await c.send(callBytes(scene, 'chat', bodyOf('chat', { stream: isStream, max_tokens: 16, ...this.body })));
          const answer = await c.readAnswer();
          this.statuses[answer.status] = (this.statuses[answer.status] ?? 0) + 1;
          if (answer.status === 200) {
            if (isStream) assert.match(answer.body.toString().slice(-120), /\[DONE\]/);
            this.seen.set(answer.header('x-catalyst-request-id'), { node: i, at: started, took_ms: performance.now() - started });
          } else {
            assert.ok(this.others.includes(answer.status), `${answer.status} ${answer.body}`);
            await pause(50);
          }
          if (this.pause_ms) await pause(this.pause_ms);
        }
      } catch (error) {
        if (!/connection ended|ECONN|EPIPE|in vain/.test(error.message)) throw error;
        this.broken++;
        n++;
        await pause(50);
      } finally {
        c?.close();
      }
    }
  }

  get n() {
    return this.seen.size;
  }

  /**
   * After stop(), with all nodes running: every answer that was seen to its end is in the database once, and what the database
   * says was spent is what its calls cost, and at least what the double's meter says of those that it answered to the end.
   */
  async check() {
    const ids = [...this.seen.keys()];
    let rows;
    await until(
      'every call that was seen to be in the database',
      async () => {
        rows = await this.cluster.query(`SELECT request_id, outcome, cost_nanousd FROM usage.calls`);
        const there = new Set(rows.map((r) => r.request_id));
        this.missing = ids.filter((id) => !there.has(id));
        return this.missing.length === 0;
      },
      { deadline_ms: 30_000, every_ms: 100 },
    ).catch((error) => {
      throw new Error(`${error.message}: ${this.missing.length} of ${ids.length} are missing, such as ${this.missing[0]} by node ${this.seen.get(this.missing[0]).node}`);
    });
    const there = new Set(rows.map((r) => r.request_id));
    assert.equal(there.size, rows.length, 'a call is in the database twice');
    return rows;
  }

  get summary() {
    const all = spread([...this.seen.values()].map((s) => s.took_ms));
    return `${this.n} calls seen complete (p50 ${all.p50} ms, p99 ${all.p99} ms, most ${all.most} ms), ${this.broken} connections broken, ${JSON.stringify(this.statuses)}`;
  }
}

/** From now on PostgreSQL notes each change of a job's state, whoever makes it; jobsRan() gives {id: [states]}. */
export async function watchJobs(cluster) {
  await cluster.sql(`
    CREATE SCHEMA watch;
    CREATE TABLE watch.jobs (n bigserial PRIMARY KEY, id uuid, state text, boot_id uuid);
    CREATE FUNCTION watch.job() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO watch.jobs (id, state, boot_id) VALUES (NEW.id, NEW.state, NEW.boot_id);
      RETURN NULL;
    END $$;
    CREATE TRIGGER watch_state AFTER UPDATE OF state ON main.jobs FOR EACH ROW EXECUTE FUNCTION watch.job();`);
}

export async function jobsRan(cluster) {
  const rows = await cluster.query('SELECT id, state FROM watch.jobs ORDER BY n');
  const states = {};
  for (const { id, state } of rows) (states[id] ??= []).push(state);
  return states;
}

/** Begins an export of the workspace at a node; its id. */
export async function startExport(cluster, i, who = cluster.ada) {
  const caller = cluster.at(i, who).with({ deadline_ms: 15_000 });
  return (await caller.must(202, caller.post(`/api/workspaces/${caller.workspace}/export`))).job.id;
}

export async function jobRow(cluster, id) {
  const [row] = await cluster.query(`SELECT state, node_id, boot_id, done, tries, error FROM jobs WHERE id = '${id}'`);
  return row;
}

export async function ended(cluster, id, deadline_ms = 60_000) {
  let row;
  const hasEnded = async () => {
    row = await jobRow(cluster, id);
    return ['succeeded', 'failed', 'cancelled'].includes(row.state);
  };
  await until('the job to end', hasEnded, { deadline_ms, every_ms: 50 }).catch(async (error) => {
    throw new Error(`${error.message}: ${JSON.stringify({ ...row, states: (await jobsRan(cluster))[id] })}`);
  });
  return row;
}

/** Throws unless the job ran to its end once, and stayed there. */
export async function assertRanOnce(cluster, id) {
  const states = (await jobsRan(cluster))[id] ?? [];
  assert.equal(states.filter((s) => s === 'succeeded').length, 1, `${id}: ${states}`);
  assert.equal(states.at(-1), 'succeeded', `${id}: ${states}`);
}

const readiness = async (node) => {
  const answer = await fetch(`${node.origin}/readyz`, { signal: AbortSignal.timeout(5000) });
  return { status: answer.status, ...(await answer.json()) };
};

/** Node 1 loses PostgreSQL without a word, while both work: its link freezes, or the cable of its namespace is pulled. */
export async function losesPostgres(t, how) {
  const config = { store: { write_deadline_ms: '2s', read_deadline_ms: '2s' } };
  const cluster = await startCluster(t, { nodes: [{}, how === 'pull' ? { namespace: true } : { links: true }], config });
  const stream = await openStream(t, cluster.at(1));
  const changes = new Changes(t, cluster, { workers: 4 });
  const calls = new Calls(t, cluster, cluster.key, { workers: 2, pause_ms: 50 });
  await changes.more(60);
  cluster.cutNode(1, how); // some are under way
  changes.rate = 25;
  const since = performance.now();
  // What is under way at the node that is cut off ends by its deadlines; what comes after goes to the other one.
  changes.nodes = [0];
  const answer = await cluster.at(1).with({ deadline_ms: 20_000 }).post('/api/projects', { name: 'cut off' });
  const told = performance.now() - since;
  assert.equal(answer.status, 503, answer.text);
  const degraded = await until('/readyz to tell', async () => (await readiness(cluster.nodes[1])).degraded);
  await calls.more(100);
  await until('a time that is longer than the deadlines', () => performance.now() - since > 6000);
  const until_ = performance.now();
  await changes.more(40);
  cluster.mendNode(1);
  const mended = performance.now();
  await until('the API to be well', async () => (await cluster.at(1).with({ deadline_ms: 15_000 }).get('/api/projects?limit=1')).status === 200, { every_ms: 20 });
  const wellAgain = performance.now() - mended;
  changes.nodes = null;
  await changes.more(40);
  await changes.stop();
  await calls.stop();
  const log = await changes.check();
  await calls.check();
  assert.equal(calls.broken, 0, 'no call broke');
  // The stream of the node that was cut off has it all.
  const own = log.filter((e) => e.event.workspace === cluster.ada.workspace && e.number > stream.frames[0].id).map((e) => e.number);
  await until('the stream to catch up', () => stream.lastId >= own.at(-1));
  assert.ok(!stream.isEnded, 'the stream went on');
  assert.deepEqual(stream.log.map((f) => f.id), own);
  await until('/readyz to be well', async () => !(await readiness(cluster.nodes[1])).degraded);
  const api = spread(changes.acknowledged.filter((a) => a.node === 0 && a.at > since && a.at < until_).map((a) => a.took_ms));
  t.diagnostic(`told 503 after ${Math.round(told)} ms; /readyz: ${degraded}; well again ${Math.round(wellAgain)} ms after the link; changes at the other node ${JSON.stringify(api)} ms; ${changes.summary}; ${calls.summary}`);
  assert.ok(told < 6000, `the answer came after ${told} ms`);
  assert.ok(wellAgain < 5000, `well again after ${wellAgain} ms`);
  assert.ok(api.n > 40 && api.most < 6000, `changes at the other node: ${JSON.stringify(api)}`);
}

/** Makes a project again and again at a node and notes how long after the answer its event came on the node's stream. */
class Prober {
  constructor(t, cluster, i) {
    Object.assign(this, { cluster, i, acknowledged: new Map(), isOver: false });
    this.stream = new EventStream(cluster.at(i));
    t.after(() => this.stream.cut());
  }
  async start() {
    await this.stream.ready();
    this.running = this.#run();
    this.running.catch(() => {});
    return this;
  }
  async #run() {
    for (let n = 0; !this.isOver; n++) {
      const name = `probe ${this.i} ${n} ${randomUUID()}`;
      const { id } = await this.cluster.ada.must(201, this.cluster.at(this.i).with({ deadline_ms: 20_000 }).post('/api/projects', { name }));
      this.acknowledged.set(id, performance.now());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  /** Longest time between an answer since then and its event on the stream; every event must come. */
  async longest(since = 0) {
    let arrived;
    const wanted = [...this.acknowledged].filter(([, at]) => at >= since);
    await until(
      'every event on the stream',
      () => {
        arrived = new Map(this.stream.log.map((f) => [f.data.resource.id, f.at]));
        return wanted.every(([id]) => arrived.has(id));
      },
      { deadline_ms: 30_000 },
    );
    return Math.max(0, ...wanted.map(([id, at]) => arrived.get(id) - at));
  }
  async stop() {
    this.isOver = true;
    await this.running;
  }
}

/** From now on a batch of the sealer takes so long, so that it is caught at it. */
const slowSealing = (cluster, seconds) =>
  cluster.sql(`
    CREATE SCHEMA IF NOT EXISTS slow;
    CREATE FUNCTION slow.seal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(${seconds}); RETURN NULL; END $$;
    CREATE TRIGGER slow_seal BEFORE UPDATE ON main.events FOR EACH STATEMENT EXECUTE FUNCTION slow.seal();`);

/** The node that holds the lock under which the log is numbered now; undefined: none. */
async function sealer(cluster) {
  const holders = await cluster.lockHolders();
  const name = holders.find((h) => h.is_granted && Number(h.number) === 7161132049301)?.node;
  return cluster.nodes.find((n) => n.name === name);
}

/** One after the other the node that numbers the log is killed, or hangs while it holds the lock; the other must take over. */
export async function sealersEnd(t, hows) {
  const cluster = await startCluster(t);
  await slowSealing(cluster, 0.02);
  const figures = [];
  for (const how of hows) {
    const probers = await Promise.all(cluster.nodes.map((_, i) => new Prober(t, cluster, i).start()));
    const node = await until('a sealer at work', async () => {
      const found = await sealer(cluster);
      if (!found || how === 'killed') return found;
      found.freeze();
      if ((await sealer(cluster)) === found) return found; // stopped while it holds the lock
      found.thaw();
      return false;
    }, { deadline_ms: 20_000, every_ms: 1 });
    const other = probers[1 - node.index];
    const since = performance.now();
    const died = probers[node.index];
    died.isOver = true;
    if (how === 'killed') await node.kill();
    await until('changes at the other node', () => performance.now() - since > 2500 && other.acknowledged.size > 20);
    await other.stop();
    const took = await other.longest(since - 20);
    figures.push(`${how} ${Math.round(took)} ms`);
    if (how === 'killed') {
      await died.running.catch(() => {}); // its last request may have ended with the node
      await node.again();
    } else {
      node.thaw();
      await died.running;
    }
    assert.ok(took <= 2000, `${how}: an event came ${Math.round(took)} ms after its answer`);
    died.stream.cut();
    other.stream.cut();
  }
  await readLog({ databaseUrl: cluster.url });
  t.diagnostic(`longest between an answer and its event at the other node: ${figures.join(', ')}`);
}

/** Nodes die by kill -9, in turn, while changes, calls and a job are under way, and come back on the same folder. */
export async function nodesDie(t, kills) {
  const cluster = await startCluster(t, { config: { export: { page_rows: 25 }, jobs: { lease_ms: '2s' } } });
  await watchJobs(cluster);
  await cluster.slowJobs(0.1);
  const changes = new Changes(t, cluster, { workers: 5, rate: 80 });
  const calls = new Calls(t, cluster, cluster.key, { workers: 3, pause_ms: 40 });
  await changes.more(40);
  const jobs = [];
  for (let kill = 0; kill < kills; kill++) {
    const node = cluster.nodes[kill % 2];
    if (jobs.length === 0 || (await jobRow(cluster, jobs.at(-1))).state === 'succeeded') jobs.push(await startExport(cluster, 1 - node.index));
    await changes.more(30 + Math.random() * 30);
    await calls.more(20);
    await node.kill();
    await changes.more(10);
    await node.start().ready();
  }
  await cluster.slowJobs(0);
  await changes.more(20);
  await changes.stop();
  await calls.stop();
  for (const id of jobs) assert.equal((await ended(cluster, id)).state, 'succeeded');
  await changes.check();
  await calls.check();
  for (const id of jobs) await assertRanOnce(cluster, id);
  t.diagnostic(`${changes.summary}; ${calls.summary}; ${jobs.length} jobs`);
}
