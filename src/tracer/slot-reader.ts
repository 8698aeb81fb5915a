// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the slots of one segment: how far the suspect lies on the side of "switched" of every group of marked places.
 *
 * A sign flip is antipodal around the zeroed coefficient: whatever the pirate's coder shrinks, it shrinks toward
 * original + D/2. So with R the residual after the tone fit, T = sum (R - D/2) D over 2 x 2 and over 4 x 4 sums has its
 * threshold at 0, and the two polarity groups of a slot cancel what is common to both: z = (T_1 - T_0) / (E_1 + E_0).
 * No whitening, no mean removal, no averaging over frames: each of them takes away the low frequencies that survive.
 * Invariant: pixels are only looked at where some group changes them; nothing here knows any viewer's symbols.
 */
import type { Differences } from './differences.ts';
import { cubicAt } from './registration/picture.ts';
import type { Sampler, Tone } from './tone.ts';

/** Statistics of a slot: positive for symbol 1. */
export type SlotStatistic = {
  /** z of 2 x 2 and of 4 x 4 sums: half the share of the mark that survived, with the sign of the symbol. */
  readonly fine: number;
  readonly coarse: number;
  /** The same over its own noise, estimated cell by cell. */
  readonly fineRatio: number;
  readonly coarseRatio: number;
  /** Energy of the differences that were looked at, as a share of all. */
  readonly seen: number;
};

/** Adds up frames of one segment. */
export type SlotReader = {
  /** Frame n of the segment as the suspect shows it; `original` has the differences' stride. */
  add(n: number, sampler: Sampler, original: Uint8Array, tone: Tone): void;
  readonly frames: number;
  statistics(): readonly SlotStatistic[];
};

/** Residuals are clipped at this many levels a pixel: edges that a pirate moved are not marks. */
const CLIP = 12;

/** A reader without frames. */
export const createSlotReader = (differences: Differences): SlotReader => {
  const { width, height, frames: total, groups, starts, cells, sums } = differences;
  const across = width / 4;
  /** Per group: T, E and noise of both scales. */
  const scores = Array.from({ length: 6 }, () => new Float64Array(groups)) as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const energy = new Float64Array(groups);
  for (let group = 0; group < groups; group++) for (let i = starts[group * total] as number; i < (starts[(group + 1) * total] as number); i++) energy[group] = (energy[group] as number) + squares(sums, i);
  const residual = new Float32Array(across * (height / 4) * 4);
  /** Frame + 1 in which a cell was computed last; negative where the suspect does not show it. */
  const known = new Int32Array(across * (height / 4));
  let stamp = 0;
  let added = 0;

  const computeCell = (cell: number, sampler: Sampler, original: Uint8Array, terms: Float64Array): boolean => {
    const { suspect } = sampler;
    const x0 = (cell % across) * 4;
    const y0 = Math.floor(cell / across) * 4;
    if (x0 < 4 || y0 < 4 || x0 + 8 > sampler.width || y0 + 8 > sampler.height) return false;
    const m = sampler.pixels;
    const x3 = x0 + 3;
    const y3 = y0 + 3;
    // Corners of the cell in the suspect; between them the map is as good as straight.
    const wa = 1 / ((m[6] as number) * x0 + (m[7] as number) * y0 + (m[8] as number));
    const wb = 1 / ((m[6] as number) * x3 + (m[7] as number) * y0 + (m[8] as number));
    const wc = 1 / ((m[6] as number) * x0 + (m[7] as number) * y3 + (m[8] as number));
    const ax = ((m[0] as number) * x0 + (m[1] as number) * y0 + (m[2] as number)) * wa;
    const ay = ((m[3] as number) * x0 + (m[4] as number) * y0 + (m[5] as number)) * wa;
    const acrossX = (((m[0] as number) * x3 + (m[1] as number) * y0 + (m[2] as number)) * wb - ax) / 3;
    const acrossY = (((m[3] as number) * x3 + (m[4] as number) * y0 + (m[5] as number)) * wb - ay) / 3;
    const downX = (((m[0] as number) * x0 + (m[1] as number) * y3 + (m[2] as number)) * wc - ax) / 3;
    const downY = (((m[3] as number) * x0 + (m[4] as number) * y3 + (m[5] as number)) * wc - ay) / 3;
    const left = ax + 3 * Math.min(0, acrossX, downX, acrossX + downX);
    const top = ay + 3 * Math.min(0, acrossY, downY, acrossY + downY);
    const right = ax + 3 * Math.max(0, acrossX, downX, acrossX + downX);
    const bottom = ay + 3 * Math.max(0, acrossY, downY, acrossY + downY);
    if (!(left >= 1 && top >= 1 && right <= suspect.width - 3 && bottom <= suspect.height - 3)) return false;
    const t0 = terms[0] as number;
    const t1 = terms[1] as number;
    const t2 = terms[2] as number;
    const t3 = terms[3] as number;
    const t4 = terms[4] as number;
    const t5 = terms[5] as number;
    const out = cell * 4;
    residual[out] = residual[out + 1] = residual[out + 2] = residual[out + 3] = 0;
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        const at = (y0 + y) * width + x0 + x;
        const here = original[at] as number;
        const l = original[at - 1] as number;
        const r = original[at + 1] as number;
        const u = original[at - width] as number;
        const d = original[at + width] as number;
        const shown = cubicAt(suspect.luma, suspect.width, ax + x * acrossX + y * downX, ay + x * acrossY + y * downY);
        const expected = t0 + t1 * here + (t2 * here * here) / 255 + (t3 * (r - l)) / 2 + (t4 * (d - u)) / 2 + t5 * (l + r + u + d - 4 * here);
        const gain = Math.max(0.1, t1 + (2 * t2 * here) / 255);
        const value = (shown - expected) / gain;
        const place = out + (y >> 1) * 2 + (x >> 1);
        residual[place] = (residual[place] as number) + (value > CLIP ? CLIP : value < -CLIP ? -CLIP : value);
      }
    }
    return true;
  };

  return {
    add(n, sampler, original, tone) {
      stamp++;
      added++;
      const [t2, e2, v2, t4, e4, v4] = scores;
      for (let group = 0; group < groups; group++) {
        let fineT = 0;
        let fineE = 0;
        let fineV = 0;
        let coarseT = 0;
        let coarseE = 0;
        let coarseV = 0;
        const end = starts[group * total + n + 1] as number;
        for (let i = starts[group * total + n] as number; i < end; i++) {
          const cell = cells[i] as number;
          const when = known[cell] as number;
          if (when !== stamp) {
            if (when === -stamp) continue;
            const shown = computeCell(cell, sampler, original, tone.terms);
            known[cell] = shown ? stamp : -stamp;
            if (!shown) continue;
          }
          const at = cell * 4;
          let d4 = 0;
          let r4 = 0;
          for (let k = 0; k < 4; k++) {
            const d = sums[4 * i + k] as number;
            const r = residual[at + k] as number;
            const product = (r - d / 2) * d;
            fineT += product;
            fineE += d * d;
            fineV += product * product;
            d4 += d;
            r4 += r;
          }
          const product = (r4 - d4 / 2) * d4;
          coarseT += product;
          coarseE += d4 * d4;
          coarseV += product * product;
        }
        t2[group] = (t2[group] as number) + fineT;
        e2[group] = (e2[group] as number) + fineE;
        v2[group] = (v2[group] as number) + fineV;
        t4[group] = (t4[group] as number) + coarseT;
        e4[group] = (e4[group] as number) + coarseE;
        v4[group] = (v4[group] as number) + coarseV;
      }
    },
    get frames() {
      return added;
    },
    statistics() {
      const [t2, e2, v2, t4, e4, v4] = scores;
      return Array.from({ length: groups / 2 }, (_, slot) => {
        // Group 0 of a slot is on for symbol 1, group 1 for symbol 0.
        const [one, zero] = [2 * slot, 2 * slot + 1];
        const over = (t: Float64Array, e: Float64Array): number => {
          const total = (e[one] as number) + (e[zero] as number);
          return total > 0 ? ((t[one] as number) - (t[zero] as number)) / total : 0;
        };
        const ratio = (t: Float64Array, v: Float64Array): number => {
          const noise = (v[one] as number) + (v[zero] as number);
          return noise > 0 ? ((t[one] as number) - (t[zero] as number)) / Math.sqrt(noise) : 0;
        };
        const all = (energy[one] as number) + (energy[zero] as number);
        return {
          fine: over(t2, e2),
          coarse: over(t4, e4),
          fineRatio: ratio(t2, v2),
          coarseRatio: ratio(t4, v4),
          seen: all > 0 ? ((e2[one] as number) + (e2[zero] as number)) / all : 0,
        };
      });
    },
  };
};

const squares = (sums: Int8Array, entry: number): number => {
  let sum = 0;
  for (let k = 0; k < 4; k++) sum += (sums[4 * entry + k] as number) ** 2;
  return sum;
};
