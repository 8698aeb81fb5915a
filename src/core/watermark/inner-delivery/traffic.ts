// SPDX-License-Identifier: Apache-2.0
/**
 * What inner delivery costs: distinct variants per edge and segment, predicted and counted live.
 *
 * One variant per segment is what an event without marks costs; m is what the source paper's architecture costs. Bytes
 * are counted as well, because the highest representation carries most of them.
 * Invariant: a counter's memory is bounded whatever is fetched; an edge's retries of a variant count once.
 */
import { SealcastError } from '#core/errors.ts';
import type { Position, ViewerNumber } from '../book.ts';
import { MAX_ALPHABET, requireAlphabet } from '../counts.ts';
import type { Delivery } from './delivery.ts';
import type { EdgeNumber } from './prefix.ts';

/** The symbols an edge needs of a segment for the viewers it serves, ascending. */
export const variantsNeeded = (delivery: Delivery, edge: EdgeNumber, viewers: Iterable<ViewerNumber>, at: Position): readonly number[] => {
  const needed = new Set<number>();
  for (const viewer of viewers) {
    needed.add(delivery.symbol(viewer, edge, at));
    if (needed.size === delivery.alphabet) break;
  }
  return [...needed].sort((a, b) => a - b);
};

/** Variants per segment that `viewers` viewers with independent uniform symbols need: m (1 - (1 - 1/m)^viewers). */
export const expectedVariants = (alphabet: number, viewers: number): number => {
  requireAlphabet(alphabet);
  if (!(viewers >= 0)) throw new SealcastError('bad-request', 'viewers must be at least 0');
  return -alphabet * Math.expm1(viewers * Math.log1p(-1 / alphabet));
};

/** Totals of one event at one edge. */
export type DeliveryTotals = {
  /** Segments (of a representation) of which at least one variant was fetched. */
  readonly segments: number;
  /** Distinct variants fetched of them. */
  readonly variants: number;
  readonly bytes: number;
  /** Bytes of the first variant of each: what delivery without marks would have cost. */
  readonly plainBytes: number;
};

/** A live counter of one edge. */
export type DeliveryCounter = {
  /** A variant of a segment arrived from the origin. Counts once per (event, representation, position, symbol). */
  fetched(fetch: { readonly event: string; readonly representation: string; readonly position: Position; readonly symbol: number; readonly bytes: number }): void;
  /** Totals since the event's first fetch; zeros for an event that was not seen. */
  totals(event: string): DeliveryTotals;
  /** Events seen and not forgotten, in the order they were seen first. */
  events(): readonly string[];
  /** Drops an ended event. */
  forget(event: string): void;
};

const NOTHING: DeliveryTotals = { segments: 0, variants: 0, bytes: 0, plainBytes: 0 };
const REMEMBERED = 64;

type Counted = { totals: DeliveryTotals; readonly masks: Map<string, Map<number, number>> };

/**
 * A counter that remembers the last `remembered` positions (64 by default) of each representation. A fetch that lies
 * further back than they reach counts as a segment of its own.
 */
export const createDeliveryCounter = ({ remembered = REMEMBERED }: { remembered?: number } = {}): DeliveryCounter => {
  if (!Number.isInteger(remembered) || remembered < 1) throw new SealcastError('bad-request', 'remembered must be an integer of at least 1');
  const events = new Map<string, Counted>();
  return {
    fetched({ event, representation, position, symbol, bytes }) {
      if (!Number.isInteger(symbol) || symbol < 0 || symbol >= MAX_ALPHABET) throw new SealcastError('bad-request', `symbol must be an integer of 0..${MAX_ALPHABET - 1}`);
      if (!(bytes >= 0) || !Number.isFinite(bytes)) throw new SealcastError('bad-request', 'bytes must be a finite number of at least 0');
      let counted = events.get(event);
      if (counted === undefined) events.set(event, (counted = { totals: NOTHING, masks: new Map() }));
      let masks = counted.masks.get(representation);
      if (masks === undefined) counted.masks.set(representation, (masks = new Map()));
      const mask = masks.get(position);
      if (mask !== undefined && (mask & (1 << symbol)) !== 0) return;
      masks.set(position, (mask ?? 0) | (1 << symbol));
      if (masks.size > remembered) masks.delete(masks.keys().next().value as number);
      const { segments, variants, bytes: all, plainBytes } = counted.totals;
      const first = mask === undefined;
      counted.totals = { segments: segments + (first ? 1 : 0), variants: variants + 1, bytes: all + bytes, plainBytes: plainBytes + (first ? bytes : 0) };
    },
    totals: (event) => events.get(event)?.totals ?? NOTHING,
    events: () => [...events.keys()],
    forget: (event) => void events.delete(event),
  };
};
