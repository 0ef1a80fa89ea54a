// gateway.mjs - a Catalyst that is used as people do: set up by its owner, with providers and keys from the API and doubles behind them.

import { QUICK_PASSWORDS, owner } from './api.mjs';
import { startCatalyst, startProvider } from './catalyst.mjs';
import { Meter } from './meter.mjs';

/**
 * {catalyst, ada, double, meter, provider}: the owner ada, one double that speaks all dialects behind the providers "openai" and
 * "anthropic", and its meter when `tokens` is given.
 */
export async function startManaged(t, { config = {}, tokens, act, env, dataDir, url } = {}) {
  const meter = tokens === undefined ? null : new Meter({ tokens: tokens ?? undefined });
  const key = 'sk-double-managed-4Tz9';
  const double = await startProvider(t, { key, act: act ?? meter?.act ?? null });
  const more = url ? { database: { url } } : {};
  const all = { loops: 2, identity: QUICK_PASSWORDS, ...more, ...config };
  const catalyst = await startCatalyst(t, { config: all, env, dataDir });
  const ada = await owner(catalyst);
  const providers = {};
  for (const [name, base_url] of [
    ['openai', double.openaiUrl],
    ['anthropic', double.origin],
  ])
    providers[name] = await ada.must(201, ada.post('/api/gateway/providers', { name, kind: name, base_url, api_key: key }));
  return { catalyst, ada, double, meter, providers, config: all, secret: key };
}

/** A virtual key: {id, key, ...}, and what `call` wants of a scene. */
export async function newKey(scene, body = {}) {
  const made = await scene.ada.must(
    201,
    scene.ada.post('/api/gateway/keys', { name: `key ${Math.random().toString(36).slice(2)}`, ...body }),
  );
  return { ...scene, key: made.key, made };
}
