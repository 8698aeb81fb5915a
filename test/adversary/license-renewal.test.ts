// SPDX-License-Identifier: Apache-2.0
/** Renewals against a client that lies, replays, forges and clones itself (docs/wire/renewal.md), and the published bound. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { accountHash, renewalKey, sessionKey, stateKey, zoneKey } from '#core/keys/ladder.ts';
import { isAssetId, type SessionId } from '#core/ids.ts';
import { encodeRequest, MAX_REQUEST_LENGTH } from '#core/license/renewal-message.ts';
import { decodeState, encodeState } from '#core/license/renewal-state.ts';
import { sessionIdBytes } from '#core/license/session-id.ts';
import type { GrantGroup, Micros, Millis } from '#core/time.ts';
import { thumbprintBytes } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { verifyMediaToken } from '#crypto/media-token.ts';
import { flagsOfBundle, zonesOfBundle } from '#renewal/bundle-keys.ts';
import { createReplays } from '#renewal/replays.ts';
import { createWorld, FILM, GROUP, LIVE, liveGroup, makeDevice, SECOND, settle, START, type TestDevice, type Viewer, type World } from './license-world.ts';

const device: TestDevice = await makeDevice();
let world: World;
beforeEach(async () => {
  world = await createWorld();
});

const keysOf = (viewer: Viewer) => {
  const { sid, asset, gen } = viewer.claims;
  const bytes = sessionIdBytes(sid);
  const zone = world.licenses.zoneKeys(bytes[0] ?? 0, bytes[1] ?? 0, world.clock.now());
  if (zone === undefined) throw new Error('no zone');
  const session = { sid: bytes, accountHash: accountHash(hash, 'account-1'), device: thumbprintBytes(viewer.claims.device), asset, gen };
  const sk = sessionKey(hash, zone.zoneKey, session);
  return { zone, sk, rk: renewalKey(hash, sk), stk: stateKey(hash, sk) };
};
const refusal = (bytes: Uint8Array): string => {
  const outcome = world.renewal.renew(bytes);
  return outcome.kind === 'refused' ? outcome.code : 'answered';
};
const post = (bytes: Uint8Array, init: RequestInit = {}) => world.renewal.handler(new Request('https://edge.example/v1/renew', { method: 'POST', body: bytes as BodyInit, ...init }));

describe('renewal', () => {
  it('opens the next groups and moves the state on', async () => {
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(20);
    const live = liveGroup(world.clock.now());
    const answer = world.renewOn(world.renewal, viewer, live);
    expect(answer).toMatchObject({ act: 'extend', reason: 'none', interval: 20_000, duration: 60_000, serverTime: world.clock.now(), issued: world.clock.now() });
    expect(answer.after).toBeLessThanOrEqual(20_000);
    expect(answer.after).toBeGreaterThanOrEqual(18_000);
    expect([answer.opened - 1, answer.opened].map(viewer.opens)).toEqual([true, false]);
    expect(answer.opened).toBe(live + 10);
  });

  it('answers over HTTP with a fresh media token of two terms', async () => {
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(20);
    const { bytes, mac } = viewer.request(liveGroup(world.clock.now()));
    const response = await post(bytes);
    expect([response.status, response.headers.get('content-type'), response.headers.get('access-control-allow-origin')]).toEqual([200, 'application/octet-stream', '*']);
    expect(response.headers.get('access-control-expose-headers')).toContain('Sealcast-Media-Token');
    viewer.accept(mac, new Uint8Array(await response.arrayBuffer()));
    const { zone } = keysOf(viewer);
    const verdict = verifyMediaToken(response.headers.get('sealcast-media-token') ?? '', { keyOf: () => zone.mediaTokenKey, now: world.clock.now() });
    expect(verdict).toMatchObject({ ok: true, claims: { session: viewer.sid, asset: LIVE, expiresAt: world.clock.now() + 120 * SECOND } });
  });

  it('B010 holds no content key and no grant key', async () => {
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(30);
    const { bytes, mac } = viewer.request(liveGroup(world.clock.now()));
    const outcome = world.renewal.renew(bytes);
    if (outcome.kind !== 'answered') throw new Error('refused');
    const answer = viewer.accept(mac, outcome.bytes);
    const text = Buffer.from(outcome.bytes).toString('latin1');
    const grants = await world.keyServer.grantKeys({ asset: LIVE, from: viewer.claims.horizon.from, to: viewer.claims.horizon.to });
    for (const { key } of grants) expect(text.includes(Buffer.from(key).toString('latin1'))).toBe(false);
    expect(answer.nodes.length).toBeGreaterThan(0);
  });

  it('B009 costs a tenth of the bytes of a licence', async () => {
    const start = await world.post('/v1/sessions', await world.startBody(device, LIVE));
    const viewer = await world.open(start.body, device);
    await world.clock.advance(20);
    const { bytes } = viewer.request(liveGroup(world.clock.now()));
    const outcome = world.renewal.renew(bytes);
    expect(bytes.length).toBeLessThanOrEqual(MAX_REQUEST_LENGTH);
    expect(outcome.kind === 'answered' && outcome.bytes.length * 10 < String(start.body['license']).length).toBe(true);
  });

  it('B081 B082 is answered by a node that started later and knows zone keys only', async () => {
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(20);
    const late = world.renewalNode({ heartbeats: undefined as never });
    expect(world.renewOn(late, viewer, liveGroup(world.clock.now())).act).toBe('extend');
  });

  it('works from an edge bundle, and stops with it', async () => {
    const source = world.licenses.bundleSource({ edge: 'e1', zone: 0, renews: true });
    const bundle = await source({ version: 0, wait: 0 as Millis, signal: new AbortController().signal });
    const node = world.renewalNode({ zones: zonesOfBundle(() => bundle), flags: flagsOfBundle(() => bundle) });
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(20);
    expect(world.renewOn(node, viewer, liveGroup(world.clock.now())).act).toBe('extend');
    await world.licenses.endSession(viewer.sid, 'leak');
    const next = await source({ version: bundle?.version ?? 0, wait: 0 as Millis, signal: new AbortController().signal });
    const told = world.renewalNode({ zones: zonesOfBundle(() => next), flags: flagsOfBundle(() => next) });
    expect(world.renewOn(told, viewer, liveGroup(world.clock.now()))).toMatchObject({ act: 'end', reason: 'leak' });
    world.clock.set(((bundle?.validUntil ?? 0) + 1) as Micros);
    expect(node.renew(viewer.request(1).bytes)).toMatchObject({ kind: 'refused', code: 'epoch-unknown' });
    const bare = await world.licenses.bundleSource({ edge: 'e2', zone: 0, renews: false })({ version: 0, wait: 0 as Millis, signal: new AbortController().signal });
    expect(bare?.epochs.every(({ zoneKey: key }) => key === undefined)).toBe(true);
    expect(world.renewalNode({ zones: zonesOfBundle(() => bare) }).renew(viewer.request(1).bytes)).toMatchObject({ code: 'epoch-unknown' });
    expect(world.renewalNode({ zones: zonesOfBundle(() => undefined) }).renew(viewer.request(1).bytes)).toMatchObject({ code: 'epoch-unknown' });
  });
});

describe('idempotence', () => {
  it('B086 same request, same right, same bytes within an instant, one heartbeat', async () => {
    const viewer = await world.start(device, LIVE);
    let recorded = 0;
    const node = world.renewalNode({ heartbeats: { record: async () => void recorded++ } });
    await world.clock.advance(20);
    const { bytes } = viewer.request(liveGroup(world.clock.now()));
    const answers = Array.from({ length: 50 }, () => node.renew(bytes));
    expect(new Set(answers.map((answer) => (answer.kind === 'answered' ? encodeBase64url(answer.bytes) : 'refused'))).size).toBe(1);
    expect(recorded).toBe(1);
    expect(await world.stores.heartbeats.live({}, world.clock.now())).toHaveLength(1);
  });
  it('a request whose range does not grow gets no nodes and the same state', async () => {
    const viewer = await world.start(device, FILM);
    const before = viewer.state;
    const answer = world.renewOn(world.renewal, viewer, 0);
    expect(answer.nodes).toEqual([]);
    expect(viewer.state).toEqual(before);
    await world.clock.advance(20);
    // Paused at the start: the position holds the range back although the anchor has moved.
    expect(world.renewOn(world.renewal, viewer, 0).nodes).toEqual([]);
    expect(viewer.state).toEqual(before);
  });
  it('an earlier state gives no more than the session has', async () => {
    const viewer = await world.start(device, LIVE);
    const old = viewer.state;
    await world.clock.advance(20);
    const live = liveGroup(world.clock.now());
    const { opened } = world.renewOn(world.renewal, viewer, live);
    viewer.state = old;
    expect(world.renewOn(world.renewal, viewer, live).opened).toBe(opened);
  });
  it('remembers a bounded number of sessions', () => {
    const replays = createReplays(2);
    const mac = new Uint8Array(16);
    expect(['a', 'b', 'a', 'c', 'b'].map((sid) => replays.isNew(sid as SessionId, mac))).toEqual([true, true, false, true, true]);
    expect(['c', 'a'].map((sid) => replays.isNew(sid as SessionId, mac))).toEqual([false, true]);
  });
});

describe('renewal refuses', () => {
  it('B085 every request with one byte changed, without touching the store', async () => {
    const viewer = await world.start(device, LIVE);
    let touched = 0;
    const node = world.renewalNode({ heartbeats: { record: async () => void touched++ } });
    const { bytes } = viewer.request(liveGroup(START));
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [1, 0x80]) {
        const altered = bytes.slice();
        altered[at] = (altered[at] ?? 0) ^ flip;
        expect(node.renew(altered)).toMatchObject({ kind: 'refused' });
      }
    }
    expect(touched).toBe(0);
  });
  it('a state with one byte changed, in a request with a good MAC', async () => {
    const viewer = await world.start(device, LIVE);
    const { rk } = keysOf(viewer);
    const results = new Set<string>();
    for (let at = 0; at < viewer.state.length; at++) {
      const state = viewer.state.slice();
      state[at] = (state[at] ?? 0) ^ 1;
      results.add(refusal(encodeRequest(hash, rk, { position: 0 as GrantGroup, clientTime: START, state }).bytes));
    }
    expect([...results].sort()).toEqual(['epoch-unknown', 'renewal-invalid']);
  });
  it('a state that a client made itself with all it knows', async () => {
    const viewer = await world.start(device, LIVE);
    const { state } = decodeState(viewer.state);
    // The client holds RK, not STK.
    const forged = encodeState(hash, viewer.sealed.renewalKey, { ...state, end: (state.end + 1000) as GrantGroup, duration: 3_600_000 });
    expect(refusal(encodeRequest(hash, viewer.sealed.renewalKey, { position: state.g0, clientTime: START, state: forged }).bytes)).toBe('renewal-invalid');
  });
  it('another session\'s state under this session\'s key', async () => {
    const [a, b] = [await world.start(device, LIVE), await world.start(device, LIVE)];
    expect(refusal(encodeRequest(hash, a.sealed.renewalKey, { position: 0 as GrantGroup, clientTime: START, state: b.state }).bytes)).toBe('renewal-invalid');
  });
  it('B084 unknown epochs, foreign zones and epochs that are over', async () => {
    const viewer = await world.start(device, LIVE);
    const { bytes } = viewer.request(0);
    const elsewhere = world.renewalNode({ zones: () => undefined });
    expect(elsewhere.renew(bytes)).toMatchObject({ code: 'epoch-unknown' });
    const otherMaster = zoneKey(hash, new Uint8Array(32), 'core');
    expect(world.renewalNode({ zones: () => ({ ...keysOf(viewer).zone, zoneKey: otherMaster }) }).renew(bytes)).toMatchObject({ code: 'renewal-invalid' });
    await world.clock.advance(49 * 3600);
    expect(refusal(bytes)).toBe('epoch-unknown');
  });
  it('anything that is no request, with problem documents, and never a fault', async () => {
    const viewer = await world.start(device, LIVE);
    const { bytes } = viewer.request(liveGroup(START));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.nat(bytes.length - 1).map((length) => bytes.subarray(0, length)), fc.uint8Array({ minLength: 1, maxLength: 20 }).map((tail) => new Uint8Array([...bytes, ...tail]))), (input) => {
        expect(world.renewal.renew(input).kind).toBe('refused');
      }),
    );
    const response = await post(bytes.subarray(0, 20));
    expect([response.status, response.headers.get('content-type'), ((await response.json()) as { code: string }).code]).toEqual([403, 'application/problem+json', 'renewal-invalid']);
    expect((await post(new Uint8Array(257))).status).toBe(413);
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(200)) });
    expect((await post(bytes, { body: endless, duplex: 'half' } as RequestInit)).status).toBe(413);
    expect((await world.renewal.handler(new Request('https://e.example/v1/renew'))).status).toBe(405);
    expect((await world.renewal.handler(new Request('https://e.example/v1/other', { method: 'POST' }))).status).toBe(404);
    expect((await world.renewal.handler(new Request('https://e.example/v1/renew', { method: 'OPTIONS' }))).status).toBe(204);
  });
});

describe('denials', () => {
  it('B005 an ended session gets act end with its reason, 200, no nodes, the same state and no token', async () => {
    const viewer = await world.start(device, LIVE);
    const before = viewer.state;
    expect(await world.licenses.endSession(viewer.sid, 'operator')).toBe(true);
    expect(await world.licenses.endSession(viewer.sid, 'operator')).toBe(false);
    await world.clock.advance(20);
    const { bytes, mac } = viewer.request(liveGroup(world.clock.now()));
    const response = await post(bytes);
    expect([response.status, response.headers.get('sealcast-media-token')]).toEqual([200, null]);
    expect(viewer.accept(mac, new Uint8Array(await response.arrayBuffer()))).toMatchObject({ act: 'end', reason: 'operator', nodes: [] });
    expect(viewer.state).toEqual(before);
    expect(world.told.filter(({ kind }) => kind === 'renewal.denied')).toHaveLength(1);
    expect(await world.stores.heartbeats.live({}, world.clock.now())).toEqual([]);
  });
  it('ends all sessions of an account, however many there were before', async () => {
    const first = await world.start(device, LIVE);
    const record = await world.stores.sessions.get(first.sid);
    if (record === undefined) throw new Error('no session');
    for (let i = 0; i < 1200; i++) await world.stores.sessions.create({ ...record, session: `old-${i}` as SessionId, entitledUntil: START, startedAt: (START + 1 + i) as Micros });
    expect(await world.licenses.endAccount('account-1' as never, 'operator')).toBe(1);
    expect(world.renewOn(world.renewal, first, 0).act).toBe('end');
  });
  it('ends the sessions of one account only', async () => {
    const viewers = await Promise.all([world.start(device, LIVE), world.start(device, FILM)]);
    const other = await world.start(device, LIVE, { entitlement: await world.entitlement({ sub: 'account-2' }) });
    expect(await world.licenses.endAccount('account-1' as never, 'leak')).toBe(2);
    expect(viewers.map((viewer) => world.renewOn(world.renewal, viewer, 0).act)).toEqual(['end', 'end']);
    expect(world.renewOn(world.renewal, other, 0).act).toBe('extend');
  });
  it('a state that was not renewed for two terms is told to get a new licence, and no more', async () => {
    const viewer = await world.start(device, FILM);
    await world.clock.advance(121);
    expect(world.renewOn(world.renewal, viewer, 9)).toMatchObject({ act: 'relicense', reason: 'state-old', nodes: [] });
  });
  it('an event whose horizon is used up is told to get a new licence, before the picture stops', async () => {
    const short = await createWorld({ liveHorizon: (120 * SECOND) as Micros });
    const viewer = await short.start(device, LIVE);
    let answer = short.renewOn(short.renewal, viewer, liveGroup(short.clock.now()));
    for (let i = 0; i < 10 && answer.act === 'extend'; i++) {
      await short.clock.advance(20);
      answer = short.renewOn(short.renewal, viewer, liveGroup(short.clock.now()));
    }
    expect(answer).toMatchObject({ act: 'relicense', reason: 'horizon', nodes: [] });
    expect(viewer.opens(liveGroup(short.clock.now()))).toBe(true);
    const next = await short.open((await short.relicense(viewer)).body, device);
    expect(next.sid).toBe(viewer.sid);
    expect(next.opens(liveGroup(short.clock.now()) + 9)).toBe(true);
  });
  it('a title\'s licence is renewed at its end without a new licence', async () => {
    const viewer = await world.start(device, FILM, { body: { position: 560 * SECOND } });
    for (const second of [20, 40]) {
      await world.clock.advance(20);
      expect(world.renewOn(world.renewal, viewer, Math.floor((560 + second) / 6) as GrantGroup)).toMatchObject({ act: 'extend', opened: 100 });
    }
  });
  it('a counting store that fails denies nobody', async () => {
    const viewer = await world.start(device, LIVE);
    await world.clock.advance(20);
    const node = world.renewalNode({ heartbeats: { record: () => Promise.reject(new Error('down')) } });
    expect(world.renewOn(node, viewer, liveGroup(world.clock.now())).act).toBe('extend');
    await settle();
    expect(world.counted.some((name) => name.startsWith('sealcast_renewal_heartbeat_failures_total'))).toBe(true);
  });
});

describe('the published bound', () => {
  const LAST = 40;
  it('holds for every schedule of renewals, claimed positions and denials, judged by the grant keys a client can unwrap', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(LIVE, FILM),
        fc.integer({ min: 3, max: 40 }),
        fc.array(fc.record({ wait: fc.integer({ min: 0, max: 50 }), claim: fc.integer({ min: -20, max: 200 }), replay: fc.boolean(), clone: fc.boolean() }), { maxLength: 8 }),
        async (asset, term, steps) => {
          const world = await createWorld({ policy: { interval: 1000, duration: term * 1000 } });
          const viewer = await world.start(device, asset);
          const first = asset === LIVE ? liveGroup(START) : 0;
          const states = [viewer.state];
          let openedBefore = viewer.sealed.opened as number;
          let bound = first * GROUP + term * SECOND + GROUP;
          for (const { wait, claim, replay, clone } of steps) {
            await world.clock.advance(wait);
            const elapsed = world.clock.now() - START;
            // A client that lies about its position and starts again from any state it ever had.
            if (clone) viewer.state = states[Math.min(states.length - 1, Math.abs(claim) % states.length)] as Uint8Array;
            const before = decodeState(viewer.state).state;
            const position = Math.max(0, first + claim);
            const { bytes, mac } = viewer.request(position);
            const outcome = world.renewalNode().renew(bytes);
            if (outcome.kind !== 'answered') throw new Error('refused');
            const answer = viewer.accept(mac, outcome.bytes);
            if (replay) viewer.take(viewer.accept(mac, (world.renewal.renew(bytes) as { bytes: Uint8Array }).bytes).nodes);
            states.push(viewer.state);
            // Monotonic in the state it came from, and never past the licence.
            expect(answer.opened).toBeGreaterThanOrEqual(before.opened);
            expect(answer.opened).toBeLessThanOrEqual(viewer.claims.horizon.to);
            openedBefore = Math.max(openedBefore, answer.opened);
            if (answer.act === 'extend') bound = Math.max(bound, first * GROUP + elapsed + term * SECOND + GROUP);
          }
          await world.licenses.endSession(viewer.sid, 'operator');
          await world.clock.advance(5);
          const denied = world.renewOn(world.renewal, viewer, first + 100);
          expect(denied.nodes).toEqual([]);
          const opened = Array.from({ length: LAST + 40 }, (_, i) => first + i).filter((group) => viewer.opens(group));
          const latest = Math.max(...opened);
          expect((latest + 1) * GROUP).toBeLessThanOrEqual(bound);
          expect(latest).toBeLessThan(openedBefore);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('sessions over time', () => {
  it('B084 rotates master secrets under running sessions', async () => {
    const viewer = await world.start(device, LIVE, { entitlement: await world.entitlement({ until: Math.floor(START / SECOND) + 40 * 3600 }) });
    const first = sessionIdBytes(viewer.sid)[0];
    await world.clock.advance(25 * 3600);
    await world.licenses.refresh();
    const later = await world.start(device, LIVE);
    expect(sessionIdBytes(later.sid)[0]).toBe((first ?? 0) + 1);
    // Old state, so relicense: but authentic, and with a new licence of the same epoch it goes on.
    expect(world.renewOn(world.renewal, viewer, 0)).toMatchObject({ act: 'relicense' });
    const again = await world.relicense(viewer);
    expect(again.status).toBe(201);
    const renewed = await world.open(again.body, device);
    await world.clock.advance(20);
    expect(world.renewOn(world.renewal, renewed, liveGroup(world.clock.now())).act).toBe('extend');
    await world.clock.advance(24 * 3600);
    await world.licenses.refresh();
    expect(world.renewal.renew(viewer.request(0).bytes)).toMatchObject({ code: 'epoch-unknown' });
  });
  it('two licence servers on one store share secrets and see each other\'s ends', async () => {
    const second = await world.licenseNode();
    const viewer = await world.start(device, LIVE);
    const node = world.renewalNode({ zones: second.zoneKeys, flags: second.flags });
    await world.clock.advance(2);
    expect(world.renewOn(node, viewer, liveGroup(world.clock.now())).act).toBe('extend');
    await world.licenses.endSession(viewer.sid, 'leak');
    await second.refresh();
    expect(world.renewOn(node, viewer, liveGroup(world.clock.now()))).toMatchObject({ act: 'end', reason: 'leak' });
    second.close();
  });
  it('a restarted licence server still knows what ended', async () => {
    const viewer = await world.start(device, LIVE);
    await world.licenses.endSession(viewer.sid, 'operator');
    const restarted = await world.licenseNode();
    expect(restarted.flags(viewer.sid, viewer.claims.device)).toBe('operator');
    expect(isAssetId(viewer.claims.asset)).toBe(true);
    restarted.close();
  });
  it('keeps the session id readable', async () => {
    const viewer = await world.start(device, LIVE);
    expect(decodeBase64url(viewer.sid)).toHaveLength(18);
  });
});
