// SPDX-License-Identifier: Apache-2.0
/**
 * What the packager marks a running event with: keys, renditions, and the folder of the tracer's originals.
 *
 * Invariant: originals lie below `tracing/` of the data folder, never where the origin serves from.
 */
import { join } from 'node:path';
import { createFileObjectStore } from '#adapters/files/index.ts';
import type { AssetId } from '#core/ids.ts';
import { createMarkReferences, type LiveMarks } from '#packager/index.ts';
import type { AssetMarking, MarkBoxKeySource } from '#ports';
import type { Config } from './config/index.ts';

/** Undefined for assets whose marks do not lie inside the bitstream. Throws `store-unavailable`. */
export const liveMarks = async (options: { asset: AssetId; marking: AssetMarking; keys: MarkBoxKeySource; config: Pick<Config, 'data' | 'tracing'> }): Promise<LiveMarks | undefined> => {
  const { asset, marking, keys, config } = options;
  const { inBand, representations, schedule, segment } = marking;
  if (inBand === undefined) return undefined;
  const { referenceMinutes } = config.tracing;
  if (referenceMinutes === 0) return { slots: inBand.slots, representations, keys };
  const references = createMarkReferences(createFileObjectStore({ root: join(config.data, 'tracing'), durability: 'process' }), asset);
  await references.describe({ schedule, segment, representations, slots: inBand.slots, live: true });
  return { slots: inBand.slots, representations, keys, references, keepSegments: Math.max(1, Math.ceil((referenceMinutes * 60_000_000) / segment)) };
};
