// SPDX-License-Identifier: Apache-2.0
/**
 * Crowds of real release clients with a pretended decoder: when each secret was there, and when its first frame would be shown.
 *
 * Invariant: instants are this host's UTC, so that clocks of different clients compare; what a client shows follows its own estimate of time.
 */
import type { ReleaseChannel } from '#client/release/channel-types.ts';
import { releaseInstant } from '#core/release/gate.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import type { Edges } from './edges.ts';

/** One client as measured. */
export type Seat = { readonly channel: ReleaseChannel; /** Arrival of each secret, UTC µs. */ readonly arrived: Map<CryptoPeriod, number>; pulled: number };

/** Listens to a channel. */
export const seat = (edges: Edges, channel: ReleaseChannel): Seat => {
  const self: Seat = { channel, arrived: new Map(), pulled: 0 };
  channel.on('released', ({ from, to, way }) => {
    const at = edges.utc();
    if (way === 'pull') self.pulled += to - from;
    for (let period = from; period < to; period = (period + 1) as CryptoPeriod) if (!self.arrived.has(period)) self.arrived.set(period, at);
  });
  return self;
};

/** Share of (client, period) pairs whose secret was there by T + δ, over `count` periods from `first`. */
export const inTime = (edges: Edges, seats: readonly Seat[], first: CryptoPeriod, count: number): number => {
  let good = 0;
  for (const { arrived } of seats) {
    for (let period = first; period < first + count; period = (period + 1) as CryptoPeriod) if ((arrived.get(period) ?? Number.POSITIVE_INFINITY) <= releaseInstant(edges.info, period) + edges.info.delta) good++;
  }
  return good / (seats.length * count);
};

/** Decoder and screen, ms: facts of the mix file. */
export type Decoder = { readonly baseMs: number; readonly jitterMs: number; readonly vsyncMs: number };

/**
 * When the first frame of each period is on each screen: at W by the client's own clock, or, if its secret came too late for that, as soon as the decoder
 * has it; then whether all of one period lie inside `window` after the first of them. Answers the share, and spreads of periods, µs.
 */
export const displays = (edges: Edges, seats: readonly Seat[], first: CryptoPeriod, count: number, decoder: Decoder, window: number, random: () => number): { readonly inside: number; readonly late: number; readonly spreads: readonly number[] } => {
  let [inside, all, late] = [0, 0, 0];
  const spreads: number[] = [];
  // How far each client's clock is off this host's, now: what moves its screen.
  const offsets = seats.map(({ channel }) => {
    const reading = channel.now();
    return reading === undefined ? 0 : edges.utc() - reading.now;
  });
  for (let period = first; period < first + count; period = (period + 1) as CryptoPeriod) {
    const shown = seats.flatMap(({ arrived }, index): number[] => {
      const at = arrived.get(period);
      if (at === undefined) return [Number.POSITIVE_INFINITY];
      const due = releaseInstant(edges.info, period) + edges.info.delta + (offsets[index] ?? 0);
      const ready = at + 1000 * (decoder.baseMs - decoder.jitterMs * Math.log(1 - random()));
      if (ready > due) late++;
      return [Math.max(due, ready) + random() * decoder.vsyncMs * 1000];
    });
    const begin = Math.min(...shown);
    all += shown.length;
    inside += shown.filter((at) => at - begin <= window).length;
    spreads.push(Math.max(...shown.filter(Number.isFinite)) - begin);
  }
  return { inside: inside / all, late: late / all, spreads };
};

/** The next period to be released, by this host's clock. */
export const nextPeriod = (edges: Edges): CryptoPeriod => (Math.floor((edges.utc() - edges.info.firstRelease) / edges.info.period) + 1) as CryptoPeriod;
/** Rest of the time until `micros`. */
export const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, millis)));
/** `period`'s instant has come, and δ and half a second more. */
export const past = (edges: Edges, period: CryptoPeriod): Promise<void> => sleep((releaseInstant(edges.info, period) + edges.info.delta + 500_000 - edges.utc()) / 1000);
/** Micros for reading. */
export const millis = (micros: number): number => Number((micros / 1000).toFixed(2));
/** A second of it, in periods. */
export const perSecond = (edges: Edges): number => Math.max(1, Math.round(1_000_000 / (edges.info.period as Micros)));
