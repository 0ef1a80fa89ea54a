// api.mjs - callers of the control plane: people with sessions, programs with keys, and strangers.

/** Hashing that takes no time, for tests that are about something else. */
export const QUICK_PASSWORDS = { argon2_memory: '8KiB', argon2_passes: 1 };
export const PASSWORD = 'hollow turnip engraves cobalt';

/** An answer, read whole. */
export class Answer {
  constructor(response, text) {
    this.status = response.status;
    this.headers = response.headers;
    this.text = text;
    this.type = response.headers.get('content-type') ?? '';
  }
  get json() {
    return JSON.parse(this.text);
  }
  get code() {
    return this.type === 'application/problem+json' ? this.json.code : null;
  }
  /** {name: value} of the cookies that are set. */
  get cookies() {
    return Object.fromEntries(
      this.headers.getSetCookie().map((line) => {
        const pair = line.split(';')[0];
        return [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      }),
    );
  }
}

export class Caller {
  /**
   * key: an API key; workspace: sent with every request; without both it is a stranger, until it signs in. deadline_ms, set later
   * or by with(): an answer that takes longer is an error.
   */
  constructor(origin, { key, workspace, name = 'stranger' } = {}) {
    Object.assign(this, { origin, key, workspace, name, cookies: {}, csrf: null });
  }

  /** A copy with other properties. */
  with(properties) {
    return Object.assign(Object.create(Caller.prototype), this, { cookies: { ...this.cookies } }, properties);
  }

  headers(method, more = {}) {
    const fields = {};
    const isUnsafe = !['GET', 'HEAD'].includes(method);
    if (this.key) fields.authorization = `Bearer ${this.key}`;
    const cookies = Object.entries(this.cookies);
    if (cookies.length) fields.cookie = cookies.map(([n, v]) => `${n}=${v}`).join('; ');
    if (cookies.length && isUnsafe) fields.origin = this.origin;
    if (this.csrf && isUnsafe) fields['x-csrf-token'] = this.csrf;
    if (this.workspace) fields['x-catalyst-workspace'] = this.workspace;
    return Object.fromEntries(Object.entries({ ...fields, ...more }).filter(([, v]) => v !== null));
  }

  async call(method, path, body, more = {}) {
    const headers = this.headers(method, more);
    const init = { method, headers, redirect: 'manual' };
    if (this.deadline_ms) init.signal = AbortSignal.timeout(this.deadline_ms);
    if (body !== undefined) {
      headers['content-type'] ??= 'application/json';
      init.body = typeof body === 'string' ? body : JSON.stringify(body);
    }
    const response = await fetch(this.origin + path, init);
    const answer = new Answer(response, await response.text());
    for (const [name, value] of Object.entries(answer.cookies))
      if (value === '') delete this.cookies[name];
      else this.cookies[name] = value;
    return answer;
  }

  get(path, more) {
    return this.call('GET', path, undefined, more);
  }
  post(path, body, more) {
    return this.call('POST', path, body, more);
  }
  put(path, body, more) {
    return this.call('PUT', path, body, more);
  }
  patch(path, body, more) {
    return this.call('PATCH', path, body, more);
  }
  delete(path, more) {
    return this.call('DELETE', path, undefined, more);
  }

  /** Throws unless the answer has this status; gives its JSON. */
  async must(status, promise) {
    const answer = await promise;
    if (answer.status !== status) throw new Error(`wanted ${status}, got ${answer.status}: ${answer.text}`);
    return answer.text === '' ? null : answer.json;
  }

  async signIn(email, password = PASSWORD) {
    const { user, csrf_token } = await this.must(200, this.post('/api/auth/login', { email, password }));
    this.csrf = csrf_token;
    this.user = user;
    this.name = user.name;
    return this;
  }
}

/** The owner and the first workspace, by the command line: {workspace_id, user_id, api_key}. */
export async function setUp(catalyst, { email = 'ada@example.com', password = PASSWORD, name = 'Ada', workspace = 'First' } = {}) {
  const { code, stdout, stderr } = await catalyst.run(
    ['setup', '--email', email, '--name', name, '--workspace', workspace, '--password-stdin', '--json'],
    { input: password, env: catalyst.env },
  );
  if (code !== 0) throw new Error(`setup ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

/** The owner, signed in, in their workspace. */
export async function owner(catalyst, options = {}) {
  const made = await setUp(catalyst, options);
  const caller = new Caller(catalyst.origin, { workspace: made.workspace_id });
  await caller.signIn(options.email ?? 'ada@example.com', options.password);
  return Object.assign(caller, { made });
}

let n_people = 0;
/** Somebody new in the inviter's workspace, signed in there. */
export async function newMember(inviter, role, { name = `${role} ${++n_people}`, password = PASSWORD } = {}) {
  const email = `${name.toLowerCase().replaceAll(' ', '.')}@example.com`;
  const { link } = await inviter.must(201, inviter.post(`/api/workspaces/${inviter.workspace}/invite`, { email, role }));
  const token = link.slice(link.indexOf('#') + 1);
  const person = new Caller(inviter.origin, { workspace: inviter.workspace, name });
  const joined = await person.must(200, person.post(`/api/invitations/${token}/accept`, { name, password }));
  person.csrf = joined.csrf_token;
  person.user = joined.user;
  return person;
}
