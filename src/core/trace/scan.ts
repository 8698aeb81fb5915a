// SPDX-License-Identifier: Apache-2.0
/**
 * The best-scoring viewer of a small population, by scoring everybody: cheaper there than searching codewords.
 *
 * Codewords are computed once per epoch and kept for the tracer's life: viewers x K bytes per epoch.
 * Invariant: the answer is that of search.ts with `exhaustive` true.
 */
import type { AlignedBook, ViewerNumber } from '#core/watermark/index.ts';
import type { EpochScores, Found, SearchResult } from './search.ts';

/** Up to this many viewers everybody is scored. */
export const SCAN_VIEWERS = 20_000;

/** A scan over the first `viewers` numbers of a book. */
export const createScan = (book: AlignedBook, viewers: number): ((epochs: readonly EpochScores[], exclude?: ReadonlySet<number>) => SearchResult) => {
  const words = new Map<number, Uint8Array>();

  const wordsOf = ({ at }: EpochScores): Uint8Array => {
    let known = words.get(at.epoch);
    if (known === undefined) {
      known = new Uint8Array(viewers * at.length);
      const { encode } = book.permutation(at);
      for (let viewer = 0; viewer < viewers; viewer++) encode(viewer, known.subarray(viewer * at.length, (viewer + 1) * at.length));
      words.set(at.epoch, known);
    }
    return known;
  };

  return (epochs, exclude) => {
    const totals = new Float64Array(viewers);
    for (const epoch of epochs) {
      const all = wordsOf(epoch);
      const { length } = epoch.at;
      epoch.scores.forEach((row, j) => {
        if (row === undefined) return;
        for (let viewer = 0, from = j; viewer < viewers; viewer++, from += length) totals[viewer] = (totals[viewer] as number) + (row[all[from] as number] as number);
      });
    }
    let best: Found | null = null;
    let second: Found | null = null;
    for (let viewer = 0; viewer < viewers; viewer++) {
      const score = totals[viewer] as number;
      if (second !== null && score <= (second as Found).score) continue;
      if (exclude?.has(viewer) === true) continue;
      const found: Found = { viewer: viewer as ViewerNumber, score };
      if (best === null || score > (best as Found).score) {
        second = best;
        best = found;
      } else second = found;
    }
    const tied = best !== null && second !== null && (second as Found).score >= (best as Found).score - 1e-9;
    return { best, second, tied, exhaustive: true, visited: viewers };
  };
};
