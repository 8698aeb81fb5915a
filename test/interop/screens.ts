// SPDX-License-Identifier: Apache-2.0
/** Compares what several screens showed when: the distance between the moments at which the same frame was on each of them. */

/** Frames of one screen: media time and instant, µs. */
export type Shown = readonly (readonly [mediaTime: number, at: number])[];

/** For each frame that at least two screens showed: ms between the first and the last of them. */
export const spreads = (screens: readonly Shown[]): readonly number[] => {
  const byFrame = new Map<number, number[]>();
  for (const shown of screens) {
    const own = new Map<number, number>();
    // Frames are 40 ms long; media times of players that map their own timeline are a little off.
    for (const [mediaTime, at] of shown) {
      const frame = Math.round(mediaTime / 40_000);
      if (!own.has(frame)) own.set(frame, at);
    }
    for (const [frame, at] of own) byFrame.set(frame, [...(byFrame.get(frame) ?? []), at]);
  }
  return [...byFrame.values()].filter((instants) => instants.length >= 2).map((instants) => (Math.max(...instants) - Math.min(...instants)) / 1000);
};

/** The value below which `share` of the values lie. */
export const quantile = (values: readonly number[], share: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
