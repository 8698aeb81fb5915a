// SPDX-License-Identifier: Apache-2.0
/**
 * Tracing: segments until a leak among 1e9 viewers is named and certified, search time, coalitions, false accusations.
 *
 * The real code is measured with the real PRF (HMAC-SHA256 epoch keys, SipHash and ChaCha20 below them) on seeded
 * simulated pirates; every trace is looked at after each segment, as a live tracer does. The baseline for segments and
 * for false accusations is the source paper's decoder on the same populations and error rates. The short form runs a
 * fraction of the traces, `--full` all of them.
 */
import { createAlignedTracer, createMixtureTracer, type TraceReport } from '#core/trace/index.ts';
import { createAdaptiveBook, createAlignedBook, createBiasedBook, lengthForUsers, position, startSchedule, viewerNumber, windowForLength, type CodeBook } from '#core/watermark/index.ts';
import { figure, leastMicros, mean, median, quantile, type Figure } from './figures/timing.ts';
import { decodeAsPaper } from './figures/paper-decoder.ts';
import { published, readAt, seeded, testKeys, type Pirate, type PirateAttack } from '../test/trace/pirate.ts';

const BILLION = 1e9;
const EPS = 1e-9;

const alignedBook = (alphabet: number, viewers: number, event: number) => createAlignedBook({ alphabet, schedule: startSchedule({ alphabet, viewers }), keys: testKeys(event) });

type Hunt = { readonly named: number; readonly certified: number; readonly wrong: boolean; readonly milliseconds: readonly number[] };

/** One leak among a billion, watched segment by segment from a random start. */
const hunt = (trial: number, errors: number, erasures: number, firstLook: number): Hunt => {
  const random = seeded(trial);
  const book = alignedBook(5, BILLION, trial);
  const leak = Math.floor(random() * BILLION);
  const from = Math.floor(random() * 1e6);
  const pirate: Pirate = { book, viewers: [leak], errors, erasures, random };
  const tracer = createAlignedTracer({ book, viewers: BILLION, eps: EPS });
  const milliseconds: number[] = [];
  let named = Number.POSITIVE_INFINITY;
  for (let count = 1; count <= 120; count++) {
    tracer.observe(readAt(pirate, from + count - 1));
    if (count < firstLook) continue;
    const start = performance.now();
    const report = tracer.report();
    milliseconds.push(performance.now() - start);
    if (report.viewer === leak && report.exhaustive) named = Math.min(named, count);
    if (report.verdict === 'accuse') return { named: Math.min(named, count), certified: count, wrong: report.viewer !== leak, milliseconds };
  }
  return { named, certified: Number.POSITIVE_INFINITY, wrong: false, milliseconds };
};

/** Segments until one of the colluders is accused. */
const breakCoalition = (trial: number, attack: PirateAttack): { segments: number; wrong: boolean } => {
  const viewers = 1e6;
  const random = seeded(410_000 + trial);
  const book = createBiasedBook({ alphabet: 5, bias: 'uniform', schedule: startSchedule({ alphabet: 5, viewers }), keys: testKeys(33_000 + trial) });
  const guilty = [Math.floor(random() * viewers), Math.floor(random() * viewers)];
  const tracer = createMixtureTracer({ book, viewers, eps: 1e-6 });
  for (let count = 1; count <= 300; count++) {
    tracer.observe(readAt({ book, viewers: guilty, attack, random }, 500 + count));
    if (count < 30) continue;
    const { verdict, viewer } = tracer.report();
    if (verdict === 'accuse') return { segments: count, wrong: viewer === null || !guilty.includes(viewer) };
  }
  return { segments: Number.POSITIVE_INFINITY, wrong: false };
};

/** Whether a trace of mixed pirates ever accuses an innocent: single leaks, pairs and strangers, 3 % errors. */
const accusesInnocent = (trial: number): boolean => {
  const random = seeded(50_000 + trial);
  const book = alignedBook(5, BILLION, trial);
  // Most are single leaks; pairs and strangers leave nothing to find, which takes every search to its limit.
  const stranger = trial % 25 === 24;
  const guilty = Array.from({ length: trial % 25 === 23 ? 2 : 1 }, () => Math.floor(random() * BILLION));
  // A stranger's copy was marked under another event's keys.
  const source: CodeBook = stranger ? alignedBook(5, BILLION, trial + 1) : book;
  const tracer = createAlignedTracer({ book, viewers: BILLION, eps: EPS, searchLimit: 2000 });
  let report: TraceReport | undefined;
  for (let count = 1; count <= 48 && report?.verdict !== 'accuse'; count++) {
    tracer.observe(readAt({ book: source, viewers: guilty, errors: 0.03, erasures: 0.05, random }, trial + count));
    if (count >= 24 && count % 6 === 0) report = tracer.report();
  }
  return report?.verdict === 'accuse' && (stranger || report.viewer === null || !guilty.includes(report.viewer));
};

/** Share of the paper's 28-segment windows, 3 % of symbols misread, in which its decoder names an innocent. */
const paperAccusations = (trials: number): number => {
  const book = createAdaptiveBook({ alphabet: 5 });
  const random = seeded(77);
  const size = windowForLength(book.longest(BILLION));
  let innocent = 0;
  for (let trial = 0; trial < trials; trial++) {
    const leak = Math.floor(random() * BILLION);
    const from = Math.floor(random() * 1000);
    const window = Uint8Array.from({ length: size }, (_, i) => {
      const symbol = published({ book, viewers: [leak], random }, from + i);
      return random() < 0.03 ? (symbol + 1 + Math.floor(random() * 4)) % 5 : symbol;
    });
    const named = decodeAsPaper(book, window, BILLION);
    if (named !== undefined && named !== leak) innocent++;
  }
  return innocent / trials;
};

/** Share of traces in which any innocent is accused at eps = 0.1, all viewers and all moments counted. */
const familyWise = (traces: number): number => {
  const viewers = 2000;
  let wrong = 0;
  for (let trial = 0; trial < traces; trial++) {
    const random = seeded(70_000 + trial);
    const book = createBiasedBook({ alphabet: 3, bias: 'uniform', schedule: startSchedule({ alphabet: 3, viewers }), keys: testKeys(40_000 + trial) });
    const guilty = Array.from({ length: 1 + (trial % 3) }, () => Math.floor(random() * viewers));
    const attack = (['interleaving', 'plurality', 'minority'] as const)[Math.floor(trial / 3) % 3] as PirateAttack;
    const tracer = createMixtureTracer({ book, viewers, eps: 0.1 });
    const exclude = new Set(guilty);
    for (let count = 1; count <= 60; count++) {
      tracer.observe(readAt({ book, viewers: guilty, attack, errors: 0.05, random }, count));
      if (count % 3 !== 0 || tracer.report({ exclude }).verdict !== 'accuse') continue;
      wrong++;
      break;
    }
  }
  return wrong / traces;
};

/** Milliseconds of one streaming update at a million viewers, and of the update with a full report after it. */
const streaming = (): { update: number; both: number } => {
  const viewers = 1e6;
  const random = seeded(5);
  const book = createBiasedBook({ alphabet: 5, bias: 'uniform', schedule: startSchedule({ alphabet: 5, viewers }), keys: testKeys(1) });
  // Three tracers take every reading in turns: the least of their times is what the work takes.
  const tracers = Array.from({ length: 3 }, () => createMixtureTracer({ book, viewers, eps: 1e-6 }));
  const updates: number[] = [];
  const boths: number[] = [];
  for (let count = 0; count < 50; count++) {
    const reading = readAt({ book, viewers: [1, 2], random }, count);
    let update = Number.POSITIVE_INFINITY;
    let both = Number.POSITIVE_INFINITY;
    for (const tracer of tracers) {
      const start = performance.now();
      tracer.observe(reading);
      update = Math.min(update, performance.now() - start);
      tracer.report();
      both = Math.min(both, performance.now() - start);
    }
    updates.push(update);
    boths.push(both);
  }
  return { update: median(updates), both: median(boths) };
};

/** Microseconds per symbol when every question has another epoch, position and viewer: nothing cached helps. */
const symbolMicros = (book: CodeBook): number => {
  const asked = 500;
  let at = 0;
  return median(
    Array.from({ length: 9 }, () =>
      leastMicros(() => {
        for (let i = 0; i < asked; i++) book.symbol(viewerNumber((at * 7919) % 1_000_000), position((at++ % 100_000_000) * 64));
      }) / asked,
    ),
  );
};

export const bench = {
  name: 'tracing',
  run: ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
    const figures: Figure[] = [];
    const window = windowForLength(lengthForUsers(5, BigInt(BILLION)));
    const paper = `paper's window: ${window} segments, no errors allowed`;

    const clean = Array.from({ length: full ? 100 : 10 }, (_, trial) => hunt(trial, 0, 0, 13));
    figures.push(
      figure('1e9 viewers, m=5, eps 1e-9, clean: segments until certified, worst trace', Math.max(...clean.map(({ certified }) => certified)), 'segments', paper, '<=', 27),
      figure('same: segments until named, 95th percentile', quantile(clean.map(({ named }) => named), 0.95), 'segments', paper, '<=', 16),
    );
    log('clean traces done');
    const noisy = Array.from({ length: full ? 200 : 12 }, (_, trial) => hunt(1000 + trial, 0.03, 0.05, 16));
    figures.push(
      figure('3 % errors, 5 % erasures: segments until certified, mean', mean(noisy.map(({ certified }) => certified)), 'segments', paper, '<=', 32),
      figure('exact search over 1e9 viewers, every look at every noisy trace, p95', quantile(noisy.flatMap(({ milliseconds }) => milliseconds), 0.95), 'ms', 'scoring 1e9 viewers: over an hour', '<', 1000, 'ms'),
    );
    log('noisy traces done');
    const trials = full ? 10_000 : 100;
    let innocents = [...clean, ...noisy].filter(({ wrong }) => wrong).length;
    for (let trial = 0; trial < trials; trial++) if (accusesInnocent(trial)) innocents++;
    const naive = paperAccusations(full ? 6000 : 300);
    figures.push(figure(`innocents accused in ${trials + clean.length + noisy.length} traces of leaks, pairs and strangers`, innocents, 'traces', `paper's decoder at the same 3 % errors: ${(100 * naive).toFixed(0)} % of traces`, '<=', 0));
    log('false accusations counted');
    const calibrated = full ? 600 : 40;
    figures.push(figure(`family-wise false accusations at eps = 0.1, ${calibrated} traces of 1-3 colluders`, familyWise(calibrated), 'share', 'eps, which Ville bounds it by', '<=', 0.1));
    log('calibration done');
    for (const attack of ['interleaving', 'plurality', 'minority'] as const) {
      const results = Array.from({ length: full ? 41 : 3 }, (_, trial) => breakCoalition(100 * attack.length + trial, attack));
      if (results.some(({ wrong }) => wrong)) throw new Error('a coalition trace accused an innocent');
      const segments = results.map((result) => result.segments);
      const setting = `two colluders, 1e6 viewers, m=5, eps 1e-6, ${attack}: segments until one is accused`;
      const baseline = "the paper's sequences: never, they frame third viewers";
      figures.push(figure(`${setting}, median of ${results.length}`, median(segments), 'segments', baseline, '<=', 65), figure(`${setting}, 95th percentile`, quantile(segments, 0.95), 'segments', baseline, '<=', 85));
      log(`${attack} done: ${segments.join(' ')}`);
    }
    const { update, both } = streaming();
    figures.push(
      figure('streaming update at 1e6 viewers, pair bets included', update, 'ms', 'segment of 2 s', '<=', 10, 'ms'),
      figure('streaming update and a full report at 1e6 viewers', both, 'ms', 'segment of 2 s', '<=', 10, 'ms'),
    );
    const schedule = startSchedule({ alphabet: 5, viewers: BILLION });
    for (const book of [createAdaptiveBook({ alphabet: 5 }), createAlignedBook({ alphabet: 5, schedule, keys: testKeys(3) }), createBiasedBook({ alphabet: 5, bias: 'uniform', schedule, keys: testKeys(3) })]) {
      figures.push(figure(`symbol of a viewer at a position, ${book.kind}, epoch key derived each time`, symbolMicros(book), 'µs', 'one HMAC-SHA256 and one PRF call', '<=', 10, 'µs'));
    }
    return Promise.resolve({ figures });
  },
};
