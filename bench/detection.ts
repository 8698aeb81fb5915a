// SPDX-License-Identifier: Apache-2.0
/**
 * Detection of marks inside the bitstream: raw errors per attack, seconds of copy until the viewer is certain, colluders,
 * innocents, speed.
 *
 * Masters as in `bench marking`. Copies are cut at a random start; place, size and colours are found by the detector itself.
 * Innocents: every reading judged under keys it was not marked with, the unmarked original attacked like the copies, another
 * film. The baseline of speed is the playing time of the suspect.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Observation } from '#core/trace/index.ts';
import { ffmpeg } from '../test/interop/clips.ts';
import { GENERATED, naturalFilm, naturalFilms } from '../test/interop/tracer-clips.ts';
import { accusedByWrongKeys, errorsOf, markedTitle, secondsToVerdict, traceFile, type MarkedTitle } from './detection/lab.ts';
import { figure, median, type Figure } from './figures/timing.ts';
import { encodeMaster, masters, type Master } from './marking.ts';

const VIEWER = 271_828;
const COLLUDERS = [VIEWER, 31_415, 161_803] as const;
/** Where copies are cut: in the middle of a picture's time, of a segment and of nothing else. */
const START = { full: 2.37, short: 0.37 };
/** Viewers that innocents are judged among. */
const FEW = 1000;
const x264 = (...more: string[]): readonly string[] => ['-c:v', 'libx264', '-preset', 'veryfast', ...more];

type Attack = { readonly name: string; readonly options: (kilobits: number) => readonly string[]; readonly short: boolean; readonly errors: number; /** Seconds in which the viewer is to be certain. */ readonly seconds?: number };
/** What pirates do. `lines` of the master decide what 480p means for small masters: sizes are relative. */
const ATTACKS: readonly Attack[] = [
  { name: 'crf 23', options: () => x264('-crf', '23'), short: false, errors: 0.015 },
  { name: 'half the rate', options: (rate) => ['-c:v', 'libx264', '-preset', 'medium', '-b:v', `${rate / 2}k`, '-maxrate', `${rate / 2}k`, '-bufsize', `${rate}k`], short: true, errors: 0.015, seconds: 15 },
  { name: 'crf 28', options: () => x264('-crf', '28'), short: false, errors: 0.015 },
  { name: '2/3 size, crf 23', options: () => ['-vf', 'scale=trunc(iw/3)*2:trunc(ih/3)*2:flags=bicubic', ...x264('-crf', '23')], short: false, errors: 0.015, seconds: 15 },
  { name: 'x265 crf 30', options: () => ['-c:v', 'libx265', '-x265-params', 'log-level=none', '-preset', 'ultrafast', '-crf', '30'], short: false, errors: 0.04, seconds: 15 },
  { name: 'crop of 4 %', options: () => ['-vf', 'crop=trunc(iw*0.48)*2:trunc(ih*0.48)*2,scale=trunc(iw/0.96/2)*2:trunc(ih/0.96/2)*2:flags=bicubic', ...x264('-crf', '26')], short: true, errors: 0.04, seconds: 15 },
  { name: 'colours', options: () => ['-vf', 'eq=contrast=1.12:brightness=0.04:gamma=1.05', ...x264('-crf', '26')], short: false, errors: 0.04 },
  { name: '2/3 size at 300 kb/s', options: () => ['-vf', 'scale=trunc(iw/3)*2:trunc(ih/3)*2:flags=bicubic', ...x264('-b:v', '300k', '-maxrate', '360k', '-bufsize', '600k')], short: false, errors: 0.08, seconds: 30 },
  { name: 'half size at 250 kb/s', options: () => ['-vf', 'scale=trunc(iw/4)*2:trunc(ih/4)*2:flags=bicubic', ...x264('-b:v', '250k', '-maxrate', '300k', '-bufsize', '500k')], short: false, errors: 0.08 },
];

/** A small film for the short form, as long as a verdict takes. */
const shortMaster = (): Master => {
  // Textured all over: more than the 200 eligible places a second that the goals are stated for.
  const natural = naturalFilms().find((name) => name.startsWith('macro')) ?? naturalFilms()[0];
  return natural === undefined
    ? { name: 'generated scene', input: [...GENERATED, '-t', '10'], filter: '[0:v]format=yuv420p[out]', seconds: 10 }
    : { name: natural, input: ['-stream_loop', '-1', '-t', '10', '-i', naturalFilm(natural)], filter: '[0:v]scale=640:360:flags=bicubic,setsar=1,fps=25,format=yuv420p[out]', seconds: 10 };
};

type Case = { readonly attack: Attack; readonly read: number; readonly wrong: number; readonly certain: number; readonly certainAmongABillion: number };
type Film = { readonly cases: readonly Case[]; readonly accused: number; readonly judged: number; readonly colluders: number; readonly build: number; readonly speed: number; readonly seconds: number };

const runFilm = async (folder: string, master: Master, full: boolean, log: (line: string) => void): Promise<Film> => {
  const at = (name: string): string => join(folder, name);
  encodeMaster(master, at('film.mp4'));
  const title: MarkedTitle = await markedTitle(at('film.mp4'));
  const seconds = title.segments * 2;
  const build = (await title.build()) / seconds;
  log(`${master.name}: ${title.places} marked places in ${seconds} s, differences computed in ${build.toFixed(2)} x its length`);
  await title.copy(VIEWER, at('copy.mp4'));
  await title.copy(undefined, at('original.mp4'));
  const size = Number(ffmpeg(['-v', 'error', '-i', at('copy.mp4'), '-c', 'copy', '-f', 'h264', '-']).stdout.length);
  const rate = Math.round((size * 8) / seconds / 1000);
  const cases: Case[] = [];
  let accused = 0;
  let judged = 0;
  let played = 0;
  let worked = 0;
  const attacked = (from: string, options: readonly string[]): string => {
    ffmpeg(['-v', 'error', '-ss', String(full ? START.full : START.short), '-i', at(from), '-an', ...options, '-y', at('pirate.mkv')]);
    return at('pirate.mkv');
  };
  const innocent = (observation: Observation): void => {
    accused += accusedByWrongKeys(observation, full ? 12 : 3, FEW);
    judged += (full ? 12 : 3) * FEW;
  };
  for (const attack of ATTACKS.filter(({ short }) => full || short)) {
    const file = attacked('copy.mp4', attack.options(rate));
    const began = performance.now();
    const answer = await traceFile(title, file, {
      onRead: () => {
        worked += (performance.now() - began) / 1000;
      },
    });
    if (answer.readable) played += answer.seconds;
    if (!answer.readable) {
      log(`${master.name}, ${attack.name}: ${answer.reason}`);
      cases.push({ attack, read: 0, wrong: 0, certain: Number.POSITIVE_INFINITY, certainAmongABillion: Number.POSITIVE_INFINITY });
      continue;
    }
    if (answer.report.verdict === 'accuse' && answer.report.viewer !== VIEWER) accused++;
    const certain = secondsToVerdict(answer.observation, { viewers: 1_000_000, eps: 1e-6, culprits: [VIEWER] });
    const certainAmongABillion = secondsToVerdict(answer.observation, { viewers: 1_000_000_000, eps: 1e-9, culprits: [VIEWER] });
    const { read, wrong } = errorsOf(answer.observation, title.book, VIEWER);
    innocent(answer.observation);
    cases.push({ attack, read, wrong, certain, certainAmongABillion });
    log(`${master.name}, ${attack.name}: ${wrong} of ${read} slots wrong, certain after ${certain} s among 1e6, ${certainAmongABillion} s among 1e9`);
  }
  // The original, attacked alike: whoever is named there is innocent.
  for (const attack of ATTACKS.filter(({ name, short }) => (full ? name === 'crf 28' || short : name === 'half the rate'))) {
    // Few viewers: the bound is lowest there, and chance has it easiest.
    const answer = await traceFile(title, attacked('original.mp4', attack.options(rate)), { viewers: FEW });
    if (answer.readable && answer.report.verdict === 'accuse') accused++;
    if (answer.readable) innocent(answer.observation);
  }
  const stranger = naturalFilms().find((name) => name !== master.name && !name.startsWith('walking'));
  const other = await traceFile(title, (ffmpeg(['-v', 'error', ...(stranger === undefined ? ['-f', 'lavfi', '-i', 'mandelbrot=s=640x360:r=25'] : ['-i', naturalFilm(stranger)]), '-t', '8', '-an', ...x264('-crf', '26'), '-y', at('other.mkv')]), at('other.mkv')), { viewers: FEW });
  if (other.readable && other.report.verdict === 'accuse') accused++;
  let colluders = Number.POSITIVE_INFINITY;
  if (full) {
    for (const [i, viewer] of COLLUDERS.entries()) await title.copy(viewer, at(`copy${i}.mp4`));
    ffmpeg(['-v', 'error', ...COLLUDERS.flatMap((_, i) => ['-i', at(`copy${i}.mp4`)]), '-filter_complex', 'mix=inputs=3', '-an', ...x264('-crf', '26'), '-y', at('pirate.mkv')]);
    const answer = await traceFile(title, at('pirate.mkv'));
    if (answer.readable) colluders = secondsToVerdict(answer.observation, { viewers: 1_000_000, eps: 1e-6, culprits: COLLUDERS });
    log(`${master.name}, three averaged copies: one of them certain after ${colluders} s`);
  }
  return { cases, accused, judged, colluders, build, speed: played / worked, seconds };
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
/** What a verdict that did not come within the copy counts as, in seconds. */
const NEVER = 999;

const run = async ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const list = full ? masters(true).map((master) => (master.seconds > 72 ? { ...master, input: ['-t', '72', ...master.input.slice(2)], seconds: 72 } : master)) : [shortMaster()];
  if (naturalFilms().length === 0 || !existsSync(naturalFilm(naturalFilms()[0] as string))) log('../shared/media is absent: generated scenes only');
  const films: Film[] = [];
  for (const master of list) {
    const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-detection-'));
    try {
      films.push(await runFilm(folder, master, full, log));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  const cases = films.flatMap((film) => film.cases);
  const where = list.map(({ name }) => name).join(', ');
  const figures: Figure[] = [];
  for (const attack of ATTACKS.filter(({ short }) => full || short)) {
    const mine = cases.filter((each) => each.attack === attack);
    const read = sum(mine.map((each) => each.read));
    figures.push(figure(`${attack.name}: slots read wrongly (${where}; ${read} read)`, read === 0 ? 1 : sum(mine.map(({ wrong }) => wrong)) / read, 'share', 'guessing: 0.5', '<=', attack.errors));
    if (attack.seconds !== undefined) figures.push(figure(`${attack.name}: copy until the viewer is certain among 1e6 at 1e-6`, Math.min(NEVER, median(mine.map(({ certain }) => certain))), 's', 'median over the films; 7 s of perfect slots', '<=', attack.seconds));
    if (full && attack.name === 'half the rate') figures.push(figure(`${attack.name}: the same among 1e9 at 1e-9`, Math.min(NEVER, median(mine.map(({ certainAmongABillion }) => certainAmongABillion))), 's', 'median over the films; 10.4 s of perfect slots', '<=', 30));
  }
  if (full) figures.push(figure('three averaged copies: copy until one viewer is certain among 1e6 at 1e-6', Math.min(NEVER, median(films.filter(({ seconds }) => seconds >= 60).map(({ colluders }) => colluders))), 's', 'median over the films of 60 s and more', '<=', 60));
  figures.push(
    figure(`innocents accused: ${sum(films.map(({ judged }) => judged))} wrong viewers under wrong keys, unmarked originals, another film`, sum(films.map(({ accused }) => accused)), 'viewers', 'eps 1e-6 each', '<=', 0),
    figure('speed with the differences at hand, decoding included', sum(films.map(({ speed, seconds }) => speed * seconds)) / sum(films.map(({ seconds }) => seconds)), 'x real time', 'the suspect played once', '>=', 1),
    figure('computing the differences', sum(films.map(({ build, seconds }) => build * seconds)) / sum(films.map(({ seconds }) => seconds)), 'x the film', 'the film played once', '<=', 5),
    figure('speed without them', 1 / (sum(films.map(({ build, speed }) => build + 1 / speed)) / films.length), 'x real time', 'the suspect played once', '>=', 0.25),
  );
  return { figures };
};

/** Detection of marks inside the bitstream. */
export const bench: { name: string; run: typeof run } = { name: 'detection', run };
