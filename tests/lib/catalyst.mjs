// catalyst.mjs - the program under test, on a free port with a temporary data folder; and nothing of it left
// when the test ends.
//
// CATALYST_BIN names the binary; without it the newest of build/*/catalyst is taken.

import { spawn, execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Provider } from '../doubles/provider.mjs';
import { defer } from './defer.mjs';
import { makeKey } from './keys.mjs';
import { until, within } from './wait.mjs';
import { toYaml } from './yaml.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The binary's path, or null when there is none. */
export const BINARY = (() => {
  if (process.env.CATALYST_BIN) return path.resolve(process.env.CATALYST_BIN);
  const build = path.join(ROOT, 'build');
  if (!existsSync(build)) return null;
  const found = readdirSync(build)
    .map((name) => path.join(build, name, 'catalyst'))
    .filter((file) => existsSync(file))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  return found[0] ?? null;
})();

/** For node:test's `skip` option. */
export const NO_BINARY =
  BINARY && existsSync(BINARY) ? false : 'no binary: build Catalyst or set CATALYST_BIN';

const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
// node:test ends a file that runs too long with SIGTERM: leave by way of 'exit' then, too.
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));

/** Runs a subcommand to its end: {code, stdout, stderr}. */
export function runCatalyst(args, { env = {}, deadline_ms = 60_000, input } = {}) {
  return new Promise((resolve) => {
    const child = execFile(
      BINARY,
      args,
      { env: { ...process.env, ...env }, timeout: deadline_ms, killSignal: 'SIGKILL', maxBuffer: 256 << 20 },
      (error, stdout, stderr) => {
        resolve({
          code: error ? (typeof error.code === 'number' ? error.code : -1) : 0,
          signal: error?.signal ?? null,
          stdout,
          stderr,
        });
      },
    );
    if (input !== undefined) child.stdin.end(input);
  });
}

export function temporaryFolder(t, name = 'catalyst-test-') {
  const folder = mkdtempSync(path.join(tmpdir(), name));
  defer(t, () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

export class Catalyst {
  /** binary: another one than the one under test; before: a program and its arguments that run it; listen: its address. */
  constructor({ dataDir, config, env, args, binary, before, listen }) {
    this.listen = listen ?? '127.0.0.1:0';
    this.command = [...(before ?? []), binary ?? BINARY];
    this.dataDir = dataDir;
    this.configFile = path.join(dataDir, 'catalyst.yaml');
    if (config !== undefined)
      writeFileSync(this.configFile, typeof config === 'string' ? config : toYaml(config), { mode: 0o600 });
    this.env = env ?? {};
    this.args = args ?? [];
    this.stderr = '';
    this.stdout = '';
    this.log = []; // parsed lines
    this.exit = null; // {code, signal} once it has ended
  }

  start() {
    this.exit = null;
    this.log = [];
    this.stderr = '';
    const [program, ...before] = this.command;
    const args = [...before, 'serve', '--data', this.dataDir, '--listen', this.listen, ...this.args];
    // No leak of a proxy or a key of the machine into the tests.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([n]) => !/proxy$|^CATALYST_|^OPENAI|^ANTHROPIC/i.test(n)),
    );
    if (this.command.includes(BINARY)) env.CATALYST_LISTEN__DRAIN_DELAY_MS = '0'; // no balancer has to be waited for
    this.child = spawn(program, args, { env: { ...env, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const child = this.child;
    children.add(child);
    let pending = '';
    child.stdout.on('data', (piece) => (this.stdout += piece));
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (piece) => {
      this.stderr += piece;
      pending += piece;
      const lines = pending.split('\n');
      pending = lines.pop();
      for (const line of lines) {
        try {
          this.log.push(JSON.parse(line));
        } catch {
          this.log.push({ event: 'not_json', text: line });
        }
      }
    });
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => {
        this.exit = { code: -1, signal: null, error };
        resolve(this.exit);
      });
      child.on('close', (code, signal) => {
        children.delete(child);
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
    return this;
  }

  async ready(deadline_ms = 60_000) {
    const line = await until(
      'the log line "ready"',
      () => {
        if (this.exit)
          throw new Error(
            `catalyst ended with ${JSON.stringify(this.exit)} before it was ready:\n${this.stderr}`,
          );
        return this.log.find((l) => l.event === 'ready');
      },
      { deadline_ms, every_ms: 2 },
    );
    this.address = line.address;
    this.port = Number(/:(\d+)$/.exec(line.address)[1]);
    return this;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resolves with the first log line that fits. */
  logged(what, fits, deadline_ms = 20_000) {
    return until(`a log line: ${what}`, () => this.log.find(fits), { deadline_ms });
  }

  signal(name) {
    this.child.kill(name);
  }

  /** Graceful stop; {code, signal}. */
  async stop(deadline_ms = 60_000) {
    if (!this.exit) this.child.kill('SIGTERM');
    return within('catalyst to stop', this.ended, deadline_ms);
  }

  async kill() {
    if (!this.exit) this.child.kill('SIGKILL');
    return within('catalyst to die', this.ended, 10_000);
  }

  isRunning() {
    return this.exit === null;
  }

  run(args, options) {
    return runCatalyst([...args, '--data', this.dataDir], options);
  }

  /** The records of `requests --json`, oldest first. */
  async requests(...args) {
    const { code, stdout, stderr } = await this.run(['requests', '--json', '--limit', '1000000', ...args]);
    if (code !== 0) throw new Error(`requests --json ended with ${code}: ${stderr}`);
    return stdout
      .split('\n')
      .filter((l) => l !== '')
      .map((l) => JSON.parse(l));
  }

  /**
   * The record of an answer, by its x-catalyst-request-id. It is written before the answer ends; when the
   * client left, a moment later.
   */
  async record(requestId, options = {}) {
    return until(
      `a record of request ${requestId}`,
      async () => (await this.requests()).find((r) => r.request_id === requestId),
      { deadline_ms: 20_000, every_ms: 25, ...options },
    );
  }

  /** The records, once there are n of them. */
  async records(n, options = {}) {
    return until(
      `${n} records`,
      async () => {
        const all = await this.requests();
        return all.length >= n && all;
      },
      { deadline_ms: 20_000, every_ms: 25, ...options },
    );
  }

  async usage(...args) {
    const { code, stdout, stderr } = await this.run(['usage', '--json', ...args]);
    if (code !== 0) throw new Error(`usage --json ended with ${code}: ${stderr}`);
    return JSON.parse(stdout);
  }
}

/** Starts a server that the test's end stops and checks: a crash or a sanitizer's report fails the test. */
export async function startCatalyst(t, { config = {}, env, args, dataDir } = {}) {
  const c = new Catalyst({ dataDir: dataDir ?? temporaryFolder(t), config, env, args });
  stopAtEnd(t, c);
  await c.start().ready();
  return c;
}

export function stopAtEnd(t, c) {
  defer(t, async () => {
    const ended = c.exit !== null;
    const exit = ended
      ? c.exit
      : await c.stop().catch(async (error) => {
          await c.kill();
          throw error;
        });
    if (/ERROR: (Address|Leak|Thread|Memory)Sanitizer|runtime error:|assertion failed/i.test(c.stderr))
      throw new Error(`catalyst's log holds a report:\n${c.stderr.slice(-6000)}`);
    if (!ended && (exit.code !== 0 || exit.signal))
      throw new Error(`catalyst ended with ${JSON.stringify(exit)}:\n${c.stderr.slice(-6000)}`);
  });
}

export async function startProvider(t, options) {
  const provider = await Provider.start(options);
  defer(t, () => provider.close());
  return provider;
}

/**
 * A double of each kind and a Catalyst in front of them, with one key. `config` (or what it returns, as a
 * function) replaces sections of the standard one.
 */
export async function startGateway(t, { config = {}, openai = {}, anthropic = {}, env, args, dataDir } = {}) {
  const double = {
    openai: await startProvider(t, { key: 'sk-double-openai-7Yd2', ...openai }),
    anthropic: await startProvider(t, { key: 'sk-ant-double-q8Wz', ...anthropic }),
  };
  const key = makeKey();
  const standard = {
    loops: 2,
    providers: [
      {
        name: 'openai',
        kind: 'openai',
        base_url: double.openai.openaiUrl,
        api_key: double.openai.key ?? 'unused',
      },
      {
        name: 'anthropic',
        kind: 'anthropic',
        base_url: double.anthropic.origin,
        api_key: double.anthropic.key ?? 'unused',
      },
    ],
    keys: [{ name: 'alice', key, project: 'demo' }],
  };
  const merged = {
    ...standard,
    ...(typeof config === 'function' ? config({ double, standard, key }) : config),
  };
  const catalyst = await startCatalyst(t, { config: merged, env, args, dataDir });
  return { catalyst, key, double, config: merged };
}
