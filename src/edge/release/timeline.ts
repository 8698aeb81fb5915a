// SPDX-License-Identifier: Apache-2.0
/**
 * The seven instants of a segment of a timed event, from the camera to the key, as one line per segment.
 *
 * 3GPP's figure: captured, packaged and encrypted, transmission start, first and last client has the bytes, key at the edge,
 * key pushed. Facts B167, B168: their order is checked, and the share of clients that held the bytes at T is shown.
 * Invariant: bounded memory; an instant that was not seen here is absent, not guessed.
 */
import type { AssetId } from '#core/ids.ts';
import { releaseInstant } from '#core/release/gate.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import type { SegmentArrival } from './figures.ts';

/** One segment; instants in microseconds UTC. */
export type SegmentInstants = {
  readonly segment: number;
  /** Camera: the start of the segment's media time. */
  readonly captured: Micros;
  /** Its last chunk was packaged and encrypted. */
  readonly packaged?: Micros;
  /** The edge sent its first byte to a client. */
  readonly sent?: Micros;
  /** First and last client that reported to have all its bytes. */
  readonly firstHeld?: Micros;
  readonly lastHeld?: Micros;
  readonly reports?: number;
  /** The secret of its first period came to the edge. */
  readonly keyAtEdge?: Micros;
  /** It was pushed. */
  readonly keyPushed?: Micros;
  /** T of its first period. */
  readonly releaseAt: Micros;
  /** Whether the instants come in their order; false names a fault worth a look. */
  readonly inOrder: boolean;
};

/** Collects the instants of all timed events of an edge. */
export type SegmentTimeline = {
  packaged(event: AssetId, segment: number, at: Micros): void;
  sent(event: AssetId, segment: number, at: Micros): void;
  granted(event: AssetId, from: CryptoPeriod, count: number, at: Micros): void;
  pushed(event: AssetId, period: CryptoPeriod, at: Micros): void;
  /** Newest first, at most `most` segments that are released or about to be. */
  view(info: ReleaseInfo, held: readonly SegmentArrival[], now: Micros, most: number): readonly SegmentInstants[];
  drop(event: AssetId): void;
};

/** A minute of 1 s segments. */
const KEEP = 64;

type Kept = { readonly packaged: Map<number, Micros>; readonly sent: Map<number, Micros>; readonly granted: Map<number, Micros>; readonly pushed: Map<number, Micros> };

/** `segmentDuration` of the events. */
export const createSegmentTimeline = (segmentDuration: Micros): SegmentTimeline => {
  const events = new Map<AssetId, Kept>();
  const of = (event: AssetId): Kept => {
    let kept = events.get(event);
    if (kept === undefined) events.set(event, (kept = { packaged: new Map(), sent: new Map(), granted: new Map(), pushed: new Map() }));
    return kept;
  };
  const keep = (map: Map<number, Micros>, key: number, at: Micros, replace: boolean): void => {
    if (!replace && map.has(key)) return;
    map.set(key, at);
    if (map.size > KEEP) map.delete(map.keys().next().value as number);
  };
  const firstPeriod = (info: ReleaseInfo, segment: number): CryptoPeriod => Math.floor((segment * segmentDuration) / info.period) as CryptoPeriod;
  /** Only first periods of segments are kept; which they are depends on the period length, so the caller's grid is learnt from `view`. */
  const grids = new Map<AssetId, number>();

  return {
    packaged: (event, segment, at) => keep(of(event).packaged, segment, at, true),
    sent: (event, segment, at) => keep(of(event).sent, segment, at, false),
    granted(event, from, count, at) {
      const grid = grids.get(event);
      if (grid === undefined) return;
      for (let period = Math.ceil(from / grid) * grid; period < from + count; period += grid) keep(of(event).granted, period, at, false);
    },
    pushed(event, period, at) {
      const grid = grids.get(event);
      if (grid !== undefined && period % grid === 0) keep(of(event).pushed, period, at, false);
    },
    view(info, held, now, most) {
      grids.set(info.event, Math.max(1, Math.round(segmentDuration / info.period)));
      const kept = of(info.event);
      const arrivals = new Map(held.map((each) => [each.segment, each]));
      const newest = Math.floor(now / segmentDuration);
      const list: SegmentInstants[] = [];
      for (let segment = newest; segment > newest - KEEP && list.length < most; segment--) {
        const period = firstPeriod(info, segment);
        const [packaged, sent, keyAtEdge, keyPushed] = [kept.packaged.get(segment), kept.sent.get(segment), kept.granted.get(period), kept.pushed.get(period)];
        const arrival = arrivals.get(segment);
        if (packaged === undefined && sent === undefined && arrival === undefined && keyPushed === undefined) continue;
        const captured = (segment * segmentDuration) as Micros;
        // Sending begins while the segment is still being made; the key comes by a way of its own.
        const chains: readonly (Micros | undefined)[][] = [[captured, sent, arrival?.first, arrival?.last], [captured, packaged], [keyAtEdge, keyPushed], [arrival?.first, keyPushed]];
        const inOrder = chains.every((chain) => {
          const known = chain.filter((at) => at !== undefined);
          return known.every((at, index) => index === 0 || at >= (known[index - 1] as Micros));
        });
        list.push({
          segment, captured, releaseAt: releaseInstant(info, period), inOrder,
          ...(packaged !== undefined && { packaged }), ...(sent !== undefined && { sent }),
          ...(arrival !== undefined && { firstHeld: arrival.first, lastHeld: arrival.last, reports: arrival.clients }),
          ...(keyAtEdge !== undefined && { keyAtEdge }), ...(keyPushed !== undefined && { keyPushed }),
        });
      }
      return list;
    },
    drop(event) {
      events.delete(event);
      grids.delete(event);
    },
  };
};
