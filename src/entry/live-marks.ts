// SPDX-License-Identifier: Apache-2.0
/**
 * What the packager marks running events and titles with: keys, renditions, and the folder of the tracer's originals.
 *
 * Invariant: originals lie below `tracing/` of the data folder, never where the origin serves from.
 */
import { join } from 'node:path';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { decodeBase64url } from '#core/bytes/base64url.ts';
import type { AssetId } from '#core/ids.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createMarkReferences, type LiveMarks, type MarkReferences } from '#packager/index.ts';
import type { AssetMarking, MarkBoxKeySource } from '#ports';
import type { Config } from './config/index.ts';
import type { OwnSecrets } from './secrets.ts';

/** Undefined for assets whose marks do not lie inside the bitstream. Throws `store-unavailable`. */
export const liveMarks = async (options: { asset: AssetId; marking: AssetMarking; keys: MarkBoxKeySource; config: Pick<Config, 'data' | 'tracing' | 'packager'> }): Promise<LiveMarks | undefined> => {
  const { asset, marking, keys, config } = options;
  const { inBand, representations, schedule, segment } = marking;
  if (inBand === undefined) return undefined;
  const { referenceMinutes } = config.tracing;
  const { requireMark } = config.packager;
  if (referenceMinutes === 0) return { slots: inBand.slots, representations, keys, requireMark };
  const references = createMarkReferences(createFileObjectStore({ root: join(config.data, 'tracing'), durability: 'process' }), asset);
  await references.describe({ schedule, segment, representations, slots: inBand.slots, live: true });
  return { slots: inBand.slots, representations, keys, requireMark, references, keepSegments: Math.max(1, Math.ceil((referenceMinutes * 60_000_000) / segment)) };
};

/** What titles are marked with. */
export type TitleMarks = { readonly keys: MarkBoxKeySource; references(asset: AssetId): MarkReferences };

/** Keys from the mark secrets of this process, originals below its data folder. */
export const titleMarks = (options: { data: string; secrets: Pick<OwnSecrets, 'text'> }): TitleMarks => ({
  keys: createMarkKeys({ secret: async (asset) => decodeBase64url(await options.secrets.text(`mark/${asset}`)) }),
  references: (asset) => createMarkReferences(createFileObjectStore({ root: join(options.data, 'tracing'), durability: 'process' }), asset),
});
