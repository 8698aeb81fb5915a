// SPDX-License-Identifier: Apache-2.0
/**
 * The marking of assets whose marks lie inside the bitstream: slots of a segment, code book, renditions.
 *
 * Design section 5; docs/wire/mark-box.md. Invariant: two symbols and the aligned book; what the catalogue says is what
 * packager, licence server and edges work with.
 */
import type { Micros } from '#core/time.ts';
import { slotsOf } from '#core/mark/index.ts';
import { position } from '#core/watermark/index.ts';
import type { AssetMarking } from '#ports';

/** Positions of an epoch of the code book: an edge needs a new key every six seconds, a title of six hours fewer than 4,096. */
const EPOCH_LENGTH = 48;

/** `segments`: how many a title has; absent for events, whose segments are numbered from 1970. */
export const inBandMarking = (options: { representations: readonly string[]; segment: Micros; segments?: number }): AssetMarking => ({
  sequencing: true,
  representations: options.representations,
  names: 'letters',
  pace: 'number',
  alphabet: 2,
  book: 'aligned',
  schedule: [{ from: position(0), length: EPOCH_LENGTH }],
  segment: options.segment,
  ...(options.segments === undefined ? {} : { segments: options.segments }),
  inBand: { slots: slotsOf(options.segment) },
});
