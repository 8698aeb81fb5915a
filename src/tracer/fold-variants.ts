// SPDX-License-Identifier: Apache-2.0
/**
 * From the slots of segments to the variant each carries, for titles whose variants were made of marks inside the bitstream.
 *
 * docs/wire/mark-box.md, "Variants". Slots of a segment are read apart; the likelihood of a variant is the product of those of
 * its symbols. Invariant: a segment with no slot read is an erasure; however sure its slots are, a misreading stays possible.
 */
import type { ObservedReading } from '#core/trace/index.ts';
import { position } from '#core/watermark/index.ts';

/** Share of segments that are misread whatever their slots look like: an edit, a cut of colluders. */
const MISREAD = 0.01;

/** One reading a segment, of `alphabet` symbols. `code` answers the symbols of each variant's slots. */
export const foldVariants = (readings: readonly ObservedReading[], options: { slots: number; alphabet: number; code(segment: number): readonly Uint8Array[] }): readonly ObservedReading[] => {
  const { slots, alphabet, code } = options;
  const bySegment = new Map<number, ObservedReading[]>();
  for (const reading of readings) {
    const segment = Math.floor(reading.position / slots);
    const known = bySegment.get(segment);
    if (known === undefined) bySegment.set(segment, [reading]);
    else known.push(reading);
  }
  return [...bySegment].map(([segment, list]): ObservedReading => {
    const variants = code(segment);
    const logs = new Float64Array(alphabet);
    let seen = 0;
    for (const { position: at, likelihoods } of list) {
      if (likelihoods === undefined) continue;
      seen += 1;
      for (let variant = 0; variant < alphabet; variant++) (logs[variant] as number) = (logs[variant] as number) + Math.log(Math.max(1e-300, likelihoods[variants[variant]?.[at % slots] ?? 0] as number));
    }
    if (seen === 0) return { position: position(segment), erased: list[0]?.erased ?? 'cut' };
    const top = Math.max(...logs);
    const shares = Array.from(logs, (log) => Math.exp(log - top));
    const sum = shares.reduce((total, share) => total + share, 0);
    return { position: position(segment), likelihoods: shares.map((share) => (1 - MISREAD) * (share / sum) + MISREAD / alphabet) };
  });
};
