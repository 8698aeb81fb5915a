// SPDX-License-Identifier: Apache-2.0
/**
 * Encrypt → decrypt gives back every byte: all coding tools, both schemes, audio, rotating keys, both decrypters.
 *
 * Also holds what a decrypter cannot notice: what stays clear is exactly what has to, and no vector comes twice.
 */
import { describe, expect, it, vi } from 'vitest';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { parseSliceHeader } from '#core/avc/slice-header.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { decryptFragment } from '#core/cenc/decrypt-fragment.ts';
import { createFragmentEncrypter } from '#core/cenc/encrypt-fragment.ts';
import type { FragmentKey } from '#core/cenc/encrypt-fragment.ts';
import { protectInit, unprotectInit } from '#core/cenc/protect-init.ts';
import { maxSubsamples } from '#core/cenc/subsamples.ts';
import { readProtection } from '#core/cenc/read-protection.ts';
import type { ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import { generatedAudio, generatedVideo, naturalClips, VIDEO_CODINGS } from './clips.ts';
import type { Cmaf } from './clips.ts';

// Each test runs several ffmpeg processes, beside whatever else the machine does.
vi.setConfig({ testTimeout: 120_000 });

const SCHEMES: readonly ProtectionScheme[] = ['cenc', 'cbcs'];
/** Sixteen bytes that tell their purpose and number. */
const bytes16 = (purpose: number, number: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => (purpose * 31 + number * 17 + i * 7) & 255);
const ENTRY = bytes16(1, 0) as KeyId;

/** Key of a fragment: a new one every second fragment. */
const rotating = (scheme: ProtectionScheme, fragment: number, nextIv: bigint): FragmentKey => {
  const period = fragment >> 1;
  const key = { kid: bytes16(2, period) as KeyId, key: bytes16(3, period) as ContentKey };
  return scheme === 'cenc' ? { ...key, firstIv: nextIv } : { ...key, constantIv: bytes16(4, period) };
};

const protect = (clip: Cmaf, scheme: ProtectionScheme): { init: Uint8Array; fragments: readonly Uint8Array[]; keys: ReadonlyMap<string, ContentKey> } => {
  const encrypter = createFragmentEncrypter({ scheme, track: clip.track, aes: nodeSampleAes, signalling: 'fragment', psshInFragments: true });
  const keys = new Map<string, ContentKey>();
  let nextIv = 1_000n;
  const fragments = clip.fragments.map((fragment, i) => {
    const key = rotating(scheme, i, nextIv);
    keys.set(encodeHex(key.kid), key.key);
    const result = encrypter.encrypt(fragment, key);
    if (scheme === 'cenc') nextIv = result.nextIv;
    return result.bytes;
  });
  const init = protectInit(clip.init, { scheme, defaultKid: ENTRY, ...(scheme === 'cbcs' ? { constantIv: bytes16(5, 0) } : {}) });
  return { init, fragments, keys };
};

/** What has to hold for every clip. */
const expectRoundTrip = async (clip: Cmaf, scheme: ProtectionScheme): Promise<void> => {
  const { init, fragments, keys } = protect(clip, scheme);
  expect(unprotectInit(init)).toEqual(clip.init);
  const { tracks } = parseInit(init);
  const keyOf = (kid: KeyId): ContentKey | undefined => keys.get(encodeHex(kid));
  const cipher = createSampleCipher();
  const seen = new Set<string>();
  const sets = clip.track.kind === 'video' ? createParameterSets(avcConfigurationOf(clip.track)) : undefined;
  for (const [i, fragment] of fragments.entries()) {
    const original = clip.fragments[i] as Uint8Array;
    expect(decryptFragment(fragment, tracks, () => undefined, nodeSampleAes)).toEqual({ missing: bytes16(2, i >> 1) });
    const sync = decryptFragment(fragment, tracks, keyOf, nodeSampleAes);
    expect('clear' in sync && Buffer.compare(sync.clear, original) === 0).toBe(true);
    const asynchronous = await cipher.decryptFragment(fragment, tracks, keyOf);
    expect('clear' in asynchronous && Buffer.compare(asynchronous.clear, original) === 0).toBe(true);
    const parsed = parseFragment(fragment, tracks);
    const run = onlyTrackFragment(parsed);
    const clearRun = onlyTrackFragment(parseFragment(original, [clip.track]));
    expect(run.samples.length).toBe(clearRun.samples.length);
    readProtection(parsed, run, tracks[0] as (typeof tracks)[0]).forEach((protection, n) => {
      expect(protection).toBeDefined();
      if (protection === undefined) return;
      if (scheme === 'cenc') {
        const vector = encodeHex(protection.iv);
        expect(seen.has(vector)).toBe(false);
        seen.add(vector);
      }
      const sample = clearRun.samples[n] as (typeof clearRun.samples)[0];
      const data = original.subarray(sample.offset, sample.offset + sample.size);
      if (sets !== undefined) expectConforming(data, protection.subsamples ?? [], scheme, clip, sets);
    });
  }
};

/** Protected ranges lie in slice data only, start and end where the scheme says, and leave no slice of a block or more readable. */
const expectConforming = (
  sample: Uint8Array,
  subsamples: readonly { clear: number; protected: number }[],
  scheme: ProtectionScheme,
  clip: Cmaf,
  sets: ReturnType<typeof createParameterSets>,
): void => {
  let at = 0;
  const ranges = new Map<number, number>();
  for (const { clear, protected: length } of subsamples) {
    if (length > 0) ranges.set(at + clear + length, at + clear);
    at += clear + length;
  }
  expect(at).toBe(sample.length);
  const smallest = Math.min(...[...ranges].map(([to, from]) => to - from));
  let matched = 0;
  for (const nal of lengthPrefixedNals(sample, avcConfigurationOf(clip.track).lengthSize)) {
    const unit = sample.subarray(nal.start, nal.end);
    sets.accept(unit);
    if (nal.type !== 1 && nal.type !== 5) {
      expect(ranges.has(nal.end)).toBe(false);
      continue;
    }
    const dataFrom = nal.start + parseSliceHeader(unit, sets).headerBytes;
    const from = ranges.get(nal.end);
    if (from === undefined) {
      // Less than a block, or the table is full (its last entry may be a clear rest) and holds larger slices.
      if (nal.end - dataFrom >= 16) {
        expect(ranges.size).toBeGreaterThanOrEqual(maxSubsamples(scheme) - 1);
        expect(nal.end - dataFrom).toBeLessThan(smallest + 16);
      }
      continue;
    }
    matched++;
    expect(from).toBe(scheme === 'cbcs' ? dataFrom : dataFrom + ((nal.end - dataFrom) % 16));
  }
  expect(matched).toBe(ranges.size);
};

for (const scheme of SCHEMES) {
  describe(`${scheme}: encrypt, decrypt, compare`, () => {
    for (const name of Object.keys(VIDEO_CODINGS)) it(name, () => expectRoundTrip(generatedVideo(name), scheme));
    for (const clip of naturalClips()) it(clip.name, () => expectRoundTrip(clip.load(), scheme));
    it('AAC audio', () => expectRoundTrip(generatedAudio(), scheme));
    it('rotation over many periods', () => expectRoundTrip(generatedAudio(40), scheme));
  });
}

describe('a picture of more slices than the auxiliary table holds', () => {
  it('keeps the table within saiz and protects the largest slices', () => {
    const clip = generatedVideo('high, CABAC, slices of 200 bytes');
    for (const scheme of SCHEMES) {
      const { init, fragments } = protect(clip, scheme);
      const { tracks } = parseInit(init);
      const tables = fragments.flatMap((bytes) => {
        const fragment = parseFragment(bytes, tracks);
        return readProtection(fragment, onlyTrackFragment(fragment), tracks[0] as (typeof tracks)[0]).map((protection) => protection?.subsamples?.length ?? 0);
      });
      expect(Math.max(...tables)).toBe(scheme === 'cenc' ? 40 : 42);
    }
  });
});
