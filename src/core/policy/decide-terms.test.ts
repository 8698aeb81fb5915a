// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssetId, DeviceId, SessionId } from '../ids.ts';
import { decide, type DecideInput, endsRemembered, jittered, mediaTokenLife, policyVersion } from '../license/decide.ts';
import type { EndReason } from '../license/reasons.ts';
import type { RenewalState } from '../license/renewal-state.ts';
import type { GrantGroup, Micros } from '../time.ts';
import { ENFORCEMENT_DEFAULTS } from './enforcement.ts';
import { OVERLOAD_DEFAULTS } from './overload.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = 1_800_000_000_000_000 as Micros;
const FILM = 2 * HOUR;
const POLICY = policyVersion({ enforcement: ENFORCEMENT_DEFAULTS });

const input = (change: Partial<DecideInput> = {}): DecideInput => ({
  policyVersion: POLICY,
  account: { level: 1, since: NOW, counters: {} },
  device: { device: 'd' as DeviceId, registered: true },
  title: { asset: 'film' as AssetId, live: false, timed: false, groupMillis: 30_000, contentMillis: FILM },
  session: { sid: 'A'.repeat(24) as SessionId },
  load: 1, health: 'up', now: NOW,
  ...change,
});
const level = (value: 1 | 2 | 3): DecideInput['account'] => ({ level: value, since: NOW, counters: {} });
const live: DecideInput['title'] = { asset: 'match' as AssetId, live: true, timed: false, groupMillis: 30_000 };
/** The state that a decision leaves with the client. */
const stateAfter = (given: DecideInput, age = 0): RenewalState => {
  const { interval, duration, own } = decide(given);
  return {
    sid: given.session.sid, accountHash: new Uint8Array(32), device: new Uint8Array(32), asset: given.title.asset, gen: 0, level: given.account.level, policy: 1, groupMillis: given.title.groupMillis,
    interval, duration, ownInterval: own.interval, ownDuration: own.duration, live: given.title.live, timed: false, end: (FILM / given.title.groupMillis) as GrantGroup,
    g0: 0 as GrantGroup, t0: NOW, opened: 1 as GrantGroup, issued: (given.now - age * 1000) as Micros, spent: 0,
  };
};
/** The renewal that follows, by a node that knows nothing but the state. */
const renewal = (given: DecideInput, change: Partial<DecideInput> = {}, age = 5 * MINUTE): DecideInput => {
  const { contentMillis: _, ...title } = given.title;
  const { overrides: _unknown, ...rest } = given;
  return { ...rest, title, session: { sid: given.session.sid }, state: stateAfter(given, age), ...change };
};

describe('levels', () => {
  test('B002 B051 level 1: every 5 min, for the content and x more', () => expect(decide(input())).toMatchObject({ interval: 5 * MINUTE, duration: FILM + 30 * MINUTE, grant: FILM + 30 * MINUTE }));
  test('B054 level 2: every 5 min, for half the content', () => expect(decide(input({ account: level(2) }))).toMatchObject({ interval: 5 * MINUTE, duration: FILM / 2 }));
  test('B059 level 3: every 3 min, for 5 min', () => expect(decide(input({ account: level(3) }))).toMatchObject({ interval: 3 * MINUTE, duration: 5 * MINUTE }));
  test('B066 live content has a horizon of 4 h, of which no grant opens more than 15 min', () => {
    expect(decide(input({ title: live }))).toMatchObject({ interval: 5 * MINUTE, duration: 15 * MINUTE });
    expect(decide(input({ title: live, policyVersion: policyVersion({ enforcement: ENFORCEMENT_DEFAULTS, maxLiveGrant: 10 * HOUR }) }))).toMatchObject({ duration: 4 * HOUR + 30 * MINUTE });
  });
  test('B063 the terms are configuration', () => {
    const enforcement = { ...ENFORCEMENT_DEFAULTS, slack: 60_000_000 as Micros, lightShare: 0.25 };
    const policy = policyVersion({ enforcement, interval: 10_000, duration: 20_000 });
    expect([1, 2, 3].map((each) => decide(input({ policyVersion: policy, account: level(each as 1) })).duration)).toEqual([FILM + MINUTE, FILM / 4, 20_000]);
  });
  test('B051 a film longer than ends are remembered: its licence lasts as long, its tokens and its state do not', () => {
    const TEN = 10 * HOUR;
    const given = input({ title: { ...input().title, contentMillis: TEN } });
    const { duration } = decide(given);
    expect([duration, endsRemembered(POLICY), mediaTokenLife(POLICY, duration)]).toEqual([TEN + 30 * MINUTE, 9 * HOUR, 9 * HOUR]);
    expect(mediaTokenLife(POLICY, 5 * MINUTE)).toBe(10 * MINUTE);
    const state = { ...stateAfter(given), end: (TEN / 30_000) as GrantGroup };
    const later = (millis: number): DecideInput => ({ ...renewal(given), state, now: (NOW + millis * 1000) as Micros });
    expect(decide(later(9 * HOUR))).toMatchObject({ act: 'extend' });
    // It may have been ended in the meantime, and nobody would know: the licence server has to say.
    expect(decide(later(9 * HOUR + 1))).toMatchObject({ act: 'relicense', reason: 'state-old', grant: 0 });
  });
  test('B080 a node that knows only the state decides as the server that made the licence', () => {
    for (const each of [1, 2, 3] as const) {
      for (const title of [input().title, live]) {
        const first = input({ account: level(each), title, overrides: { account: { duration: 100 * MINUTE } } });
        expect(decide(renewal(first, {}, 60_000))).toMatchObject({ interval: decide(first).interval, duration: decide(first).duration });
      }
    }
  });
});

describe('periods that change', () => {
  test('B045 B070 device before account before title; the operator replaces, level 3 only tightens', () => {
    const overrides = { title: { interval: MINUTE, duration: 20 * MINUTE, mode: 'deny-new' as const, limit: 1 }, account: { duration: 40 * MINUTE, limit: 5 }, device: { duration: 30 * MINUTE } };
    expect(decide(input({ overrides }))).toMatchObject({ interval: MINUTE, duration: 30 * MINUTE, mode: 'deny-new', limits: { account: 5, title: 1 } });
    expect(decide(input({ overrides, account: level(3) }))).toMatchObject({ interval: MINUTE, duration: 5 * MINUTE });
    expect(decide(input({ overrides: { account: { interval: 10 * MINUTE, duration: 5 * HOUR } } }))).toMatchObject({ interval: 10 * MINUTE, duration: 5 * HOUR });
  });
  test('B015 B070 an override reaches a running session at its next renewal', () => {
    const first = input();
    expect(decide(renewal(first, { overrides: { account: { interval: MINUTE, duration: 2 * MINUTE } } }))).toMatchObject({ interval: MINUTE, duration: 2 * MINUTE });
    expect(decide(renewal(first, { account: level(3) }))).toMatchObject({ interval: 3 * MINUTE, duration: 5 * MINUTE });
  });
  test('B073 B074 well-behaved accounts have longer terms than suspicious ones', () => {
    const durations = [1, 2, 3].map((each) => decide(input({ account: level(each as 1) })).duration);
    expect(durations).toEqual([...durations].sort((a, b) => b - a));
    expect(new Set(durations).size).toBe(3);
  });
  test('an entitlement only tightens, and its terms stay with the session', () => {
    const tight = input({ session: { sid: input().session.sid, terms: { interval: 10_000, duration: 60_000 } } });
    expect(decide(tight)).toMatchObject({ interval: 10_000, duration: 60_000 });
    expect(decide(renewal(tight, {}, 10_000))).toMatchObject({ interval: 10_000, duration: 60_000 });
    expect(decide(input({ session: { sid: tight.session.sid, terms: { interval: 90 * HOUR, duration: 99 * HOUR } } }))).toMatchObject({ interval: 5 * MINUTE, duration: FILM + 30 * MINUTE });
  });
  test('B072 B100 an emergency triples a term, up to 30 min, and it is normal again afterwards', () => {
    let given = input({ account: level(3) });
    for (let times = 0; times < 5; times++) {
      const down = renewal(given, { health: 'down' }, 3 * MINUTE);
      expect(decide(down)).toMatchObject({ interval: 3 * MINUTE, duration: 15 * MINUTE, grant: 15 * MINUTE, events: [{ kind: 'emergency', level: 3 }] });
      given = { ...given, state: stateAfter(down, 0) };
    }
    expect(decide({ ...given, state: { ...(given.state as RenewalState), issued: NOW } })).toMatchObject({ duration: 5 * MINUTE });
    expect(decide(renewal(input({ account: level(2) }), { health: 'down' }))).toMatchObject({ duration: FILM / 2 });
    const tight = input({ session: { sid: input().session.sid, terms: { duration: 15 * MINUTE } } });
    expect(decide(renewal(tight, { health: 'down' }, MINUTE)).duration).toBe(30 * MINUTE);
  });
  test('B071 overload lengthens interval and duration by its factor', () => {
    for (const load of OVERLOAD_DEFAULTS.factors) {
      expect(decide(input({ account: level(3), load }))).toMatchObject({ interval: 3 * MINUTE * load, duration: 5 * MINUTE * load });
    }
    expect(decide(input({ title: live, load: 4 })).duration).toBe(15 * MINUTE);
  });
  test('a late state has strict terms once, a state older than two terms needs a new licence', () => {
    const first = input({ account: level(2) });
    expect(decide(renewal(first, {}, FILM / 2))).toMatchObject({ act: 'extend', duration: FILM / 2 });
    expect(decide(renewal(first, {}, FILM / 2 + 1))).toMatchObject({ act: 'extend', duration: 5 * MINUTE, interval: 3 * MINUTE, nextLevel: 2 });
    expect(decide(renewal(first, {}, FILM + 1))).toMatchObject({ act: 'relicense', reason: 'state-old', grant: 0 });
  });
});

const anyInput: fc.Arbitrary<{ given: DecideInput; age: number; ended: EndReason | undefined }> = fc.record({
  given: fc.record({
    account: fc.constantFrom(level(1), level(2), level(3)),
    title: fc.oneof(fc.constant(live), fc.integer({ min: MINUTE, max: 5 * HOUR }).map((contentMillis) => ({ ...input().title, contentMillis }))),
    sid: fc.stringMatching(/^[A-Za-z0-9_-]{24}$/),
    load: fc.constantFrom(1, 1.5, 2, 4),
    health: fc.constantFrom('up' as const, 'down' as const),
    overrides: fc.option(fc.record({ account: fc.record({ interval: fc.integer({ min: 1000, max: HOUR }), duration: fc.integer({ min: 2000, max: 9 * HOUR }) }) }), { nil: undefined }),
    terms: fc.option(fc.record({ interval: fc.integer({ min: 1000, max: HOUR }), duration: fc.integer({ min: 2000, max: 9 * HOUR }) }), { nil: undefined }),
  }).map(({ sid, overrides, terms, ...rest }) => input({ ...rest, session: { sid: sid as SessionId, ...(terms !== undefined && { terms }) }, ...(overrides !== undefined && { overrides }) })),
  age: fc.integer({ min: 0, max: 12 * HOUR }),
  ended: fc.option(fc.constantFrom<EndReason>('viewer', 'concurrency', 'operator', 'leak', 'entitlement', 'device-revoked'), { nil: undefined }),
});
const runs = { seed: 42, numRuns: 2000 };

describe('whatever the input', () => {
  test('B101 B104 an ended session gets nothing, an over-old state no more than a new licence: load and emergency change neither', () => {
    fc.assert(fc.property(anyInput, ({ given, age, ended }) => {
      const next = renewal(given, { load: given.load, health: given.health }, age);
      const decision = decide({ ...next, session: { ...next.session, ...(ended !== undefined && { ended }) } });
      const tooOld = age > Math.min(2 * (next.state as RenewalState).duration, endsRemembered(POLICY));
      if (ended !== undefined) expect(decision).toMatchObject({ act: 'end', reason: ended, grant: 0 });
      else if (tooOld) expect(decision).toMatchObject({ act: 'relicense', grant: 0 });
      else expect(decision).toMatchObject({ act: 'extend', reason: 'none' });
      expect(decision.act === 'extend' || decision.grant === 0).toBe(true);
    }), runs);
  });
  test('B077 a renewal is due before the term is over, jittered by less than -10 % and never later', () => {
    fc.assert(fc.property(anyInput, ({ given }) => {
      const { after, interval, duration } = decide(given);
      expect(after).toBeLessThanOrEqual(interval);
      expect(after).toBeGreaterThan(interval * 0.9);
      expect(interval).toBeLessThan(duration);
      expect(Number.isInteger(interval) && Number.isInteger(duration) && Number.isInteger(after)).toBe(true);
    }), runs);
    expect(jittered(1000, 'A'.repeat(24) as SessionId, NOW)).toBe(jittered(1000, 'A'.repeat(24) as SessionId, NOW));
  });
  test('a term is never longer than level, override and entitlement allow, times emergency or load, and never past the live cap', () => {
    fc.assert(fc.property(anyInput, ({ given }) => {
      const { duration } = decide(given);
      const normal = decide({ ...given, load: 1, health: 'up' }).duration;
      const emergency = given.health === 'down' ? Math.max(normal, Math.min(3 * normal, 30 * MINUTE)) : normal;
      expect(duration).toBeLessThanOrEqual(Math.max(emergency, normal * given.load));
      expect(duration).toBeGreaterThanOrEqual(normal);
      if (given.title.live) expect(duration).toBeLessThanOrEqual(15 * MINUTE);
      const most = given.session.terms?.duration;
      if (most !== undefined) expect(normal).toBeLessThanOrEqual(most);
      if (given.account.level === 3) expect(normal).toBeLessThanOrEqual(5 * MINUTE);
    }), runs);
  });
  test('B069 the same input gives the same decision', () => {
    fc.assert(fc.property(anyInput, ({ given }) => void expect(decide(structuredClone(given))).toEqual(decide(given))), { ...runs, numRuns: 300 });
  });
});
