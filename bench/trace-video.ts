// SPDX-License-Identifier: Apache-2.0
/**
 * Tracing on video: wrong symbols and segments until certainty per attack, quality of the mark, speed of the tracer.
 *
 * One viewer's copy is put together from the variants of a natural clip (a generated scene where there is none), attacked
 * with ffmpeg and traced by the real pipeline. The same run looks for accusations against innocents: the unmarked original
 * and keys of other installations. The baseline of speed is ffmpeg decoding the same files alone.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFfmpegFrames, createFfmpegTool } from '#adapters/ffmpeg/index.ts';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { assetId } from '#core/ids.ts';
import { createPatterns, pictureSecret } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { createAlignedBook, markKeys, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { packTitle, variantName } from '#packager/index.ts';
import { createReferenceStore, createTracer, type TraceAnswer, type Tracer } from '#tracer/index.ts';
import { readFileSync, writeFileSync } from 'node:fs';
import { ffmpeg } from '../test/interop/clips.ts';
import { GENERATED, naturalFilm, naturalFilms, pirate } from '../test/interop/tracer-clips.ts';
import { figure, type Figure } from './figures/timing.ts';

const ALPHABET = 5;
const VIEWERS = 1_000_000;
const EPS = 1e-6;
const VIEWER = viewerNumber(271_828);
/** The short form takes a smaller picture: coding five variants of it is most of its time. */
const sizeOf = (full: boolean): readonly [width: number, height: number] => (full ? [640, 360] : [320, 180]);
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const x264 = (...more: string[]): string[] => ['-c:v', 'libx264', '-preset', 'veryfast', ...more];
/** Name, filters and coding, whether it belongs to the short form, most wrong symbols allowed. */
const ATTACKS: readonly (readonly [name: string, options: readonly string[], short: boolean, limit: number])[] = [
  ['crf 23', x264('-crf', '23'), false, 0.015],
  ['half the rate', x264('-b:v', '250k'), true, 0.015],
  ['crf 28', x264('-crf', '28'), false, 0.015],
  ['240 lines at 150 kb/s', ['-vf', 'scale=-2:240', ...x264('-b:v', '150k')], true, 0.04],
  ['144 lines, crf 30', ['-vf', 'scale=-2:144', ...x264('-crf', '30')], false, 0.1],
  ['x265 crf 30', ['-c:v', 'libx265', '-x265-params', 'log-level=none', '-preset', 'ultrafast', '-crf', '30'], false, 0.04],
  ['colours', ['-vf', 'eq=contrast=1.12:brightness=0.04:gamma=1.05', ...x264('-crf', '26')], true, 0.04],
  ['blur', ['-vf', 'gblur=sigma=1.2', ...x264('-crf', '28')], false, 0.04],
  ['noise', ['-vf', 'noise=alls=12:allf=t', ...x264('-crf', '28')], false, 0.04],
  ['30 frames a second', ['-r', '30', ...x264('-crf', '26')], false, 0.04],
  ['crop of 2 %', ['-vf', 'crop=iw*0.98:ih*0.98', ...x264('-crf', '26')], false, 0.1],
];

type Film = { readonly name: string; readonly seconds: number; readonly input: readonly string[] };
const filmsOf = (full: boolean): readonly Film[] => {
  const natural = naturalFilms().map((name) => ({ name, seconds: full ? 60 : 30, input: ['-i', naturalFilm(name)] }));
  if (natural.length === 0) return [{ name: 'generated scene', seconds: full ? 60 : 30, input: GENERATED }];
  return full ? natural : natural.slice(0, 1);
};

type Case = { readonly film: string; readonly attack: string; readonly symbols: number; readonly wrong: number; readonly verdict: string; readonly viewer: number | null; readonly seconds: number; readonly wall: number; readonly decode: number };

const symbolsOf = (answer: TraceAnswer, book: { symbol(viewer: typeof VIEWER, at: ReturnType<typeof position>): number }): { symbols: number; wrong: number } => {
  if (!answer.readable) return { symbols: 0, wrong: 0 };
  let symbols = 0;
  let wrong = 0;
  for (const reading of answer.observation.readings) {
    if (reading.likelihoods === undefined) continue;
    symbols++;
    if (reading.likelihoods.indexOf(Math.max(...reading.likelihoods)) !== book.symbol(VIEWER, reading.position)) wrong++;
  }
  return { symbols, wrong };
};

/** Packs a film, attacks one viewer's copy, traces each result. */
const runFilm = async (folder: string, film: Film, full: boolean, log: (line: string) => void): Promise<{ cases: Case[]; accusedInnocents: number; psnr: number }> => {
  const at = (name: string): string => join(folder, name);
  const [width, height] = sizeOf(full);
  ffmpeg(['-v', 'error', ...film.input, '-t', String(film.seconds), '-an', '-vf', `scale=${width}:${height}:flags=bicubic,fps=25,format=yuv420p`, ...x264('-crf', '14'), '-y', at('film.mp4')]);
  const asset = assetId('film');
  const secret = new Uint8Array(32).fill(42);
  const patterns = createPatterns({ hmac: hmacSha256, secret: pictureSecret(hmacSha256, secret, asset), alphabet: ALPHABET });
  const schedule = startSchedule({ alphabet: ALPHABET, viewers: VIEWERS });
  const book = createAlignedBook({ alphabet: ALPHABET, schedule, keys: markKeys(hmacSha256, secret) });
  const tool = createFfmpegTool();
  const packed = await packTitle({
    asset, file: at('film.mp4'), keys: { kind: 'none' }, store: createFileObjectStore({ root: at('packed'), durability: 'process' }), folder: '', tool, aes: nodeSampleAes,
    random: systemRandom, clock: systemClock, log: silent, segmentDuration: 1_000_000 as Micros, heights: [height], variants: patterns,
  });
  const segments = packed.tracks[0]?.segments ?? 0;
  const rendition = at(`packed/v${height}`);
  const parts = Array.from({ length: segments }, (_, n) => readFileSync(join(rendition, variantName(book.symbol(VIEWER, position(n))), `${n}.m4s`)));
  writeFileSync(at('copy.mp4'), Buffer.concat([readFileSync(join(rendition, 'init.mp4')), ...parts]));
  const objects = createMemoryObjects();
  const tracerOf = (key: Uint8Array): Tracer => createTracer({ references: createReferenceStore(objects), markSecret: async () => key, tool, frames: createFfmpegFrames() });
  const tracer = tracerOf(secret);
  await tracer.record({ marking: { asset, alphabet: ALPHABET, book: { kind: 'aligned', schedule }, segment: 1_000_000 as Micros, segments }, file: at('film.mp4') });
  const psnr = Number(/PSNR y:([\d.]+)/.exec(ffmpeg(['-i', at('copy.mp4'), '-i', at('film.mp4'), '-lavfi', 'psnr', '-f', 'null', '-']).stderr)?.[1] ?? 0);
  const cases: Case[] = [];
  let accusedInnocents = 0;
  for (const [attack, options] of ATTACKS.filter(([, , short]) => full || short)) {
    pirate(at('copy.mp4'), at('pirate.mkv'), ['-ss', '2.37'], options);
    const decodeBegan = performance.now();
    ffmpeg(['-v', 'error', '-i', at('pirate.mkv'), '-f', 'null', '-']);
    const decode = performance.now() - decodeBegan;
    const began = performance.now();
    const answer = await tracer.trace({ asset, file: at('pirate.mkv'), viewers: VIEWERS, eps: EPS });
    const wall = performance.now() - began;
    const { symbols, wrong } = symbolsOf(answer, book);
    const verdict = answer.readable ? answer.report.verdict : answer.reason;
    const viewer = answer.readable ? answer.report.viewer : null;
    if (verdict === 'accuse' && viewer !== VIEWER) accusedInnocents++;
    cases.push({ film: film.name, attack, symbols, wrong, verdict, viewer, seconds: answer.seconds, wall, decode });
    log(`${film.name}, ${attack}: ${wrong} of ${symbols} wrong, ${verdict}`);
  }
  // The original, and the same copy under other keys: whoever is named there is innocent.
  for (const [file, key] of [['film.mp4', secret], ['copy.mp4', new Uint8Array(32).fill(43)], ['copy.mp4', new Uint8Array(32).fill(44)]] as const) {
    const answer = await tracerOf(key).trace({ asset, file: at(file), viewers: VIEWERS, eps: EPS });
    if (answer.readable && answer.report.verdict === 'accuse') accusedInnocents++;
  }
  return { cases, accusedInnocents, psnr };
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

export const bench = {
  name: 'trace-video',
  run: async ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
    const films = filmsOf(full);
    const results: Awaited<ReturnType<typeof runFilm>>[] = [];
    for (const film of films) {
      const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-'));
      try {
        results.push(await runFilm(folder, film, full, log));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    }
    const cases = results.flatMap((result) => result.cases);
    const where = `${films.length === 1 ? (films[0]?.name ?? '') : `${films.length} natural clips`}, ${sizeOf(full).join('x')}, 1 s segments, m = ${ALPHABET}`;
    const figures: Figure[] = [];
    for (const [attack, , short, limit] of ATTACKS) {
      if (!full && !short) continue;
      const mine = cases.filter((each) => each.attack === attack);
      const read = sum(mine.map(({ symbols }) => symbols));
      figures.push(figure(`wrong symbols after ${attack} (${where}; ${read} read)`, read === 0 ? 1 : sum(mine.map(({ wrong }) => wrong)) / read, 'share', `guessing: ${1 - 1 / ALPHABET}`, '<=', limit));
    }
    const longEnough = cases.filter(({ symbols }) => symbols >= 25);
    figures.push(
      figure(`leaking viewer certified among 1e6 at eps 1e-6, copies of 25 s and more (${longEnough.length})`, longEnough.length === 0 ? 0 : longEnough.filter(({ verdict, viewer }) => verdict === 'accuse' && viewer === VIEWER).length / longEnough.length, 'share', 'all', '>=', 0.95),
      figure(`innocents accused in ${cases.length + 3 * films.length} traces of copies, originals and foreign keys`, sum(results.map(({ accusedInnocents }) => accusedInnocents)), 'traces', 'eps 1e-6 each', '<=', 0),
      figure('speed of tracing, decoding included', sum(cases.map(({ seconds }) => seconds)) / (sum(cases.map(({ wall }) => wall)) / 1000), 'x real time', 'the suspect played once', '>=', 1),
      figure('time of tracing over plain decoding', sum(cases.map(({ wall }) => wall)) / sum(cases.map(({ decode }) => decode)), 'ratio', 'ffmpeg decoding the same files', '<=', 8),
    );
    log(`coded copy against its source: ${results.map(({ psnr }) => psnr.toFixed(1)).join(', ')} dB`);
    return { figures };
  },
};
