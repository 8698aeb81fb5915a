// SPDX-License-Identifier: Apache-2.0
/**
 * Makes `src/tracer/calibration.ts`: what statistics of slots are worth, from clips and attacks of their own.
 *
 * Usage: node scripts/calibrate-detector.ts. Films are the natural clips of the optional folder `../shared/media` (other stretches
 * than the benchmark's) and a generated scene. Copies carry a known viewer's symbols; attacks range from none to far beyond use.
 * NOISE is the spread of the statistic around its mean where marks are weak; CALIBRATION the shares of right signs, made to rise.
 * Invariant: never run on a suspect, and its result is committed before it is used.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { position, viewerNumber } from '#core/watermark/index.ts';
import { softValueOf, weighedValues } from '#tracer/index.ts';
import { markedTitle, traceFile } from '../bench/detection/lab.ts';
import { ffmpeg } from '../test/interop/clips.ts';
import { GENERATED, naturalFilm, naturalFilms } from '../test/interop/tracer-clips.ts';

const VIEWER = 123_456;
const x264 = (...more: string[]): readonly string[] => ['-c:v', 'libx264', '-preset', 'veryfast', ...more];
const ATTACKS: readonly (readonly string[])[] = [
  x264('-crf', '25'),
  x264('-crf', '31'),
  x264('-crf', '36'),
  ['-vf', 'scale=trunc(iw/3)*2:-2', ...x264('-crf', '27')],
  ['-vf', 'scale=trunc(iw/4)*2:-2', ...x264('-b:v', '150k', '-maxrate', '180k', '-bufsize', '300k')],
  ['-c:v', 'libx265', '-x265-params', 'log-level=none', '-preset', 'ultrafast', '-crf', '32'],
];
const SIZES = [0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 6, 9] as const;
/** No slot is trusted more: a pirate's edit is always possible. */
const MOST = 0.985;
/** The median of squares of a normal variable. */
const MEDIAN_SQUARE = 0.4549;

const films: readonly { readonly name: string; readonly input: readonly string[] }[] = [
  ...naturalFilms().map((name) => ({ name, input: [...(name.startsWith('walking') ? ['-ss', '75'] : []), '-t', '8', '-i', naturalFilm(name)] })),
  { name: 'generated scene', input: [...GENERATED, '-t', '8'] },
];

/** Soft values with the sign of their symbol, copy by copy, and the weighed ones. */
const copies: { readonly plain: number[]; weighed(noise: number): number[] }[] = [];
const folder = await mkdtemp(join(tmpdir(), 'sealcast-calibrate-'));
try {
  for (const { name, input } of films) {
    const at = (file: string): string => join(folder, file);
    ffmpeg(['-v', 'error', ...input, '-an', '-vf', 'scale=1280:720:flags=bicubic,setsar=1,fps=25,format=yuv420p', '-c:v', 'libx264', '-preset', 'medium', '-crf', '23', '-g', '50', '-keyint_min', '50', '-sc_threshold', '0', '-y', at('film.mp4')]);
    const title = await markedTitle(at('film.mp4'));
    await title.copy(VIEWER, at('copy.mp4'));
    for (const options of ATTACKS) {
      ffmpeg(['-v', 'error', '-ss', '0.9', '-i', at('copy.mp4'), '-an', ...options, '-y', at('pirate.mkv')]);
      const answer = await traceFile(title, at('pirate.mkv'));
      if (!answer.readable || answer.marks === undefined) continue;
      const { segments, slots } = answer.marks;
      const signs = segments.flatMap(({ number, statistics }) => statistics.map((_, slot) => (title.book.symbol(viewerNumber(VIEWER), position(number * slots + slot)) === 1 ? 1 : -1)));
      const statistics = segments.flatMap((segment) => segment.statistics);
      const seen = weighedValues(statistics).map((value) => value !== undefined);
      const plain = statistics.flatMap((statistic, i) => (seen[i] === true ? [softValueOf(statistic) * (signs[i] as number)] : []));
      copies.push({ plain, weighed: (noise) => weighedValues(statistics, noise).flatMap((value, i) => (value === undefined ? [] : [value * (signs[i] as number)])) });
      process.stderr.write(`${name}, ${options.slice(0, 6).join(' ')}: ${plain.filter((value) => value < 0).length} of ${plain.length} wrong\n`);
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

// The spread, robustly, over the copies in which marks are weak: there nothing else widens it.
const spreads = copies
  .filter(({ plain }) => plain.filter((value) => value < 0).length > plain.length / 25)
  .map(({ plain }) => {
    const sorted = plain.toSorted((a, b) => a - b);
    const middle = sorted[sorted.length >> 1] as number;
    const squares = plain.map((value) => (value - middle) ** 2).toSorted((a, b) => a - b);
    return Math.sqrt((squares[squares.length >> 1] as number) / MEDIAN_SQUARE);
  })
  .toSorted((a, b) => a - b);
const noise = Number((spreads[spreads.length >> 1] ?? 10).toPrecision(2));

const weighed = copies.flatMap((copy) => copy.weighed(noise));
let least = 0.5;
const table = SIZES.map((size, i) => {
  // Shares between this size's neighbours, with one wrong and one right slot added: a bin without errors proves little.
  const [from, to] = [i === 0 ? 0 : (SIZES[i - 1] as number), SIZES[i + 1] ?? Number.POSITIVE_INFINITY];
  const near = weighed.filter((value) => Math.abs(value) >= from && Math.abs(value) < to);
  least = Math.max(least, Math.min(MOST, (near.filter((value) => value > 0).length + 1) / (near.length + 2)));
  return [size, Number(least.toFixed(3))] as const;
});

await writeFile(
  fileURLToPath(new URL('../src/tracer/calibration.ts', import.meta.url)),
  `// SPDX-License-Identifier: Apache-2.0
/**
 * What statistics of slots are worth. Made by \`scripts/calibrate-detector.ts\` from ${weighed.length} slots; do not edit.
 *
 * Invariant: fixed before any suspect is looked at; sizes and shares rise.
 */

/** Spread of a slot's statistic around what the mark makes of it. */
export const NOISE = ${noise};

/** [size of a weighed value, share of slots of that size that were read rightly]; between sizes the shares are interpolated. */
export const CALIBRATION: readonly (readonly [size: number, right: number])[] = [
${table.map(([size, right]) => `  [${size}, ${right}],`).join('\n')}
];
`,
);
process.stderr.write(`noise ${noise}, table ${JSON.stringify(table)}\n`);
