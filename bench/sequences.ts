// SPDX-License-Identifier: Apache-2.0
/**
 * Sequences against the source paper's algorithm: time per new viewer, worst call, throughput; Figures 4 and 5 redrawn.
 *
 * He, Maillé, Simon, NOSSDAV'17, section 5. Baseline and library take turns in one process on the same uniformly random
 * assigned sequences; each ratio is the median over 15 rounds. `--full` writes bench/plots/*.svg.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { capacityOfLength, createAdaptiveBook, createSequences, usersForWindow, viewerNumber } from '#core/watermark/index.ts';
import { createWordRanker } from '#core/watermark/rank.ts';
import { advance } from '#core/watermark/words.ts';
import { linePlot, type Series } from './figures/line-plot.ts';
import { createPaperGenerator } from './figures/paper-sequences.ts';
import { figure, median, leastMicros, type Figure } from './figures/timing.ts';
import { seeded } from '../test/trace/pirate.ts';

const POINTS = [[2, 34], [2, 38], [3, 22], [4, 17], [5, 15]] as const;
const ROUNDS = 15;
const WORDS = 600;

type Sample = { readonly offsets: Float64Array; readonly integers: Float64Array; readonly words: readonly Uint8Array[] };

/** Uniformly random assigned sequences of a length, in the three forms the contestants start from. */
const sampleOf = (alphabet: number, length: number, count: number, random: () => number): Sample => {
  const ranker = createWordRanker(alphabet, length);
  const offsets = Float64Array.from({ length: count }, () => Math.floor(random() * ranker.count));
  const words = Array.from(offsets, (offset) => {
    const word = new Uint8Array(length);
    ranker.unrank(offset, word);
    return word;
  });
  return { offsets, words, integers: Float64Array.from(words, (word) => word.reduce((value, symbol) => value * alphabet + symbol, 0)) };
};

type Timing = { readonly paper: number; readonly unrank: number; readonly next: number };

/** Microseconds per sequence of one round. Checks on the way that all three agree. */
const round = (alphabet: number, length: number, random: () => number): Timing => {
  const { offsets, integers, words } = sampleOf(alphabet, length, WORDS, random);
  const ranker = createWordRanker(alphabet, length);
  const generator = createPaperGenerator(alphabet, length);
  const out = new Uint8Array(length);
  const successors = new Float64Array(WORDS);
  const repeats = 8;
  const paper = leastMicros(() => {
    for (let i = 0; i < WORDS; i++) successors[i] = generator.next(integers[i] as number);
  });
  const unrank = leastMicros(() => {
    for (let k = 0; k < repeats; k++) for (let i = 0; i < WORDS; i++) ranker.unrank(offsets[i] as number, out);
  });
  const copies = words.map((word) => word.slice());
  for (let i = 0; i < WORDS; i++) {
    const moved = advance(copies[i] as Uint8Array, alphabet) ? (copies[i] as Uint8Array).reduce((value, symbol) => value * alphabet + symbol, 0) : -1;
    if (moved !== successors[i]) throw new Error(`baseline and library disagree at m=${alphabet} l=${length}`);
  }
  const next = leastMicros(() => {
    for (let i = 0; i < WORDS; i++) {
      const word = copies[i] as Uint8Array;
      for (let k = 0; k < 20 * repeats; k++) advance(word, alphabet);
    }
  });
  return { paper: paper / WORDS, unrank: unrank / (WORDS * repeats), next: next / (WORDS * 20 * repeats) };
};

/**
 * Milliseconds of the slowest call in a run over random and boundary indices, length rollovers included. A call that
 * took long is repeated: what a slow input takes, it takes again; what the scheduler took, it does not.
 */
const slowestCall = (alphabet: number, length: number, calls: number, random: () => number): number => {
  const sequences = createSequences(alphabet);
  for (let l = 1; l <= length + 1; l++) sequences.prepare(l);
  const total = capacityOfLength(alphabet, length);
  let slowest = 0;
  const time = (work: () => void): void => {
    let best = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 4 && best > 0.2; attempt++) {
      const start = performance.now();
      work();
      best = Math.min(best, performance.now() - start);
    }
    slowest = Math.max(slowest, best);
  };
  for (let i = 0; i < calls; i++) {
    const index = i < length ? capacityOfLength(alphabet, i + 1) - 1n : BigInt(Math.floor(random() * Number(total)));
    time(() => sequences.unrank(index));
    const word = sequences.unrank(index);
    time(() => sequences.next(word));
    time(() => sequences.rank(word));
  }
  return slowest;
};

const drawFigures = (log: (line: string) => void): void => {
  const folder = fileURLToPath(new URL('plots/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const random = seeded(2017);
  const four: Series[] = [];
  for (const alphabet of [2, 3, 4, 5]) {
    const longest = { 2: 38, 3: 24, 4: 19, 5: 16 }[alphabet] as number;
    const paper: [number, number][] = [];
    const unrank: [number, number][] = [];
    for (let length = 4; length <= longest; length++) {
      round(alphabet, length, random);
      const rounds = Array.from({ length: 9 }, () => round(alphabet, length, random));
      paper.push([length, median(rounds.map((each) => each.paper))]);
      unrank.push([length, median(rounds.map((each) => each.unrank))]);
    }
    four.push({ name: `paper, m=${alphabet}`, points: paper, colour: alphabet - 2 }, { name: `unrank, m=${alphabet}`, points: unrank, colour: alphabet - 2, dashed: true });
    log(`figure 4, m=${alphabet}: paper ${paper.at(-1)?.[1].toFixed(1)} µs, unrank ${unrank.at(-1)?.[1].toFixed(2)} µs at l=${longest}`);
  }
  writeFileSync(`${folder}figure-4.svg`, linePlot({ title: 'Time to make one sequence (Figure 4 of the source)', x: 'sequence length', y: 'µs per sequence', logY: true, series: four }));
  const five = [2, 3, 4, 5].map((alphabet, colour): Series => ({
    name: `m=${alphabet}`,
    colour,
    points: Array.from({ length: 30 }, (_, i) => [2 * i + 2, Number(usersForWindow(alphabet, 2 * i + 2))] as const).filter(([, users]) => users <= 1e12),
  }));
  writeFileSync(`${folder}figure-5.svg`, linePlot({ title: 'Viewers named by a window (Figure 5 of the source)', x: 'segments in the window', y: 'viewers', logY: true, series: five }));
  log('wrote bench/plots/figure-4.svg and figure-5.svg');
};

export const bench = {
  name: 'sequences',
  run: ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
    const figures: Figure[] = [];
    const random = seeded(6);
    for (const [alphabet, length] of POINTS) {
      round(alphabet, length, random);
      const rounds = Array.from({ length: ROUNDS }, () => round(alphabet, length, random));
      const per = (pick: (timing: Timing) => number): number => median(rounds.map(pick));
      const baseline = `corrected Algorithms 1+2, ${per((timing) => timing.paper).toFixed(1)} µs`;
      figures.push(
        figure(`unrank (${alphabet},${length}): times faster, ${per((timing) => timing.unrank).toFixed(2)} µs`, per(({ paper, unrank }) => paper / unrank), 'x', baseline, '>=', 4),
        figure(`next (${alphabet},${length}): times faster, ${(1000 * per((timing) => timing.next)).toFixed(0)} ns`, per(({ paper, next }) => paper / next), 'x', baseline, '>=', 150),
      );
      log(`(${alphabet},${length}) measured`);
    }
    const slowest = Math.max(...POINTS.map(([alphabet, length]) => slowestCall(alphabet, length, full ? 50_000 : 5000, random)));
    figures.push(figure('slowest call after tables are built, length rollovers included', slowest, 'ms', 'the paper scans every integer: minutes at a rollover', '<', 1, 'ms'));
    const book = createAdaptiveBook({ alphabet: 5 });
    const viewers = Float64Array.from({ length: 2000 }, () => Math.floor(random() * 1e9));
    const throughput = median(
      Array.from({ length: ROUNDS }, () => {
        const micros = leastMicros(() => {
          for (const viewer of viewers) book.word(viewerNumber(viewer));
        });
        return viewers.length / micros;
      }),
    );
    figures.push(figure('sequences assigned per second and core, m=5, random viewers of 1e9', throughput, 'million/s', 'goal of the issue; the paper claims thousands', '>', 1, 'million/s'));
    if (full) drawFigures(log);
    return Promise.resolve({ figures });
  },
};
