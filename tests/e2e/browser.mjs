// browser.mjs - Chromium in front of the real program: pages that fail their test on any error in the console, on
// anything asked of another host, and that are looked at by axe.
//
// CATALYST_SCREENSHOTS=DIR keeps what `shot` takes.

import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { defer } from '../lib/defer.mjs';
import { startCatalyst } from '../lib/catalyst.mjs';
import { until } from '../lib/wait.mjs';

const CHROMIUM = '/usr/bin/chromium';
const packages = new URL('../../web/node_modules/', import.meta.url);

export const OWNER = {
  name: 'Mara Lindqvist',
  email: 'mara@northwind.example',
  password: 'a copper kettle sings at noon',
  workspace: 'Northwind',
};

let browser;

/** Why there can be no browser, or false. For node:test's `skip` option. */
export const NO_BROWSER = await (async () => {
  if (!existsSync(CHROMIUM)) return `no browser: ${CHROMIUM} is missing`;
  if (!existsSync(new URL('playwright-core', packages))) return 'web/node_modules is not installed';
  try {
    const { chromium } = await import(new URL('playwright-core/index.mjs', packages));
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return false;
  } catch (error) {
    return `Chromium does not start: ${error.message.split('\n')[0]}`;
  }
})();

const { default: AxeBuilder } = NO_BROWSER ? {} : await import(new URL('@axe-core/playwright/dist/index.mjs', packages));

export async function closeBrowser() {
  await browser?.close();
}

/**
 * A window of its own: no cookies of others. What goes wrong in it is found at the end of the test, unless `expects`
 * (a regular expression) says that it is part of the test.
 */
export async function openWindow(t, options = {}) {
  const { expects, theme = 'light', storage = {}, ...rest } = options;
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: 'en-US',
    timezoneId: 'Europe/Berlin',
    reducedMotion: 'reduce',
    ...rest,
  });
  context.setDefaultTimeout(30_000);
  await context.addInitScript(
    (entries) => {
      if (!location.protocol.startsWith('http')) return; // axe's blank pages
      for (const [name, value] of Object.entries(entries))
        if (localStorage.getItem(`catalyst.${name}`) === null) localStorage.setItem(`catalyst.${name}`, value);
    },
    { theme, ...storage },
  );
  const problems = [];
  const requests = [];
  context.on('request', (request) => requests.push(request));
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  context.on('weberror', (error) => problems.push(`page: ${error.error().stack}`));
  defer(t, async () => {
    await context.close();
    const unexpected = problems.filter((problem) => !expects?.test(problem));
    if (unexpected.length > 0) throw new Error(`the page complained:\n${unexpected.join('\n')}`);
    const foreign = requests.map((r) => r.url()).filter((url) => !/^(http:\/\/(127\.0\.0\.1|localhost):|data:|blob:)/.test(url));
    if (foreign.length > 0) throw new Error(`the page asked other hosts:\n${foreign.join('\n')}`);
  });
  return { context, requests, problems, page: await context.newPage() };
}

/** The program without an owner, and the link that makes one. */
export async function startUnowned(t, options) {
  const catalyst = await startCatalyst(t, options);
  const link = await until('the link of the first start', () => /http:\/\/\S+\/setup#\S+/.exec(catalyst.stdout)?.[0]);
  return { catalyst, link: link.replace(/^http:\/\/[^/]+/, catalyst.origin) };
}

/** The program with an owner, by the API: {catalyst, api, workspace}. */
export async function startOwned(t, options) {
  const { catalyst, link } = await startUnowned(t, options);
  const answer = await fetch(`${catalyst.origin}/api/setup`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Origin: catalyst.origin },
    body: JSON.stringify({
      token: link.split('#')[1],
      email: OWNER.email,
      name: OWNER.name,
      password: OWNER.password,
      workspace_name: OWNER.workspace,
    }),
  });
  if (answer.status !== 201) throw new Error(`the set-up answered ${answer.status}: ${await answer.text()}`);
  const { workspace, csrf_token } = await answer.json();
  const cookie = answer.headers.getSetCookie().map((c) => c.split(';')[0]).join('; ');
  const api = async (method, target, body) => {
    const got = await fetch(`${catalyst.origin}${target}`, {
      method,
      headers: {
        Cookie: cookie,
        Origin: catalyst.origin,
        'X-CSRF-Token': csrf_token,
        'X-Catalyst-Workspace': workspace.id,
        ...(body ? { 'Content-Type': 'application/json' } : {}),
      },
      body: body && JSON.stringify(body),
    });
    const text = await got.text();
    if (!got.ok) throw new Error(`${method} ${target} answered ${got.status}: ${text}`);
    return text ? JSON.parse(text) : null;
  };
  return { catalyst, api, workspace, cookie };
}

export async function signIn(page, origin, { email, password } = OWNER) {
  await page.goto(`${origin}/login`);
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('navigation', { name: 'Main navigation' }).or(page.getByRole('button', { name: 'Menu' })).first().waitFor();
}

/** Nothing loads any more. */
export async function settled(page) {
  await page.getByRole('heading', { level: 1 }).first().waitFor();
  await page.waitForFunction(() => !document.querySelector('.skeleton') && document.fonts.status === 'loaded');
}

/** What axe finds, WCAG 2.2 AA and best practices: one line each. */
export async function accessibility(page, rules) {
  const axe = new AxeBuilder({ page });
  const { violations } = await (
    rules ? axe.withRules(rules) : axe.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'])
  ).analyze();
  return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${v.help}: ${n.target.join(' ')}: ${n.failureSummary?.split('\n')[1] ?? ''}`));
}

/** Pixels that stick out to the side: 0 when the page fits the window. */
export const overflow = (page) =>
  page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth));

export async function shot(page, name) {
  const folder = process.env.CATALYST_SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}
