// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps the estimate of UTC fresh: asks the connected edge, or over HTTP, at the pace the estimate wants; starts over when the device slept.
 *
 * docs/wire/release.md, "Clock". Invariant: one question under way per instant; a device whose clocks moved against each other knows nothing until asked anew.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import { type ClockExchange, type ClockEstimate, type ClockReading, monotonicAt, nextExchangeIn, readEstimate, resync, startEstimate, takeExchange, watchWall } from './clock-estimate.ts';

/** UTC, kept. */
export type ChannelClock = {
  /** UTC at a monotonic instant, default now; undefined before the first exchange. */
  at(monotonic?: Millis): ClockReading | undefined;
  /** The monotonic time at which it is `utc`. */
  monotonicAt(utc: Micros): Millis | undefined;
  take(exchange: ClockExchange): void;
  /** Asks now if nothing is known yet. */
  hurry(): void;
  /** Forgets and asks anew. */
  restart(): void;
  stop(): void;
};

const WALL_LOOK = 1000 as Millis;

/** Asks from now on. `ask` sends a question on a connection if there is one; `askHttp` answers by itself. */
export const createChannelClock = (options: {
  readonly clock: Clock;
  readonly draw: () => number;
  ask(): boolean;
  askHttp(): Promise<ClockExchange | undefined>;
  /** The device's clocks moved against each other. */
  stepped(): void;
}): ChannelClock => {
  const { clock } = options;
  let estimate: ClockEstimate = startEstimate();
  let cancelAsk = (): void => undefined;
  let cancelLook = (): void => undefined;
  let stopped = false;

  const take = (exchange: ClockExchange): void => void (estimate = takeExchange(estimate, exchange));
  const ask = (): void => {
    if (options.ask()) return;
    void options.askHttp().then((exchange) => exchange !== undefined && take(exchange));
  };
  const plan = (): void => {
    cancelAsk();
    if (stopped) return;
    cancelAsk = clock.after(nextExchangeIn(estimate, options.draw()), () => {
      ask();
      plan();
    });
  };
  const look = (): void => {
    const { estimate: next, stepped } = watchWall(estimate, clock.monotonic(), clock.now());
    estimate = next;
    if (stepped) {
      options.stepped();
      ask();
      plan();
    }
    if (!stopped) cancelLook = clock.after(WALL_LOOK, look);
  };
  look();
  plan();

  return {
    at: (monotonic = clock.monotonic()) => readEstimate(estimate, monotonic),
    monotonicAt: (utc) => monotonicAt(estimate, utc, clock.monotonic()),
    take,
    hurry() {
      if (estimate.taken === 0) ask();
    },
    restart() {
      estimate = resync(estimate);
      ask();
      plan();
    },
    stop() {
      stopped = true;
      cancelAsk();
      cancelLook();
    },
  };
};
