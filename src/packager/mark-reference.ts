// SPDX-License-Identifier: Apache-2.0
/**
 * What the packager gives the tracer of a marked rendition: clear originals and the places in them.
 *
 * docs/wire/mark-box.md, "The tracer's reference". Invariant: the profile of a segment is written after its media, so that a
 * segment whose profile is there is whole; nothing of it lies below a folder that the origin serves.
 */
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId } from '#core/ids.ts';
import { encodeProfile, type MarkProfile } from '#core/mark/index.ts';
import type { AssetMarking, ObjectStore } from '#ports';

/** Format name of `marks.json`. */
export const MARKS_FORMAT = 'sealcast-marks/1';

/** References of one asset in an object store, below `{asset}/marks/`. Throws `store-unavailable`. */
export type MarkReferences = {
  /** Written before the first segment. `live`: segment numbers count from 1970. */
  describe(marking: Pick<AssetMarking, 'schedule' | 'segment' | 'representations'> & { readonly slots: number; readonly live: boolean; /** Variants made at the packager, in place of boxes. */ readonly variants?: number }): Promise<void>;
  header(representation: string, init: Uint8Array): Promise<void>;
  segment(representation: string, number: number, clear: Uint8Array, profile: MarkProfile): Promise<void>;
  /** Harmless if it is not there. */
  forget(representation: string, number: number): Promise<void>;
};

/** `store`: the tracer's, never the origin's. */
export const createMarkReferences = (store: ObjectStore, asset: AssetId): MarkReferences => ({
  describe: ({ schedule, segment, representations, slots, live, variants }) =>
    store.put(
      `${asset}/marks/marks.json`,
      encodeUtf8(`${JSON.stringify({ format: MARKS_FORMAT, asset, slots, segmentMicros: segment, book: { kind: 'aligned', schedule }, representations, live, ...(variants === undefined ? {} : { variants }) })}\n`),
    ),
  header: (representation, init) => store.put(`${asset}/marks/${representation}/init.mp4`, init),
  async segment(representation, number, clear, profile) {
    await store.put(`${asset}/marks/${representation}/${number}.m4s`, clear);
    await store.put(`${asset}/marks/${representation}/${number}.marks`, encodeProfile(profile));
  },
  async forget(representation, number) {
    await store.remove(`${asset}/marks/${representation}/${number}.marks`);
    await store.remove(`${asset}/marks/${representation}/${number}.m4s`);
  },
});
