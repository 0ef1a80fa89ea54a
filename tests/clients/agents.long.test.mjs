// agents.long.test.mjs - Claude Code and Codex, as npm has them, do a turn with a tool call through Catalyst
// against the doubles.
//
// Nothing may leave the machine: where the system allows it, all of this runs in a network namespace that has
// a loopback and nothing else. A trap stands as the agents' proxy in any case, and must not have been called.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { messagesTurn, responsesTurn } from '../doubles/script.mjs';
import { NO_BINARY, startGateway, temporaryFolder } from '../lib/catalyst.mjs';
import { defer } from '../lib/defer.mjs';

const FILE = fileURLToPath(import.meta.url);
const MODULES = fileURLToPath(new URL('../agents/node_modules/', import.meta.url));
const CLAUDE = path.join(MODULES, '@anthropic-ai/claude-code-linux-x64/claude');
const CODEX = path.join(MODULES, '@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex');
const IS_ISOLATED = process.env.CATALYST_TEST_ISOLATED === '1';
const ISOLATE = ['--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
const canIsolate = () => spawnSync('unshare', [...ISOLATE, 'true'], { stdio: 'ignore' }).status === 0;

const skip =
  NO_BINARY ||
  (!existsSync(CLAUDE) && 'Claude Code is not installed: npm ci in tests/agents') ||
  (!existsSync(CODEX) && 'Codex is not installed: npm ci in tests/agents');

/** Runs a program to its end; killed when the test ends before it. */
function run(t, file, args, { cwd, env, deadline_ms = 120_000 }) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const end = () => {
      try {
        process.kill(-child.pid, 'SIGKILL'); // what the agent started, too
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    };
    defer(t, end);
    const timer = setTimeout(end, deadline_ms);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (piece) => (stdout += piece));
    child.stderr.on('data', (piece) => (stderr += piece));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** A proxy that notes who asked for it and closes. */
async function startTrap(t) {
  const asked = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      asked.push(piece.toString('latin1').split('\r\n')[0]);
      socket.destroy();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(t, () => server.close());
  return { asked, url: `http://127.0.0.1:${server.address().port}` };
}

async function scene(t, act) {
  const folder = temporaryFolder(t);
  const [home, cwd] = ['home', 'work'].map((name) => path.join(folder, name));
  mkdirSync(home);
  mkdirSync(cwd);
  writeFileSync(path.join(cwd, 'note.txt'), 'the word is heliotrope\n');
  const trap = await startTrap(t);
  const gateway = await startGateway(t, { openai: { act: act.openai }, anthropic: { act: act.anthropic } });
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    HTTPS_PROXY: trap.url,
    HTTP_PROXY: trap.url,
    NO_PROXY: '127.0.0.1,localhost',
  };
  return { ...gateway, home, cwd, trap, env };
}

const COMMAND = "cat note.txt && printf 'made by the agent: Zürich 😀\\n' > made.txt";

/** The next step of the model: run the command, then say what came of it. */
function claudeModel(options = {}) {
  return (x, dialect, body) => {
    if (dialect !== 'messages') return {};
    const results = body.messages
      .flatMap((m) => (Array.isArray(m.content) ? m.content : []))
      .filter((b) => b.type === 'tool_result');
    const hasBash = (body.tools ?? []).some((tool) => tool.name === 'Bash');
    const turn = !hasBash
      ? [{ text: 'A title' }]
      : results.length === 0
        ? [
            { text: 'I will run it.' },
            { tool: 'Bash', input: { command: COMMAND, description: 'Reads one file and writes another' } },
          ]
        : [
            {
              text: `The result has ${JSON.stringify(results).includes('heliotrope') ? 'the word' : 'nothing'}.`,
            },
          ];
    return { ...messagesTurn(turn, { model: body.model, stream: body.stream }), ...options };
  };
}

function codexModel(options = {}) {
  return (x, dialect, body) => {
    if (dialect !== 'responses') return {};
    const results = body.input.filter((item) => /_call_output$/.test(item.type));
    const tool = (body.tools ?? []).find((candidate) =>
      ['exec_command', 'shell_command', 'shell'].includes(candidate.name),
    );
    const input =
      tool?.name === 'exec_command'
        ? { cmd: COMMAND }
        : tool?.name === 'shell_command'
          ? { command: COMMAND }
          : { command: ['sh', '-c', COMMAND] };
    const turn =
      tool && results.length === 0
        ? [{ text: 'I will run it.' }, { tool: tool.name, input }]
        : [
            {
              text: `The result has ${JSON.stringify(results).includes('heliotrope') ? 'the word' : 'nothing'}.`,
            },
          ];
    return { ...responsesTurn(turn, { model: body.model, stream: body.stream }), ...options };
  };
}

/**
 * What the records must say of a turn: both calls, under one session, with the tokens that the script
 * reports.
 */
async function assertRecords(catalyst, dialect, tokens, calls) {
  const all = (await catalyst.requests()).filter((r) => r.dialect === dialect);
  const records = all.filter((r) => r.status === 200);
  assert.ok(records.length >= calls, `${records.length} records`);
  for (const record of records) {
    assert.equal(record.outcome, 'completed');
    assert.equal(record.key, 'alice');
    assert.equal(record.estimated, false);
    assert.equal(record.tokens.input, tokens.input);
    assert.equal(record.tokens.output, tokens.output);
  }
  const sessions = new Set(all.map((r) => r.session));
  assert.equal(sessions.size, 1, [...sessions].join(' '));
  const [session] = sessions;
  assert.ok(session, "the agent's session is known");
  assert.equal((await catalyst.usage('--session', session)).calls, all.length);
}

function claude(t, it) {
  const env = {
    ...it.env,
    ANTHROPIC_BASE_URL: it.catalyst.origin,
    ANTHROPIC_API_KEY: it.key,
    DISABLE_TELEMETRY: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_AUTOUPDATER: '1',
    DISABLE_BUG_COMMAND: '1',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  };
  return run(
    t,
    CLAUDE,
    [
      '-p',
      'Find the word in note.txt and make made.txt',
      '--allowedTools',
      'Bash',
      '--output-format',
      'json',
    ],
    { cwd: it.cwd, env },
  );
}

function codex(t, it) {
  const codexHome = path.join(it.home, '.codex');
  mkdirSync(codexHome);
  writeFileSync(
    path.join(codexHome, 'config.toml'),
    `model = "gpt-5-mini"
model_provider = "catalyst"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
apps = false
plugins = false
remote_plugin = false
[model_providers.catalyst]
name = "Catalyst"
base_url = "${it.catalyst.origin}/v1"
env_key = "CATALYST_KEY"
wire_api = "responses"
`,
  );
  const env = { ...it.env, CODEX_HOME: codexHome, CATALYST_KEY: it.key };
  return run(
    t,
    CODEX,
    ['exec', '--skip-git-repo-check', '--json', 'Find the word in note.txt and make made.txt'],
    { cwd: it.cwd, env },
  );
}

const made = (it) => readFileSync(path.join(it.cwd, 'made.txt'), 'utf8');

function assertClaude(it, result) {
  assert.equal(result.code, 0, result.stdout + result.stderr);
  const said = JSON.parse(result.stdout);
  assert.equal(said.is_error, false, result.stdout);
  assert.equal(said.result, 'The result has the word.');
  assert.equal(made(it), 'made by the agent: Zürich 😀\n');
}

function assertCodex(it, result) {
  assert.equal(result.code, 0, result.stdout + result.stderr);
  const items = result.stdout
    .split('\n')
    .filter(Boolean)
    .map((l) => JSON.parse(l));
  const messages = items
    .filter((e) => e.type === 'item.completed' && e.item.type === 'agent_message')
    .map((e) => e.item.text);
  assert.equal(messages.at(-1), 'The result has the word.', result.stdout);
  assert.ok(items.some((e) => e.type === 'turn.completed'));
  assert.equal(made(it), 'made by the agent: Zürich 😀\n');
}

if (!skip && !IS_ISOLATED && canIsolate()) {
  test('the agents, in a namespace without a network', { timeout: 900_000 }, async (t) => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const result = await run(
      t,
      'unshare',
      [...ISOLATE, process.execPath, ...process.execArgv, '--test', '--test-reporter=spec', FILE],
      { cwd: process.cwd(), env: { ...env, CATALYST_TEST_ISOLATED: '1' }, deadline_ms: 800_000 },
    );
    for (const line of result.stdout.split('\n')) if (/[✔✖]/.test(line)) t.diagnostic(line.trim());
    assert.equal(result.code, 0, result.stdout + result.stderr);
  });
} else {
  describe('coding agents through Catalyst', { skip }, () => {
    const variants = [
      ['', {}, []],
      [', in single bytes', { deliver: 'bytes' }, []],
      [', after a 429 and a 500', {}, [{ fault: 429 }, { fault: 500 }]],
    ];
    for (const [how, options, faults] of variants) {
      test(`Claude Code does a turn with a tool call${how}`, { timeout: 180_000 }, async (t) => {
        const it = await scene(t, { anthropic: claudeModel(options) });
        it.double.anthropic.next(...faults);
        assertClaude(it, await claude(t, it));
        await assertRecords(it.catalyst, 'messages', { input: 20, output: 12 }, 2);
        assert.deepEqual(it.trap.asked, []);
        assert.ok(it.double.anthropic.exchanges.every((x) => !x.head.includes(it.key)));
      });

      test(`Codex does a turn with a tool call${how}`, { timeout: 180_000 }, async (t) => {
        const it = await scene(t, { openai: codexModel(options) });
        it.double.openai.next(...faults);
        assertCodex(it, await codex(t, it));
        await assertRecords(it.catalyst, 'responses', { input: 30, output: 14 }, 2);
        assert.deepEqual(it.trap.asked, []);
        assert.ok(it.double.openai.exchanges.every((x) => !x.head.includes(it.key)));
      });
    }

    test('Codex begins a cut stream anew, and both calls are booked', { timeout: 180_000 }, async (t) => {
      const model = codexModel();
      let n = 0;
      const it = await scene(t, {
        openai: (x, dialect, body) => ({
          ...model(x, dialect, body),
          ...(n++ === 0 ? { fault: 'cut', after: 6 } : {}),
        }),
      });
      assertCodex(it, await codex(t, it));
      const records = (await it.catalyst.requests()).filter((r) => r.dialect === 'responses');
      assert.equal(records.filter((r) => r.outcome === 'cut').length, 1);
      assert.ok(records.filter((r) => r.outcome === 'completed').length >= 2);
    });
  });
}
