// SPDX-License-Identifier: Apache-2.0
/**
 * The source paper's decoder, as the baseline of `sealcast bench tracing`.
 *
 * He, Maillé, Simon, NOSSDAV'17, section 3.2: take a window of 2(L-1) segments; if a shorter sequence repeats through
 * it, that is the sequence, else its first L symbols are. It has no notion of a misread segment.
 * Invariant: right on every error-free window.
 */
import type { AdaptiveBook } from '#core/watermark/index.ts';
import { isPrimitive } from '#core/watermark/index.ts';

/** The viewer the paper's decoder names for a window, or undefined if nobody has that sequence. */
export const decodeAsPaper = (book: AdaptiveBook, window: Uint8Array, viewers: number): number | undefined => {
  const longest = book.longest(viewers);
  let word = window.slice(0, longest);
  for (let period = 1; period < longest; period++) {
    if (window.every((symbol, i) => i < period || symbol === window[i - period])) {
      word = window.slice(0, period);
      break;
    }
  }
  if (!isPrimitive(word)) return undefined;
  const viewer = book.viewerOf(book.sequences.rank(word));
  return viewer !== undefined && viewer < BigInt(viewers) ? Number(viewer) : undefined;
};
