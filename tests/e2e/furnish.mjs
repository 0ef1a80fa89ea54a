// furnish.mjs - a workspace with things in it: people, projects, keys of the API; made by the API as its owner.

/** Fills the workspace of `owner` ({api, workspace}). */
export async function furnish(catalyst, { api, workspace }) {
  for (const name of ['checkout', 'storefront', 'infra']) await api('POST', '/api/projects', { name });
  for (const [name, email, role] of [
    ['Jonas Weber', 'jonas@northwind.example', 'admin'],
    ['Aiko Tanaka', 'aiko@northwind.example', 'developer'],
    ['Tom Okafor', 'tom@northwind.example', 'viewer'],
  ])
    await join(catalyst, { api, workspace }, { name, email, role });
  await api('POST', `/api/workspaces/${workspace.id}/invite`, { email: 'lea@northwind.example', role: 'reviewer' });
  await api('POST', '/api/keys', {
    name: 'terraform',
    scopes: ['projects.read', 'gateway.keys', 'budgets.manage'],
    expires_in_days: 90,
  });
}

export const PASSWORD = 'the heron stands on one leg';

/** A person who was invited and came. */
export async function join(catalyst, { api, workspace }, { name, email, role }) {
  const { link } = await api('POST', `/api/workspaces/${workspace.id}/invite`, { email, role });
  const token = link.split('#')[1].replace(/^token=/, '');
  const answer = await fetch(`${catalyst.origin}/api/invitations/${token}/accept`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Origin: catalyst.origin },
    body: JSON.stringify({ name, password: PASSWORD }),
  });
  if (!answer.ok) throw new Error(`accepting answered ${answer.status}: ${await answer.text()}`);
}

/** A configuration under which a provider on this machine may be called. */
export const allowLoopback = () => ({ outbound: { allow_addresses: ['127.0.0.0/8'] } });

/** One call of a model, as a client makes it. */
export function call(catalyst, key, { model = 'gpt-4o-mini', text = 'Hello' } = {}) {
  return fetch(`${catalyst.origin}/v1/chat/completions`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: text }] }),
  });
}

/** Providers, virtual keys, budgets and calls. */
export async function furnishGateway(catalyst, { api }, provider) {
  const { items: projects } = await api('GET', '/api/projects');
  await api('POST', '/api/gateway/providers', {
    name: 'openai',
    kind: 'openai',
    base_url: provider.openaiUrl,
    api_key: provider.key,
  });
  await api('POST', '/api/gateway/providers', {
    name: 'anthropic',
    kind: 'anthropic',
    base_url: provider.origin,
    api_key: provider.key,
    is_enabled: false,
  });
  const keys = [];
  for (const [name, i, budget] of [
    ['ci', 0, '0.0012'],
    ['nightly-refactor', 1, '25'],
    ['docs-bot', 2, null],
  ])
    keys.push(
      await api('POST', '/api/gateway/keys', {
        name,
        project_id: projects[i].id,
        ...(budget ? { budget_usd: budget, budget_period: 'monthly' } : { allowed_models: ['gpt-4o*', 'claude-*'] }),
      }),
    );
  await api('POST', '/api/gateway/budgets', { scope: 'workspace', period: 'monthly', limit_usd: '250' });
  await api('POST', '/api/gateway/budgets', {
    scope: 'project',
    scope_id: projects[0].id,
    period: 'weekly',
    limit_usd: '0.0016',
    is_hard: false,
  });
  // The last calls of the first key no longer fit its budget.
  for (let i = 0; i < 24; i++) {
    if (i % 9 === 5) provider.next({ fault: '500' });
    await (await call(catalyst, keys[i % 3 === 0 ? 0 : (i % 2) + 1].key)).arrayBuffer();
  }
}
