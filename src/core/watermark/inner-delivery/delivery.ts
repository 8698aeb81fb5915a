// SPDX-License-Identifier: Apache-2.0
/**
 * Which variant an edge gives a viewer when fewer than m variants of a segment are to travel from the origin to the edge.
 *
 * He, Maillé, Simon, NOSSDAV'17, section 6, leaves this open: every edge needs every variant there. Chosen per event:
 * `every-variant` (nothing saved), `prefix` (viewers of an edge share the leading symbols of each epoch) and `two-phase`
 * (an edge has one copy of its own until a leak is traced to it; only then its viewers get theirs).
 * Invariant: a symbol is a function of key material, published plan, viewer, edge and position; nothing is remembered.
 */
import type { BiasedBook } from '../biased.ts';
import { MAX_VIEWER, type CodeBook, type Position, type ViewerNumber } from '../book.ts';
import { SealcastError } from '#core/errors.ts';
import type { EdgeNumber, PrefixBook } from './prefix.ts';

/** From this position on, until the other if there is one, an edge's viewers get copies of their own. */
export type Switched = { readonly edge: EdgeNumber; readonly from: Position; readonly until?: Position };

/** The copies the edges of an event give. */
export interface Delivery {
  readonly strategy: 'every-variant' | 'prefix' | 'two-phase';
  readonly alphabet: number;
  /** The symbol of a viewer whom `edge` serves at a position. Throws what the code book throws. */
  symbol(viewer: ViewerNumber, edge: EdgeNumber, at: Position): number;
}

const MAX_EDGES = 2 ** 20;
/** Edges are viewers of the code book as well, with numbers no viewer is given. */
const FIRST_EDGE_COPY = MAX_VIEWER - MAX_EDGES;

/** The pseudo-viewer whose copy is the common copy of an edge; throws `bad-request` unless `edge` is an integer of 0..2^20. */
export const edgeCopy = (edge: EdgeNumber): ViewerNumber => {
  if (!Number.isInteger(edge) || edge < 0 || edge > MAX_EDGES) throw new SealcastError('bad-request', 'edge must be an integer of 0..2^20');
  return (FIRST_EDGE_COPY + edge) as ViewerNumber;
};

/** Every edge has every variant: what a code book alone gives. */
export const everyVariant = (book: CodeBook): Delivery => ({ strategy: 'every-variant', alphabet: book.alphabet, symbol: (viewer, _, at) => book.symbol(viewer, at) });

/** Prefix code: the book knows which digits a viewer shares with its edge; a viewer keeps its symbols at other edges. */
export const prefixDelivery = (book: PrefixBook): Delivery => ({ strategy: 'prefix', alphabet: book.alphabet, symbol: (viewer, _, at) => book.symbol(viewer, at) });

/**
 * Two phases over a `biased` book, whose symbols of different viewers are independent: what an edge's viewers carry after
 * the switch is fresh evidence. `switched` is the plan all edges have; it may grow by positions that no edge has served.
 */
export const twoPhaseDelivery = (book: BiasedBook, switched: readonly Switched[]): Delivery => {
  const byEdge = new Map<EdgeNumber, Switched[]>();
  for (const item of switched) {
    edgeCopy(item.edge);
    byEdge.set(item.edge, [...(byEdge.get(item.edge) ?? []), item]);
  }
  return {
    strategy: 'two-phase',
    alphabet: book.alphabet,
    symbol: (viewer, edge, at) => {
      const own = byEdge.get(edge)?.some(({ from, until }) => at >= from && (until === undefined || at < until)) === true;
      return book.symbol(own ? viewer : edgeCopy(edge), at);
    },
  };
};
