// From the link of the first start to the first call: what a newcomer does, by the page alone, with a provider that
// checks keys as the real one does.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { NO_BINARY, startProvider } from '../lib/catalyst.mjs';
import { accessibility, closeBrowser, NO_BROWSER, OWNER, openWindow, overflow, settled, shot, signIn, startUnowned } from './browser.mjs';
import { allowLoopback, call } from './furnish.mjs';

const SECRET = 'sk-double-openai-7Yd2';

async function fillSetup(page, link) {
  await page.goto(link);
  await page.getByLabel('Name').fill(OWNER.name);
  await page.getByLabel('E-mail').fill(OWNER.email);
  await page.getByLabel('Password', { exact: true }).fill(OWNER.password);
  await page.getByLabel('Workspace', { exact: true }).fill(OWNER.workspace);
}

describe('a newcomer', { skip: NO_BINARY || NO_BROWSER }, () => {
  after(closeBrowser);

  test('sets up, adds a provider, hands out a key and sees the first call arrive', async (t) => {
    const provider = await startProvider(t, { key: SECRET });
    const { catalyst, link } = await startUnowned(t, { config: allowLoopback() });
    const { page, requests } = await openWindow(t, { viewport: { width: 1280, height: 1000 } });

    await fillSetup(page, link);
    assert.equal(new URL(page.url()).hash, '', 'the token stays neither in the address nor in the history');
    assert.deepEqual(await accessibility(page), [], 'the set-up');
    await shot(page, 'setup');
    await page.getByRole('button', { name: 'Create the account' }).click();

    // A wrong key is told by the provider's own words, and nothing is lost.
    await page.getByRole('heading', { name: 'First steps' }).waitFor();
    await page.getByText('1 of 4 done').waitFor();
    await page.getByRole('button', { name: 'Another address' }).click();
    await page.getByLabel('Address').fill(provider.openaiUrl);
    await page.getByLabel('API key').fill('sk-wrong');
    assert.deepEqual(await accessibility(page), [], 'the provider');
    await shot(page, 'onboarding-provider');
    await page.getByRole('button', { name: 'Check the key and save' }).click();
    await page.getByRole('alert').filter({ hasText: '401' }).waitFor();
    assert.deepEqual(await accessibility(page), [], 'a refused key');
    await page.getByLabel('API key').fill(SECRET);
    await page.getByRole('button', { name: 'Check the key and save' }).click();

    await page.getByLabel('Name').fill('mara-laptop');
    await page.getByRole('button', { name: 'Create the key' }).click();
    const key = await page.getByTestId('secret').textContent();
    assert.match(key, /^cvk_/);
    await page.getByRole('tab', { name: 'curl' }).click();
    await page.getByText('Waiting for the first call').waitFor();
    assert.deepEqual(await accessibility(page), [], 'the key');
    await shot(page, 'onboarding-key');

    const answer = await call(catalyst, key);
    assert.equal(answer.status, 200);
    const before = performance.now();
    await page.getByText(/The first call has arrived/).waitFor();
    t.diagnostic(`the call showed up ${Math.round(performance.now() - before)} ms after its answer`);
    await page.getByRole('button', { name: 'Go on' }).click();

    await page.getByLabel('USD a month').fill('50');
    await page.getByRole('button', { name: 'Set the budget' }).click();
    await page.getByText('4 of 4 done').waitFor();
    assert.deepEqual(await accessibility(page), [], 'the end');
    await shot(page, 'onboarding-done');
    await page.getByRole('button', { name: 'To the overview' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.getByRole('link', { name: 'gpt-4o-mini' }).first().waitFor();
    assert.ok(!requests.some((r) => r.url().includes(link.split('#')[1])), 'the token went into no address');

    // The link has done its work.
    const { page: second } = await openWindow(t);
    await second.goto(link);
    await second.getByRole('heading', { name: 'Catalyst is set up' }).waitFor();
  });

  test('leaves the first steps for later and comes back to them', async (t) => {
    const { catalyst, link } = await startUnowned(t);
    const { page } = await openWindow(t);
    await fillSetup(page, link);
    await page.getByRole('button', { name: 'Create the account' }).click();
    await page.getByRole('button', { name: 'Later' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'First steps' }).click();
    await page.getByText('1 of 4 done').waitFor();
    // Another person's browser knows nothing of it.
    const { page: other } = await openWindow(t);
    await signIn(other, catalyst.origin);
    await other.getByRole('heading', { name: 'First steps' }).waitFor();
  });

  test('is told at the fields what is wrong, and can do it all on a telephone', async (t) => {
    const { link } = await startUnowned(t);
    const { page } = await openWindow(t, { viewport: { width: 320, height: 640 }, expects: /status of 400/ });
    await page.goto(link);
    await page.getByRole('button', { name: 'Create the account' }).click();
    const name = page.getByLabel('Name');
    await page.waitForFunction(() => document.activeElement?.getAttribute('name') === 'name');
    assert.equal(await name.getAttribute('aria-invalid'), 'true');
    assert.deepEqual(await accessibility(page), []);
    assert.equal(await overflow(page), 0);
    await fillSetup(page, link);
    await page.getByLabel('E-mail').fill('no address');
    await page.getByRole('button', { name: 'Create the account' }).click();
    await page.locator('input[name=email][aria-invalid=true]').waitFor();
    await page.getByLabel('E-mail').fill(OWNER.email);
    await page.getByRole('button', { name: 'Create the account' }).click();
    await page.getByRole('heading', { name: 'First steps' }).waitFor();
    await settled(page);
    assert.equal(await overflow(page), 0);
    assert.deepEqual(await accessibility(page), []);
  });
});
