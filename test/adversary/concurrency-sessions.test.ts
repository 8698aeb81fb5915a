// SPDX-License-Identifier: Apache-2.0
/**
 * Limits, modes, levels, outages and overload through the whole licence server and renewal node, judged by answers and keys.
 * Length: one installation, and a test per line of the checklist.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { createGuardedConcurrency, type GuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency, createMemoryStores } from '#adapters/memory/index.ts';
import { createOverloadWatch } from '#adapters/node/overload.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, SessionId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { ENFORCEMENT_DEFAULTS, type Level } from '#core/policy/enforcement.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import type { RenewalAnswer } from '#core/license/renewal-message.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { ConcurrencyMode, ConcurrencyStore, OperationalEvent } from '#ports';
import type { LicenseServerOptions } from '#license-server/options.ts';
import { createRenewal, type Renewal } from '#renewal/renewal.ts';
import { createWorld, FILM, FILM_SECONDS, GROUP, LIVE, makeDevice, manualClock, SECOND, settle, START, type TestDevice, type Viewer, type World } from './license-world.ts';

const ACCOUNT = 'account-1' as AccountId;
const HASHED = heartbeatAccount(ladderHash, ACCOUNT);
type Installation = { readonly world: World; readonly store: ConcurrencyStore; readonly record: GuardedConcurrency; readonly node: Renewal; fault: 'none' | 'refused' };

/** A licence server and a renewal node on one record, which can be made unreachable. */
const install = async (options: Partial<LicenseServerOptions> & { mode?: ConcurrencyMode; limit?: number; levels?: boolean } = {}): Promise<Installation> => {
  const { mode = 'deny-new', limit = 3, levels = false, ...changes } = options;
  const store = createMemoryConcurrency();
  const made: { fault: 'none' | 'refused' } = { fault: 'none' };
  const faulty = new Proxy(store, {
    get: (target, name: keyof ConcurrencyStore) => (...args: never[]) => (made.fault === 'refused' ? Promise.reject(new Error('ECONNREFUSED')) : (target[name] as (...values: never[]) => Promise<unknown>)(...args)),
  });
  const clock = manualClock();
  let told: OperationalEvent[] = [];
  const record = createGuardedConcurrency({ store: faulty, clock, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined }, events: (event) => void told.push(event) });
  const world = await createWorld({
    clock,
    record,
    policy: levels ? { enforcement: ENFORCEMENT_DEFAULTS, mode, limit } : { interval: 20_000, duration: 60_000, mode, limit },
    ...changes,
  });
  ({ told } = world);
  const node = world.renewalNode({ record, accounts: world.licenses.accounts });
  return Object.assign(made, { world, store, record, node });
};

let devices: TestDevice[];
beforeAll(async () => {
  devices = await Promise.all(Array.from({ length: 6 }, makeDevice));
});
const device = (index: number): TestDevice => devices[index] as TestDevice;
const liveGroup = (at: number): number => Math.floor(at / GROUP);

const renew = async (node: Renewal, viewer: Viewer, position: number): Promise<RenewalAnswer & { readonly by: SessionId | undefined }> => {
  const { bytes, mac } = viewer.request(position);
  const outcome = await node.answer(bytes);
  if (outcome.kind !== 'answered') throw new Error(`refused: ${outcome.code}`);
  return { ...viewer.accept(mac, outcome.bytes), by: outcome.by };
};
const startBody = async ({ world }: Installation, index: number, body: Record<string, unknown> = {}, asset = LIVE) => world.post('/v1/sessions', await world.startBody(device(index), asset, { body }));

describe('a start over the limit', () => {
  it('B029 B040 B046 deny-new: the 4th of 3 gets 409 with limit, conflicts and codes; nothing of it remains', async () => {
    const made = await install();
    const viewers: Viewer[] = [];
    for (const index of [0, 1, 2]) viewers.push(await made.world.start(device(index), LIVE));
    const refused = await startBody(made, 3);
    expect(refused).toMatchObject({ status: 409, body: { code: 'concurrency-limit', limit: 3, scope: 'account', conflicts: [{ deviceName: 'TV', asset: LIVE, startedAt: START }, {}, {}] } });
    expect((refused.body['conflicts'] as { sid: string }[]).map(({ sid }) => sid)).toEqual(viewers.map(({ sid }) => sid));
    expect(await made.world.stores.sessions.list({ limit: 9 })).toHaveLength(3);
    await made.world.clock.advance(20);
    for (const viewer of viewers) expect(await renew(made.node, viewer, liveGroup(made.world.clock.now()))).toMatchObject({ act: 'extend' });
  });

  it('B047 the viewer ends a chosen session and starts in one call; the ended one learns why and by which', async () => {
    const made = await install();
    const viewers: Viewer[] = [];
    for (const index of [0, 1, 2]) viewers.push(await made.world.start(device(index), LIVE));
    const conflicts = (await startBody(made, 3)).body['conflicts'] as { terminationCode: string }[];
    const answer = await startBody(made, 3, { ends: [conflicts[1]?.terminationCode] });
    expect(answer.status).toBe(201);
    const ended = viewers[1] as Viewer;
    expect(await made.world.stores.sessions.get(ended.sid)).toMatchObject({ endReason: 'replaced' });
    const { bytes, mac } = ended.request(liveGroup(START));
    const response = await made.node.handler(new Request('https://renew.example/v1/renew', { method: 'POST', body: bytes as BodyInit }));
    expect(ended.accept(mac, new Uint8Array(await response.arrayBuffer()))).toMatchObject({ act: 'end', reason: 'replaced', nodes: [] });
    expect(response.headers.get('sealcast-ended-by')).toBe(answer.body['sid']);
    for (const viewer of [viewers[0], viewers[2]]) expect(await renew(made.node, viewer as Viewer, liveGroup(START))).toMatchObject({ act: 'extend' });
  });

  it('B047 codes of another account, altered ones and no codes end nothing', async () => {
    const made = await install({ limit: 1 });
    const { world } = made;
    const viewer = await world.start(device(0), LIVE);
    const [conflict] = (await startBody(made, 1)).body['conflicts'] as { terminationCode: string }[];
    const code = conflict?.terminationCode ?? '';
    const other = await world.entitlement({ sub: 'account-2' });
    expect((await world.post('/v1/sessions', await world.startBody(device(2), LIVE, { entitlement: other, body: { ends: [code] } }))).status).toBe(400);
    for (const ends of [[`${code.slice(0, -1)}${code.endsWith('A') ? 'B' : 'A'}`], [viewer.sid], ['x'], [7], 'x', Array.from({ length: 33 }, () => code)]) {
      expect((await startBody(made, 1, { ends })).status).toBe(400);
    }
    expect(await renew(made.node, viewer, liveGroup(START))).toMatchObject({ act: 'extend' });
  });

  it('B041 B043 terminate-oldest: the start is served, the oldest is denied its next renewal and its media', async () => {
    const made = await install({ mode: 'terminate-oldest', limit: 2 });
    const viewers: Viewer[] = [];
    for (const index of [0, 1, 2]) {
      viewers.push(await made.world.start(device(index), LIVE));
      await made.world.clock.advance(1);
    }
    await made.world.clock.advance(17);
    const answers = await Promise.all(viewers.map((viewer) => renew(made.node, viewer, liveGroup(made.world.clock.now()))));
    expect(answers.map(({ act, reason }) => [act, reason])).toEqual([['end', 'concurrency'], ['extend', 'none'], ['extend', 'none']]);
    const [oldest] = viewers as [Viewer];
    expect(made.world.licenses.flags(oldest.sid, device(0).id as never)).toBe('concurrency');
    // At most to the end of its licence, judged by the keys it can unwrap.
    expect(oldest.opens(liveGroup(START + 61 * SECOND) + 2)).toBe(false);
  });

  it('B044 detection-only: served, and the overrun told with account, sessions, titles and numbers', async () => {
    const made = await install({ mode: 'detection-only', limit: 1 });
    const viewers = [await made.world.start(device(0), LIVE), await made.world.start(device(1), FILM)];
    const world = made.world;
    expect(await made.store.counts([{ account: HASHED }], world.clock.now())).toEqual([2]);
    expect(await world.stores.sessions.list({ limit: 9, live: true })).toHaveLength(2);
    expect(world.told.filter(({ kind }) => kind === 'concurrency.over')).toEqual([expect.objectContaining({ account: ACCOUNT, asset: FILM, data: { streams: 2, limit: 1, sessions: expect.any(String), assets: expect.any(String) } })]);
    const { sessions = '', assets = '' } = world.told.find(({ kind }) => kind === 'concurrency.over')?.data ?? {};
    expect([String(sessions).split(' ').toSorted(), String(assets).split(' ').toSorted()]).toEqual([viewers.map(({ sid }) => sid).toSorted(), [FILM, LIVE]]);
  });

  it('B024 B030 a reload takes the place of the page before it', async () => {
    const made = await install({ limit: 1 });
    for (let reload = 0; reload < 5; reload++) await made.world.start(device(0), FILM);
    expect(await made.store.counts([{ account: HASHED }, { title: FILM }, 'service'], made.world.clock.now())).toEqual([1, 1, 1]);
  });

  it('B028 B150 a stop frees the place at once', async () => {
    const made = await install({ limit: 1 });
    const viewer = await made.world.start(device(0), LIVE);
    expect((await startBody(made, 1)).status).toBe(409);
    await made.world.licenses.endSession(viewer.sid, 'viewer');
    expect((await startBody(made, 1)).status).toBe(201);
    expect(await renew(made.node, viewer, liveGroup(START))).toMatchObject({ act: 'end', reason: 'viewer' });
  });

  it('B032 B045 limits and mode of account, title, device and collection', async () => {
    const made = await install({ limit: 5, collectionLimits: { league: 2 } });
    const { world } = made;
    const entry = await world.stores.catalogue.get(LIVE);
    await world.stores.catalogue.update({ ...(entry as NonNullable<typeof entry>), collection: 'league', policy: { limit: 1 } });
    await world.start(device(0), LIVE);
    expect((await startBody(made, 1)).body).toMatchObject({ code: 'concurrency-limit', limit: 1, scope: 'title' });
    await world.stores.catalogue.update({ ...(entry as NonNullable<typeof entry>), collection: 'league' });
    await world.start(device(1), LIVE);
    expect((await startBody(made, 2)).body).toMatchObject({ limit: 2, scope: 'collection' });
    await world.licenses.accounts.setOverride(ACCOUNT, { limit: 2 });
    expect((await startBody(made, 2, {}, FILM)).body).toMatchObject({ limit: 2, scope: 'account' });
    await world.licenses.accounts.setOverride(ACCOUNT, { limit: 2, mode: 'terminate-oldest' } satisfies PolicyOverride);
    expect((await startBody(made, 2, {}, FILM)).status).toBe(201);
  });

  it('fault 19, B048: 100 starts at one instant with a limit of 3 let in exactly 3', async () => {
    const made = await install();
    const bodies = await Promise.all(Array.from({ length: 100 }, (_, index) => made.world.startBody(device(index % 6), index % 12 < 6 ? LIVE : FILM)));
    await Promise.all(bodies.map((body) => made.world.post('/v1/sessions', body)));
    const live = await made.store.live({ account: HASHED }, made.world.clock.now());
    expect(live.length).toBe(3);
  });

  it('B111 further items of a batch wait without counting, and count once they are renewed', async () => {
    const made = await install({ limit: 1 });
    const { world } = made;
    const entitlement = await world.entitlement();
    const items = await Promise.all([world.startBody(device(0), FILM, { entitlement }), world.startBody(device(0), LIVE, { entitlement })]);
    const results = (await world.post('/v1/licenses/batch', { items })).body['items'] as Record<string, unknown>[];
    expect(results.map(({ status }) => status)).toEqual([201, 201]);
    expect(await made.store.counts([{ account: HASHED }], START)).toEqual([1]);
  });
});

describe('the order of a start', () => {
  it('B090 B102 keys or accounts out of reach: 5xx at once, nothing counted, nobody ended', async () => {
    for (const missing of ['keying', 'grantKeys'] as const) {
      const made = await install({ limit: 1 });
      const { world } = made;
      const broken = async () => Promise.reject(new SealcastError('key-unavailable', 'the key server cannot be reached'));
      const server = await world.licenseNode({ keys: { keying: (asset) => world.keyServer.keying(asset), grantKeys: (request) => world.keyServer.grantKeys(request), entryKey: (asset) => world.keyServer.entryKey(asset), importedKeys: (asset) => world.keyServer.importedKeys(asset), [missing]: broken } });
      const response = await server.handler(new Request('https://license.example/v1/sessions', { method: 'POST', body: JSON.stringify(await world.startBody(device(0), LIVE)) }));
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([503, 'key-unavailable']);
      expect(await made.store.counts([{ account: HASHED }, 'service'], world.clock.now())).toEqual([0, 0]);
      expect(await world.stores.sessions.list({ limit: 9 })).toEqual([]);
      expect((await startBody(made, 1)).status).toBe(201);
      server.close();
    }
  });

  it('B026 B031 counts follow starts and stops at once, from licensing alone', async () => {
    const made = await install();
    const { world } = made;
    const scopes = [{ title: LIVE }, { title: FILM }, 'service'] as const;
    const first = await world.start(device(0), LIVE);
    await world.start(device(1), FILM);
    expect(await made.store.counts(scopes, world.clock.now())).toEqual([1, 1, 2]);
    await world.licenses.endSession(first.sid, 'viewer');
    expect(await made.store.counts(scopes, world.clock.now())).toEqual([0, 1, 1]);
  });

  it('B011 a renewal node is built from zone keys, flags and the record: no key store, no account database', async () => {
    const made = await install();
    const { world } = made;
    const viewer = await world.start(device(0), LIVE);
    const node = createRenewal({ zones: world.licenses.zoneKeys, flags: () => undefined, record: made.record, policy: world.licenses.policy, clock: world.clock, log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }, events: () => undefined, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } });
    await world.clock.advance(20);
    expect(await renew(node, viewer, liveGroup(world.clock.now()))).toMatchObject({ act: 'extend' });
  });
});

describe('levels', () => {
  const level = (made: Installation, to: Level) => made.world.licenses.accounts.setLevel(ACCOUNT, to, 'test');
  /** Groups of the film that a viewer who never renews can open. */
  const openedSeconds = (viewer: Viewer): number => Array.from({ length: FILM_SECONDS / 6 }, (_, group) => viewer.opens(group)).filter(Boolean).length * 6;

  it('B050 B051 level 1 opens the whole title', async () => {
    const made = await install({ levels: true });
    const viewer = await made.world.start(device(0), FILM);
    expect(viewer.claims.terms).toEqual({ interval: 300_000, duration: (FILM_SECONDS + 1800) * 1000 });
    expect(openedSeconds(viewer)).toBe(FILM_SECONDS);
  });

  it('B054 B055 level 2, renewals suppressed after the first: half the title and no more, judged by keys', async () => {
    const made = await install({ levels: true });
    await level(made, 2);
    const viewer = await made.world.start(device(0), FILM);
    await renew(made.node, viewer, 0);
    expect(openedSeconds(viewer)).toBe(FILM_SECONDS / 2);
  });

  it('B059 B060 level 3: 5 min and no more', async () => {
    const made = await install({ levels: true });
    await level(made, 3);
    const viewer = await made.world.start(device(0), FILM);
    expect(openedSeconds(viewer)).toBe(18);
    expect(await renew(made.node, viewer, 0)).toMatchObject({ act: 'extend', level: 3, interval: 180_000, duration: 300_000 });
    expect(openedSeconds(viewer)).toBe(300);
  });

  it('the grant bucket ends collecting by many starts, and nobody who watches in order', async () => {
    const made = await install({ levels: true, limit: 1, mode: 'terminate-oldest' });
    await level(made, 3);
    let opened = 0;
    for (let start = 0; start < 8; start++) {
      const answer = await made.world.post('/v1/sessions', await made.world.startBody(device(start % 6), FILM, { body: { position: 0 } }));
      if (answer.status !== 201) {
        expect(answer).toMatchObject({ status: 429, body: { code: 'rate-limited' } });
        break;
      }
      const viewer = await made.world.open(answer.body, device(start % 6));
      await renew(made.node, viewer, 0);
      opened += openedSeconds(viewer);
    }
    expect(opened).toBeLessThanOrEqual(900);
    const honest = await install({ levels: true, limit: 1 });
    await level(honest, 3);
    const viewer = await honest.world.start(device(0), FILM);
    for (let second = 0; second < 600; second += 150) {
      expect(await renew(honest.node, viewer, Math.floor(second / 6))).toMatchObject({ act: 'extend' });
      await honest.world.clock.advance(150);
      expect(viewer.opens(Math.min(99, Math.floor((second + 150) / 6)))).toBe(true);
    }
  });

  it('the grant bucket ends collecting by new licences of one session, too', async () => {
    const made = await install({ levels: true, limit: 1 });
    await level(made, 3);
    let viewer = await made.world.start(device(0), FILM, { body: { position: 0 } });
    let opened = 0;
    let refused: unknown;
    for (let seek = 1; seek < 60 && refused === undefined; seek++) {
      await renew(made.node, viewer, Math.floor(viewer.claims.horizon.from));
      opened += openedSeconds(viewer);
      await made.world.clock.advance(0.001);
      const answer = await made.world.relicense(viewer, { position: (seek % 2) * 240 * SECOND });
      if (answer.status === 201) viewer = await made.world.open(answer.body, device(0));
      else refused = answer.body.code;
    }
    expect(refused).toBe('rate-limited');
    expect(opened).toBeGreaterThan(600);
    expect(opened).toBeLessThanOrEqual(900);
  });

  it('B053 B064 suppression on two devices moves the account to level 2, with its inputs told; an operator takes it back', async () => {
    const made = await install({ levels: true, limit: 9, mode: 'detection-only' });
    const { world } = made;
    for (let start = 0; start < 6; start++) {
      await world.start(device(start % 2), FILM, { body: { position: 0 } });
      await world.clock.advance(9 * 60);
    }
    await world.licenses.accounts.flush();
    expect(await world.licenses.accounts.standing(HASHED)).toMatchObject({ level: 2 });
    expect(await world.stores.accounts.levels()).toEqual({ 1: 0, 2: 1, 3: 0 });
    expect(world.told.filter(({ kind }) => kind === 'account.level')).toEqual([expect.objectContaining({ severity: 'warning', account: HASHED, data: { from: 1, to: 2, cause: 'suppression', licenses: 6, devices: 2, renewals: 0 } })]);
    const viewer = await world.start(device(0), FILM);
    expect(viewer.claims.terms.duration).toBe((FILM_SECONDS / 2) * 1000);
    await level(made, 1);
    expect(world.told.at(-1)).toMatchObject({ kind: 'account.level', data: { from: 2, to: 1, cause: 'operator', operator: 'test' } });
    expect((await world.start(device(0), FILM)).claims.terms.duration).toBe((FILM_SECONDS + 1800) * 1000);
  });

  it('B015 B070 a level and an override reach a running session at its next renewal', async () => {
    const made = await install({ levels: true });
    const viewer = await made.world.start(device(0), FILM);
    await made.world.clock.advance(1);
    expect(await renew(made.node, viewer, 0)).toMatchObject({ level: 1, interval: 300_000 });
    await made.world.licenses.accounts.setOverride(ACCOUNT, { interval: 60_000 });
    await made.world.clock.advance(1);
    const { bytes } = viewer.request(1);
    const outcome = await made.node.answer(bytes);
    expect(outcome).toMatchObject({ act: 'extend' });
    expect((await made.world.stores.accounts.get(HASHED))?.override).toEqual({ interval: 60_000 });
  });

  it('B203 a leak that was decided on moves the account to level 3', async () => {
    const made = await install({ levels: true });
    const viewer = await made.world.start(device(0), FILM);
    await made.world.licenses.endSession(viewer.sid, 'leak');
    await settle();
    // Ending the copy's sessions needs evidence only; the account's level is a decision of its own.
    expect(await made.world.licenses.accounts.standing(HASHED)).toMatchObject({ level: 1 });
    await made.world.licenses.accounts.accuse(ACCOUNT, 'leak-1');
    expect(await made.world.licenses.accounts.standing(HASHED)).toMatchObject({ level: 3 });
  });
});

describe('outage of the record', () => {
  const openEmergency = async (made: Installation, viewers: readonly Viewer[]): Promise<void> => {
    made.fault = 'refused';
    for (let time = 0; time < 5; time++) await renew(made.node, viewers[time % viewers.length] as Viewer, liveGroup(made.world.clock.now()));
  };

  it('B097 B098 B100 all valid licences are renewed, for longer; B103 and counted again afterwards', async () => {
    const made = await install();
    const { world } = made;
    const viewers = [await world.start(device(0), LIVE), await world.start(device(1), LIVE)];
    await world.clock.advance(20);
    await openEmergency(made, viewers);
    expect(made.record.emergency).toMatchObject({ cause: 'unreachable' });
    await world.clock.advance(20);
    for (const viewer of viewers) expect(await renew(made.node, viewer, liveGroup(world.clock.now()))).toMatchObject({ act: 'extend', duration: 180_000 });
    expect(viewers.every((viewer) => viewer.opens(liveGroup(world.clock.now() + 170 * SECOND)))).toBe(true);
    made.fault = 'none';
    for (let second = 0; second < 20; second++) await world.clock.advance(1);
    await settle();
    expect(made.record.emergency).toBeUndefined();
    expect(await made.store.counts([{ account: HASHED }], world.clock.now())).toEqual([2]);
    for (const viewer of viewers) expect(await renew(made.node, viewer, liveGroup(world.clock.now()))).toMatchObject({ act: 'extend', duration: 60_000 });
    expect(world.told.filter(({ severity }) => severity === 'alert').map(({ kind, severity }) => [kind, severity])).toEqual([['concurrency.emergency', 'alert'], ['concurrency.recovered', 'alert']]);
  });

  it('B101 B104 an emergency revives nobody: flagged, revoked, too old or forged', async () => {
    const made = await install({ mode: 'terminate-oldest', limit: 1 });
    const { world } = made;
    const flagged = await world.start(device(0), LIVE);
    await world.clock.advance(1);
    const running = await world.start(device(1), LIVE);
    await openEmergency(made, [running]);
    expect(await renew(made.node, flagged, liveGroup(START))).toMatchObject({ act: 'end', reason: 'concurrency', nodes: [] });
    const { bytes } = running.request(0);
    bytes[40] = (bytes[40] ?? 0) ^ 1;
    expect(await made.node.answer(bytes)).toMatchObject({ kind: 'refused' });
    await world.licenses.endSession(running.sid, 'operator');
    expect(await renew(made.node, running, liveGroup(START))).toMatchObject({ act: 'end', reason: 'operator' });
    await world.clock.advance(400);
    const late = await install();
    const old = await late.world.start(device(2), LIVE);
    late.fault = 'refused';
    await late.world.clock.advance(121);
    expect(await renew(late.node, old, liveGroup(late.world.clock.now()))).toMatchObject({ act: 'relicense', reason: 'state-old', nodes: [] });
  });

  it('B075 B076 new sessions meanwhile: all, those of well-behaved accounts, or none', async () => {
    for (const [uncounted, atLevel, status] of [['serve', 3, 201], ['well-behaved', 1, 201], ['well-behaved', 3, 503], ['refuse', 1, 503]] as const) {
      const made = await install({ levels: true, uncounted });
      await made.world.licenses.accounts.setLevel(ACCOUNT, atLevel, 'test');
      made.fault = 'refused';
      const answer = await startBody(made, 0);
      expect([uncounted, atLevel, answer.status]).toEqual([uncounted, atLevel, status]);
      if (status === 503) expect(answer.body).toMatchObject({ code: 'store-unavailable', retry: 'later' });
    }
  });

  it('B083 B085 a forged renewal is refused without a call to the record', async () => {
    const made = await install();
    const viewer = await made.world.start(device(0), LIVE);
    const { bytes } = viewer.request(0);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    made.fault = 'refused';
    for (let time = 0; time < 20; time++) expect(await made.node.answer(bytes)).toMatchObject({ kind: 'refused', code: 'renewal-invalid' });
    expect(made.record.emergency).toBeUndefined();
  });
});

describe('replays and clones', () => {
  it('B086 one renewal 1,000 times on three nodes: the same bytes, one heartbeat, no longer right', async () => {
    const made = await install();
    const { world } = made;
    const viewer = await world.start(device(0), LIVE);
    const nodes = [made.node, ...[1, 2].map(() => world.renewalNode({ record: made.record }))];
    await world.clock.advance(20);
    const { bytes } = viewer.request(liveGroup(world.clock.now()));
    const answers = await Promise.all(Array.from({ length: 1000 }, (_, index) => (nodes[index % 3] as Renewal).answer(bytes)));
    expect(new Set(answers.map((answer) => (answer.kind === 'answered' ? Buffer.from(answer.bytes).toString('hex') : 'refused'))).size).toBe(1);
    await world.clock.advance(30);
    const later = await made.node.answer(bytes);
    const first = answers[0];
    expect(later.kind === 'answered' && first?.kind === 'answered' && later.opened === first.opened).toBe(true);
    const [live] = await made.store.live({ account: HASHED }, world.clock.now());
    expect(live).toMatchObject({ at: START + 20 * SECOND, expiresAt: START + 80 * SECOND });
  });

  it('B086 a copied state is found at its second renewal; the device proves itself and goes on, the copy cannot', async () => {
    const made = await install();
    const { world } = made;
    const viewer = await world.start(device(0), LIVE);
    const copied = viewer.state;
    const at = () => liveGroup(world.clock.now());
    await world.clock.advance(20);
    await renew(made.node, viewer, at());
    const mine = viewer.state;
    viewer.state = copied;
    await world.clock.advance(1);
    await renew(made.node, viewer, at());
    const theirs = viewer.state;
    viewer.state = mine;
    await world.clock.advance(19);
    expect(await renew(made.node, viewer, at())).toMatchObject({ act: 'extend' });
    viewer.state = theirs;
    expect(await renew(made.node, viewer, at())).toMatchObject({ act: 'relicense', nodes: [] });
    const again = await world.relicense(viewer);
    expect(again.status).toBe(201);
    expect((await world.relicense(viewer, { signer: device(1).sign })).status).toBe(403);
  });
});

describe('overload', () => {
  it('B071 lengthens periods, sheds new sessions before renewals, and goes back', async () => {
    const clock = manualClock();
    let measured = { lagMillis: 200, cpuShare: 1 };
    const told: string[] = [];
    const watch = createOverloadWatch({ clock, sample: () => measured, events: ({ kind }) => void told.push(kind), metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } });
    const made = await install({ load: watch.load });
    const node = made.world.renewalNode({ record: made.record, load: () => watch.load().factor });
    const viewer = await made.world.start(device(0), LIVE);
    for (let second = 0; second < 45; second++) await clock.advance(1);
    expect(watch.load()).toEqual({ factor: 4, sheds: true });
    const refused = await startBody(made, 1);
    expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([503, 'overloaded', '2']);
    await made.world.clock.advance(20);
    expect(await renew(node, viewer, liveGroup(made.world.clock.now()))).toMatchObject({ act: 'extend', interval: 80_000, duration: 240_000 });
    measured = { lagMillis: 1, cpuShare: 0.1 };
    for (let second = 0; second < 200; second++) await clock.advance(1);
    expect(watch.load()).toEqual({ factor: 1, sheds: false });
    expect((await startBody(made, 1)).status).toBe(201);
    expect(told).toEqual(['overload.raised', 'overload.raised', 'overload.raised', 'overload.eased', 'overload.eased', 'overload.eased']);
    watch.close();
    expect(clock.pending).toBe(0);
  });
});

describe('accounts in a store of their own', () => {
  it('B064 levels outlive a restart of the licence server', async () => {
    const stores = createMemoryStores();
    const first = await install({ levels: true, accounts: stores.accounts });
    await first.world.licenses.accounts.setLevel(ACCOUNT, 3, 'ann');
    first.world.licenses.close();
    const second = await install({ levels: true, accounts: stores.accounts });
    expect((await second.world.start(device(0), FILM)).claims.terms).toEqual({ interval: 180_000, duration: 300_000 });
    await second.world.clock.advance(15 * 24 * 3600);
    expect(await second.world.licenses.accounts.standing(HASHED)).toMatchObject({ level: 1, since: (START + 14 * 24 * 3600 * SECOND) as Micros });
  });
});
