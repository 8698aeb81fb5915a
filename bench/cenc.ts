// SPDX-License-Identifier: Apache-2.0
/**
 * The in-memory encryptor against the cipher it cannot do without: AES over the same protected bytes, one cipher object
 * per sample (`cenc`), or gather, one cipher object per subsample, scatter (`cbcs`).
 *
 * Both sides run in turns on the same fragments in the same process; the figure is the median of the rounds' ratios of
 * processor time (all threads, garbage collection included), which other programs on the machine do not distort.
 */
import { createCipheriv } from 'node:crypto';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { createFragmentEncrypter } from '#core/cenc/encrypt-fragment.ts';
import { gatherPattern, patternLength, scatterPattern } from '#core/cenc/pattern.ts';
import { protectInit } from '#core/cenc/protect-init.ts';
import { readProtection } from '#core/cenc/read-protection.ts';
import type { ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { makeCmaf } from '../test/interop/clips.ts';
import type { Cmaf } from '../test/interop/clips.ts';

export type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

const KID = new Uint8Array(16).fill(1) as KeyId;
const KEY = new Uint8Array(16).fill(2) as ContentKey;
const IV = new Uint8Array(16).fill(3);
const GOAL = 0.4;

/** Clear samples with their protected ranges: what the baseline ciphers. */
type Work = { readonly data: Uint8Array; readonly ranges: readonly { readonly offset: number; readonly length: number }[] };

/** Encrypts all fragments, into new arrays or inside their own; hands every result to `take`. */
const encryptAll = (clip: Cmaf, scheme: ProtectionScheme, inPlace: boolean, take: (bytes: Uint8Array) => void = () => undefined): number => {
  const encrypter = createFragmentEncrypter({ scheme, track: clip.track, aes: nodeSampleAes, signalling: 'fragment' });
  let firstIv = 0n;
  let protectedBytes = 0;
  for (const fragment of clip.fragments) {
    const key = { kid: KID, key: KEY, ...(scheme === 'cenc' ? { firstIv } : { constantIv: IV }) };
    if (inPlace) {
      const result = encrypter.encryptInPlace(fragment, key);
      firstIv = result.nextIv;
      protectedBytes += result.protectedBytes;
    } else {
      const result = encrypter.encrypt(fragment, key);
      firstIv = result.nextIv;
      protectedBytes += result.protectedBytes;
      take(result.bytes);
    }
  }
  return protectedBytes;
};

/** The protected ranges of every sample, taken from what the encryptor wrote. */
const workOf = (clip: Cmaf, scheme: ProtectionScheme): readonly Work[] => {
  const { tracks } = parseInit(protectInit(clip.init, { scheme, defaultKid: KID, ...(scheme === 'cbcs' ? { constantIv: IV } : {}) }));
  const sealed: Uint8Array[] = [];
  encryptAll(clip, scheme, false, (bytes) => sealed.push(bytes));
  return sealed.flatMap((bytes) => {
    const fragment = parseFragment(bytes, tracks);
    const run = onlyTrackFragment(fragment);
    return readProtection(fragment, run, tracks[0] as (typeof tracks)[0]).map((protection, i) => {
      const sample = run.samples[i] as (typeof run.samples)[0];
      let at = 0;
      const ranges = (protection?.subsamples ?? [{ clear: 0, protected: sample.size }]).flatMap(({ clear, protected: length }) => {
        const offset = at + clear;
        at = offset + length;
        return length > 0 ? [{ offset, length }] : [];
      });
      return { data: bytes.slice(sample.offset, sample.offset + sample.size), ranges };
    });
  });
};

/** AES-CTR over ranges laid side by side beforehand: nothing but one cipher object and one update per sample. */
const ctrBaseline = (work: readonly Work[]): (() => void) => {
  const gathered = work.map(({ data, ranges }) => Buffer.concat(ranges.map(({ offset, length }) => data.subarray(offset, offset + length))));
  return () => {
    for (const bytes of gathered) createCipheriv('aes-128-ctr', KEY, IV).update(bytes);
  };
};

const cbcBaseline =
  (work: readonly Work[], pattern: { crypt: number; skip: number }): (() => void) =>
  () => {
    for (const { data, ranges } of work) {
      for (const { offset, length } of ranges) {
        const gathered = new Uint8Array(patternLength(length, pattern));
        gatherPattern(data, offset, length, pattern, gathered, 0);
        const ciphered = createCipheriv('aes-128-cbc', KEY, IV).setAutoPadding(false).update(gathered);
        scatterPattern(ciphered, 0, data, offset, length, pattern);
      }
    }
  };

/** Processor time in ms of `times` runs. */
const spent = (run: () => unknown, times: number): number => {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

const compare = (clip: Cmaf, scheme: ProtectionScheme, inPlace: boolean, rounds: number): { ratio: number; megabytesPerSecond: number } => {
  const work = workOf(clip, scheme);
  const video = clip.track.kind === 'video';
  const baseline = scheme === 'cenc' ? ctrBaseline(work) : cbcBaseline(work, video ? { crypt: 1, skip: 9 } : { crypt: 0, skip: 0 });
  // In place the same arrays are encrypted over and over: boxes, headers and lengths stay clear, so the work stays the same.
  const own: Cmaf = { ...clip, fragments: clip.fragments.map((fragment) => fragment.slice()) };
  const encryptor = (): number => encryptAll(own, scheme, inPlace);
  const bytes = encryptor();
  spent(baseline, 10);
  spent(encryptor, 10);
  // Turns of at least 40 ms, so that the resolution of the processor clock does not count.
  const times = Math.max(1, Math.ceil(40 / Math.max(0.1, spent(baseline, 5) / 5)));
  const ratios: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const theirs = spent(baseline, times);
    const ours = spent(encryptor, times);
    ratios.push(theirs / ours);
    costs.push(ours / times);
  }
  return { ratio: median(ratios), megabytesPerSecond: bytes / 1000 / median(costs) };
};

export const bench: { name: string; run(options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> } = {
  name: 'cenc',
  run: async ({ full, log }) => {
    const seconds = full ? 20 : 3;
    const rounds = full ? 41 : 5;
    const scene = ['-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=25,noise=alls=20:allf=t:all_seed=3', '-t', String(seconds)];
    const clips: readonly [string, Cmaf][] = [
      [
        '720p25 at 4 Mb/s',
        makeCmaf(scene, ['-c:v', 'libx264', '-preset', 'ultrafast', '-profile:v', 'high', '-coder', '1', '-g', '50', '-b:v', '4M', '-pix_fmt', 'yuv420p'], 2000),
      ],
      ['AAC at 128 kb/s', makeCmaf(['-f', 'lavfi', '-i', 'anoisesrc=r=48000:c=pink', '-t', full ? '60' : '15'], ['-c:a', 'aac', '-b:a', '128k'], 2000)],
    ];
    const figures: Figure[] = [];
    for (const [name, clip] of clips) {
      for (const [scheme, inPlace] of [
        ['cenc', true],
        ['cenc', false],
        ['cbcs', true],
        ['cbcs', false],
      ] as const) {
        const { ratio, megabytesPerSecond } = compare(clip, scheme, inPlace, rounds);
        const goal = clip.track.kind === 'video';
        const label = `${scheme} ${inPlace ? 'in place' : 'into a new array'}, ${name}`;
        log(`${label}: ${ratio.toFixed(2)}x of the baseline, ${megabytesPerSecond.toFixed(0)} MB of protected bytes per second of processor time`);
        const ok = !goal || ratio >= GOAL;
        figures.push({
          name: label,
          value: Math.round(ratio * 100) / 100,
          unit: 'x',
          baseline:
            scheme === 'cenc' ? 'one AES-CTR cipher per sample over the same protected bytes' : 'gather, one AES-CBC cipher per subsample, scatter over the same protected bytes',
          goal: goal ? `>= ${GOAL}x` : 'none, for information',
          ok,
          ...(ok ? {} : { reason: `${ratio.toFixed(2)}x in the median of ${rounds} rounds` }),
        });
      }
    }
    return { figures };
  },
};
