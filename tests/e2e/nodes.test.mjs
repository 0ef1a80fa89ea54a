// The list of nodes with two real ones behind it: as they work, when one is silent, and when it is forgotten by keyboard.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { PASSWORD } from '../lib/api.mjs';
import { call, bodyOf } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';
import { accessibility, closeBrowser, NO_BROWSER, openWindow, overflow, settled, shot, signIn } from './browser.mjs';

const node = (name) => ({ config: { node: { name, heartbeat_ms: '200ms', away_ms: '1500ms' } } });

describe('the list of nodes', { skip: NO_BINARY || NO_POSTGRES || NO_BROWSER }, () => {
  after(closeBrowser);

  test('shows two nodes, one that falls silent, and forgets it', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: [node('north'), node('south')] });
    const [north, south] = cluster.nodes;
    const key = await cluster.newKey({ budget_usd: '5', budget_period: 'monthly' });
    for (const i of [0, 1]) assert.equal((await call(cluster.scene(i, key), 'chat', bodyOf('chat'))).status, 200);
    const { page } = await openWindow(t, { viewport: { width: 1440, height: 900 } });
    await signIn(page, north.origin, { email: 'ada@example.com', password: PASSWORD });
    await page.goto(`${north.origin}/nodes`);
    await settled(page);
    const row = (name) => page.getByRole('row', { name: new RegExp(`^${name}`) });
    await row('south').getByText('Serving').waitFor();
    await row('north').getByText('answers here').waitFor();
    assert.deepEqual(await accessibility(page), []);
    await shot(page, 'nodes-light');

    south.freeze();
    await row('south').getByText('Away').waitFor();
    await page.getByText('south is away').waitFor();
    assert.deepEqual(await accessibility(page), []);
    await shot(page, 'nodes-away');
    await page.setViewportSize({ width: 320, height: 640 });
    await settled(page);
    assert.equal(await overflow(page), 0);
    assert.deepEqual(await accessibility(page), []);
    await shot(page, 'nodes-320');
    await page.setViewportSize({ width: 1440, height: 900 });
    south.thaw();
    await row('south').getByText('Serving').waitFor();

    await south.stop();
    await row('south').getByText('Stopped').waitFor();
    await until('nothing of it to be held', async () => {
      const { items } = await cluster.ada.must(200, cluster.ada.get('/api/nodes'));
      const { journal, leased_nanousd } = items.find((n) => n.name === 'south');
      return journal.calls === 0 && leased_nanousd === 0;
    });
    await page.getByRole('button', { name: 'Forget south' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByRole('textbox').waitFor();
    assert.deepEqual(await accessibility(page), []);
    await page.keyboard.type('south');
    await page.keyboard.press('Enter');
    await page.getByText('south is forgotten').waitFor();
    await until('the row to go', async () => (await row('south').count()) === 0);
  });
});
