// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssetId, DeviceId } from '../ids.ts';
import type { Micros } from '../time.ts';
import { type AccountEvent, type AccountRecord, ENFORCEMENT_DEFAULTS as P, type Level, newAccount, observeAccount, relax, replay, termsOf } from './enforcement.ts';

const MINUTE = 60_000_000;
const DAY = 24 * 60 * MINUTE;
const at = (minutes: number): Micros => (1_800_000_000_000_000 + minutes * MINUTE) as Micros;
const us = (value: number): Micros => value as Micros;
const dev = (n: number): DeviceId => `device-${n}` as DeviceId;
const title = (n: number): AssetId => `title-${n}` as AssetId;

let counter = 0;
const start = (minutes: number, options: { device?: number; asset?: number; position?: number; level?: Level } = {}): Extract<AccountEvent, { kind: 'initial' }> => {
  const terms = termsOf(options.level ?? 1, us(100 * MINUTE), P);
  return { kind: 'initial', at: at(minutes), session: `s${counter++}`, device: dev(options.device ?? 1), asset: title(options.asset ?? 1), ...terms, ...(options.position === undefined ? {} : { position: us(options.position * MINUTE) }) };
};
const renew = (minutes: number, session: string, advanced: number): AccountEvent => ({ kind: 'renewal', at: at(minutes), session, advanced: us(advanced * MINUTE) });
const levelAfter = (events: readonly AccountEvent[], from?: AccountRecord): Level => {
  let account = from ?? newAccount(events[0]?.at ?? at(0));
  for (const event of events) account = observeAccount(account, event, P).account;
  return account.level;
};
const atLevel = (level: Level): AccountRecord => ({ ...newAccount(at(0)), level });

describe('terms', () => {
  test('B050 all accounts start at level 1', () => expect(newAccount(at(0)).level).toBe(1));
  test('B051 level 1: interval 5 min, duration content + x', () => expect(termsOf(1, us(100 * MINUTE), P)).toEqual({ interval: 5 * MINUTE, duration: 130 * MINUTE }));
  test('B054 level 2: interval 5 min, duration content / 2', () => expect(termsOf(2, us(100 * MINUTE), P)).toEqual({ interval: 5 * MINUTE, duration: 50 * MINUTE }));
  test('B059 level 3: interval 3 min, duration 5 min', () => expect(termsOf(3, us(100 * MINUTE), P)).toEqual({ interval: 3 * MINUTE, duration: 5 * MINUTE }));
  test('B066 live or unknown duration uses the configured horizon', () => expect(termsOf(2, undefined, P).duration).toBe(120 * MINUTE));
});

describe('level 1 → 2', () => {
  test('B053 many unrenewed licences over several devices and no renewals', () => {
    const events = [0, 10, 20, 30, 40, 50].map((minutes, n) => start(minutes, { device: 1 + (n % 2), asset: n }));
    expect(levelAfter(events)).toBe(2);
    expect(levelAfter(events.map((event) => ({ ...event, device: dev(1) })))).toBe(1);
    expect(levelAfter([...events.slice(0, 3), renew(29, events[2]!.session, 5), ...events.slice(3)])).toBe(1);
  });
  test('B053 zapping through channels is not suppression: no renewal was owed yet', () => {
    expect(levelAfter(Array.from({ length: 30 }, (_, n) => start(n * 0.5, { device: 1 + (n % 2), asset: n })))).toBe(1);
  });
});

describe('level 2 → 3', () => {
  const suppressor = (asset: number, from: number): AccountEvent[] => [start(from, { asset, position: 0, level: 2 }), start(from + 50, { asset, position: 50, level: 2 })];
  test('B057 reloads at half of the content escalate on the second title, not on the first', () => {
    expect(levelAfter(suppressor(1, 0), atLevel(2))).toBe(2);
    expect(levelAfter([...suppressor(1, 0), ...suppressor(2, 200)], atLevel(2))).toBe(3);
  });
  test('B058 renewals close to the licence duration while playback went on', () => {
    const one = start(0, { position: 0, level: 2 });
    expect(levelAfter([one, renew(45, one.session, 45)], atLevel(2))).toBe(2);
    expect(levelAfter([one, renew(45, one.session, 45), renew(90, one.session, 45)], atLevel(2))).toBe(3);
  });
  test('B067 an honest reload per title never escalates', () => {
    const events: AccountEvent[] = [];
    for (let n = 0; n < 20; n++) {
      const first = start(n * 120, { asset: n, position: 0, level: 2 });
      const again = start(n * 120 + 20, { asset: n, position: 20, level: 2 });
      events.push(first);
      for (const minutes of [5, 10, 15]) events.push(renew(n * 120 + minutes, first.session, 5));
      events.push(again);
    }
    expect(levelAfter(events, atLevel(2))).toBe(2);
  });
  test('B068 long pauses with no renewals, then a reload at the same place, never escalate', () => {
    const events = Array.from({ length: 10 }, (_, n) => [start(n * 300, { asset: n, position: 0, level: 2 }), start(n * 300 + 200, { asset: n, position: 2, level: 2 })]).flat();
    expect(levelAfter(events, atLevel(2))).toBe(2);
    const paused = start(0, { level: 2 });
    expect(levelAfter([paused, renew(48, paused.session, 1), renew(96, paused.session, 0)], atLevel(2))).toBe(2);
  });
});

describe('relaxing and overrides', () => {
  test('fault 18, B062: a quiet week relaxes 3 to 2, a second one 2 to 1; a new cause resets the week', () => {
    const strict = { ...atLevel(3), lastCause: at(0) };
    expect(relax(strict, P, us(at(0) + 7 * DAY - 1)).account.level).toBe(3);
    expect(relax(strict, P, us(at(0) + 7 * DAY)).account.level).toBe(2);
    expect(relax(strict, P, us(at(0) + 14 * DAY)).account.level).toBe(1);
    const sixDays = (6 * DAY) / MINUTE;
    const again = observeAccount(strict, { kind: 'leak', at: at(sixDays), evidence: 'e1' }, P).account;
    expect(relax(again, P, us(at(0) + 8 * DAY)).account.level).toBe(3);
  });
  test('B064 every move carries its inputs; operators can move an account and are named', () => {
    const { changes } = observeAccount(atLevel(1), { kind: 'operator', at: at(1), level: 3, operator: 'anna' }, P);
    expect(changes).toEqual([{ at: at(1), from: 1, to: 3, cause: 'operator', inputs: { operator: 'anna' } }]);
  });
  test('B069 a changed policy replays over recorded events', () => {
    const events = [0, 10, 20, 30].map((minutes, n) => start(minutes, { device: 1 + (n % 2), asset: n }));
    expect(replay(events, P).changes).toEqual([]);
    const tighter = { ...P, suppression: { ...P.suppression, licenses: 4 } };
    expect(replay(events, tighter).changes.map((change) => [change.from, change.to, change.cause])).toEqual([[1, 2, 'suppression']]);
  });
});

test('an honest household never escalates, whatever it watches', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ device: fc.integer({ min: 1, max: 5 }), asset: fc.integer({ min: 1, max: 8 }), plays: fc.integer({ min: 0, max: 90 }), gap: fc.integer({ min: 0, max: 120 }), stops: fc.boolean() }), { maxLength: 60 }),
      (watches) => {
        let now = 0;
        const events: AccountEvent[] = [];
        for (const watch of watches) {
          const first = start(now, { device: watch.device, asset: watch.asset, position: 0 });
          events.push(first);
          for (let minute = 5; minute <= watch.plays; minute += 5) events.push(renew(now + minute, first.session, 5));
          now += watch.plays;
          if (watch.stops) events.push({ kind: 'stop', at: at(now), session: first.session });
          now += watch.gap;
        }
        for (const level of [1, 2] as const) if (events.length > 0) expect(levelAfter(events, atLevel(level))).toBeLessThanOrEqual(level);
      },
    ),
    { seed: 11, numRuns: 300 },
  );
});
