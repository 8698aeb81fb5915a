// SPDX-License-Identifier: Apache-2.0
/**
 * Which sign bits of a slice are worth replacing, and how well each would carry a mark.
 *
 * Reference P pictures only: a change drifts to the end of the group of pictures, which is what survives a transcode. Inter
 * macroblocks, luma, lowest frequencies of the 8x8 transform or the DC-like coefficient of the 4x4, an amplitude of 20-44:
 * enough to be found again, too little to be seen. Amplitude a = 2 |level| Qstep (orthonormal), Qstep = 0.625 x 2^(QP/6) with
 * the weight of a scaling list in 16ths (ITU-T H.264 clause 8.5.9). Where a stream is coded so coarsely that its smallest level is
 * above that, places up to twice as strong stand in: the coding noise around them is stronger still.
 * A macroblock whose pixels an intra macroblock of the same picture is predicted from is left alone: the change would spread
 * over the picture from there (clause 8.3; not with constrained_intra_pred).
 * Invariant: rows that are answered belong to the slice just parsed and are used before the next one is.
 */
import { INTRA } from '#core/avc/slice-data/neighbours.ts';
import { LUMA_4X4, LUMA_8X8 } from '#core/avc/slice-data/sites.ts';
import { interLumaWeight } from '#core/avc/scaling-lists.ts';
import type { SliceData } from '#core/avc/slice-data/slice-data.ts';

/** Rows of a slice's sites with what choosing needs. */
export type Candidates = {
  readonly rows: readonly number[];
  /** Squared amplitude of each. */
  readonly energy: readonly number[];
  /** Evidence that the place gives, relative: the number of places is what is scarce. */
  readonly weight: readonly number[];
  /** 0 where it meets the rule, 1 where it only stands in. */
  readonly rank: readonly (0 | 1)[];
};

const LEAST_AMPLITUDE = 20;
const MOST_AMPLITUDE = 44;
/** Strongest that stand in, by transform: 10 and 15 grey levels at the peak. */
const COARSE_8X8 = 80;
const COARSE_4X4 = 60;
/** Within these the evidence per distortion is best. */
const BEST_FROM = 22;
const BEST_TO = 40;
/** Highest scan index of the 8x8 transform, and of the 4x4. */
const LAST_8X8 = 2;
const WEIGHT_8X8 = 0.1;
const WEIGHT_4X4 = 0.058;
const WEIGHT_BESIDE = 0.55;

const steps = new Float64Array(52);
for (let qp = 0; qp < 52; qp++) steps[qp] = 0.625 * 2 ** (qp / 6);

/** Candidates of a parsed P slice, in coding order. */
export const candidatesOf = (slice: SliceData): Candidates => {
  const { sites, header } = slice;
  const { count, block, index, kind, level, qp, mb } = sites;
  const spreads = spreading(slice);
  const weight4x4 = interLumaWeight(header, false, 0) / 16;
  const weights8x8 = [0, 1, 2].map((i) => interLumaWeight(header, true, i) / 16);
  const rows: number[] = [];
  const energy: number[] = [];
  const weight: number[] = [];
  const rank: (0 | 1)[] = [];
  for (let row = 0; row < count; row++) {
    const category = block[row] as number;
    const at = index[row] as number;
    const large = category === LUMA_8X8;
    if (!(large ? at <= LAST_8X8 : category === LUMA_4X4 && at === 0) || ((kind[row] as number) & INTRA) !== 0) continue;
    if (spreads(mb[row] as number)) continue;
    const step = (steps[Math.max(0, qp[row] as number)] as number) * (large ? (weights8x8[at] as number) : weight4x4);
    const amplitude = 2 * Math.abs(level[row] as number) * step;
    if (amplitude < LEAST_AMPLITUDE || amplitude > (large ? COARSE_8X8 : COARSE_4X4)) continue;
    rows.push(row);
    rank.push(amplitude > MOST_AMPLITUDE ? 1 : 0);
    energy.push(amplitude * amplitude);
    weight.push(amplitude * amplitude * (large ? WEIGHT_8X8 : WEIGHT_4X4) * (amplitude >= BEST_FROM && amplitude <= BEST_TO ? 1 : WEIGHT_BESIDE));
  }
  return { rows, energy, weight, rank };
};

/** Whether an intra macroblock to the right, or of the row below, is predicted from a macroblock of the slice. */
const spreading = ({ header, macroblocks, nextMb }: SliceData): ((mb: number) => boolean) => {
  if (header.pps.constrainedIntraPred) return () => false;
  const { widthInMbs } = header.sps;
  const intra = (mb: number): boolean => mb < nextMb && ((macroblocks[mb] as number) & INTRA) !== 0;
  return (mb) => {
    const column = mb % widthInMbs;
    const below = mb + widthInMbs;
    return (column + 1 < widthInMbs && (intra(mb + 1) || intra(below + 1))) || (column > 0 && intra(below - 1)) || intra(below);
  };
};
