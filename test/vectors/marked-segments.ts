// SPDX-License-Identifier: Apache-2.0
/**
 * Segments with mark boxes around made-up media: what marking does to bytes does not depend on what they mean.
 *
 * Invariant: the same arguments give the same bytes, but for the ciphertext of boxes under another nonce.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import type { AssetId } from '#core/ids.ts';
import { writeBox } from '#core/isobmff/box.ts';
import { applySymbols, boxEpochMessage, boxEpochOf, joinSites, type MarkProfile, type MarkSite, marksOf, NO_SITES, shiftSites, type WithoutSites } from '#core/mark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createMarkBoxSealer } from '#crypto/mark-box.ts';

export const MARK_SECRET: Uint8Array = new Uint8Array(32).fill(0x21);
export const boxKeyOf = (epoch: number, secret: Uint8Array = MARK_SECRET): Uint8Array => hmacSha256(secret, boxEpochMessage(epoch));

export type MarkedSegment = {
  /** As the origin serves it. */
  readonly boxed: readonly Uint8Array[];
  /** Without boxes, unmarked. */
  readonly plain: Uint8Array;
  readonly profile: MarkProfile;
  /** As a viewer gets it. */
  copy(symbolOf: (slot: number) => number): Uint8Array;
};

const noise = (length: number, seed: number): Uint8Array => {
  let state = seed + 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
};

/** `chunks` chunks of `size` bytes of media with four places for each polarity group of each slot, or none for a reason. */
export const markedSegment = async (options: {
  asset: AssetId;
  representation?: string;
  segment: number;
  slots?: number;
  chunks?: number;
  size?: number;
  without?: WithoutSites;
  secret?: Uint8Array;
  /** Last word on each chunk's box. */
  change?: (box: Uint8Array, chunk: number) => Uint8Array | undefined;
}): Promise<MarkedSegment> => {
  const { asset, segment } = options;
  const { representation = 'v720', slots = 4, chunks = 3, size = 4000 } = options;
  const sealer = createMarkBoxSealer({ asset, representation, packagerStart: 77 });
  const lead = writeBox('styp', new TextEncoder().encode('msdh\0\0\0\0cmfs'));
  const boxed: Uint8Array[] = [];
  const plain: Uint8Array[] = [lead];
  const sites = [];
  let at = lead.length;
  for (let chunk = 0; chunk < chunks; chunk++) {
    const prft = writeBox('prft', noise(24, chunk));
    const parts = [writeBox('moof', noise(90, segment * 7 + chunk)), writeBox('mdat', noise(size, segment * 31 + chunk))];
    const list: MarkSite[] = Array.from({ length: slots * 2 * 4 }, (_, i) => ({ offset: 120 + i * Math.floor((size - 200) / (slots * 8)), slot: (i >> 1) % slots, group: (i & 1) as 0 | 1, mask: noise((i % 4) + 1, i).map((byte) => byte | 1) }));
    const found = options.without === undefined ? marksOf(list) : NO_SITES;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const profile: MarkProfile = { slots, size: length, sites: found, ...(options.without === undefined ? {} : { because: options.without }) };
    const sealed = await sealer.seal(segment, profile, parts, boxKeyOf(boxEpochOf(segment), options.secret), crypto.getRandomValues(new Uint8Array(12)));
    const box = options.change === undefined ? sealed : options.change(sealed, chunk);
    boxed.push(concatBytes(...(chunk === 0 ? [lead] : []), prft, ...(box === undefined ? [] : [box]), ...parts));
    plain.push(prft, ...parts);
    at += prft.length;
    sites.push(shiftSites(found, at));
    at += length;
  }
  const joined = joinSites(sites);
  const bytes = concatBytes(...plain);
  return {
    boxed,
    plain: bytes,
    profile: { slots, size: bytes.length, sites: joined, ...(options.without === undefined ? {} : { because: options.without }) },
    copy(symbolOf) {
      const copy = bytes.slice();
      applySymbols(copy, { slots, sites: joined }, symbolOf);
      return copy;
    },
  };
};
