// SPDX-License-Identifier: Apache-2.0
/**
 * What marks inside the bitstream cost the picture, and whether they change anything but signs.
 *
 * Masters: (a) the natural clips of the optional folder `../shared/media` joined, 1280x720, 25 fps; (b) its longest clip; (c) a
 * generated textured scene. All coded by x264 medium crf 23, key frame every 2 s, packed by the title packager without
 * encryption. A viewer's copy (random symbols) is compared with the unmarked one by ffmpeg (PSNR, SSIM). The oracle turns
 * signs at random, a million and more over all masters, and parses again: every bin but the signs the same (CABAC: by a second
 * engine that hashes bins), escapes where they must be, and strict decoders of ffmpeg say nothing.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createFfmpegTool, findTool } from '#adapters/ffmpeg/index.ts';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { assetId } from '#core/ids.ts';
import { applySymbols, decodeProfile } from '#core/mark/index.ts';
import { microsFromSeconds } from '#core/time.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createMarkReferences, packTitle, type SegmentCapacity } from '#packager/index.ts';
import type { Figure } from './profiler.ts';
import { turnSigns } from './marking/oracle.ts';

const MEDIA = fileURLToPath(new URL('../../shared/media/', import.meta.url));
const SEGMENT_SECONDS = 2;
const FPS = 25;

const ffmpeg = (args: readonly string[]): { readonly stdout: Buffer; readonly stderr: string; readonly status: number | null } => {
  const { stdout, stderr, status } = spawnSync(findTool('ffmpeg'), ['-nostdin', '-hide_banner', ...args], { maxBuffer: 2 ** 30 });
  return { stdout, stderr: stderr.toString(), status };
};

/** A master: its name, how ffmpeg makes its pictures. */
export type Master = { readonly name: string; readonly input: readonly string[]; readonly filter: string; readonly seconds: number };

const TEXTURE = 'testsrc2=s=1280x720:r=25';
/** Moving noise at several scales over a moving pattern: texture everywhere, every macroblock coded. */
const SCENE_FILTER =
  '[0:v]format=yuv420p[base];[1:v]scale=1280:720:flags=bicubic,format=yuv420p[coarse];[2:v]scale=1280:720:flags=bicubic,format=yuv420p[fine];[base][coarse]blend=all_mode=average[mix];[mix][fine]blend=all_mode=average,format=yuv420p[out]';
const sceneInputs = (seconds: number): readonly string[] =>
  [TEXTURE, `life=s=160x90:r=25:mold=10:seed=5:ratio=0.4`, `cellauto=s=320x180:rule=110:r=25:scroll=1:seed=9`].flatMap((source) => ['-f', 'lavfi', '-t', String(seconds), '-i', source]);

/** The masters there are; natural ones only where the folder is. */
export const masters = (full: boolean): readonly Master[] => {
  const files = existsSync(MEDIA) ? readdirSync(MEDIA).filter((file) => file.endsWith('.mp4')).sort() : [];
  const seconds = full ? 60 : 4;
  const scene: Master = { name: 'scene', input: sceneInputs(full ? 20 : 2), filter: SCENE_FILTER, seconds: full ? 20 : 2 };
  if (files.length === 0) return [scene];
  const each = seconds / files.length;
  const joined: Master = {
    name: 'clips',
    input: files.flatMap((file) => ['-stream_loop', '-1', '-t', String(each), '-i', join(MEDIA, file)]),
    filter: `${files.map((_, i) => `[${i}:v]scale=1280:720,setsar=1,fps=${FPS},format=yuv420p[v${i}]`).join(';')};${files.map((_, i) => `[v${i}]`).join('')}concat=n=${files.length}:v=1:a=0[out]`,
    seconds,
  };
  const long = files.find((file) => file.startsWith('walking')) ?? (files[0] as string);
  const walk: Master = { name: 'walk', input: ['-t', String(full ? 139 : 2), '-i', join(MEDIA, long)], filter: `[0:v]scale=1280:720,setsar=1,fps=${FPS},format=yuv420p[out]`, seconds: full ? 139 : 2 };
  return [joined, walk, scene];
};

/** Codes a master. */
export const encodeMaster = (master: Master, file: string, coding: readonly string[] = []): void => {
  const made = ffmpeg(['-loglevel', 'error', '-y', ...master.input, '-filter_complex', master.filter, '-map', '[out]', '-an', '-c:v', 'libx264', '-preset', 'medium', '-crf', '23', '-g', String(SEGMENT_SECONDS * FPS), '-keyint_min', String(SEGMENT_SECONDS * FPS), '-sc_threshold', '0', ...coding, file]);
  if (made.status !== 0) throw new Error(`ffmpeg could not code ${master.name}: ${made.stderr.slice(-400)}`);
};

/** A packed master: header, clear segments with their profiles, what the profiler said. */
export type Packed = { readonly init: Uint8Array; readonly segments: readonly { readonly clear: Uint8Array; readonly profile: ReturnType<typeof decodeProfile> }[]; readonly capacity: readonly SegmentCapacity[]; readonly boxShare: number; readonly height: number };

/** Packs a file with marks. */
export const packMaster = async (file: string): Promise<Packed> => {
  const store = createMemoryObjects();
  const tracer = createMemoryObjects();
  const asset = assetId('master');
  const capacity: SegmentCapacity[] = [];
  const packed = await packTitle({
    asset, file, keys: { kind: 'none' }, store, folder: '', tool: createFfmpegTool(), aes: nodeSampleAes, random: systemRandom, clock: systemClock,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    segmentDuration: microsFromSeconds(SEGMENT_SECONDS),
    marks: { keys: createMarkKeys({ secret: async () => new Uint8Array(32).fill(5) }), references: createMarkReferences(tracer, asset), onSegment: (_rendition, found) => capacity.push(found) },
  });
  const track = packed.tracks.find(({ kind }) => kind === 'video');
  if (track === undefined) throw new Error('the master has no video');
  const at = async (name: string): Promise<Uint8Array> => (await tracer.get(`master/marks/${track.id}/${name}`)) ?? new Uint8Array(0);
  let stored = 0;
  let clearBytes = 0;
  const segments = [];
  for (let number = 0; number < track.segments; number++) {
    const clear = await at(`${number}.m4s`);
    stored += ((await store.get(`${track.id}/${number}.m4s`)) ?? clear).length;
    // The served segment has a `styp` of 28 bytes in front, whether it is marked or not.
    clearBytes += clear.length + 28;
    segments.push({ clear, profile: decodeProfile(await at(`${number}.marks`)) });
  }
  return { init: await at('init.mp4'), segments, capacity, boxShare: (stored - clearBytes) / clearBytes, height: Number(/\d+/.exec(track.id)?.[0] ?? 0) };
};

const coins = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 31;
  };
};

type Quality = { readonly mean: number; readonly worst: number; readonly ssimLoss: number; readonly clean: boolean };

/** Marked against unmarked, decoded by ffmpeg; dB of luma. */
const compare = async (folder: string, packed: Packed): Promise<Quality> => {
  const toss = coins(11);
  const marked = packed.segments.map(({ clear, profile }) => {
    const copy = clear.slice();
    applySymbols(copy, profile, toss);
    return copy;
  });
  const [plainFile, markedFile, stats] = [join(folder, 'plain.mp4'), join(folder, 'marked.mp4'), join(folder, 'psnr.log')];
  await writeFile(plainFile, concatBytes(packed.init, ...packed.segments.map(({ clear }) => clear)));
  await writeFile(markedFile, concatBytes(packed.init, ...marked));
  const strict = ffmpeg(['-v', 'warning', '-err_detect', 'explode', '-xerror', '-i', markedFile, '-f', 'null', '-']);
  const said = ffmpeg(['-loglevel', 'info', '-i', markedFile, '-i', plainFile, '-lavfi', `[0:v][1:v]psnr=stats_file=${stats};[0:v][1:v]ssim`, '-f', 'null', '-']).stderr;
  const frames = (await readFile(stats, 'utf8')).split('\n').flatMap((line) => /mse_y:([\d.]+)/.exec(line)?.[1] ?? []).map(Number);
  const db = (error: number): number => (error === 0 ? 100 : 10 * Math.log10(255 ** 2 / error));
  // The mean of an infinite and a finite value is meaningless: errors are averaged, as ffmpeg does.
  return {
    mean: db(frames.reduce((sum, error) => sum + error, 0) / frames.length),
    worst: Math.min(...frames.map(db)),
    ssimLoss: 1 - Number(/SSIM Y:([\d.]+)/.exec(said)?.[1] ?? 0),
    clean: strict.status === 0 && strict.stderr === '',
  };
};

const figure = (name: string, value: number, unit: string, baseline: string, limit: { least: number } | { most: number } | undefined, said = ''): Figure => {
  const ok = limit === undefined || ('least' in limit ? value >= limit.least : value <= limit.most);
  const goal = limit === undefined ? 'reported' : 'least' in limit ? `>= ${limit.least}` : `<= ${limit.most}`;
  return { name, value: Number(value.toPrecision(4)), unit, baseline, goal, ok, ...(ok ? {} : { reason: said }) };
};

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-marking-'));
  const figures: Figure[] = [];
  let turned = 0;
  let broken = 0;
  try {
    const all = masters(options.full);
    if (all.length === 1) options.log('../shared/media is absent: the generated scene only');
    for (const master of all) {
      const file = join(folder, `${master.name}.mp4`);
      // Coding is most of the short form's time.
      encodeMaster(master, file, options.full ? [] : ['-preset', 'veryfast']);
      const packed = await packMaster(file);
      const bytes = packed.segments.reduce((sum, { clear }) => sum + clear.length, 0);
      const quality = await compare(folder, packed);
      const eligible = packed.capacity.reduce((sum, item) => sum + item.eligible, 0) / master.seconds;
      const sites = packed.capacity.reduce((sum, item) => sum + item.sites, 0) / master.seconds;
      const poorest = Math.min(...packed.capacity.map((item) => item.poorest));
      options.log(`${master.name}: ${((bytes * 8) / master.seconds / 1e6).toFixed(2)} Mb/s, ${eligible.toFixed(0)} eligible and ${sites.toFixed(0)} marked places a second, poorest group ${poorest} of 16; ${JSON.stringify(quality)}`);
      figures.push(
        figure(`${master.name}, PSNR-Y of a viewer's copy`, quality.mean, 'dB, mean error', 'the unmarked copy', { least: 55 }),
        figure(`${master.name}, PSNR-Y of its worst frame`, quality.worst, 'dB', 'the unmarked copy', { least: 45 }),
        figure(`${master.name}, SSIM-Y loss`, quality.ssimLoss, '1 - SSIM', 'the unmarked copy', { most: 0.0005 }),
        figure(`${master.name}, strict decoding`, quality.clean ? 0 : 1, 'complaints', 'ffmpeg -err_detect explode -xerror', { most: 0 }),
        figure(`${master.name}, mark boxes`, packed.boxShare * 100, '% of the segments', 'the unmarked segments', { most: 1 }),
        figure(`${master.name}, eligible places`, eligible, 'a second', 'detection goals hold from 200', undefined),
        figure(`${master.name}, marked places`, sites, 'a second', '256 wanted', undefined),
      );
      const stream = join(folder, `${master.name}.264`);
      ffmpeg(['-loglevel', 'error', '-y', '-i', file, '-c', 'copy', '-bsf:v', 'h264_mp4toannexb', '-f', 'h264', stream]);
      const oracle = turnSigns(new Uint8Array(await readFile(stream)), options.full ? Math.ceil(1_100_000 / all.length) : Math.ceil(30_000 / all.length), options.full ? 200 : 3);
      turned += oracle.turned;
      broken += oracle.broken;
      await writeFile(stream, oracle.stream);
      const strict = ffmpeg(['-v', 'warning', '-err_detect', 'explode', '-xerror', '-i', stream, '-f', 'null', '-']);
      if (strict.status !== 0 || /error|corrupt|conceal/i.test(strict.stderr)) broken += 1;
      options.log(`${master.name}: ${oracle.turned} signs turned in ${oracle.rounds} rounds, ${oracle.broken} slices differ in anything else`);
    }
    figures.push(
      figure('signs turned and parsed again', turned, 'flips', 'parse before and after', { least: options.full ? 1_000_000 : 10_000 }, 'the masters have too few signs'),
      figure('slices changed in anything but those signs', broken, 'slices', 'hash of all other bins; escape(unescape(x)) = x', { most: 0 }, 'the oracle found a difference'),
    );
    return { figures };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Picture quality and correctness of marks inside the bitstream. */
export const bench: { name: string; run: typeof run } = { name: 'marking', run };
