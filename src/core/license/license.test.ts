// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHex } from '#core/bytes/hex.ts';
import { isSealcastError } from '#core/errors.ts';
import { type AccountId, type AssetId, assetId, type DeviceId, type KeyId, type SessionId } from '#core/ids.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { decide, type DecideInput, DEFAULT_POLICY, jittered, policyVersion } from './decide.ts';
import { parseEntitlement } from './entitlement.ts';
import { encodeLicenseClaims, encodeSealedLicense, type LicenseClaims, parseLicenseClaims, parseSealedLicense, type SealedLicense, wrappedGrant } from './license-claims.ts';
import { latestOpenEnd, openedRange } from './opened-range.ts';
import { parsePublicJwk } from './public-jwk.ts';
import { isEndReason, type Reason, reasonNumber, reasonOf, reasonText } from './reasons.ts';
import { decodeRequest, encodeAnswer, encodeRequest, MAX_REQUEST_LENGTH, nextState, openAnswer, type RenewalAnswer } from './renewal-message.ts';
import { decodeState, encodeState, type RenewalState } from './renewal-state.ts';
import { heartbeatAccount, makeSessionId, placeOf, sessionIdBytes, sessionIdOf } from './session-id.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const instant = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }).map((n) => n as Micros);
const group = u32.map((n) => n as GrantGroup);
const sid = bytes(18).map(sessionIdOf);
const asset = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,39}$/).map((text) => text as AssetId);
const level = fc.constantFrom(1 as const, 2 as const, 3 as const);
const state: fc.Arbitrary<RenewalState> = fc.record({
  sid, accountHash: bytes(32), device: bytes(32), asset, gen: u16, level, policy: u16, groupMillis: fc.integer({ min: 1, max: 0xffff_ffff }),
  interval: u32, duration: u32, ownInterval: u32, ownDuration: u32, live: fc.boolean(), timed: fc.boolean(), end: group, g0: group, t0: instant, opened: group, issued: instant, spent: u16,
});
const KEY = new Uint8Array(32).fill(4);

describe('session ids', () => {
  it('carry epoch byte and zone', () => {
    fc.assert(fc.property(fc.nat(100_000), fc.nat(255), bytes(16), (epoch, zone, random) => {
      const id = makeSessionId(epoch, zone, random);
      expect(placeOf(id)).toEqual({ epochByte: epoch % 256, zone });
      expect(sessionIdOf(sessionIdBytes(id))).toBe(id);
    }));
    for (const make of [() => makeSessionId(-1, 0, new Uint8Array(16)), () => makeSessionId(0, 256, new Uint8Array(16)), () => makeSessionId(0, 0, new Uint8Array(15))]) expect(make).toThrow(RangeError);
    expect(() => sessionIdOf(new Uint8Array(17))).toThrow('18 bytes; got 17');
  });
  it('heartbeats name accounts by hash', () => {
    expect(heartbeatAccount(hash, 'account-1' as AccountId)).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });
});

describe('renewal state', () => {
  it('decodes to what was encoded', () => {
    fc.assert(fc.property(state, (value) => {
      const { state: decoded, body, mac } = decodeState(encodeState(hash, KEY, value));
      expect(decoded).toEqual(value);
      expect([body.length, mac.length]).toEqual([140 + value.asset.length, 16]);
    }));
  });
  it('encodes canonically: two byte strings never decode to one state', () => {
    fc.assert(fc.property(state, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, at, by) => {
      const encoded = encodeState(hash, KEY, value);
      const index = at % (encoded.length - 16);
      const altered = encoded.slice();
      altered[index] = (altered[index] ?? 0) ^ by;
      try {
        expect(decodeState(altered).state).not.toEqual(value);
      } catch (error) {
        expect(isSealcastError(error, 'renewal-invalid')).toBe(true);
      }
    }));
  });
  it('refuses anything else with renewal-invalid', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 220 }), state.chain((value) => fc.nat(100).map((cut) => encodeState(hash, KEY, value).subarray(0, 100 + (cut % 30))))), (input) => {
      expect(() => decodeState(input)).toThrow(expect.objectContaining({ code: 'renewal-invalid' }));
    }));
  });
});

const answerOf = (value: RenewalState, over: Partial<RenewalAnswer> = {}): RenewalAnswer => ({
  act: 'extend', reason: 'none', level: 2, serverTime: 5 as Micros, after: 1, interval: 2, duration: 3, policy: 4, g0: value.g0, t0: value.t0, opened: value.opened, issued: 6 as Micros, spent: 7,
  stateMac: new Uint8Array(16).fill(1), nodes: [{ block: 1, depth: 3, path: 5, key: new Uint8Array(32).fill(2) }], ...over,
});

describe('renewal messages', () => {
  it('decode to what was encoded, and fit', () => {
    fc.assert(fc.property(state, group, instant, (value, position, clientTime) => {
      const { bytes: request, mac } = encodeRequest(hash, KEY, { position, clientTime, state: encodeState(hash, KEY, value) });
      expect(request.length).toBeLessThanOrEqual(MAX_REQUEST_LENGTH);
      expect(decodeRequest(request)).toMatchObject({ position, clientTime, state: value, mac });
      const answer = answerOf(value);
      expect(openAnswer(hash, KEY, mac, encodeAnswer(hash, KEY, mac, answer))).toEqual(answer);
    }));
  });
  it('an answer with any byte changed, for another request or under another key is refused', () => {
    const [value] = fc.sample(state, { seed: 1, numRuns: 1 }) as [RenewalState];
    const request = new Uint8Array(16).fill(9);
    const answer = encodeAnswer(hash, KEY, request, answerOf(value));
    for (let at = 0; at < answer.length; at++) {
      const altered = answer.slice();
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(() => openAnswer(hash, KEY, request, altered)).toThrow(expect.objectContaining({ code: 'renewal-invalid' }));
      expect(() => openAnswer(hash, KEY, request, answer.subarray(0, at))).toThrow(expect.objectContaining({ code: 'renewal-invalid' }));
    }
    expect(() => openAnswer(hash, KEY, new Uint8Array(16), answer)).toThrow('not authentic');
    expect(() => openAnswer(hash, new Uint8Array(32), request, answer)).toThrow('not authentic');
  });
  it('a request is no answer: directions have their own labels', () => {
    const [value] = fc.sample(state, { seed: 2, numRuns: 1 }) as [RenewalState];
    const { bytes: request, mac } = encodeRequest(hash, KEY, { position: 0 as GrantGroup, clientTime: 0 as Micros, state: encodeState(hash, KEY, value) });
    expect(() => openAnswer(hash, KEY, mac, request)).toThrow('not authentic');
  });
  it('the next state takes over what the answer says and nothing else', () => {
    fc.assert(fc.property(state, (value) => {
      const over = { ...value, level: 3 as const, opened: 77 as GrantGroup, issued: 99 as Micros, interval: 8, duration: 9 };
      const target = encodeState(hash, KEY, over);
      const answer = answerOf(over, { level: 3, interval: 8, duration: 9, policy: value.policy, opened: over.opened, issued: over.issued, spent: value.spent, stateMac: target.slice(-16) });
      expect(encodeHex(nextState(encodeState(hash, KEY, value), answer))).toBe(encodeHex(target));
    }));
  });
});

describe('opened range', () => {
  const G = 6_000_000 as Micros;
  const input = fc.record({
    opened: fc.nat(500).map((n) => n as GrantGroup), end: fc.nat(600).map((n) => n as GrantGroup), position: fc.nat(700).map((n) => n as GrantGroup), g0: fc.nat(300).map((n) => n as GrantGroup),
    t0: fc.constant(1_000_000_000 as Micros), groupLength: fc.constant(G), term: fc.integer({ min: 0, max: 600_000_000 }).map((n) => n as Micros), now: fc.integer({ min: 900_000_000, max: 4_000_000_000 }).map((n) => n as Micros),
  }).filter(({ opened, end }) => opened <= end);
  it('never shrinks, never passes the end, and is idempotent', () => {
    fc.assert(fc.property(input, (value) => {
      const opened = openedRange(value);
      expect(opened).toBeGreaterThanOrEqual(value.opened);
      expect(opened).toBeLessThanOrEqual(value.end);
      expect(openedRange({ ...value, opened })).toBe(opened);
    }));
  });
  it('never shrinks with time, position or term', () => {
    fc.assert(fc.property(input, fc.nat(100), (value, more) => {
      for (const later of [{ now: (value.now + more * 1_000_000) as Micros }, { position: (value.position + more) as GrantGroup }, { term: (value.term + more * 1_000_000) as Micros }]) {
        expect(openedRange({ ...value, ...later })).toBeGreaterThanOrEqual(openedRange(value));
      }
    }));
  });
  it('keeps the published bound: nothing new ends after position or live edge + D + G', () => {
    fc.assert(fc.property(input, (value) => {
      const opened = openedRange(value);
      if (opened === value.opened) return;
      const playing = (value.position * G) as Micros;
      const liveEdge = (value.g0 * G + Math.max(0, value.now - value.t0)) as Micros;
      expect(opened * G).toBeLessThanOrEqual(latestOpenEnd(playing, value.term, G));
      expect(opened * G).toBeLessThanOrEqual(latestOpenEnd(liveEdge, value.term, G));
    }));
  });
  it('rounds grants up to whole groups', () => {
    const at = (term: number) => openedRange({ opened: 0 as GrantGroup, end: 99 as GrantGroup, position: 0 as GrantGroup, g0: 0 as GrantGroup, t0: 0 as Micros, groupLength: G, term: term as Micros, now: 0 as Micros });
    expect([0, 1, 6_000_000, 6_000_001].map(at)).toEqual([0, 1, 1, 2]);
  });
});

describe('decide', () => {
  const given: DecideInput = {
    policyVersion: policyVersion({ interval: 20_000, duration: 60_000 }),
    account: { level: 1, since: 0 as Micros, counters: {} },
    device: { device: 'd' as DeviceId, registered: true },
    title: { asset: assetId('a'), live: true, timed: false, groupMillis: 6000 },
    session: { sid: makeSessionId(1, 0, new Uint8Array(16)) },
    load: 1,
    health: 'up',
    now: 1_000_000_000 as Micros,
  };
  it('keeps the configured terms, jittered only ever shorter and the same everywhere', () => {
    fc.assert(fc.property(sid, instant, fc.integer({ min: 1, max: 10_000_000 }), (id, issued, interval) => {
      const after = jittered(interval, id, issued);
      expect(after).toBeLessThanOrEqual(interval);
      expect(after).toBeGreaterThanOrEqual(Math.floor(interval * 0.9));
      expect(jittered(interval, id, issued)).toBe(after);
    }));
    expect(decide(given)).toMatchObject({ act: 'extend', reason: 'none', interval: 20_000, duration: 60_000, grant: 60_000, mode: 'detection-only', nextLevel: 1 });
  });
  it('B077 spreads clients that start together over the whole jitter', () => {
    const values = fc.sample(sid, { seed: 3, numRuns: 2000 }).map((id) => jittered(100_000, id, 5 as Micros));
    const counts = Array.from({ length: 10 }, (_, i) => values.filter((value) => Math.min(9, Math.floor((value - 90_000) / 1000)) === i).length);
    for (const count of counts) expect(count).toBeGreaterThan(120);
  });
  it('caps live grants, and never loosens what entitlement or state hold', () => {
    const long = policyVersion({ interval: 300_000, duration: 7_200_000 });
    expect(decide({ ...given, policyVersion: long }).duration).toBe(900_000);
    expect(decide({ ...given, policyVersion: long, title: { ...given.title, live: false } }).duration).toBe(7_200_000);
    expect(decide({ ...given, session: { ...given.session, terms: { duration: 10_000, interval: 50_000 } } })).toMatchObject({ duration: 10_000, interval: 5000 });
  });
  it('ends what was ended and renews no state older than two terms', () => {
    const [old] = fc.sample(state, { seed: 4, numRuns: 1 }) as [RenewalState];
    const held = { ...old, duration: 60_000, interval: 20_000, issued: (given.now - 120_000_000) as Micros };
    expect(decide({ ...given, state: held }).act).toBe('extend');
    expect(decide({ ...given, state: { ...held, issued: (held.issued - 1) as Micros } })).toMatchObject({ act: 'relicense', reason: 'state-old', grant: 0 });
    expect(decide({ ...given, state: held, session: { ...given.session, ended: 'leak' } })).toMatchObject({ act: 'end', reason: 'leak', grant: 0 });
  });
  it('refuses policies that cannot work', () => {
    for (const broken of [{ interval: 300_000 }, { interval: 99 }, { interval: 1.5 }, { interval: 300_001 }, { duration: 8 * 24 * 3_600_000 }, { version: 65_536 }, { maxLiveGrant: 1000 }, { level: 4 as 3 }]) {
      expect(() => policyVersion(broken)).toThrow(expect.objectContaining({ code: 'config-invalid' }));
    }
    expect(policyVersion()).toEqual(DEFAULT_POLICY);
  });
});

describe('reasons', () => {
  it('have one number each, as docs/wire/renewal.md lists them, and a sentence', () => {
    const order: Reason[] = ['none', 'viewer', 'concurrency', 'operator', 'leak', 'entitlement', 'device-revoked', 'state-old', 'horizon', 'content-ended', 'replaced'];
    expect(order.map(reasonNumber)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(order.map((_, number) => reasonOf(number))).toEqual(order);
    expect(reasonOf(11)).toBeUndefined();
    for (const reason of order.slice(1)) expect(reasonText(reason)).toMatch(/^[A-Z].*\.$/);
    expect([isEndReason('leak'), isEndReason('horizon'), isEndReason(4)]).toEqual([true, false, false]);
  });
});

describe('licence documents', () => {
  const claims: LicenseClaims = {
    issuer: 'i', device: 'A'.repeat(43) as DeviceId, jti: 'j', issuedAt: 1_000_000 as Micros, expiresAt: 9_000_000 as Micros, sid: 'A'.repeat(24) as SessionId, asset: assetId('film'), kind: 'title', mode: 'untimed', scheme: 'cbcs', gen: 1,
    salt: new Uint8Array(16), entryKid: new Uint8Array(16) as KeyId, schedule: { period: 2_000_000 as Micros, periodsPerGroup: 3 }, keyGroups: ['video', 'audio'], horizon: { from: 2 as GrantGroup, to: 4 as GrantGroup }, sealed: 'x', terms: { interval: 1, duration: 2 }, time: 1_000_000 as Micros,
  };
  const sealed: SealedLicense = {
    renewalKey: new Uint8Array(32), nodes: [{ block: 0, depth: 8, path: 2, key: new Uint8Array(32) }], grants: new Uint8Array(80).map((_, i) => i), opened: 3 as GrantGroup, state: new Uint8Array(150),
    imported: [{ kid: new Uint8Array(16) as KeyId, keyGroup: 'video', from: 6 as CryptoPeriod, to: 9 as CryptoPeriod, wrapped: new Uint8Array(24) }],
  };
  it('parse to what was encoded', () => {
    expect(parseLicenseClaims(JSON.parse(JSON.stringify(encodeLicenseClaims(claims))))).toEqual(claims);
    expect(parseSealedLicense(encodeSealedLicense(sealed), claims.horizon)).toEqual(sealed);
    expect(parseSealedLicense(encodeSealedLicense({ ...sealed, imported: [] }), claims.horizon).imported).toEqual([]);
    expect([1, 2, 3, 4].map((g) => wrappedGrant(sealed, claims.horizon, g as GrantGroup)?.[0])).toEqual([undefined, 0, 40, undefined]);
  });
  it('are refused with any member missing or out of range', () => {
    const good = encodeLicenseClaims(claims);
    for (const name of Object.keys(good)) expect(() => parseLicenseClaims({ ...good, [name]: undefined })).toThrow();
    for (const bad of [{ horizon: [4, 4] }, { horizon: [0, 5000] }, { horizon: [0] }, { horizon: [-1, 3] }, { keyGroups: [] }, { keyGroups: ['video', 'video'] }, { keyGroups: ['text'] }, { gen: 65_536 }, { salt: 'AAAA' }, { period: 0 }, { mode: 'x' }, { terms: { interval: 1 } }, { aud: 'short' }, { sid: '' }]) {
      expect(() => parseLicenseClaims({ ...good, ...bad })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    }
    const plain = JSON.parse(encodeSealedLicense(sealed)) as Record<string, unknown>;
    for (const bad of [{ rk: 'AAAA' }, { grants: 'AAAA' }, { nodes: [{}] }, { nodes: [{ block: 0, depth: 9, path: 0, key: 'A'.repeat(43) }] }, { opened: -1 }, { state: '' }, { imported: [{}] }, { imported: 7 }]) {
      expect(() => parseSealedLicense(JSON.stringify({ ...plain, ...bad }), claims.horizon)).toThrow(expect.objectContaining({ code: 'bad-request' }));
    }
  });
});

describe('claims from outside', () => {
  it('never throw anything but typed errors', () => {
    const typed = (run: () => unknown): void => {
      try {
        run();
      } catch (error) {
        expect(isSealcastError(error)).toBe(true);
      }
    };
    fc.assert(fc.property(fc.jsonValue(), fc.dictionary(fc.constantFrom('iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'asset', 'assets', 'terms', 'kty', 'x', 'horizon', 'nodes'), fc.jsonValue()), (value, object) => {
      for (const input of [value, object]) {
        typed(() => parseEntitlement(input, 5 as Micros));
        typed(() => parseLicenseClaims(input));
        typed(() => parsePublicJwk(input, 'key'));
        typed(() => parseSealedLicense(JSON.stringify(input), { from: 0 as GrantGroup, to: 1 as GrantGroup }));
      }
    }));
  });
  it('public keys lose everything that is not part of the key', () => {
    const x = 'A'.repeat(43);
    expect(parsePublicJwk({ kty: 'EC', crv: 'P-256', x, y: x, use: 'sig', kid: '1' }, 'key')).toEqual({ kty: 'EC', crv: 'P-256', x, y: x });
    for (const bad of [{ d: x }, { crv: 'P-384' }, { kty: 'OKP' }, { x: 'AAAA' }, { y: `${x}A` }]) expect(() => parsePublicJwk({ kty: 'EC', crv: 'P-256', x, y: x, ...bad }, 'key')).toThrow('key:');
  });
});
