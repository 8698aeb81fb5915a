// SPDX-License-Identifier: Apache-2.0
/**
 * The best-scoring viewer among up to 1e9 and more, exactly and without a table of viewers.
 *
 * Each epoch lists its strings by falling score; a string is decrypted to a viewer, who is scored over all epochs. No
 * viewer that was not seen yet can score more than the sum of the epochs' frontiers, so the search ends once that sum
 * falls below the best score found (Fagin's threshold algorithm over the epochs).
 * Invariant: with `exhaustive` true, no viewer of the population scores above `best`, and none ties it but `tied`.
 */
import type { AlignedBook, EpochAt, Permutation, ViewerNumber } from '#core/watermark/index.ts';
import { stringsByScore, type StringsByScore } from './best-first.ts';

/** The readings of one epoch: scores[j][d] of symbol d at its j-th position, undefined where nothing was read. */
export type EpochScores = { readonly at: EpochAt; readonly scores: readonly (Float64Array | undefined)[] };

/** A viewer and the single-leak score over all readings, in nats. */
export type Found = { readonly viewer: ViewerNumber; readonly score: number };
/** What a search found and whether it could rule out the rest. */
export type SearchResult = {
  readonly best: Found | null;
  readonly second: Found | null;
  /** Another viewer scores as much as `best`. */
  readonly tied: boolean;
  readonly exhaustive: boolean;
  /** Strings decrypted. */
  readonly visited: number;
};

/** What to search, and when to stop. */
export type SearchOptions = {
  readonly book: AlignedBook;
  readonly viewers: number;
  readonly epochs: readonly EpochScores[];
  readonly exclude?: ReadonlySet<number>;
  /** Stop as soon as a viewer scores this much: enough to accuse, whoever else there is. */
  readonly enough: number;
  /** Strings decrypted at most. */
  readonly limit: number;
};

/** Scores closer than this are equal: sums of the same terms in another order. */
const TIE = 1e-9;

type Source = { readonly permutation: Permutation; readonly pages: number; readonly scores: EpochScores['scores']; readonly strings: StringsByScore; readonly top: number; readonly scarcity: number; visited: number };

/** Searches until the result is certain, `enough` is reached or `limit` strings were decrypted. Never throws for readings. */
export const searchViewers = ({ book, viewers, epochs, exclude, enough, limit }: SearchOptions): SearchResult => {
  const digits = new Uint8Array(64);
  const sources: Source[] = epochs.map(({ at, scores }) => {
    const permutation = book.permutation(at);
    let top = 0;
    let unread = 0;
    for (const row of scores) {
      if (row === undefined) unread++;
      else top += Math.max(...row);
    }
    return { permutation, pages: Math.ceil(viewers / permutation.domain), scores, strings: stringsByScore(scores, book.alphabet), top, scarcity: book.alphabet ** unread, visited: 0 };
  });
  const totalTop = sources.reduce((sum, { top }) => sum + top, 0);

  let best: Found | null = null;
  let second: Found | null = null;
  let visited = 0;
  /** Scores a viewer epoch by epoch, giving up once even perfect remaining epochs would not beat the second best. */
  const consider = (viewer: number): void => {
    if (viewer >= viewers || exclude?.has(viewer) === true || viewer === best?.viewer || viewer === second?.viewer) return;
    const beat = second?.score ?? -Infinity;
    let score = totalTop;
    for (const { permutation, scores, top } of sources) {
      permutation.encode(viewer, digits);
      score -= top;
      for (let j = 0; j < scores.length; j++) {
        const row = scores[j];
        if (row !== undefined) score += row[digits[j] as number] as number;
      }
      if (score <= beat) return;
    }
    const found = { viewer: viewer as ViewerNumber, score };
    if (best === null || score > best.score) {
      second = best;
      best = found;
    } else second = found;
  };
  const result = (exhaustive: boolean): SearchResult => ({
    best,
    second,
    tied: best !== null && second !== null && (second as Found).score >= (best as Found).score - TIE,
    exhaustive,
    visited,
  });

  while (visited < limit) {
    let ceiling = 0;
    let chosen: Source | undefined;
    for (const source of sources) {
      const frontier = source.strings.frontier();
      // An epoch whose strings are all seen has shown every viewer.
      if (frontier === Number.POSITIVE_INFINITY) return result(true);
      ceiling += source.top - frontier;
      // Strings of an epoch with unread places are shared by many viewers: descend mostly where few are unread.
      if (chosen === undefined || source.visited * source.scarcity < chosen.visited * chosen.scarcity) chosen = source;
    }
    if (chosen === undefined) return result(false);
    if (best !== null && ((best as Found).score > ceiling + TIE || (second !== null && (second as Found).score >= (best as Found).score - TIE && (best as Found).score > ceiling - TIE))) return result(true);
    chosen.strings.next(digits);
    chosen.visited++;
    const string = digits.slice(0, chosen.scores.length);
    for (let page = 0; page < chosen.pages; page++) {
      visited++;
      consider(chosen.permutation.decode(string, page));
    }
    if (best !== null && (best as Found).score >= enough) return result(false);
  }
  return result(false);
};
