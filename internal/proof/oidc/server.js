// A certified OpenID provider for the sign-in proof, with a very small Graph
// behind it that takes the provider's access tokens and no others.
//
//   node server.js '{"clients": [...], "lives": {"client": seconds}}'
//
// It prints one line of JSON with its address and ends when its standard input
// does. Beside the provider's own pages there are
//
//   /v1.0/...       Graph: messages/delta of any mailbox, /me and /users/x
//   /proof/counts   what was asked so far
//   /proof/twist    POST {client, ...}: how the next answers of the token
//                   endpoint to a client differ from what the provider says
//
// The provider's own behaviour is not touched but where a twist says so.
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

const setting = JSON.parse(process.argv[2]);
const lives = setting.lives ?? {};
const strict = new Set(setting.strict ?? []);
const keeps = new Set(setting.keeps ?? []);

const counts = { tokens: {}, graph: { requests: 0, refused: 0, atOnce: 0, tokens: {} }, elsewhere: 0 };
const twists = {};
const waiting = new Set();
let inGraph = 0;

const lifeOf = (_ctx, _token, client) => lives[client.clientId] ?? 3600;

function configuration(clients) {
  return {
    clients,
    scopes: ['openid', 'offline_access', 'profile', 'Mail.Read', 'https://graph.example/.default'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'] },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: `Name of ${id}`, preferred_username: `${id}@example.org` }),
    }),
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
    },
    enabledJWA: { clientAuthSigningAlgValues: ['PS256'] },
    // Every refresh token works once, but for the clients in "keeps"; one that
    // comes again ends its grant. The latter is what the provider does by itself.
    rotateRefreshToken: (ctx) => !keeps.has(ctx.oidc.client.clientId),
    // The provider's default wants prompt=consent with offline_access, as OpenID
    // Connect says (section 11); strict clients have that, the others are given
    // a refresh token because they may have one.
    issueRefreshToken: (_ctx, client, source) => client.grantTypeAllowed('refresh_token')
      && (!strict.has(client.clientId) || source.scopes.has('offline_access')),
    expiresWithSession: () => false,
    pkce: { required: () => true },
    ttl: {
      AccessToken: lifeOf, ClientCredentials: lifeOf,
      AuthorizationCode: 60, DeviceCode: 120, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 86400,
    },
  };
}

// count notes a token request with what came of it.
function count(ctx) {
  const { client_id: id = 'nobody', grant_type: grant = 'none' } = ctx.oidc?.params ?? {};
  const kind = grant.split(':').pop();
  const what = ctx.body?.error ?? (ctx.status === 200 ? 'ok' : `status ${ctx.status}`);
  const of = counts.tokens[id] ??= {};
  const here = of[kind] ??= {};
  here[what] = (here[what] ?? 0) + 1;
  (of.log ??= []).push({
    kind, what, at: Date.now(), status: ctx.status,
    authenticate: ctx.response.get('WWW-Authenticate') || undefined,
    text: ctx.state.detail ?? ctx.body?.error_description,
    keys: ctx.body && typeof ctx.body === 'object' ? Object.keys(ctx.body).sort() : undefined,
  });
}

// twist changes an answer of the token endpoint as the proof asked for.
async function twist(ctx) {
  const id = ctx.oidc?.params?.client_id;
  const how = twists[id];
  if (!how) return;
  if (how.times !== undefined && --how.times <= 0) delete twists[id];
  for (const key of how.omit ?? []) delete ctx.body[key];
  Object.assign(ctx.body ?? {}, how.add ?? {});
  for (const [name, value] of Object.entries(how.headers ?? {})) ctx.set(name, value);
  if (how.status) {
    ctx.status = how.status;
    if (how.body !== undefined) ctx.body = how.body;
  }
  if (how.hold) {
    // The provider has rotated; its answer is kept back until it is let go.
    counts.held = (counts.held ?? 0) + 1;
    await new Promise((go) => { waiting.add(go); ctx.req.socket.once('close', go); });
  }
}

async function tokenEndpoint(ctx, next) {
  await next();
  if (ctx.path !== '/token' || ctx.method !== 'POST') return;
  count(ctx);
  await twist(ctx);
}

const readBody = async (req) => {
  const parts = [];
  for await (const part of req) parts.push(part);
  return Buffer.concat(parts).toString();
};

function json(res, status, body, headers = {}) {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
}

async function control(req, res, provider) {
  const body = req.method === 'POST' ? JSON.parse(await readBody(req) || '{}') : {};
  switch (new URL(req.url, provider.issuer).pathname) {
    case '/proof/counts':
      return json(res, 200, counts);
    case '/proof/twist': {
      const { client, ...how } = body;
      if (Object.keys(how).length) twists[client] = how; else delete twists[client];
      return json(res, 200, {});
    }
    case '/proof/release':
      for (const go of waiting) go();
      waiting.clear();
      return json(res, 200, {});
    default: // where a redirect of the token endpoint points
      counts.elsewhere += 1;
      return json(res, 200, { access_token: 'stolen', token_type: 'Bearer', expires_in: 3600 });
  }
}

async function graph(req, res, provider) {
  const url = new URL(req.url, provider.issuer);
  inGraph += 1;
  counts.graph.requests += 1;
  counts.graph.atOnce = Math.max(counts.graph.atOnce, inGraph);
  try {
    const value = (req.headers.authorization ?? '').replace(/^Bearer /, '');
    const token = await provider.AccessToken.find(value) ?? await provider.ClientCredentials.find(value);
    if (!token) {
      counts.graph.refused += 1;
      return json(res, 401, { error: { code: 'InvalidAuthenticationToken', message: 'not a living token' } },
        { 'WWW-Authenticate': 'Bearer error="invalid_token"' });
    }
    const seen = counts.graph.tokens[token.clientId] ??= {};
    seen[token.jti] = (seen[token.jti] ?? 0) + 1;
    await new Promise((done) => setTimeout(done, 100)); // so that requests meet
    if (url.pathname.endsWith('/delta')) {
      return json(res, 200, {
        '@odata.context': `${provider.issuer}/v1.0/$metadata#Collection(message)`,
        value: [],
        '@odata.deltaLink': `${provider.issuer}${url.pathname}?$deltatoken=${randomBytes(8).toString('hex')}`,
      });
    }
    const who = url.pathname.match(/^\/v1\.0\/users\/([^/]+)$/);
    if (url.pathname === '/v1.0/me' || who) {
      const name = who ? decodeURIComponent(who[1]) : token.accountId;
      return json(res, 200, { id: `id-of-${name}`, userPrincipalName: name, mail: name });
    }
    return json(res, 404, { error: { code: 'ResourceNotFound', message: url.pathname } });
  } finally {
    inGraph -= 1;
  }
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration(setting.clients));
  provider.use(tokenEndpoint);
  // What the provider tells nobody but its operator, such as "already used".
  provider.on('grant.error', (ctx, err) => { ctx.state.detail = err.error_detail; });
  provider.on('server_error', (_ctx, err) => console.error(err));
  const callback = provider.callback();
  server.on('request', (req, res) => {
    const part = req.url.split('/')[1];
    const way = { 'v1.0': graph, proof: control }[part];
    if (!way) return callback(req, res);
    return way(req, res, provider).catch((err) => {
      console.error(err);
      res.destroy();
    });
  });
  console.log(JSON.stringify({ issuer }));
});

process.stdin.on('end', () => process.exit(0)).resume();
