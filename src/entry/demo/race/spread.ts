// SPDX-License-Identifier: Apache-2.0
/** How far apart screens show the same frame. Pure; times in microseconds. */

/** What one screen showed: media time → instant. */
export type ScreenLog = Map<number, number>;

/** Over all frames that every screen showed: the distance of the first from the last screen, and the share inside `window`. */
export const displaySpread = (screens: readonly ScreenLog[], window: number): { readonly frames: number; readonly p50: number; readonly p95: number; readonly inside: number } => {
  const [first, ...others] = screens;
  const spreads: number[] = [];
  for (const [media, at] of first ?? []) {
    const all = [at, ...others.map((screen) => screen.get(media))];
    if (all.every((each) => each !== undefined)) spreads.push(Math.max(...all) - Math.min(...all));
  }
  spreads.sort((a, b) => a - b);
  const quantile = (share: number): number => spreads[Math.min(spreads.length - 1, Math.floor(share * spreads.length))] ?? Number.NaN;
  return { frames: spreads.length, p50: quantile(0.5), p95: quantile(0.95), inside: spreads.filter((spread) => spread <= window).length / Math.max(1, spreads.length) };
};
