// SPDX-License-Identifier: Apache-2.0
/**
 * How long to wait before a title that is still downloading may be played without ever standing still.
 *
 * docs/wire/subscription.md, "Downloads" (B133). Play may start at the instant from which every segment arrives before it is
 * needed; that is a property of the segments' sizes and of the rate that is expected. Pure: a forecast in, a wait out.
 * Invariant: what arrives as forecast, or later by no more than the margin, is never waited for in the middle of a play.
 */
import type { Micros } from '#core/time.ts';

/** A segment that is still to come. */
export type AwaitedSegment = { /** Media time after the start of play at which its first sample is shown. */ readonly at: Micros; readonly bytes: number };

/** Rates in bits per second, one for each `step`; the last goes on for ever. */
export type RateForecast = { readonly step: Micros; readonly rates: readonly number[] };

/** Share of the wait that is added, for what a forecast does not know. */
const MARGIN = 0.05;

/** Instants, after now, at which segments are there if they come one after the other at the forecast rate. */
export const arrivals = (segments: readonly AwaitedSegment[], { step, rates }: RateForecast): readonly Micros[] => {
  const seconds = step / 1e6;
  const rest = Math.max(rates.at(-1) ?? 0, 0);
  let index = 0;
  let used = 0;
  let time = 0;
  return segments.map(({ bytes }) => {
    let bits = bytes * 8;
    while (bits > 0) {
      const rate = index < rates.length ? Math.max(rates[index] ?? 0, 0) : rest;
      if (index >= rates.length) {
        time = rate === 0 ? Number.POSITIVE_INFINITY : time + bits / rate;
        bits = 0;
        break;
      }
      const left = rate * (seconds - used);
      if (left > bits) {
        used += bits / rate;
        time += bits / rate;
        bits = 0;
      } else {
        bits -= left;
        time += seconds - used;
        index += 1;
        used = 0;
      }
    }
    return Math.ceil(time * 1e6) as Micros;
  });
};

/** The smallest wait that would do if everything came exactly as forecast. */
export const leastWait = (segments: readonly AwaitedSegment[], forecast: RateForecast): Micros =>
  arrivals(segments, forecast).reduce((most, arrival, index) => Math.max(most, arrival - (segments[index]?.at ?? 0)), 0) as Micros;

/** The wait to keep: the least one and its margin. Infinite where the forecast never brings the rest. */
export const prebufferWait = (segments: readonly AwaitedSegment[], forecast: RateForecast): Micros => Math.ceil(leastWait(segments, forecast) * (1 + MARGIN)) as Micros;

/**
 * What to expect of a line that was measured: as long again and again what was seen, slowest first. `seen`: bits per second of
 * equal pieces of time, any order. `length`: how far the forecast reaches.
 */
export const cautiousForecast = (seen: readonly number[], step: Micros, length: Micros): RateForecast => {
  const count = Math.max(1, Math.ceil(length / step));
  const sorted = [...seen].sort((a, b) => a - b);
  if (sorted.length === 0) return { step, rates: [0] };
  // Stretched over the whole length, not repeated: a bad stretch may well last as long as its share of what was seen.
  return { step, rates: Array.from({ length: count }, (_, index) => sorted[Math.floor((index * sorted.length) / count)] as number) };
};
