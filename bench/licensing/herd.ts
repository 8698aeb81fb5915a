// SPDX-License-Identifier: Apache-2.0
/**
 * The thundering herd on a simulated clock: clients whose licences end in the same second. Everything that decides is the
 * product's own: the servers' `decide` and `openedRange`, the client's first pause and its backoff.
 *
 * The servers answer so many renewals a second and refuse the rest as an overloaded server does (503, Retry-After 2).
 */
import { earlier } from '#client/renewal-timer.ts';
import { backoff, type Failure, longestPause } from '#client/transport.ts';
import { assetId, deviceId, type SessionId } from '#core/ids.ts';
import { decide, type DecideInput, policyVersion } from '#core/license/decide.ts';
import { openedRange } from '#core/license/opened-range.ts';
import type { EnforcementLevel, RenewalState } from '#core/license/renewal-state.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import type { GrantGroup, Micros, Millis } from '#core/time.ts';
import type { Random } from '#ports';

export const CLIENTS = 100_000;
export const SECOND = 1000;
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

export type HerdOutcome = {
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

export type HerdScene = { readonly level: EnforcementLevel; /** Length of the film, ms. */ readonly film: number; /** ms. */ readonly until: number; readonly perSecond?: number; readonly outage?: readonly [from: number, to: number]; readonly clients?: number };

/** Everybody starts at 0 and watches at normal speed to `until`; the servers are out between the two instants of `outage`. */
export const runHerd = ({ level, film, until, perSecond = Number.POSITIVE_INFINITY, outage = [0, 0], clients = CLIENTS }: HerdScene): HerdOutcome => {
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
export const peak = (values: Float64Array, from = 0, to = values.length): number => values.subarray(from, to).reduce((most, value) => Math.max(most, value), 0);

type Judge = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason: string) => void;
const FILM = 5400 * SECOND;

/** Reports the herd by `judge`: how far jitter spreads it, and whom servers that answer a third of its first wave stop. */
export const measureHerd = (full: boolean, judge: Judge): void => {
  const clients = full ? CLIENTS : CLIENTS / 20;
  const free = runHerd({ level: 2, film: FILM, until: 1200 * SECOND, clients });
  const [first, later] = [peak(free.asked, 0, 301), peak(free.asked, 900)];
  const who = `${clients} clients that started in one second, simulated clock, the product's own decisions and pauses`;
  judge('herd-first-wave', first / clients, 'of all in one second', `${who}; without jitter 1`, '<= 0.042', first / clients <= 0.042, 'jitter spreads the first renewals too little');
  judge('herd-fourth-wave', later / first, 'ratio', 'busiest second of the fourth round of renewals beside the first round\'s', '<= 0.7', later / first <= 0.7, 'rounds do not spread further');
  for (const level of [1, 2] as const) {
    const { stalled } = runHerd({ level, film: FILM, until: 560 * SECOND, perSecond: (clients * 1200) / CLIENTS, clients });
    judge(`herd-stalled-level-${level}`, stalled, 'clients', `${who}; servers answer a third of the first wave's rate and refuse the rest`, '0', stalled === 0, 'clients stood without opened content');
  }
};
