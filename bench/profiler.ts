// SPDX-License-Identifier: Apache-2.0
/**
 * How fast slice data is parsed, its sign bits listed and places for marks chosen, against real time at 5 Mb/s and against ffmpeg decoding the same
 * stream on one thread.
 *
 * The stream is 1280x720 at 25 frames a second and 5 Mb/s, made of the natural clips of the optional folder `../shared/media`
 * (without it, of a generated scene, which the log says). Times are CPU time (ours with all threads of the runtime, ffmpeg's
 * as it reports it), and of the best round of each, so that other programs on the machine disturb them least.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { annexBNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { replacementOf } from '#core/avc/slice-data/replacement.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { createMarkProfiler } from '#packager/index.ts';

export type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

const MEDIA = fileURLToPath(new URL('../../shared/media/', import.meta.url));
const BITS_PER_SECOND = 5_000_000;

/** CPU seconds of this process since it started. */
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Runs ffmpeg; answers the CPU seconds it says it took. */
const ffmpeg = (args: readonly string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'info', '-nostats', '-benchmark', '-y', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => {
      const times = /utime=([\d.]+)s stime=([\d.]+)s/.exec(said);
      if (code === 0 && times !== null) resolve(Number(times[1]) + Number(times[2]));
      else reject(new Error(`ffmpeg ended with ${code}: ${said.slice(-400)}`));
    });
  });

/** Encodes 720p at 5 Mb/s into chunks of 200 ms, the short form in less time for the coder as well; answers what it was made of. */
const encode = async (output: string, coding: readonly string[], full: boolean): Promise<string> => {
  const seconds = full ? 60 : 5;
  const files = existsSync(MEDIA) ? readdirSync(MEDIA).filter((file) => file.endsWith('.mp4')) : [];
  const each = seconds / Math.max(1, files.length);
  const inputs =
    files.length > 0
      ? files.flatMap((file) => ['-stream_loop', '-1', '-t', String(each), '-i', join(MEDIA, file)])
      : ['-f', 'lavfi', '-t', String(seconds), '-i', 'testsrc2=s=1280x720:r=25,noise=alls=20:allf=t'];
  const scaled = files.map((_, i) => `[${i}:v]scale=1280:720,setsar=1,fps=25,format=yuv420p[v${i}]`);
  const joined = files.length > 0 ? ['-filter_complex', `${scaled.join(';')};${files.map((_, i) => `[v${i}]`).join('')}concat=n=${files.length}:v=1:a=0`] : ['-pix_fmt', 'yuv420p'];
  const rate = ['-b:v', String(BITS_PER_SECOND), '-minrate', String(BITS_PER_SECOND), '-maxrate', String(BITS_PER_SECOND), '-bufsize', String(BITS_PER_SECOND), '-g', '50'];
  await ffmpeg([...inputs, ...joined, '-an', '-c:v', 'libx264', '-preset', full ? 'medium' : 'veryfast', ...rate, ...coding, '-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer', '-frag_duration', '200000', output]);
  return files.length > 0 ? `${files.length} natural clips joined` : 'a generated scene, as ../shared/media is absent';
};

type Parsed = { readonly seconds: number; readonly slices: number; readonly sites: number; readonly bytes: number };

/** One pass over all slices, or over those of P pictures that others refer to: the ones that marking uses. */
const parseAll = (stream: Uint8Array, onlyMarkable: boolean): Parsed => {
  const sets = createParameterSets();
  const parser = createSliceDataParser();
  let slices = 0;
  let sites = 0;
  let bytes = 0;
  const began = cpuSeconds();
  for (const unit of annexBNals(stream)) {
    if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(stream.subarray(unit.start, unit.end));
    if (unit.type !== NAL_SLICE && unit.type !== NAL_IDR) continue;
    bytes += unit.end - unit.start;
    if (onlyMarkable && (unit.type === NAL_IDR || unit.refIdc === 0)) continue;
    const answer = parser.parse(stream.subarray(unit.start, unit.end), sets);
    if (answer.sites === 'none') throw new Error(`a slice has no sites: ${answer.because}`);
    slices++;
    sites += answer.sites.count;
  }
  return { seconds: cpuSeconds() - began, slices, sites, bytes };
};

/** CPU seconds that the packager's profiler takes for a whole stream, in chunks of 200 ms as a live event has them. */
const profileAll = (stream: Uint8Array): { readonly seconds: number; readonly places: number } => {
  const [header, ...chunks] = createBoxSplitter({ maxChunk: 2 ** 28 }).push(stream);
  const track = parseInit(header?.bytes ?? new Uint8Array(0)).tracks[0];
  if (track === undefined) throw new Error('the stream has no track');
  const profiler = createMarkProfiler({ track, representation: 'v720', choiceKey: new Uint8Array(32), slots: 16 });
  let places = 0;
  const began = cpuSeconds();
  chunks.forEach(({ bytes }, at) => {
    places += profiler.profile(bytes, { segment: Math.floor(at / 10), from: (at % 10) / 10, to: ((at % 10) + 1) / 10 }).sites.length;
  });
  return { seconds: cpuSeconds() - began, places };
};

/** Masks for every sign of the stream's first slices; answers masks per second. */
const masks = (stream: Uint8Array, least: number): number => {
  const sets = createParameterSets();
  const parser = createSliceDataParser();
  let made = 0;
  let seconds = 0;
  for (const unit of annexBNals(stream)) {
    if (made >= least) break;
    const nal = stream.subarray(unit.start, unit.end);
    if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(nal);
    if (unit.type !== NAL_SLICE && unit.type !== NAL_IDR) continue;
    const answer = parser.parse(nal, sets);
    if (answer.sites === 'none') continue;
    const began = cpuSeconds();
    for (let row = 0; row < answer.sites.count; row++) replacementOf(nal, answer, row);
    seconds += cpuSeconds() - began;
    made += answer.sites.count;
  }
  return made / seconds;
};

const figure = (name: string, value: number, unit: string, baseline: string, limit: { least: number } | { most: number }, said: string): Figure => {
  const ok = 'least' in limit ? value >= limit.least : value <= limit.most;
  return { name, value: Number(value.toPrecision(3)), unit, baseline, goal: 'least' in limit ? `>= ${limit.least}` : `<= ${limit.most}`, ok, ...(ok ? {} : { reason: said }) };
};

const CODINGS: readonly (readonly [name: string, coding: readonly string[]])[] = [
  ['CABAC', ['-profile:v', 'high']],
  ['CAVLC', ['-profile:v', 'high', '-coder', '0']],
];

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-profiler-'));
  const figures: Figure[] = [];
  try {
    for (const [name, coding] of CODINGS) {
      const file = join(folder, `${name}.264`);
      const chunked = join(folder, `${name}.mp4`);
      const made = await encode(chunked, coding, options.full);
      await ffmpeg(['-i', chunked, '-c', 'copy', '-bsf:v', 'h264_mp4toannexb', '-f', 'h264', file]);
      const stream = new Uint8Array(await readFile(file));
      let parse = Number.POSITIVE_INFINITY;
      let markable = Number.POSITIVE_INFINITY;
      let profiled = Number.POSITIVE_INFINITY;
      const fragments = new Uint8Array(await readFile(chunked));
      let decode = Number.POSITIVE_INFINITY;
      let bytes = 0;
      for (let round = 0; round < (options.full ? 5 : 2); round += 1) {
        const pass = parseAll(stream, false);
        const some = parseAll(stream, true);
        const chosen = profileAll(fragments);
        profiled = Math.min(profiled, chosen.seconds);
        const seconds = await ffmpeg(['-threads', '1', '-i', file, '-f', 'null', '-']);
        bytes = pass.bytes;
        parse = Math.min(parse, pass.seconds);
        markable = Math.min(markable, some.seconds);
        decode = Math.min(decode, seconds);
        const said = `${pass.slices} slices, ${(pass.bytes / 1e6).toFixed(1)} MB, ${(pass.sites / 1e6).toFixed(1)} M signs in ${pass.seconds.toFixed(2)} s`;
        options.log(`${name}, ${made}, round ${round + 1}: ${said}; reference P only ${some.seconds.toFixed(2)} s; ${chosen.places} places chosen in ${chosen.seconds.toFixed(2)} s; ffmpeg ${seconds.toFixed(2)} s`);
      }
      // What the stream would last at exactly 5 Mb/s, so that an encoder that missed the rate changes nothing.
      const lasts = (bytes * 8) / BITS_PER_SECOND;
      const said = `parsing took ${parse.toFixed(2)} s, ffmpeg ${decode.toFixed(2)} s, at 5 Mb/s the stream lasts ${lasts.toFixed(2)} s`;
      figures.push(
        figure(`${name}, every slice`, lasts / parse, 'x real time at 5 Mb/s', 'duration at 5 Mb/s', { least: 2.5 }, said),
        figure(`${name}, every slice, against decoding`, parse / decode, 'ratio of time', 'ffmpeg -threads 1 -f null', { most: 4 }, said),
        figure(`${name}, places chosen as a live packager does`, lasts / profiled, 'x real time at 5 Mb/s', 'duration at 5 Mb/s', { least: 2.5 }, said),
        figure(`${name}, places chosen, against decoding`, profiled / decode, 'ratio of time', 'ffmpeg -threads 1 -f null', { most: 4 }, said),
        figure(`${name}, reference P slices`, lasts / markable, 'x real time at 5 Mb/s', 'duration at 5 Mb/s', { least: 2.5 }, said),
      );
      // Marking needs some 256 masks a second; a thousand times that leaves selection free to try any site.
      const perSecond = masks(stream, options.full ? 2_000_000 : 200_000);
      figures.push(
        figure(`${name}, replacement masks`, perSecond / 256, 'x the sites marked per second', '256 sites a second', { least: 1000 }, `${Math.round(perSecond)} masks a second`),
      );
    }
    return { figures };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Speed of the parser that finds what can be marked. */
export const bench: { name: string; run: typeof run } = { name: 'profiler', run };
