// nodes.mjs - what a call costs on one node and on two that share a PostgreSQL: calls a second and CPU per call of the nodes and of
// PostgreSQL, with plain keys, keys under a hard budget, and keys under a limit a minute that is never reached.
//
//     node tests/bench/gateway/nodes.mjs [SECONDS]
//
// Needs build/release (or CATALYST_BIN and its bench/ beside it) and PostgreSQL. On a machine with few cores the nodes, the load, the upstream and PostgreSQL
// share them: there the CPU per call is what compares, not the calls a second.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { BINARY } from '../../lib/catalyst.mjs';
import { startCluster } from '../../lib/cluster.mjs';
import { defer } from '../../lib/defer.mjs';

const SECONDS = Number(process.argv[2] ?? 4);
const TICK = Number(execFileSync('getconf', ['CLK_TCK']));
const bench = (tool) => path.join(path.dirname(BINARY), 'bench', tool);
const run = promisify(execFile);

const ticks = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
};
/** The processes of PostgreSQL. */
function postgresPids() {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'latin1').startsWith('postgres') && readFileSync(`/proc/${pid}/cmdline`, 'latin1').length > 0;
      } catch {
        return false;
      }
    });
}
const cpuOf = (pids) =>
  Object.fromEntries(
    pids.flatMap((pid) => {
      try {
        return [[pid, ticks(pid)]];
      } catch {
        return [];
      }
    }),
  );
const spent = (before, after) => Object.entries(after).reduce((sum, [pid, n]) => sum + n - (before[pid] ?? 0), 0) / TICK;

test('nodes', { timeout: 600_000 }, async (t) => {
  const upstream = spawn(bench('bench_upstream'), [], { stdio: ['ignore', 'pipe', 'inherit'] });
  defer(t, () => upstream.kill());
  const port = await new Promise((resolve) => upstream.stdout.once('data', (line) => resolve(/(\d{4,5})/.exec(line)[1])));
  console.log('| keys | nodes | calls/s | CPU of a node per call | of PostgreSQL per call |\n|---|---|---|---|---|');
  for (const nodes of [1, 2]) {
    const cluster = await startCluster(t, { nodes, config: { loops: 1 } });
    await cluster.ada.must(200, cluster.ada.patch(`/api/gateway/providers/${cluster.providers.openai.id}`, { base_url: `http://127.0.0.1:${port}/v1`, prices: { 'bench-1k': { input: '1', output: '2' } } }));
    for (const [name, more] of [
      ['plain', {}],
      ['hard budget', { budget_usd: '100000' }],
      ['limit a minute', { limits: { requests_per_minute: 100_000_000 } }],
    ]) {
      const { key } = await cluster.newKey(more);
      const load = (node, seconds) =>
        run(bench('bench_load'), ['--port', String(node.port), '--key', key, '--connections', '16', '--seconds', String(seconds), '--warmup', '0']);
      await Promise.all(cluster.nodes.map((node) => load(node, 0.5)));
      const pids = cluster.nodes.map((node) => node.child.pid);
      const [own, database] = [cpuOf(pids), cpuOf(postgresPids())];
      const results = await Promise.all(cluster.nodes.map((node) => load(node, SECONDS)));
      const calls = results.reduce((sum, { stdout }) => sum + JSON.parse(stdout).requests, 0);
      const micro = (seconds) => `${((seconds / calls) * 1e6).toFixed(1)} µs`;
      console.log(`| ${name} | ${nodes} | ${Math.round(calls / SECONDS)} | ${micro(spent(own, cpuOf(pids)))} | ${micro(spent(database, cpuOf(postgresPids())))} |`);
    }
    for (const node of cluster.nodes) await node.stop();
  }
});
