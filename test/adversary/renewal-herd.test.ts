// SPDX-License-Identifier: Apache-2.0
/**
 * Fault 14, the thundering herd: 100,000 clients whose licences end in the same second, on a simulated clock. Everything that
 * decides is the product's own: the servers' `decide` and `openedRange`, the client's first pause and its backoff.
 *
 * The servers answer so many renewals a second and refuse the rest as an overloaded server does (503, Retry-After 2).
 */
import { describe, expect, it } from 'vitest';
import { earlier } from '#client/renewal-timer.ts';
import { backoff, type Failure, longestPause } from '#client/transport.ts';
import { assetId, deviceId, type SessionId } from '#core/ids.ts';
import { decide, type DecideInput, policyVersion } from '#core/license/decide.ts';
import { openedRange } from '#core/license/opened-range.ts';
import type { EnforcementLevel, RenewalState } from '#core/license/renewal-state.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import type { GrantGroup, Micros, Millis } from '#core/time.ts';
import type { Random } from '#ports';

const CLIENTS = 100_000;
const SECOND = 1000;
/** Group length of a title, ms. */
const GROUP = 30_000;
const ASSET = assetId('film');
const DEVICE = deviceId('A'.repeat(43));
const EPOCH = 1_800_000_000_000_000;

const POLICY = policyVersion({ enforcement: ENFORCEMENT_DEFAULTS });
const REFUSED: Failure = { ok: false, final: false, status: 503, detail: '/v1/renew answered 503', retryAfter: (2 * SECOND) as Millis };

/** One generator for all: a linear congruence is random enough for pauses. */
const makeRandom = (): Random => {
  let seed = 12_345;
  const four = new Uint8Array(4);
  const view = new DataView(four.buffer);
  return {
    bytes() {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      // The low bits of a congruence are poor; only the high ones matter to a fraction.
      view.setUint32(0, seed);
      return four;
    },
  };
};

type Outcome = {
  /** Answered renewals and refused requests, by second. */
  readonly served: Float64Array;
  readonly asked: Float64Array;
  /** Clients that stood without opened content, at any time. */
  readonly stalled: number;
  /** Renewals per client. */
  readonly renewals: number;
};

const micros = (millis: number): Micros => (EPOCH + Math.round(millis * 1000)) as Micros;
const input = (sid: SessionId, level: EnforcementLevel, film: number, now: number, state?: RenewalState): DecideInput => ({
  policyVersion: POLICY,
  account: { level, since: micros(0), counters: {} },
  device: { device: DEVICE, registered: true },
  title: { asset: ASSET, live: false, timed: false, groupMillis: GROUP, contentMillis: film },
  session: { sid },
  ...(state !== undefined && { state }),
  load: 1,
  health: 'up',
  now: micros(now),
});

type Scene = { readonly level: EnforcementLevel; /** Length of the film, ms. */ readonly film: number; /** ms. */ readonly until: number; readonly perSecond?: number; readonly outage?: readonly [from: number, to: number]; readonly clients?: number };

/** Everybody starts at 0 and watches at normal speed to `until`; the servers are out between the two instants of `outage`. */
const run = ({ level, film, until, perSecond = Number.POSITIVE_INFINITY, outage = [0, 0], clients = CLIENTS }: Scene): Outcome => {
  const random = makeRandom();
  const seconds = until / SECOND;
  const [served, asked] = [new Float64Array(seconds + 1), new Float64Array(seconds + 1)];
  // Timers, by the second they fall due; within a second, in order of instant.
  const due: { at: number; client: number }[][] = Array.from({ length: seconds + 1 }, () => []);
  const plan = (client: number, at: number): void => void due[Math.floor(at / SECOND)]?.push({ client, at });
  const end = Math.ceil(film / GROUP) as GrantGroup;
  const opened = new Float64Array(clients);
  const failures = new Uint8Array(clients);
  const stood = new Uint8Array(clients);
  const issued = new Float64Array(clients);
  const sids = Array.from({ length: clients }, (_, client) => client.toString(36).padStart(24, '0') as SessionId);
  const terms = { interval: 0, duration: 0 };
  const range = (was: number, now: number, duration: number): GrantGroup =>
    openedRange({ opened: was as GrantGroup, end, position: Math.floor(now / GROUP) as GrantGroup, g0: 0 as GrantGroup, t0: micros(0), groupLength: (GROUP * 1000) as Micros, term: (duration * 1000) as Micros, now: micros(now) });
  for (let client = 0; client < clients; client++) {
    const { interval, duration } = decide(input(sids[client] as SessionId, level, film, 0));
    Object.assign(terms, { interval, duration });
    opened[client] = range(0, 0, duration);
    plan(client, earlier(interval, random));
  }
  let renewals = 0;
  for (let second = 0; second <= seconds; second++) {
    for (const { client, at } of (due[second] ?? []).sort((a, b) => a.at - b.at)) {
      asked[second] = (asked[second] ?? 0) + 1;
      // The playhead can be no further than what is open.
      const left = (opened[client] ?? 0) * GROUP - at;
      if (left < 0 && at < film) stood[client] = 1;
      const out = at >= outage[0] && at < outage[1];
      if (out || (served[second] ?? 0) >= perSecond) {
        failures[client] = Math.min(255, (failures[client] ?? 0) + 1);
        plan(client, at + backoff(failures[client] ?? 1, random, out ? undefined : REFUSED, longestPause(left)));
        continue;
      }
      served[second] = (served[second] ?? 0) + 1;
      renewals += 1;
      failures[client] = 0;
      const sid = sids[client] as SessionId;
      const state = { sid, level, groupMillis: GROUP, interval: terms.interval, duration: terms.duration, ownInterval: 0, ownDuration: 0, live: false, end, opened: opened[client], issued: micros(issued[client] ?? 0) } as unknown as RenewalState;
      const decision = decide(input(sid, level, film, at, state));
      const grown = range(opened[client] ?? 0, at, decision.grant);
      if (grown > (opened[client] ?? 0)) issued[client] = at;
      opened[client] = grown;
      plan(client, at + decision.after);
    }
  }
  for (let client = 0; client < clients; client++) if ((opened[client] ?? 0) * GROUP < Math.min(until, film)) stood[client] = 1;
  return { served, asked, stalled: stood.reduce((sum, one) => sum + one, 0), renewals: renewals / clients };
};
const peak = (values: Float64Array, from = 0, to = values.length): number => values.subarray(from, to).reduce((most, value) => Math.max(most, value), 0);

describe('fault 14: 100,000 licences that end in one second', () => {
  const film = 5400 * SECOND;

  it('B077 jitter spreads their renewals over a tenth of the interval at first, and further with every round', () => {
    const { asked, stalled, renewals } = run({ level: 2, film, until: 1200 * SECOND });
    expect(stalled).toBe(0);
    expect(renewals).toBeGreaterThan(3);
    // First wave: 30 s instead of one.
    expect(peak(asked, 0, 301)).toBeLessThan((CLIENTS / 30) * 1.25);
    expect(peak(asked, 900)).toBeLessThan(peak(asked, 0, 301) * 0.7);
  });

  it.each([
    [1, 'B052'],
    [2, 'B056'],
  ] as const)('level %i, %s: servers that answer a third of the first wave stop nobody, and the wave is worked off', (level, _line) => {
    const { served, asked, stalled } = run({ level, film, until: 560 * SECOND, perSecond: 1200 });
    expect(stalled).toBe(0);
    expect(peak(served)).toBe(1200);
    // Refused clients come back later and later, and not in step: the servers never see more than a fifth of the herd in a second.
    expect(peak(asked)).toBeLessThan(CLIENTS / 5);
    expect(served.reduce((sum, value) => sum + value, 0)).toBeGreaterThanOrEqual(CLIENTS);
  });

  it('level 2: an outage that ends a minute before half of the film, with 4,000 answers a second after it, stops nobody; level 1 has everything open', () => {
    const short = 800 * SECOND;
    const { stalled, asked } = run({ level: 2, film: short, until: 480 * SECOND, perSecond: 4000, outage: [250 * SECOND, 340 * SECOND] });
    expect(stalled).toBe(0);
    // Backoff holds the herd down, however long the outage lasts: everybody asks at most every 5 s or so.
    expect(peak(asked, 320)).toBeLessThan(CLIENTS / 5);
    expect(run({ level: 1, film: short, until: 480 * SECOND, perSecond: 400, outage: [250 * SECOND, 340 * SECOND], clients: 10_000 }).stalled).toBe(0);
  });

  it('the same outage at level 3 stops everybody: the simulation can tell', () => {
    expect(run({ level: 3, film, until: 520 * SECOND, perSecond: 4000, outage: [100 * SECOND, 500 * SECOND], clients: 10_000 }).stalled).toBe(10_000);
  });
});
