// SPDX-License-Identifier: Apache-2.0
/**
 * How far the media of an event has come, and when it came that far: whether a viewer held the bytes of a period at its release.
 *
 * B167, B168. Invariant: bounded memory; what is asked about the past is answered from marks in the order they were made.
 */
import type { Micros } from '#core/time.ts';

/** Marks of how far media is complete. */
export type Received = {
  /** Media is complete up to media time `to`, since `at` (UTC). Told again and again; only progress counts. */
  mark(to: Micros, at: Micros): void;
  /** When media was complete up to `to`; undefined if it is not, or if that is too long ago. */
  since(to: Micros): Micros | undefined;
};

const MAX_MARKS = 400;

/** No media yet. */
export const createReceived = (): Received => {
  let marks: { readonly to: Micros; readonly at: Micros }[] = [];
  return {
    mark(to, at) {
      const newest = marks.at(-1);
      if (newest !== undefined && to <= newest.to) return;
      marks.push({ to, at });
      if (marks.length > MAX_MARKS) marks = marks.slice(-MAX_MARKS / 2);
    },
    since: (to) => marks.find((mark) => mark.to >= to)?.at,
  };
};
