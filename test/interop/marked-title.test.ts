// SPDX-License-Identifier: Apache-2.0
/**
 * Titles packed with marks inside the bitstream: what an edge makes of the encrypted segments decrypts to exactly the marked
 * clear ones, decodes strictly, and parses to the same syntax but for the signs at the declared places.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { createFfmpegTool, findTool } from '#adapters/ffmpeg/index.ts';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, unescapeNal } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { decryptFragment } from '#core/cenc/decrypt-fragment.ts';
import { assetId, type ContentKey, type KeyId, type ProtectionScheme } from '#core/ids.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { applySymbols, applySwitches, boxEpochMessage, decodeProfile, isMarkBox, type MarkProfile } from '#core/mark/index.ts';
import { microsFromSeconds } from '#core/time.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createMarkBoxOpener } from '#crypto/mark-box.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createUnboxer } from '#edge/mark-boxes.ts';
import { createMarkReferences, packTitle, type SegmentCapacity, type TitleKeys } from '#packager/index.ts';
import type { ObjectStore } from '#ports';
import { escapeNal } from '../vectors/escape-nal.ts';
import { SerialCabac } from '../vectors/serial-cabac.ts';
import { ffmpeg } from './clips.ts';

vi.setConfig({ testTimeout: 120_000 });

const folder = mkdtempSync(join(tmpdir(), 'sealcast-marked-title-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ASSET = assetId('derby');
const SECRET = new Uint8Array(32).fill(5);
const KEY = new Uint8Array(16).fill(7) as ContentKey;
const KID = new Uint8Array(16).fill(8) as KeyId;
const SEGMENT = microsFromSeconds(2);
/** Texture in motion at several scales, two segments of two seconds. */
const SCENE = [
  ...['testsrc2=s=640x360:r=25', 'life=s=160x90:r=25:mold=10:seed=5:ratio=0.4', 'cellauto=s=320x180:rule=110:r=25:scroll=1:seed=9'].flatMap((source) => ['-f', 'lavfi', '-t', '4', '-i', source]),
  '-filter_complex',
  '[1:v]scale=640:360:flags=bicubic,format=yuv420p[coarse];[2:v]scale=640:360:flags=bicubic,format=yuv420p[fine];[0:v]format=yuv420p[base];[base][coarse]blend=all_mode=average[mix];[mix][fine]blend=all_mode=average,format=yuv420p[out]',
  '-map', '[out]', '-c:v', 'libx264', '-preset', 'fast', '-threads', '1', '-g', '50', '-keyint_min', '50', '-sc_threshold', '0',
];

const made = new Map<string, string>();
const clip = (name: string, ...coding: readonly string[]): string => {
  const known = made.get(name);
  if (known !== undefined) return known;
  const file = join(folder, `${name}.mp4`);
  ffmpeg(['-v', 'error', ...SCENE, ...coding, file]);
  made.set(name, file);
  return file;
};

type Packed = { readonly init: Uint8Array; readonly served: readonly Uint8Array[]; readonly header: Uint8Array; readonly clear: readonly Uint8Array[]; readonly profiles: readonly MarkProfile[]; readonly capacity: readonly SegmentCapacity[]; readonly rendition: string; readonly store: ObjectStore };
const packs = new Map<string, Promise<Packed>>();
const pack = (file: string, scheme: ProtectionScheme | 'none'): Promise<Packed> => {
  const key = `${file} ${scheme} ${SECRET[0]}`;
  const known = packs.get(key) ?? packNow(file, scheme);
  packs.set(key, known);
  return known;
};
const packNow = async (file: string, scheme: ProtectionScheme | 'none', requireMark = false): Promise<Packed> => {
  const store = createMemoryObjects();
  const tracer = createMemoryObjects();
  const capacity: SegmentCapacity[] = [];
  const keys: TitleKeys = scheme === 'none' ? { kind: 'none' } : { kind: 'fixed', scheme, kid: KID, key: KEY };
  const title = await packTitle({
    asset: ASSET, file, keys, store, folder: '', tool: createFfmpegTool(), aes: nodeSampleAes, random: systemRandom, clock: systemClock,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    segmentDuration: SEGMENT,
    marks: { requireMark, keys: createMarkKeys({ secret: async () => SECRET }), references: createMarkReferences(tracer, ASSET), onSegment: (_name, found) => capacity.push(found) },
  });
  const track = title.tracks.find(({ kind }) => kind === 'video');
  const rendition = track?.id ?? '';
  const get = async (from: ObjectStore, path: string): Promise<Uint8Array> => (await from.get(path)) ?? Promise.reject(new Error(`no ${path}`));
  const numbers = Array.from({ length: track?.segments ?? 0 }, (_, number) => number);
  return {
    store,
    rendition,
    capacity,
    init: await get(store, `${rendition}/init.mp4`),
    header: await get(tracer, `derby/marks/${rendition}/init.mp4`),
    served: await Promise.all(numbers.map((number) => get(store, `${rendition}/${number}.m4s`))),
    clear: await Promise.all(numbers.map((number) => get(tracer, `derby/marks/${rendition}/${number}.m4s`))),
    profiles: await Promise.all(numbers.map(async (number) => decodeProfile(await get(tracer, `derby/marks/${rendition}/${number}.marks`)))),
  };
};
/** What an edge makes of a served segment. */
const atEdge = async ({ rendition }: Packed, number: number, served: Uint8Array, symbolOf: ((slot: number) => number) | undefined): Promise<Uint8Array> => {
  const slots = 16;
  const unboxer = createUnboxer({ opener: createMarkBoxOpener({ asset: ASSET, representation: rendition, segment: number }, (epoch) => hmacSha256(SECRET, boxEpochMessage(epoch))), slots });
  const bytes = concatBytes(await unboxer.push(served), await unboxer.end());
  if (symbolOf !== undefined) for (const sites of unboxer.marks) applySymbols(bytes, { slots, sites }, symbolOf);
  return bytes;
};
/** Media of a segment in the clear, its chunks one after the other. */
const opened = (init: Uint8Array, segment: Uint8Array): Uint8Array => {
  const { tracks } = parseInit(init);
  return concatBytes(
    ...createBoxSplitter().push(segment).map(({ bytes }) => {
      const answer = decryptFragment(bytes, tracks, () => KEY, nodeSampleAes);
      if ('missing' in answer) throw new Error('a key is missing');
      const run = onlyTrackFragment(parseFragment(answer.clear, tracks));
      return concatBytes(...run.samples.map(({ offset, size }) => answer.clear.slice(offset, offset + size)));
    }),
  );
};
const same = (a: Uint8Array, b: Uint8Array): void => expect(Buffer.compare(a, b)).toBe(0);
const strictly = (init: Uint8Array, segments: readonly Uint8Array[]): void => {
  const file = join(folder, 'strict.mp4');
  writeFileSync(file, concatBytes(init, ...segments));
  const { status, stderr } = spawnSync(findTool('ffmpeg'), ['-nostdin', '-v', 'warning', '-err_detect', 'explode', '-xerror', '-i', file, '-f', 'null', '-']);
  expect([status, stderr.toString()]).toEqual([0, '']);
};
const viewerOf = (seed: number) => (slot: number): number => ((seed * 2654435761 + slot * 40503) >>> 7) & 1;

const CODINGS: readonly (readonly [string, readonly string[]])[] = [
  ['high, CABAC, 8x8, B', ['-profile:v', 'high', '-bf', '3', '-b:v', '2500k']],
  ['baseline, CAVLC', ['-profile:v', 'baseline', '-b:v', '2500k']],
  ['main, four slices, weighted', ['-profile:v', 'main', '-slices', '4', '-bf', '2', '-b:v', '2500k']],
];

describe.each(CODINGS)('a title marked inside the bitstream: %s', (name, coding) => {
  it.each(['cenc', 'cbcs', 'none'] as const)('B196 B204: what the edge patches in %s opens to the marked clear media', async (scheme) => {
    const packed = await pack(clip(name, ...coding), scheme);
    const { init, header, served, clear, profiles, capacity } = packed;
    expect(capacity.reduce((sum, { sites }) => sum + sites, 0)).toBeGreaterThan(300);
    for (const seed of [1, 2]) {
      const copies = await Promise.all(served.map((bytes, number) => atEdge(packed, number, bytes, viewerOf(seed + number))));
      copies.forEach((copy, number) => {
        expect(readBoxes(copy).some(({ bytes }) => isMarkBox(bytes))).toBe(false);
        const marked = (clear[number] as Uint8Array).slice();
        applySymbols(marked, profiles[number] as MarkProfile, viewerOf(seed + number));
        same(opened(init, copy), opened(header, marked));
      });
      if (scheme === 'none') strictly(init, copies);
    }
    // Without symbols it is the unmarked title, byte for byte.
    for (const [number, bytes] of served.entries()) same(opened(init, await atEdge(packed, number, bytes, undefined)), opened(header, clear[number] as Uint8Array));
  });

  it('every place turns one sign and nothing else: bins, escapes and ends stay', async () => {
    const { header, clear, profiles } = await pack(clip(name, ...coding), 'none');
    const { tracks } = parseInit(header);
    const configuration = avcConfigurationOf(tracks[0]!);
    for (const [number, bytes] of clear.entries()) {
      const profile = profiles[number] as MarkProfile;
      const marked = bytes.slice();
      applySwitches(marked, profile.sites, new Uint8Array(profile.slots * 2 + 1).fill(1));
      const [first, second] = [new SerialCabac(), new SerialCabac()];
      const [before, after] = [createSliceDataParser({ cabac: first }), createSliceDataParser({ cabac: second })];
      const sets = createParameterSets(configuration);
      let turned = 0;
      for (const { offset, size } of onlyTrackFragment(parseFragment(bytes, tracks)).samples) {
        const sample = bytes.subarray(offset, offset + size);
        for (const unit of lengthPrefixedNals(sample, configuration.lengthSize)) {
          const nal = sample.subarray(unit.start, unit.end);
          const target = marked.subarray(offset + unit.start, offset + unit.end);
          if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(nal);
          if (unit.type !== NAL_SLICE && unit.type !== NAL_IDR) {
            same(target, nal);
            continue;
          }
          first.reset();
          second.reset();
          const one = before.parse(nal, sets);
          const two = after.parse(target, sets);
          if (one.sites === 'none' || two.sites === 'none') throw new Error('no sites');
          const differ = [...one.sites.level.subarray(0, one.sites.count).keys()].filter((row) => one.sites.level[row] !== two.sites.level[row]);
          for (const row of differ) expect(two.sites.level[row]).toBe(-(one.sites.level[row] as number));
          turned += differ.length;
          expect([second.hash, two.stopBit, two.nextMb, two.sites.count]).toEqual([first.hash, one.stopBit, one.nextMb, one.sites.count]);
          same(escapeNal(target[0] as number, unescapeNal(target).bytes), target);
          // Places lie in reference P pictures only.
          if (differ.length > 0) expect([one.header.type, unit.refIdc > 0]).toEqual(['P', true]);
        }
      }
      expect(turned).toBe(profile.sites.count);
    }
  });
});

describe('media that requires a mark', () => {
  it.each(['cenc', 'cbcs', 'none'] as const)('in %s is noise as it lies at the origin, and every viewer\'s copy is whole', async (scheme) => {
    const packed = await packNow(clip('high, CABAC, 8x8, B', ...(CODINGS[0]?.[1] ?? [])), scheme, true);
    const { init, header, served, clear, profiles } = packed;
    for (const seed of [1, 2]) {
      const copies = await Promise.all(served.map((bytes, number) => atEdge(packed, number, bytes, viewerOf(seed + number))));
      copies.forEach((copy, number) => {
        const marked = (clear[number] as Uint8Array).slice();
        applySymbols(marked, profiles[number] as MarkProfile, viewerOf(seed + number));
        same(opened(init, copy), opened(header, marked));
      });
      if (scheme === 'none') strictly(init, copies);
    }
    // The tracer's originals are never covered.
    for (const [number, bytes] of served.entries()) expect(Buffer.compare(opened(init, await atEdge(packed, number, bytes, undefined)), opened(header, clear[number] as Uint8Array))).not.toBe(0);
    if (scheme !== 'none') return;
    const [plain, covered] = [join(folder, 'plain.mp4'), join(folder, 'covered.mp4')];
    writeFileSync(plain, concatBytes(init, ...clear));
    writeFileSync(covered, concatBytes(init, ...(await Promise.all(served.map((bytes, number) => atEdge(packed, number, bytes, undefined))))));
    const { stderr } = spawnSync(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-ec', '0', '-i', covered, '-i', plain, '-lavfi', '[0:v][1:v]psnr', '-f', 'null', '-']);
    const psnr = Number(/PSNR.* average:([\d.]+)/.exec(stderr.toString())?.[1]);
    expect(psnr).toBeLessThan(22);
  });
});

describe('what the profiler finds', () => {
  it('B192: boxes take at most 1 % of a segment, far below the 10 % that the source allows', async () => {
    const { served } = await pack(clip('high, CABAC, 8x8, B', ...(CODINGS[0]?.[1] ?? [])), 'cenc');
    for (const bytes of served) {
      const boxes = readBoxes(bytes).filter((box) => isMarkBox(box.bytes)).reduce((sum, box) => sum + box.bytes.length, 0);
      expect(boxes).toBeGreaterThan(500);
      expect(boxes / bytes.length).toBeLessThanOrEqual(0.01);
    }
  });
  it('places of every slot and group are spread over the segment, alike in number', async () => {
    const { profiles, capacity } = await pack(clip('high, CABAC, 8x8, B', ...(CODINGS[0]?.[1] ?? [])), 'none');
    for (const { poorest, wanted, eligible, sites } of capacity) {
      expect(wanted).toBe(16);
      expect(poorest).toBeGreaterThanOrEqual(8);
      expect(eligible).toBeGreaterThan(sites);
    }
    for (const { sites, slots, size } of profiles) {
      const counts = new Array<number>(slots * 2).fill(0);
      const late = new Array<number>(slots * 2).fill(0);
      for (let row = 0; row < sites.count; row++) {
        const which = sites.switchOf[row] as number;
        counts[which] = (counts[which] as number) + 1;
        if ((sites.offset[row] as number) > size * 0.6) late[which] = (late[which] as number) + 1;
      }
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      for (const [which, count] of late.entries()) expect(count, String(which)).toBeGreaterThan(0);
    }
  });
  it('the choice is keyed: another secret takes other places', async () => {
    const file = clip('high, CABAC, 8x8, B', ...(CODINGS[0]?.[1] ?? []));
    const one = await pack(file, 'none');
    const again = await packNow(file, 'none');
    expect(again.profiles.map(({ sites }) => sites)).toEqual(one.profiles.map(({ sites }) => sites));
    SECRET.fill(6);
    const other = await pack(file, 'none');
    SECRET.fill(5);
    const offsets = (packed: Packed): Set<number> => new Set(packed.profiles[0]?.sites.offset);
    const shared = [...offsets(other)].filter((at) => offsets(one).has(at)).length;
    expect(shared).toBeLessThan(offsets(one).size / 2);
  });
  it.each<[string, string, readonly string[]]>([
    ['mbaff', 'macroblock pairs', ['-flags', '+ilme+ildct', '-x264-params', 'tff=1', '-b:v', '1500k']],
    ['no-places', 'all intra', ['-g', '1', '-b:v', '4M']],
  ])('%s: %s are reported, and their boxes say so', async (because, name, coding) => {
    const packed = await pack(clip(name, ...coding), 'cenc');
    expect(packed.capacity.length).toBeGreaterThan(0);
    for (const capacity of packed.capacity) expect([capacity.sites, capacity.because]).toEqual([0, because]);
    for (const profile of packed.profiles) expect([profile.sites.count, profile.because]).toEqual([0, because]);
    expect((await atEdge(packed, 0, packed.served[0] as Uint8Array, () => 1)).length).toBeLessThan((packed.served[0] as Uint8Array).length);
  });
  it('manifests describe what players get: sizes without boxes', async () => {
    const { store, rendition, served } = await pack(clip('high, CABAC, 8x8, B', ...(CODINGS[0]?.[1] ?? [])), 'cenc');
    const playlist = Buffer.from((await store.get('master.m3u8')) ?? []).toString();
    const bandwidth = Number(/[:,]BANDWIDTH=(\d+)/.exec(playlist)?.[1]);
    const stripped = served.map((bytes) => readBoxes(bytes).filter((box) => !isMarkBox(box.bytes)).reduce((sum, box) => sum + box.bytes.length, 0));
    expect(bandwidth).toBe(Math.ceil((Math.max(...stripped) * 8) / 2));
    expect(Buffer.from((await store.get(`${rendition}/playlist.m3u8`)) ?? []).toString()).not.toMatch(/BYTERANGE/);
  });
});
