// SPDX-License-Identifier: Apache-2.0
/**
 * The host's clocks at full resolution, and waiting for an instant to within microseconds.
 *
 * Timers fire up to a millisecond early and several late; so a release sleeps with a timer, then blocks with Atomics.wait,
 * then spins. The monotonic clock is CLOCK_MONOTONIC itself, so that every worker thread reads the same one.
 * Invariant: `waitUntil` never returns before its instant.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { PreciseTime } from '#ports';

/** Left for spinning: what Atomics.wait may be late by on an idle core. */
const SPIN = 0.3;
/** The system clock is read again if the reads around it lie further apart than this, milliseconds. */
const TOGETHER = 0.1;
const TRIES = 6;

const monotonic = (): Millis => (Number(process.hrtime.bigint()) / 1e6) as Millis;

type TemporalNow = { readonly Now: { instant(): { readonly epochNanoseconds: bigint } } };
const temporal = (globalThis as { Temporal?: TemporalNow }).Temporal;
/** Nanoseconds where the runtime has them; Date.now() cuts to whole milliseconds, which only ever makes time look earlier. */
const system: () => number = temporal === undefined ? () => Date.now() * 1000 : () => Number(temporal.Now.instant().epochNanoseconds / 1000n);

/** Clocks of this host. */
export const createPreciseTime = (): PreciseTime => {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  return {
    monotonic,
    system() {
      let best = { at: 0 as Millis, utc: 0 as Micros, within: 0 as Millis };
      let apart = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < TRIES && apart > TOGETHER; attempt++) {
        const before = monotonic();
        const utc = system() as Micros;
        const after = monotonic();
        if (after - before < apart) {
          apart = after - before;
          best = { at: ((before + after) / 2) as Millis, utc, within: ((after - before) / 2) as Millis };
        }
      }
      return best;
    },
    waitUntil(at) {
      const rest = at - monotonic();
      if (rest > SPIN) Atomics.wait(cell, 0, 0, rest - SPIN);
      while (monotonic() < at);
    },
  };
};
