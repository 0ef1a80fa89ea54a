// cluster.mjs - several nodes on one PostgreSQL, and everything that can befall them.
//
// Each node has a data folder of its own; they share the database, the master key and the providers. The first node is set up by
// its owner before the others start.

import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { QUICK_PASSWORDS, owner } from './api.mjs';
import { Catalyst, startProvider, stopAtEnd, temporaryFolder } from './catalyst.mjs';
import { defer } from './defer.mjs';
import { Link } from './link.mjs';
import { Meter } from './meter.mjs';
import { makeNamespace } from './namespace.mjs';
import { startPostgres, sql } from './postgres.mjs';
import { query } from './rebuild.mjs';
import { until } from './wait.mjs';

const SECRET = 'sk-double-cluster-8Kq2';

/** One node: a Catalyst that can be stopped in its tracks. */
export class Node extends Catalyst {
  constructor(options) {
    super(options);
    this.index = options.index;
    this.name = options.name;
    this.isFrozen = false;
  }

  async ready(deadline_ms) {
    await super.ready(deadline_ms);
    if (!this.space) return this;
    await this.space.lead(this.port);
    this.port = this.space.port;
    return this;
  }

  /** SIGSTOP: it keeps its connections, locks and leases, and does nothing. */
  freeze() {
    this.child.kill('SIGSTOP');
    this.isFrozen = true;
  }

  thaw() {
    if (this.isFrozen) this.child.kill('SIGCONT');
    this.isFrozen = false;
  }

  async stop(deadline_ms) {
    this.thaw();
    return super.stop(deadline_ms);
  }

  /** Ends it if it runs (kill -9 by default) and starts it on the same folder. */
  async again({ gracefully = false } = {}) {
    if (!this.exit) await (gracefully ? this.stop() : this.kill());
    await this.start().ready();
  }
}

export class Cluster {
  /** A caller at another node. */
  at(i, caller = this.ada) {
    return caller.with({ origin: this.nodes[i].origin });
  }

  /** The owner at each node. */
  get callers() {
    return this.nodes.map((_, i) => this.at(i));
  }

  /** What lib/call.mjs wants: a node and a virtual key. */
  scene(i, key) {
    return { catalyst: this.nodes[i], key: key.key ?? key, double: this.double };
  }

  /** Statements by psql, which is none of the nodes; text. */
  sql(statements) {
    return sql(this.url, statements);
  }

  /** Rows as objects; tables without a schema are those of main. */
  query(text) {
    return query({ databaseUrl: this.url }, text);
  }

  /** A virtual key of a project of its own, as the API shows it, when every node knows it. */
  async newKey(body = {}) {
    const { id } = await this.ada.must(201, this.ada.post('/api/projects', { name: `project ${randomBytes(6).toString('hex')}` }));
    const name = `key ${randomBytes(6).toString('hex')}`;
    const made = await this.ada.must(201, this.ada.post('/api/gateway/keys', { name, project_id: id, ...body }));
    for (const node of this.nodes)
      await until(`${node.name} to know a new key`, async () => {
        const answer = await fetch(`${node.origin}/v1/models`, { headers: { authorization: `Bearer ${made.key}` } });
        await answer.text();
        return answer.status === 200;
      });
    return made;
  }

  /** From now on a job's checkpoint takes so long: a job that is slow, without work for anybody. 0 ends it. */
  async slowJobs(seconds) {
    const [{ is_there }] = await this.query(`SELECT to_regprocedure('slow.save()') IS NOT NULL AS is_there`);
    await this.sql(`
      CREATE SCHEMA IF NOT EXISTS slow;
      CREATE OR REPLACE FUNCTION slow.save() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(${Number(seconds)}); RETURN NEW; END $$;`);
    if (!is_there)
      await this.sql(`CREATE TRIGGER slow_save BEFORE UPDATE OF checkpoint ON main.jobs FOR EACH ROW EXECUTE FUNCTION slow.save();`);
  }

  /**
   * Breaks a node's way to PostgreSQL. cut: connections are reset and refused; freeze: nothing passes and nobody is told;
   * half: the server's side is closed. With a namespace the cable is pulled.
   */
  cutNode(i, how = 'cut') {
    const { link, space } = this.nodes[i];
    if (space && how === 'pull') return space.pull();
    if (!link) throw new Error(`node ${i} has no link that can be cut: startCluster(t, {links: true})`);
    if (how === 'cut') link.cut();
    else if (how === 'freeze') link.freeze();
    else if (how === 'half') link.halfClose();
    else throw new Error(`a link cannot be broken by ${how}`);
  }

  mendNode(i, options) {
    const { link, space } = this.nodes[i];
    space?.plug();
    link?.mend(options);
  }

  /** mode: fast, immediate (like a crash) or smart. */
  async restartPostgres(mode = 'fast') {
    await this.postgres.stop(mode);
    await this.postgres.start();
  }

  /** Which nodes PostgreSQL knows to hold an advisory lock: [{node, objid, is_granted}]. */
  async lockHolders() {
    return this.query(
      `SELECT a.application_name AS node, (l.classid::bigint << 32) + l.objid::bigint AS number, l.granted AS is_granted, a.state
       FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND a.datname = current_database()`,
    );
  }

  /**
   * From now on that part of the writing units of all nodes ends with 40001 or 40P01: in one of its first statements, or when it
   * commits. 0 ends it. failures() tells how many there were.
   */
  async forceSerializationFailures(probability) {
    const [{ is_there }] = await this.query(`SELECT to_regnamespace('chaos') IS NOT NULL AS is_there`);
    if (!is_there) {
      await this.sql(CHAOS);
      const tables = await this.query(
        `SELECT schemaname AS s, tablename AS t FROM pg_tables WHERE schemaname IN ('main', 'usage', 'people') AND tablename <> 'schema_migrations'`,
      );
      await this.sql(
        tables
          .map(
            ({ s, t }) => `
            CREATE TRIGGER chaos_now BEFORE INSERT OR UPDATE OR DELETE ON ${s}.${t} FOR EACH STATEMENT EXECUTE FUNCTION chaos.now();
            CREATE CONSTRAINT TRIGGER chaos_late AFTER INSERT OR UPDATE OR DELETE ON ${s}.${t} DEFERRABLE INITIALLY DEFERRED
              FOR EACH ROW EXECUTE FUNCTION chaos.late();`,
          )
          .join('\n'),
      );
    }
    await this.sql(
      `CREATE OR REPLACE FUNCTION chaos.probability() RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT ${Number(probability)}::float8'`,
    );
  }

  /** How many units were made to fail so far. */
  async failures() {
    const [{ n }] = await this.query(`SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS n FROM chaos.failures`);
    return n;
  }

  /** Resolves when no journal has a call that is not in the database: so many of the key's calls, or all that the double answered. */
  async drained(n, { where = 'TRUE', deadline_ms = 30_000 } = {}) {
    return until(
      `${n} calls in the database`,
      async () => {
        const rows = await this.query(`SELECT * FROM usage.calls WHERE ${where}`);
        return rows.length >= n && rows;
      },
      { deadline_ms, every_ms: 50 },
    );
  }
}

/* A unit draws once whether it fails and where; sequences do not roll back. */
const CHAOS = `
CREATE SCHEMA chaos;
CREATE SEQUENCE chaos.failures;
CREATE FUNCTION chaos.probability() RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT 0::float8';
CREATE FUNCTION chaos.fail(code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nextval('chaos.failures');
  RAISE EXCEPTION 'forced by the test' USING ERRCODE = code;
END $$;
CREATE FUNCTION chaos.now() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE left_ int := nullif(current_setting('chaos.left', true), '')::int;
BEGIN
  IF left_ IS NULL THEN
    left_ := CASE WHEN random() >= chaos.probability() OR current_setting('application_name') NOT LIKE 'node%' THEN -1 WHEN random() < 0.3 THEN -2 ELSE floor(random() * 4)::int END;
  ELSIF left_ > 0 THEN
    left_ := left_ - 1;
  END IF;
  PERFORM set_config('chaos.left', CASE WHEN left_ = 0 THEN -1 ELSE left_ END::text, true);
  IF left_ = 0 THEN PERFORM chaos.fail(CASE WHEN random() < 0.5 THEN '40001' ELSE '40P01' END); END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION chaos.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('chaos.left', true) = '-2' THEN PERFORM chaos.fail('40001'); END IF;
  RETURN NULL;
END $$;
`;

function urlOf(node, { database, postgres, i }) {
  const name = new URL(database.replace('@/', '@x/')).pathname;
  const more = `application_name=node${i}`;
  return node.link
    ? `postgresql://catalyst@${node.link.host}:${node.link.port}${name}?${more}`
    : `postgresql://catalyst@${name}?host=${postgres.folder}&${more}`;
}

/**
 * Starts PostgreSQL, the nodes and a provider's double behind the providers "openai" and "anthropic"; gives a Cluster.
 *
 * nodes       how many, or a list of what each has of its own: {config, env, args, binary, links, namespace}
 * config      of all nodes; on top of two loops, quick passwords and no rate limits of the API
 * links       each node reaches PostgreSQL through a link that cutNode() breaks
 * namespace   each node lives in a network namespace whose cable cutNode(i, 'pull') pulls (NO_NAMESPACES tells whether that can be)
 * tokens, act of the double: its meter by default
 *
 * Members: nodes, ada (the owner, at the first node), callers (the owner at each), key (a virtual key), double, meter, providers,
 * url (PostgreSQL, past all links), masterKey; addNode(options) starts one more.
 */
export async function startCluster(t, { nodes = 2, config = {}, env = {}, links = false, namespace = false, tokens, act } = {}) {
  const cluster = new Cluster();
  const postgres = await startPostgres(t);
  const database = await postgres.database();
  const masterKey = randomBytes(32).toString('hex');
  const meter = new Meter({ tokens });
  const double = await startProvider(t, { key: SECRET, act: act ?? meter.act });
  const folder = temporaryFolder(t, 'catalyst-cluster-');
  Object.assign(cluster, { postgres, url: database, masterKey, meter, double, folder, nodes: [], secret: SECRET });
  const own = typeof nodes === 'number' ? Array.from({ length: nodes }, () => ({})) : nodes;
  let n_added = 0;
  cluster.addNode = async (options = {}) => {
    const i = n_added++;
    const dataDir = path.join(folder, `node${i}`);
    mkdirSync(dataDir, { mode: 0o700 });
    const space = (options.namespace ?? namespace) ? await makeNamespace(t, dataDir) : null;
    const target = { path: path.join(postgres.folder, '.s.PGSQL.5432') };
    await space?.bring(double.wire.port);
    const link = space || (options.links ?? links) ? await Link.open(t, target, space?.host) : null;
    const all = {
      loops: 2,
      identity: QUICK_PASSWORDS,
      api: { rate_per_minute: 0, rate_per_address_per_minute: 0 },
      ...(space && { listen: { public_url: `http://127.0.0.1:${space.port}` } }),
      database: { url: urlOf({ link }, { database, postgres, i }) },
      ...config,
      ...options.config,
    };
    const node = new Node({
      index: i,
      name: `node${i}`,
      dataDir,
      config: all,
      env: { CATALYST_SECURITY__MASTER_KEY: masterKey, ...env, ...options.env },
      args: options.args,
      binary: options.binary,
      listen: options.listen,
      before: space?.before,
    });
    Object.assign(node, { link, space, databaseUrl: database, config: all });
    cluster.nodes[i] = node;
    stopAtEnd(t, node);
    defer(t, () => {
      node.thaw();
      cluster.mendNode(i, { drops: true });
    });
    await node.start().ready();
    return node;
  };
  const first = await cluster.addNode(own[0]);
  cluster.ada = await owner(first);
  cluster.providers = {};
  for (const [name, base_url] of [
    ['openai', double.openaiUrl],
    ['anthropic', double.origin],
  ])
    cluster.providers[name] = await cluster.ada.must(
      201,
      cluster.ada.post('/api/gateway/providers', { name, kind: name, base_url, api_key: SECRET }),
    );
  cluster.key = await cluster.newKey();
  for (const options of own.slice(1)) await cluster.addNode(options);
  for (const node of cluster.nodes)
    await until(`${node.name} to know of all nodes`, async () => {
      const text = await (await fetch(`${node.origin}/metrics`)).text();
      return Number(/^catalyst_nodes\{state="serving"\} (\d+)$/m.exec(text)?.[1] ?? cluster.nodes.length) === cluster.nodes.length;
    });
  return cluster;
}
