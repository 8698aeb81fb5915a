// SPDX-License-Identifier: Apache-2.0
/**
 * A race of all tricks at once against a plain client: what each gains, period by period, and how far ahead anybody could be.
 *
 * docs/guide/timed-release.md, "What a racer gains"; shared by the tests, the bench and the demo. All run at the same time, so that a busy machine
 * slows them alike and only differences count.
 * Invariant: `best` takes the earliest arrival of anybody, whatever trick brought it.
 */
import type { AssetId } from '#core/ids.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch } from '#ports';
import type { OpenSocket } from '../release/edge-link.ts';
import { type Advantage, advantageOf, type Gain, gainOf } from './advantage.ts';
import { type Race, startRacer, type Tricks } from './racer.ts';

/** The tricks, by the names they have in reports. */
export const TRICKS: Readonly<Record<string, Tricks>> = {
  'many connections': { connections: 6 },
  'claims a round trip of 300 ms': { fakeRoundTrip: 300 as Millis },
  'clock an hour ahead': { clockLie: 3_600_000_000 as Micros },
  'clock an hour behind': { clockLie: -3_600_000_000 as Micros },
  'hammers pulls': { hammer: 10 },
  'claims the future': { claimFuture: true },
};

/** One trick's outcome. */
export type TrickResult = { readonly name: string; readonly connections: number; readonly advantage: Advantage; readonly gain: Gain; readonly refusals: Readonly<Record<string, number>> };
/** A whole race. */
export type RaceResult = {
  readonly info: ReleaseInfo;
  readonly plain: Advantage;
  /** The earliest arrival of anybody per period. */
  readonly best: Advantage;
  readonly tricks: readonly TrickResult[];
  /** Secrets as the racers got them. */
  readonly secrets: ReadonlyMap<CryptoPeriod, Uint8Array>;
};
/** Who races where, and how long; `token(n)` is that of the n-th account. */
export type CourseOptions = {
  readonly event: AssetId;
  readonly urls: readonly string[];
  readonly token: (account: number) => string;
  readonly openSocket: OpenSocket;
  readonly fetch: Fetch;
  readonly utc: () => Micros;
  /** How wrong `utc` may be. */
  readonly error: Micros;
  readonly timers: Clock;
  readonly seconds: number;
  readonly tricks?: Readonly<Record<string, Tricks>>;
};

/** Accounts that `runCourse` asks tokens of. */
export const ACCOUNTS: number = Object.keys(TRICKS).length + 1;
/** Before it counts: connections stand, the compiler has seen the code. */
const WARM_UP = 1500;

/** Runs the race. Throws RangeError if nobody got a secret. */
export const runCourse = async (options: CourseOptions): Promise<RaceResult> => {
  const { event, urls, openSocket, fetch, utc, timers } = options;
  const tricks = Object.entries(options.tricks ?? TRICKS);
  const wait = (millis: number): Promise<void> => new Promise((resolve) => void timers.after(millis as Millis, resolve));
  const start = (account: number, trick?: Tricks): Race => startRacer({ event, urls, token: () => options.token(account), openSocket, fetch, utc, timers, ...(trick && { tricks: trick }) });
  const plain = start(0);
  const races = tricks.map(([name, trick], index) => ({ name, trick, race: start(index + 1, trick) }));
  try {
    await wait(WARM_UP);
    const from = utc();
    await wait(options.seconds * 1000);
    const { info } = plain;
    if (info === undefined) throw new RangeError('no edge welcomed the plain client');
    /** What came of a race; replays at the join are older than its start. */
    const counted = (race: Race): Map<CryptoPeriod, Micros> => new Map([...race.firsts].filter(([period]) => info.firstRelease + period * info.period >= from));
    const honest = counted(plain);
    const best = new Map(honest);
    const secrets = new Map(plain.secrets);
    const results: TrickResult[] = [];
    for (const { name, trick, race } of races) {
      const firsts = counted(race);
      for (const [period, at] of firsts) if (at < (best.get(period) ?? Number.POSITIVE_INFINITY)) best.set(period, at);
      for (const [period, secret] of race.secrets) if (!secrets.has(period)) secrets.set(period, secret);
      const advantage = advantageOf(info, firsts, options.error);
      if (advantage === undefined) throw new RangeError(`nothing arrived for the racer that ${name}`);
      results.push({ name, connections: (trick.connections ?? 1) * urls.length, advantage, gain: gainOf(honest, firsts), refusals: Object.fromEntries(race.refusals) });
    }
    const [own, all] = [advantageOf(info, honest, options.error), advantageOf(info, best, options.error)];
    if (own === undefined || all === undefined) throw new RangeError('nothing arrived for the plain client');
    return { info, plain: own, best: all, tricks: results, secrets };
  } finally {
    plain.stop();
    for (const { race } of races) race.stop();
  }
};
