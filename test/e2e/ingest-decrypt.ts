// SPDX-License-Identifier: Apache-2.0
/** Opens what the origin serves, with the keys a test knows. */
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { decryptFragment } from '#core/cenc/decrypt-fragment.ts';
import type { KeyLookup } from '#core/cenc/decrypt-fragment.ts';
import { readProtection } from '#core/cenc/read-protection.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Fragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';

export type OpenedSample = { readonly data: Uint8Array; readonly decodeTime: bigint; readonly duration: number; readonly compositionOffset: number; readonly sync: boolean };
export type Opened = {
  readonly samples: readonly OpenedSample[];
  readonly fragments: readonly Fragment[];
  /** `kid:iv` of every sample that has an IV of its own. */
  readonly vectors: readonly string[];
  readonly kids: readonly string[];
  readonly encrypted: boolean;
};

/** Decrypts a segment; clear segments pass. Throws when a key is missing. */
export const openSegment = (init: Uint8Array, segment: Uint8Array, keyOf: KeyLookup): Opened => {
  const { tracks } = parseInit(init);
  const samples: OpenedSample[] = [];
  const fragments: Fragment[] = [];
  const vectors: string[] = [];
  const kids = new Set<string>();
  let encrypted = false;
  const splitter = createBoxSplitter();
  for (const { bytes } of splitter.push(segment)) {
    const sealed = parseFragment(bytes, tracks);
    const track = tracks[0]!;
    for (const protection of track.protection === undefined ? [] : readProtection(sealed, onlyTrackFragment(sealed), track)) {
      if (protection === undefined) continue;
      encrypted = true;
      const kid = encodeHex(protection.parameters.kid);
      kids.add(kid);
      if (protection.parameters.ivSize > 0) vectors.push(`${kid}:${encodeHex(protection.iv)}`);
    }
    const answer = decryptFragment(bytes, tracks, keyOf, nodeSampleAes);
    if ('missing' in answer) throw new Error('a key is missing');
    const fragment = parseFragment(answer.clear, tracks);
    fragments.push(fragment);
    const run = onlyTrackFragment(fragment);
    let time = run.baseMediaDecodeTime as bigint;
    for (const sample of run.samples) {
      samples.push({
        data: fragment.bytes.subarray(sample.offset, sample.offset + sample.size),
        decodeTime: time,
        duration: sample.duration,
        compositionOffset: sample.compositionOffset,
        sync: sample.sync,
      });
      time += BigInt(sample.duration);
    }
  }
  splitter.end();
  return { samples, fragments, vectors, kids: [...kids], encrypted };
};

export const bytesOf = async (response: Response): Promise<Uint8Array> => new Uint8Array(await response.arrayBuffer());
