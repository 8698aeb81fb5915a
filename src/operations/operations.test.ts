// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints: who may do what, what is recorded, what is refused. Real role, memory stores, manual clock.
 *
 * Length: one set-up of the whole role, which the table of endpoints walks for every role of operator.
 */
import { describe, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { OperationsActions } from '#operations/actions.ts';
import type { AccountView, AuditPage, FeedLine, Figures, Summary } from '#operations/api.ts';
import { createOperations } from '#operations/operations.ts';
import type { OperationsOptions } from '#operations/options.ts';
import type { CatalogueEntry, AuditEntry, Clock, Metrics, Stores } from '#ports';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';

const START = 1_780_000_000_000_000;

/** Time that moves only when told; timers fire in order. */
const manualClock = () => {
  let elapsed = 0;
  let timers: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    now: () => (START + elapsed * 1000) as Micros,
    monotonic: () => elapsed as Millis,
    after(delay, run) {
      const timer = { at: elapsed + delay, run };
      timers.push(timer);
      return () => void (timers = timers.filter((other) => other !== timer));
    },
  };
  const advance = async (millis: number): Promise<void> => {
    const end = elapsed + millis;
    for (;;) {
      const next = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      timers = timers.filter((timer) => timer !== next);
      elapsed = next.at;
      next.run();
      await new Promise((done) => setImmediate(done));
    }
    elapsed = end;
  };
  return { clock, advance };
};

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const setUp = (overrides: Partial<OperationsOptions> = {}) => {
  const { clock, advance } = manualClock();
  const stores: Stores = createMemoryStores();
  let seed = 0;
  const counted: Record<string, number> = {};
  const metrics: Metrics = {
    count: (name, _help, labels = {}, by = 1) => void (counted[`${name}${JSON.stringify(labels)}`] = (counted[`${name}${JSON.stringify(labels)}`] ?? 0) + by),
    gauge: () => undefined,
    observe: () => undefined,
  };
  const totals = { renewals: 0 };
  const calls: string[] = [];
  const actions: OperationsActions = {
    async createEvent(event) {
      const entry = { asset: event.asset, kind: 'event', name: event.name, state: 'created', createdAt: clock.now(), clearKey: event.clearKey, ingestCredentialHash: 'a-hash' } as const;
      if (!(await stores.catalogue.create(entry))) throw new SealcastError('already-exists', 'an event of this id exists');
      return { entry, ingest: { url: `https://tv.example/ingest/${event.asset}/`, credential: 'shown-once' } };
    },
    async endEvent(asset) {
      calls.push(`endEvent ${asset}`);
      const entry = await stores.catalogue.get(asset);
      return entry !== undefined && stores.catalogue.update({ ...entry, state: 'ended', endedAt: clock.now() });
    },
    async endSession(session) {
      calls.push(`endSession ${session}`);
      return stores.sessions.end(session, clock.now(), 'operator');
    },
    async endAccount(account) {
      calls.push(`endAccount ${account}`);
      return 2;
    },
    async setLevel(account, level, operator) {
      calls.push(`setLevel ${account} ${level} ${operator}`);
    },
    async setOverride(account, override) {
      calls.push(`setOverride ${account} ${JSON.stringify(override) ?? 'none'}`);
    },
    async setLicensing(asset, licensing) {
      const entry = { ...(await stores.catalogue.get(asset) as CatalogueEntry), ...licensing };
      await stores.catalogue.update(entry);
      return entry;
    },
    setMembership: (membership) => stores.collections.put(membership),
    removeMembership: (collection, asset) => stores.collections.remove(collection, asset),
    setDevicePolicy: (device, policy) => stores.devices.setPolicy(device, policy),
    revokeDevice: (device) => stores.devices.revoke(device, clock.now()),
  };
  const operations = createOperations({
    ...stores,
    clock,
    random: { bytes: (length) => new Uint8Array(length).fill(++seed) },
    log: silent,
    metrics,
    exposition: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'sealcast_up 1\n' }),
    allowedHosts: ['ops.example'],
    figures: () => ({ totals: { ...totals }, levels: { epoch: 7 } }),
    readiness: { store: () => true },
    actions,
    ...overrides,
  });
  const call = (method: string, path: string, options: { token?: string | undefined; body?: unknown; headers?: Record<string, string>; origin?: string; address?: string } = {}): Promise<Response> =>
    operations.handler(
      new Request(`${options.origin ?? 'https://ops.example'}${path}`, {
        method,
        headers: { ...(options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` }), ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }), ...options.headers },
        ...(options.body === undefined ? {} : { body: typeof options.body === 'string' ? options.body : JSON.stringify(options.body) }),
      }),
      { address: options.address ?? '203.0.113.5' },
    );
  return { operations, stores, call, clock, advance, counted, totals, calls };
};

const SESSION = encodeBase64url(new Uint8Array(18).fill(9)) as SessionId;
const DEVICE = encodeBase64url(new Uint8Array(32).fill(8)) as DeviceId;
const ACCOUNT = 'ann/1@example.com' as AccountId;

const addViewer = async (stores: Stores, clock: Clock): Promise<void> => {
  const record = { session: SESSION, account: ACCOUNT, device: DEVICE, deviceName: 'TV', sign: { x: 'public' }, agree: { x: 'public' }, terms: {}, asset: 'cup' as AssetId, startedAt: clock.now(), entitledUntil: (clock.now() + 1e9) as Micros };
  await stores.sessions.create(record);
  await stores.heartbeats.record({ ...record, account: heartbeatAccount(ladderHash, record.account), at: clock.now(), expiresAt: (clock.now() + 60e6) as Micros, kind: 'initial' });
  await stores.devices.register({ device: DEVICE, account: ACCOUNT, name: 'TV', sign: { x: 'public' }, agree: { x: 'public' }, registeredAt: clock.now() }, 5);
};

/** path, body, least role: every operator endpoint there is. */
const ENDPOINTS: readonly (readonly [method: string, path: string, body: unknown, role: 'view' | 'operate', status: number])[] = [
  ['GET', '/v1/events', undefined, 'view', 200],
  ['GET', '/v1/events/cup', undefined, 'view', 200],
  ['POST', '/v1/events', { asset: 'derby', name: 'Derby' }, 'operate', 201],
  ['POST', '/v1/events', { asset: 'marked', name: 'Marked', variants: 3, marked: 'v720, v360' }, 'operate', 201],
  ['POST', '/v1/events', { asset: 'half', name: 'Half', variants: 3 }, 'operate', 400],
  ['POST', '/v1/events', { asset: 'inband', name: 'In band', mark: 'v720, v360' }, 'operate', 201],
  ['POST', '/v1/events', { asset: 'both', name: 'Both', mark: 'v720', variants: 2, marked: 'v720' }, 'operate', 400],
  ['POST', '/v1/events', { asset: 'path', name: 'Path', mark: '../v720' }, 'operate', 400],
  ['POST', '/v1/events', { asset: 'nine', name: 'Nine', variants: 9, marked: 'v720' }, 'operate', 400],
  ['POST', '/v1/events', { asset: 'path', name: 'Path', variants: 2, marked: '../v720' }, 'operate', 400],
  ['POST', '/v1/events/cup/end', {}, 'operate', 200],
  ['GET', '/v1/titles', undefined, 'view', 200],
  ['GET', '/v1/titles/film', undefined, 'view', 200],
  ['POST', '/v1/titles', { asset: 'x', name: 'X', source: '/x.mp4' }, 'operate', 404],
  ['GET', '/v1/accounts', undefined, 'view', 200],
  ['GET', `/v1/accounts/${encodeURIComponent(ACCOUNT)}`, undefined, 'view', 200],
  ['POST', `/v1/accounts/${encodeURIComponent(ACCOUNT)}/end`, {}, 'operate', 200],
  ['GET', '/v1/operations/sessions?live=true', undefined, 'view', 200],
  ['POST', `/v1/sessions/${SESSION}/end`, {}, 'operate', 200],
  ['POST', `/v1/devices/${DEVICE}/revoke`, {}, 'operate', 200],
  ['GET', '/v1/collections', undefined, 'view', 200],
  ['GET', '/v1/collections/films', undefined, 'view', 200],
  ['GET', '/v1/collections/..%2Ffilms', undefined, 'view', 400],
  ['POST', '/v1/collections/films/titles', { asset: 'film', owner: 'Studio' }, 'operate', 201],
  ['POST', '/v1/collections/films/titles', { asset: 'film', published: -1 }, 'operate', 400],
  ['POST', '/v1/collections/films/titles', { asset: 'nothing' }, 'operate', 404],
  ['POST', '/v1/collections/films/remove', { asset: 'film' }, 'operate', 200],
  ['GET', '/v1/subscriptions', undefined, 'view', 200],
  ['GET', `/v1/subscriptions/${encodeURIComponent(ACCOUNT)}`, undefined, 'view', 200],
  ['GET', '/v1/subscriptions/nobody', undefined, 'view', 404],
  ['GET', '/v1/usage/report?by=owner&from=2026-01-01&to=2026-02-01', undefined, 'view', 200],
  ['GET', '/v1/usage/report?by=owner&format=csv', undefined, 'view', 200],
  ['GET', '/v1/usage/report?by=viewer', undefined, 'view', 400],
  ['GET', '/v1/usage/report?from=yesterday', undefined, 'view', 400],
  ['GET', '/v1/usage/records?title=film', undefined, 'view', 200],
  ['GET', '/v1/operations/stops', undefined, 'view', 200],
  ['GET', '/v1/leaks', undefined, 'view', 200],
  ['POST', '/v1/leaks', { report: {} }, 'operate', 400],
  ['POST', `/v1/leaks/${'L'.repeat(22)}/decide`, { action: 'dismiss' }, 'operate', 404],
  ['GET', '/v1/viewers/cup', undefined, 'view', 200],
  ['GET', '/v1/operations/concurrency', undefined, 'view', 200],
  ['GET', '/v1/operations/levels', undefined, 'view', 200],
  ['GET', '/v1/operations/state', undefined, 'view', 200],
  ['POST', '/v1/policy/what-if', { licenses: 3 }, 'view', 200],
  ['POST', `/v1/accounts/${encodeURIComponent(ACCOUNT)}/level`, { level: 3 }, 'operate', 200],
  ['POST', `/v1/accounts/${encodeURIComponent(ACCOUNT)}/override`, { limit: 3, mode: 'deny-new' }, 'operate', 200],
  ['PUT', '/v1/events/cup/licensing', { collection: 'sport', policy: { limit: 2 } }, 'operate', 200],
  ['PUT', '/v1/events/film/licensing', {}, 'operate', 404],
  ['PUT', '/v1/titles/film/licensing', { collection: 'Not One' }, 'operate', 400],
  ['PUT', '/v1/titles/film/licensing', { policy: { interval: 60_000, duration: 60_000 } }, 'operate', 400],
  ['PUT', '/v1/titles/film/licensing', { policy: { limits: 2 } }, 'operate', 400],
  ['PUT', '/v1/titles/film/licensing', { collection: 'films', policy: { interval: 60_000, duration: 120_000 } }, 'operate', 200],
  ['PUT', `/v1/devices/${DEVICE}/policy`, { mode: 'deny-new', limit: 1 }, 'operate', 200],
  ['PUT', `/v1/devices/${DEVICE}/policy`, {}, 'operate', 400],
  ['PUT', `/v1/devices/${'B'.repeat(43)}/policy`, { limit: 1 }, 'operate', 404],
  ['DELETE', `/v1/devices/${DEVICE}/policy`, undefined, 'operate', 200],
  ['GET', '/v1/audit', undefined, 'view', 200],
  ['GET', '/v1/operations/stream', undefined, 'view', 200],
  ['GET', '/v1/operations/summary', undefined, 'view', 200],
  ['GET', '/metrics', undefined, 'view', 200],
];

describe('operator roles', () => {
  for (const [method, path, body, least, status] of ENDPOINTS) {
    it(`${method} ${path} needs role ${least}`, async () => {
      const { operations, stores, call, clock } = setUp();
      await addViewer(stores, clock);
      await stores.catalogue.create({ asset: 'cup' as AssetId, kind: 'event', name: 'Cup', state: 'live', createdAt: clock.now(), clearKey: 'off', ingestCredentialHash: 'a-hash' });
      await stores.catalogue.create({ asset: 'film' as AssetId, kind: 'title', name: 'Film', state: 'ready', createdAt: clock.now(), clearKey: 'off' });
      const tokens = { view: await operations.issueToken('vera', 'view'), operate: await operations.issueToken('otto', 'operate'), keys: await operations.issueToken('kim', 'keys') };
      const statusOf = async (token: string | undefined): Promise<number> => {
        const answer = await call(method, path, { token, body });
        await answer.body?.cancel();
        return answer.status;
      };
      expect(await statusOf(undefined)).toBe(401);
      expect(await statusOf(`so_${'A'.repeat(43)}`)).toBe(401);
      expect(await statusOf('not-even-close')).toBe(401);
      expect(await statusOf(tokens.view)).toBe(least === 'view' ? status : 403);
      expect(await statusOf(tokens.operate)).toBe(status);
      expect(operations.owns(new URL(path, 'https://ops.example').pathname)).toBe(true);
      operations.close();
    });
  }

  it('takes the token from the Authorization header only', async () => {
    const { operations, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    expect((await call('GET', `/v1/events?token=${token}&access_token=${token}`)).status).toBe(401);
    expect((await call('GET', '/v1/events', { headers: { Cookie: `token=${token}` } })).status).toBe(401);
    expect((await call('GET', '/v1/events', { headers: { Authorization: `Basic ${token}` } })).status).toBe(401);
    const refused = await call('GET', '/v1/events');
    expect(refused.headers.get('www-authenticate')).toContain('Bearer');
    expect(await refused.json()).toMatchObject({ code: 'operator-token-required', status: 401 });
    operations.close();
  });

  it('leaves the licence server’s and unknown paths alone', async () => {
    const { operations, call } = setUp();
    for (const path of ['/v1/sessions', '/v1/licenses', '/v1/renew', '/v1/devices', '/v1/events/cup/release', '/control', '/']) expect(operations.owns(path)).toBe(false);
    expect((await call('GET', '/v1/nothing')).status).toBe(404);
    operations.close();
  });

  it('names the allowed methods', async () => {
    const { operations, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    const answer = await call('DELETE', '/v1/events', { token });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('GET, POST');
    operations.close();
  });
});

describe('first start', () => {
  it('gives a 256-bit token once and keeps only its hash', async () => {
    const { operations, stores, call } = setUp();
    const token = await operations.firstStartToken();
    expect(token).toMatch(/^so_[A-Za-z0-9_-]{43}$/);
    expect(await operations.firstStartToken()).toBeUndefined();
    expect(JSON.stringify(await stores.operators.list())).not.toContain(token?.slice(3));
    expect((await call('POST', '/v1/events', { token, body: { asset: 'a', name: 'A' } })).status).toBe(201);
    operations.close();
  });
});

describe('wrong tokens', () => {
  it('are limited per address and never lock a correct one out', async () => {
    const { operations, call, advance, counted } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    const guess = (address?: string): Promise<Response> => call('GET', '/v1/events', { token: `so_${'B'.repeat(43)}`, ...(address === undefined ? {} : { address }) });
    for (let i = 0; i < 10; i++) expect((await guess()).status).toBe(401);
    const limited = await guess();
    expect(limited.status).toBe(429);
    expect(limited.headers.get('retry-after')).toBe('60');
    expect((await guess('203.0.113.6')).status).toBe(401);
    expect((await call('GET', '/v1/events', { token })).status).toBe(200);
    expect(counted['sealcast_operations_refused_total{"code":"rate-limited"}']).toBe(1);
    await advance(60_001);
    expect((await guess()).status).toBe(401);
    operations.close();
  });
});

describe('host allow-list', () => {
  it('refuses other host names, also for correct tokens', async () => {
    const { operations, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    expect((await call('GET', '/v1/events', { token, origin: 'http://rebound.example' })).status).toBe(403);
    expect((await call('GET', '/v1/events', { token, headers: { Host: 'rebound.example' } })).status).toBe(403);
    expect((await call('GET', '/v1/events', { token, origin: 'https://ops.example:8443' })).status).toBe(200);
    expect((await call('GET', '/healthz', { origin: 'http://10.0.0.7:8080' })).status).toBe(200);
    operations.close();
  });
});

describe('bodies', () => {
  const bad: readonly (readonly [string, unknown, number])[] = [
    ['an unknown member', { asset: 'a', name: 'A', admin: 'yes' }, 400],
    ['a missing name', { asset: 'a' }, 400],
    ['a wrong type', { asset: 'a', name: 7 }, 400],
    ['a bad id', { asset: '../a', name: 'A' }, 400],
    ['control characters', { asset: 'a', name: 'A\u0007' }, 400],
    ['an unknown scheme', { asset: 'a', name: 'A', scheme: 'rot13' }, 400],
    ['a repeated name', '{"asset":"a","asset":"b","name":"A"}', 400],
    ['no JSON', 'asset=a', 400],
    ['an array', '[]', 400],
    ['too much', { asset: 'a', name: 'A'.repeat(70_000) }, 413],
  ];
  for (const [what, body, status] of bad) {
    it(`with ${what} are refused whole and change nothing`, async () => {
      const { operations, stores, call } = setUp();
      const answer = await call('POST', '/v1/events', { token: await operations.issueToken('otto', 'operate'), body });
      expect(answer.status).toBe(status);
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(await stores.catalogue.list()).toEqual([]);
      expect(await stores.audit.read(0, 10)).toEqual([]);
      operations.close();
    });
  }

  it('need a JSON content type, which a foreign form cannot send', async () => {
    const { operations, call } = setUp();
    const answer = await call('POST', '/v1/events', { token: await operations.issueToken('otto', 'operate'), body: '{"asset":"a","name":"A"}', headers: { 'Content-Type': 'text/plain' } });
    expect(answer.status).toBe(415);
    operations.close();
  });
});

describe('events and accounts', () => {
  it('shows the ingest credential once and never its hash', async () => {
    const { operations, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    const made = await call('POST', '/v1/events', { token, body: { asset: 'cup', name: 'Cup', scheme: 'cbcs' } });
    expect(await made.json()).toMatchObject({ event: { asset: 'cup', state: 'created' }, ingest: { credential: 'shown-once' } });
    for (const path of ['/v1/events', '/v1/events/cup']) {
      const text = await (await call('GET', path, { token })).text();
      expect(text).not.toContain('shown-once');
      expect(text).not.toContain('a-hash');
    }
    expect(await (await call('POST', '/v1/events', { token, body: { asset: 'cup', name: 'Cup' } })).json()).toMatchObject({ code: 'already-exists' });
    operations.close();
  });

  it('lists an account’s sessions and devices without public keys', async () => {
    const { operations, stores, call, clock } = setUp();
    await addViewer(stores, clock);
    const token = await operations.issueToken('vera', 'view');
    const text = await (await call('GET', `/v1/accounts/${encodeURIComponent(ACCOUNT)}`, { token })).text();
    const view = JSON.parse(text) as AccountView;
    expect(view.sessions).toMatchObject([{ session: SESSION, live: true, asset: 'cup' }]);
    expect(view.devices).toMatchObject([{ device: DEVICE, name: 'TV' }]);
    expect(text).not.toContain('public');
    expect(await (await call('GET', '/v1/accounts', { token })).json()).toEqual({ accounts: [{ account: ACCOUNT, live: 1, sessions: 1, lastStartedAt: START }] });
    expect((await call('GET', '/v1/accounts/nobody', { token })).status).toBe(404);
    operations.close();
  });

  it('ends a session once and says so', async () => {
    const { operations, stores, call, clock, calls } = setUp();
    await addViewer(stores, clock);
    const token = await operations.issueToken('otto', 'operate');
    expect(await (await call('POST', `/v1/sessions/${SESSION}/end`, { token, body: { note: 'asked by phone' } })).json()).toEqual({ ended: true });
    expect(await (await call('POST', `/v1/sessions/${SESSION}/end`, { token })).json()).toEqual({ ended: false });
    expect(calls).toEqual([`endSession ${SESSION}`, `endSession ${SESSION}`]);
    expect((await call('POST', `/v1/sessions/${'A'.repeat(24)}/end`, { token })).status).toBe(404);
    operations.close();
  });
});

describe('audit', () => {
  it('records each action with its operator before it happens, and its failure', async () => {
    const { operations, stores, call, clock } = setUp();
    await addViewer(stores, clock);
    const token = await operations.issueToken('otto', 'operate');
    await call('POST', '/v1/events', { token, body: { asset: 'cup', name: 'Cup' } });
    await call('POST', '/v1/events', { token, body: { asset: 'cup', name: 'Cup' } });
    await call('POST', `/v1/sessions/${SESSION}/end`, { token, body: { note: 'asked' } });
    const page = (await (await call('GET', '/v1/audit', { token })).json()) as AuditPage;
    expect(page).toMatchObject({ total: 4, verified: true });
    expect(page.entries.map(({ actor, action, target }) => [actor, action, target])).toEqual([
      ['otto', 'session.end', SESSION],
      ['otto', 'event.create.failed', 'cup'],
      ['otto', 'event.create', 'cup'],
      ['otto', 'event.create', 'cup'],
    ]);
    expect(page.entries[0]?.detail).toEqual({ account: ACCOUNT, note: 'asked' });
    operations.close();
  });

  it('does nothing when the log cannot be written', async () => {
    const { stores } = setUp();
    const broken = { ...stores.audit, append: () => Promise.reject(new SealcastError('store-unavailable', 'disk full')) };
    const { operations, call, calls, stores: own } = setUp({ audit: broken });
    const token = await operations.issueToken('otto', 'operate');
    expect((await call('POST', '/v1/events', { token, body: { asset: 'cup', name: 'Cup' } })).status).toBe(503);
    expect(await own.catalogue.list()).toEqual([]);
    expect(calls).toEqual([]);
    operations.close();
  });

  it('pages newest first', async () => {
    const { operations, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    for (let i = 0; i < 7; i++) await call('POST', '/v1/events', { token, body: { asset: `e${i}`, name: 'E' } });
    const page = async (query: string): Promise<number[]> => ((await (await call('GET', `/v1/audit${query}`, { token })).json()) as AuditPage).entries.map(({ seq }) => seq);
    expect(await page('?limit=3')).toEqual([7, 6, 5]);
    expect(await page('?limit=3&before=5')).toEqual([4, 3, 2]);
    expect(await page('?limit=3&before=2')).toEqual([1]);
    expect(await page('?limit=3&before=1')).toEqual([]);
    expect((await call('GET', '/v1/audit?limit=-1', { token })).status).toBe(400);
    operations.close();
  });

  it('names the entry at which a tampered log breaks', async () => {
    const { operations, stores, call } = setUp();
    const token = await operations.issueToken('otto', 'operate');
    for (let i = 0; i < 5; i++) await call('POST', '/v1/events', { token, body: { asset: `e${i}`, name: 'E' } });
    const entries = await stores.audit.read(0, 10);
    const forged: readonly AuditEntry[] = entries.map((entry) => (entry.seq === 3 ? { ...entry, actor: 'someone' } : entry));
    const tampered = setUp({ audit: { ...stores.audit, read: (after, limit) => Promise.resolve(forged.filter((entry) => entry.seq > after).slice(0, limit)) } });
    const other = await tampered.operations.issueToken('vera', 'view');
    expect(await (await tampered.call('GET', '/v1/audit', { token: other })).json()).toMatchObject({ total: 5, verified: false, brokenAt: 3 });
    operations.close();
    tampered.operations.close();
  });
});

type Frame = { event: string; id: string | undefined; data: unknown };
const framesOf = (text: string): Frame[] =>
  text.split('\n\n').flatMap((block) => {
    const field = (name: string) => block.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const data = field('data');
    return data === undefined ? [] : [{ event: field('event') ?? '', id: field('id'), data: JSON.parse(data) as unknown }];
  });

describe('live stream', () => {
  it('brings history, replayed and new lines, and figures each second', async () => {
    const { operations, call, clock, advance, totals } = setUp();
    const token = await operations.issueToken('vera', 'view');
    operations.events({ at: clock.now(), kind: 'session.started', severity: 'info', message: 'one' });
    totals.renewals = 30;
    await advance(1000);
    const response = await call('GET', '/v1/operations/stream', { token });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    operations.events({ at: clock.now(), kind: 'ingest.refused', severity: 'alert', message: 'two' });
    totals.renewals = 50;
    await advance(2000);
    operations.close();
    const frames = framesOf(await response.text());
    expect(frames.map(({ event }) => event)).toEqual(['history', 'operational', 'operational', 'figures', 'figures']);
    expect(frames[0]?.data).toMatchObject([{ rates: { renewals: 30 }, levels: { epoch: 7 } }]);
    expect(frames.slice(1, 3).map(({ data }) => (data as FeedLine).message)).toEqual(['one', 'two']);
    expect(frames.slice(3).map(({ data }) => (data as Figures).rates['renewals'])).toEqual([25, 50 / 3]);
    expect(frames[3]?.data).toMatchObject({ ready: { store: true } });
    expect(Number(frames[2]?.id)).toBe(Number(frames[1]?.id) + 1);
  });

  it('computes rates over the last ten seconds', async () => {
    const { operations, call, advance, totals } = setUp();
    const token = await operations.issueToken('vera', 'view');
    await advance(20_000);
    totals.renewals = 100;
    const rates: number[] = [];
    for (let i = 0; i < 11; i++) {
      await advance(1000);
      const summary = (await (await call('GET', '/v1/operations/summary', { token })).json()) as Summary;
      rates.push(summary.figures.rates['renewals'] ?? Number.NaN);
    }
    expect(rates).toEqual([...Array.from({ length: 10 }, () => 10), 0]);
    operations.close();
  });

  it('resumes behind the last id', async () => {
    const { operations, call, clock } = setUp();
    const token = await operations.issueToken('vera', 'view');
    for (const message of ['one', 'two', 'three']) operations.events({ at: clock.now(), kind: 'a.b', severity: 'info', message });
    const first = await call('GET', '/v1/operations/stream', { token });
    operations.close();
    const ids = framesOf(await first.text()).flatMap(({ id }) => (id === undefined ? [] : [id]));
    const resumed = setUp();
    const other = await resumed.operations.issueToken('vera', 'view');
    for (const message of ['one', 'two', 'three']) resumed.operations.events({ at: clock.now(), kind: 'a.b', severity: 'info', message });
    const second = await resumed.call('GET', '/v1/operations/stream', { token: other, headers: { 'Last-Event-ID': ids[1] ?? '' } });
    resumed.operations.close();
    const lines = framesOf(await second.text()).filter(({ event }) => event === 'operational');
    expect(lines.map(({ data }) => (data as FeedLine).message)).toEqual(['three']);
  });

  it('keeps a bounded ring and cuts a reader that does not read', async () => {
    const { operations, call, clock } = setUp();
    const token = await operations.issueToken('vera', 'view');
    const slow = await call('GET', '/v1/operations/stream', { token });
    for (let i = 0; i < 2000; i++) operations.events({ at: clock.now(), kind: 'a.b', severity: 'info', message: `line ${i}` });
    const delivered = framesOf(await slow.text()).filter(({ event }) => event === 'operational');
    expect(delivered.length).toBeGreaterThan(100);
    expect(delivered.length).toBeLessThan(400);
    const fresh = await call('GET', '/v1/operations/stream', { token, headers: { 'Last-Event-ID': '1' } });
    operations.close();
    const replayed = framesOf(await fresh.text()).filter(({ event }) => event === 'operational');
    expect(replayed.length).toBe(500);
    expect(replayed.at(-1)?.data).toMatchObject({ message: 'line 1999' });
  });
});

describe('health', () => {
  it('says alive without a token and shows checks only with one', async () => {
    let ready = true;
    const { operations, call } = setUp({ readiness: { store: () => ready, 'key server': () => Promise.resolve(true), broken: () => (ready ? true : Promise.reject(new Error('down'))) } });
    const token = await operations.issueToken('vera', 'view');
    expect(await (await call('GET', '/healthz')).json()).toEqual({ alive: true });
    expect(await (await call('GET', '/readyz')).json()).toEqual({ ready: true });
    ready = false;
    const answer = await call('GET', '/readyz', { token });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toEqual({ ready: false, checks: { store: false, 'key server': true, broken: false } });
    operations.close();
  });

  it('does not wait for a check that hangs', async () => {
    const { operations, call, advance } = setUp({ readiness: { stuck: () => new Promise(() => undefined) } });
    const pending = call('GET', '/readyz');
    await new Promise((done) => setImmediate(done));
    await advance(2001);
    expect((await pending).status).toBe(503);
    operations.close();
  });

  it('serves metrics publicly only where configured', async () => {
    const closed = setUp();
    expect((await closed.call('GET', '/metrics')).status).toBe(401);
    const open = setUp({ metricsPublic: true });
    const answer = await open.call('GET', '/metrics');
    expect([answer.status, await answer.text()]).toEqual([200, 'sealcast_up 1\n']);
    closed.operations.close();
    open.operations.close();
  });
});
