// Every page with things in it, in every theme, by keyboard, at 320 pixels: no violation that axe finds, no error in
// the console, nothing that sticks out.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NO_BINARY, startProvider } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { accessibility, closeBrowser, NO_BROWSER, OWNER, openWindow, overflow, settled, shot, signIn, startOwned } from './browser.mjs';
import { allowLoopback, furnish, furnishGateway } from './furnish.mjs';

const PAGES = [
  ['overview', '/'],
  ['requests', '/requests'],
  ['providers', '/settings/providers'],
  ['keys', '/settings/keys'],
  ['api-keys', '/settings/keys?tab=api'],
  ['budgets', '/settings/budgets'],
  ['members', '/workspace'],
  ['invitations', '/workspace?tab=invitations'],
  ['roles', '/workspace?tab=roles'],
  ['jobs', '/jobs'],
  ['nodes', '/nodes'],
  ['profile', '/settings/profile'],
  ['sessions', '/settings/profile?tab=sessions'],
  ['appearance', '/settings/profile?tab=look'],
  ['not-found', '/nothing/here'],
];

// What differs from theme to theme.
const COLOURS = ['color-contrast', 'link-in-text-block'];

describe('the pages', { skip: NO_BINARY || NO_BROWSER }, () => {
  const shared = scope();
  let catalyst;
  let owner;

  before(async () => {
    const provider = await startProvider(shared, { key: 'sk-double-openai-7Yd2' });
    ({ catalyst, ...owner } = await startOwned(shared, { config: allowLoopback() }));
    await furnish(catalyst, owner);
    await furnishGateway(catalyst, owner, provider);
  });
  after(async () => {
    await shared.end();
    await closeBrowser();
  });

  for (const theme of ['light', 'dark', 'contrast'])
    test(`are accessible in the theme ${theme}`, async (t) => {
      const { page } = await openWindow(t, { theme, expects: /404.*\/nothing\/here/, viewport: { width: 1440, height: 900 } });
      await signIn(page, catalyst.origin);
      for (const [name, path] of PAGES) {
        await page.goto(catalyst.origin + path);
        await settled(page);
        assert.deepEqual(await accessibility(page, theme === 'light' ? undefined : COLOURS), [], `${name} in ${theme}`);
        await shot(page, `${name}-${theme}`);
      }
    });

  test('fit a window of 320 pixels, and two fifths of a page at twice the text size', async (t) => {
    const { page } = await openWindow(t, { viewport: { width: 320, height: 640 }, expects: /404.*\/nothing\/here/ });
    await signIn(page, catalyst.origin);
    for (const [name, path] of PAGES) {
      await page.goto(catalyst.origin + path);
      await settled(page);
      assert.equal(await overflow(page), 0, name);
      assert.deepEqual(await accessibility(page), [], name);
      await shot(page, `${name}-320`);
    }
    await page.setViewportSize({ width: 1280, height: 800 });
    for (const [name, path] of PAGES) {
      await page.goto(catalyst.origin + path);
      await page.evaluate(() => (document.documentElement.style.fontSize = '200%'));
      await settled(page);
      assert.equal(await overflow(page), 0, `${name} at 200 %`);
    }
  });

  test('speak German', async (t) => {
    const { page } = await openWindow(t, { locale: 'de-DE' });
    await page.goto(`${catalyst.origin}/login`);
    await page.getByLabel('E-Mail').fill(OWNER.email);
    await page.getByLabel('Passwort', { exact: true }).fill(OWNER.password);
    await page.getByRole('button', { name: 'Anmelden' }).click();
    await page.getByRole('navigation', { name: 'Hauptnavigation' }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'de');
    await page.getByRole('link', { name: 'Mitglieder' }).click();
    await page.getByRole('columnheader', { name: 'Rolle' }).waitFor();
    assert.deepEqual(await accessibility(page), []);
  });
});
