// SPDX-License-Identifier: Apache-2.0
/**
 * Films, viewers' copies and pirates for tests and benchmarks of the tracer.
 *
 * The film is a natural clip of the optional folder `../shared/media`, else a generated scene; its name says which.
 * Invariant: everything goes through the commands and files a person would use.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ffmpeg } from './clips.ts';

const MEDIA = fileURLToPath(new URL('../../../shared/media/', import.meta.url));
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** A moving, textured scene without end: what stands in for a film where there is none. */
export const GENERATED = ['-f', 'lavfi', '-i', 'testsrc2=s=640x360:r=25,rotate=a=0.3*sin(t*0.7):c=gray,noise=alls=3:allf=t:all_seed=5'];

/** Names of the natural films that are there. */
export const naturalFilms = (): readonly string[] => ['walking-432p-cabac.mp4', 'carpark-432p-cavlc.mp4', 'city-bikes-640x272-cabac.mp4', 'toy-elf-480p-cavlc.mp4', 'macro-crystal-480p-cavlc.mp4'].filter((name) => existsSync(join(MEDIA, name)));
/** Path of a natural film. */
export const naturalFilm = (name: string): string => join(MEDIA, name);

const coded = (seconds: number, size: string): readonly string[] => ['-t', String(seconds), '-an', '-vf', `scale=${size}:flags=bicubic,fps=25,format=yuv420p`, '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '16', '-y'];

/** Writes a film of `seconds` at `size` (W:H); answers what it shows. */
export const makeFilm = (file: string, seconds: number, size = '320:180'): string => {
  const [natural] = naturalFilms();
  const input = natural === undefined ? GENERATED : ['-i', naturalFilm(natural)];
  ffmpeg(['-v', 'error', ...input, ...coded(seconds, size), file]);
  return natural ?? 'generated scene, ../shared/media is absent';
};

/** Another film of 20 s with nothing in common with the first. */
export const makeStranger = (file: string): string => {
  const other = naturalFilms()[1];
  ffmpeg(['-v', 'error', ...(other === undefined ? ['-f', 'lavfi', '-i', 'mandelbrot=s=320x180:r=25'] : ['-i', naturalFilm(other)]), ...coded(20, '320:180'), file]);
  return other ?? 'mandelbrot zoom';
};

/** What a pirate does to a copy: ffmpeg options before and after the input. */
export const pirate = (from: string, to: string, before: readonly string[], after: readonly string[]): void => {
  ffmpeg(['-v', 'error', ...before, '-i', from, '-an', ...after, '-y', to]);
};

/** Runs a sealcast command. */
export const sealcast = (...args: string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> =>
  new Promise((resolve) => execFile(process.execPath, [MAIN, ...args], (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })));
