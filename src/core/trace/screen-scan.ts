// SPDX-License-Identifier: Apache-2.0
/**
 * Proposes the viewers of a mid-sized population whose codewords fit best, where errors or colluders hide them from the search.
 *
 * The search (search.ts) needs one epoch that can be read nearly whole. Here every viewer is scored on the epoch with most
 * readings, the best share of them on the next, and so on: about one encryption a viewer.
 * Invariant: proposes only. Whoever is proposed is judged by his e-value; whoever is not is not accused.
 */
import type { AlignedBook, ViewerNumber } from '#core/watermark/index.ts';
import type { EpochScores } from './search.ts';

/** Populations up to this size are scanned: some seconds of work. */
export const SCREENED_VIEWERS = 4_000_000;
/** Share of the viewers that stay after an epoch, and how many stay at least. */
const KEPT = 0.08;
const LEAST_KEPT = 4096;

/** The `wanted` best viewers by the sum of their scores, best first. */
export const screenViewers = (book: AlignedBook, viewers: number, epochs: readonly EpochScores[], wanted: number, exclude?: ReadonlySet<number>): readonly ViewerNumber[] => {
  const order = [...epochs].sort((a, b) => b.scores.filter((row) => row !== undefined).length - a.scores.filter((row) => row !== undefined).length);
  const digits = new Uint8Array(64);
  let left: Uint32Array | undefined;
  let totals = new Float64Array(viewers);
  for (const { at, scores } of order) {
    const { encode } = book.permutation(at);
    const rows = scores.flatMap((row, place) => (row === undefined ? [] : [{ row, place }]));
    for (let i = 0; i < totals.length; i++) {
      encode(left === undefined ? i : (left[i] as number), digits);
      let sum = totals[i] as number;
      for (const { row, place } of rows) sum += row[digits[place] as number] as number;
      totals[i] = sum;
    }
    const keep = Math.max(LEAST_KEPT, Math.ceil(totals.length * KEPT));
    if (keep >= totals.length) continue;
    const cut = Float64Array.from(totals).sort()[totals.length - keep] as number;
    const kept: number[] = [];
    for (let i = 0; i < totals.length && kept.length < keep; i++) if ((totals[i] as number) >= cut) kept.push(i);
    const before = left;
    left = Uint32Array.from(kept, (i) => (before === undefined ? i : (before[i] as number)));
    totals = Float64Array.from(kept, (i) => totals[i] as number);
  }
  const listed = left ?? Uint32Array.from({ length: viewers }, (_, viewer) => viewer);
  return [...listed.keys()]
    .filter((i) => exclude?.has(listed[i] as number) !== true)
    .sort((a, b) => (totals[b] as number) - (totals[a] as number))
    .slice(0, wanted)
    .map((i) => listed[i] as ViewerNumber);
};
