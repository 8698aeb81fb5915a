// SPDX-License-Identifier: Apache-2.0
/**
 * What to do about secrets that were not pushed: ask the second edge after a random moment, then over HTTP, then ever more slowly.
 *
 * docs/wire/release.md, "Pull"; B176. Invariant: at most one round under way; rounds that bring nothing are followed by pauses of full jitter up to
 * min(8 s, 250 ms · 2^k), so that a million clients of a dead service ask it less and less; what is older than five seconds is left to blocks.
 */
import type { CryptoPeriod, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import type { Slot } from './link-slots.ts';

/** Asks for missing secrets. */
export type Puller = {
  /** A period's push did not come in time. */
  miss(period: CryptoPeriod): void;
  arrived(period: CryptoPeriod): void;
  /** An edge does not give it (now). */
  refused(period: CryptoPeriod): void;
  /** Whether it was asked for, so that its arrival counts as pulled. */
  asked(period: CryptoPeriod): boolean;
  stop(): void;
};

/** Spread of the first attempt, ms. */
const SPREAD = 60;
/** With a second connection the push may still come by it: a little more patience, ms. */
const PATIENCE = 40;
/** From asking on a connection to asking over HTTP, ms. */
const THEN_HTTP = 120;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 8000;
/** Periods that one round asks for singly; more come as a block. */
const SINGLY = 3;
const MOST = 50;
/** Older ones are given up, ms since they were missed. */
const GIVEN_UP = 5000;

/** A puller without work. `one` and `block` ask over HTTP; `missed` is told what was given up. */
export const createPuller = (options: {
  readonly clock: Clock;
  readonly draw: () => number;
  readonly known: (period: CryptoPeriod) => boolean;
  readonly slots: () => readonly Slot[];
  one(period: CryptoPeriod): Promise<void>;
  block(periods: readonly CryptoPeriod[]): Promise<void>;
  missed(period: CryptoPeriod): void;
}): Puller => {
  const { clock, draw } = options;
  const missing = new Map<CryptoPeriod, Millis>();
  const asked = new Set<CryptoPeriod>();
  let cancel = (): void => undefined;
  let busy = false;
  let vain = 0;

  const wanted = (): CryptoPeriod[] => {
    for (const [period, since] of missing) {
      if (options.known(period)) missing.delete(period);
      else if (clock.monotonic() - since > GIVEN_UP) {
        missing.delete(period);
        options.missed(period);
      }
    }
    return [...missing.keys()].sort((a, b) => a - b).slice(-MOST);
  };

  const after = (pause: number, run: () => void): void => {
    cancel = clock.after(pause as Millis, run);
  };

  const rest = (): void => {
    busy = false;
    if (wanted().length === 0) return;
    vain += 1;
    busy = true;
    after(draw() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** vain), byLink);
  };

  const byHttp = (): void => {
    const periods = wanted();
    if (periods.length === 0) return rest();
    for (const period of periods) asked.add(period);
    const asking = periods.length <= SINGLY ? Promise.all(periods.map(options.one)) : options.block(periods);
    void Promise.resolve(asking).finally(rest);
  };

  const byLink = (): void => {
    const periods = wanted();
    if (periods.length === 0) return rest();
    for (const period of periods) asked.add(period);
    while (asked.size > 4 * MOST) asked.delete(asked.values().next().value as CryptoPeriod);
    // The second connection first: the first one is the likelier to have lost the push.
    const sent = options.slots().filter(({ holding }) => !holding).toReversed().some(({ link }) => link.pull(periods));
    after(sent ? THEN_HTTP : 0, byHttp);
  };

  return {
    miss(period) {
      missing.set(period, clock.monotonic());
      if (busy) return;
      busy = true;
      const second = options.slots().length > 1;
      after((second ? PATIENCE : 0) + draw() * SPREAD, byLink);
    },
    arrived(period) {
      missing.delete(period);
      vain = 0;
    },
    refused(period) {
      // Too early or unknown there: the round goes on over HTTP as planned.
      if (!missing.has(period)) asked.delete(period);
    },
    asked: (period) => asked.has(period),
    stop() {
      cancel();
      missing.clear();
    },
  };
};
