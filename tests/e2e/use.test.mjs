// Using the page: by keyboard alone, live, in two tabs, without a network, without a session, without a permission,
// below a path prefix.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { defer, scope } from '../lib/defer.mjs';
import { accessibility, closeBrowser, NO_BROWSER, OWNER, openWindow, settled, shot, signIn, startOwned } from './browser.mjs';
import { allowLoopback, call, join, PASSWORD } from './furnish.mjs';

describe('using the page', { skip: NO_BINARY || NO_BROWSER }, () => {
  const shared = scope();
  let catalyst;
  let owner;
  let key;

  before(async () => {
    const provider = await startProvider(shared, { key: 'sk-double-openai-7Yd2' });
    ({ catalyst, ...owner } = await startOwned(shared, { config: allowLoopback() }));
    await owner.api('POST', '/api/gateway/providers', {
      name: 'openai',
      kind: 'openai',
      base_url: provider.openaiUrl,
      api_key: 'sk-double-openai-7Yd2',
    });
    ({ key } = await owner.api('POST', '/api/gateway/keys', { name: 'ci' }));
    for (let i = 0; i < 3; i++) assert.equal((await call(catalyst, key)).status, 200);
    await join(catalyst, owner, { name: 'Tom Okafor', email: 'tom@northwind.example', role: 'viewer' });
  });
  after(() => shared.end());

  test('needs no mouse', async (t) => {
    const { page } = await openWindow(t);
    await page.goto(`${catalyst.origin}/login`);
    await page.locator('input[name=email]:focus').waitFor();
    await page.keyboard.type(OWNER.email);
    await page.keyboard.press('Tab');
    await page.keyboard.type(OWNER.password);
    await page.keyboard.press('Enter');
    await page.getByRole('navigation', { name: 'Main navigation' }).waitFor();

    // The first Tab leads past the navigation.
    await page.goto(`${catalyst.origin}/requests`);
    await settled(page);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');

    // Rows: j and k walk, Enter opens, Escape closes and the focus is back.
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    const row = await page.evaluate(() => document.activeElement.getAttribute('href'));
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    assert.ok(page.url().includes(row.split('?')[0]));
    assert.deepEqual(await accessibility(page), [], 'one request');
    await shot(page, 'request');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.equal(new URL(page.url()).pathname, '/requests');

    // g and a letter; a new thing by c; a form by Tab and Enter.
    await page.keyboard.press('g');
    await page.keyboard.press('k');
    await page.getByRole('heading', { name: 'Keys', level: 1 }).waitFor();
    await settled(page);
    await page.keyboard.press('c');
    await page.getByRole('dialog', { name: 'New virtual key' }).waitFor();
    assert.deepEqual(await accessibility(page), [], 'the form of a key');
    await shot(page, 'new-key');
    await page.getByLabel('Name').focus();
    await page.keyboard.type('by-keyboard');
    await page.keyboard.press('Enter');
    await page.getByTestId('secret').waitFor();
    await page.getByRole('button', { name: 'I have copied it' }).press('Enter');
    await page.getByText('by-keyboard').waitFor();

    // The palette and the list of shortcuts.
    await page.keyboard.press('Control+k');
    await page.getByRole('dialog').waitFor();
    assert.deepEqual(await accessibility(page), [], 'the palette');
    await shot(page, 'palette');
    await page.keyboard.type('budg');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Budgets', level: 1 }).waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    assert.deepEqual(await accessibility(page), [], 'the shortcuts');

    // Single keys can be switched off.
    await page.getByLabel('Shortcuts of single keys').press('Space');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('g');
    await page.keyboard.press('h');
    await page.keyboard.press('?');
    assert.equal(await page.getByRole('dialog').count(), 0);
    assert.equal(new URL(page.url()).pathname, '/settings/budgets');
  });

  test('shows calls as they end, without moving what is read, over one stream for all tabs', async (t) => {
    const { page, context, requests } = await openWindow(t, { viewport: { width: 1440, height: 900 } });
    await signIn(page, catalyst.origin);
    await page.goto(`${catalyst.origin}/requests`);
    await settled(page);
    await page.getByText('Live', { exact: true }).waitFor();
    const second = await context.newPage();
    await second.goto(`${catalyst.origin}/requests`);
    await settled(second);
    await second.getByText('Live', { exact: true }).waitFor();
    const rows = await page.getByRole('row').count();
    await call(catalyst, key);
    for (const tab of [page, second]) await tab.getByRole('button', { name: '1 new' }).waitFor();
    await call(catalyst, key);
    await page.getByRole('button', { name: '2 new' }).waitFor();
    assert.equal(await page.getByRole('row').count(), rows, 'nothing moved by itself');
    await shot(page, 'requests-new');
    await page.getByRole('button', { name: '2 new' }).click();
    await page.waitForFunction((n) => document.querySelectorAll('tr[data-row]').length === n, rows - 1 + 2);
    const streams = () => requests.filter((r) => r.url().includes('/api/events'));
    const open = streams().filter((r) => !r.failure()).length;
    assert.ok(open <= 2, `${open} streams for two tabs and a reload`);

    // The tab that reads the stream closes: the other one takes it over.
    await page.close();
    await second.getByText('Live', { exact: true }).waitFor();
    await second.getByRole('button', { name: '2 new' }).waitFor();
    await call(catalyst, key);
    await second.getByRole('button', { name: '3 new' }).waitFor();
  });

  test('says when there is no network, and goes on when it is back', async (t) => {
    const { page, context } = await openWindow(t, { expects: /ERR_INTERNET_DISCONNECTED|Failed to fetch|ERR_NETWORK/ });
    await signIn(page, catalyst.origin);
    await page.goto(`${catalyst.origin}/workspace`);
    await settled(page);
    await context.setOffline(true);
    await page.getByText(/^No network\./).waitFor();
    assert.deepEqual(await accessibility(page), []);
    await context.setOffline(false);
    await page.getByText(/^No network\./).waitFor({ state: 'detached' });
  });

  test('keeps a form when the session ends', async (t) => {
    const { page, context } = await openWindow(t, { expects: /status of 401/ });
    await signIn(page, catalyst.origin);
    await page.goto(`${catalyst.origin}/settings/keys`);
    await settled(page);
    await page.getByRole('button', { name: 'New virtual key' }).first().click();
    await page.getByLabel('Name').fill('survivor');
    await context.clearCookies();
    await page.getByRole('button', { name: 'Create the key' }).click();
    const again = page.getByRole('dialog', { name: 'Your session has ended' });
    await again.waitFor();
    assert.deepEqual(await accessibility(page), []);
    await shot(page, 'session-ended');
    await again.getByLabel('Password', { exact: true }).fill(OWNER.password);
    await again.getByRole('button', { name: 'Sign in' }).click();
    await again.waitFor({ state: 'detached' });
    assert.equal(await page.getByLabel('Name').inputValue(), 'survivor');
    await page.getByRole('button', { name: 'Create the key' }).click();
    await page.getByTestId('secret').waitFor();
  });

  test('tells a viewer who may see what a viewer may not', async (t) => {
    const { page } = await openWindow(t);
    await signIn(page, catalyst.origin, { email: 'tom@northwind.example', password: PASSWORD });
    for (const path of ['/settings/providers', '/settings/keys', '/workspace?tab=invitations']) {
      await page.goto(catalyst.origin + path);
      await page.getByRole('heading', { name: 'Your role does not allow this' }).waitFor();
      await page.getByText('It needs one of these roles: Owner, Admin.').waitFor();
      await page.getByRole('link', { name: OWNER.name }).waitFor();
      assert.deepEqual(await accessibility(page), [], path);
    }
    await shot(page, 'no-permission');
    await page.goto(`${catalyst.origin}/settings/budgets`);
    await settled(page);
    assert.equal(await page.getByRole('button', { name: 'New budget' }).count(), 0, 'budgets are to be read only');
  });

  test('tells what failed, with the number to ask about, and tries again', async (t) => {
    const { page, context } = await openWindow(t, { expects: /status of 500/ });
    await signIn(page, catalyst.origin);
    await context.route('**/api/gateway/budgets*', (route) =>
      route.fulfill({
        status: 500,
        contentType: 'application/problem+json',
        body: JSON.stringify({ title: 'Internal Server Error', status: 500, detail: 'The ledger is closed.', code: 'internal', request_id: 'r-17' }),
      }),
    );
    await page.goto(`${catalyst.origin}/settings/budgets`);
    await page.getByText('The ledger is closed.').waitFor();
    await page.getByText('r-17').waitFor();
    assert.deepEqual(await accessibility(page), []);
    await shot(page, 'error');
    await context.unroute('**/api/gateway/budgets*');
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('heading', { name: 'No budget yet' }).waitFor();
  });
});

describe('below a path prefix', { skip: NO_BINARY || NO_BROWSER }, () => {
  after(closeBrowser);

  test('the page works all the same', async (t) => {
    const inner = await startCatalyst(t, { config: { listen: { path_prefix: '/tools/catalyst' } } });
    const proxy = http.createServer((request, response) => {
      if (!request.url.startsWith('/tools/catalyst/')) {
        response.writeHead(404).end();
        return;
      }
      const onward = http.request(
        { host: '127.0.0.1', port: inner.port, method: request.method, path: request.url.slice('/tools/catalyst'.length), headers: request.headers },
        (answer) => {
          response.writeHead(answer.statusCode, answer.headers);
          answer.pipe(response);
        },
      );
      onward.on('error', () => response.destroy());
      request.pipe(onward);
    });
    await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    defer(t, () => {
      proxy.closeAllConnections();
      return new Promise((resolve) => proxy.close(resolve));
    });
    const origin = `http://127.0.0.1:${proxy.address().port}/tools/catalyst`;
    const { page, requests } = await openWindow(t);
    await page.goto(`${origin}/login`);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.goto(`${origin}/`);
    await page.getByRole('heading', { name: 'Catalyst waits for its first start' }).waitFor();
    assert.ok(page.url().startsWith(`${origin}/setup`));
    const outside = requests.map((r) => r.url()).filter((url) => !url.startsWith(origin));
    assert.deepEqual(outside, []);
  });
});
