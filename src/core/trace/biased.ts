// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer for coalitions: every viewer is scored at every reading, suspects are judged by the mixture e-value.
 *
 * Screening keeps three running scores per viewer (single leak, average of the coalition models, minority choice), each
 * restarted when it falls below zero, so that a viewer who joined the leak later shows up too. A report takes the best
 * of each screen and computes their exact e-values from the key material (evidence.ts); screening alone never accuses.
 * Works on `biased` and on `aligned` books up to some ten million viewers; 13 bytes of memory per viewer.
 * Invariant: over all reports of one tracer, any innocent is accused with probability at most eps.
 */
import { SealcastError } from '#core/errors.ts';
import { viewerNumber, type AlignedBook, type BiasedBook, type Position, type ViewerNumber } from '#core/watermark/index.ts';
import { COALITION_PRIOR, evidenceOf, type Evidence } from './evidence.ts';
import { createIntake } from './intake.ts';
import { mostLikely, type Reading } from './likelihood.ts';
import { logRatios, MODELS, modelTables, type ModelTables } from './models.ts';
import { errorRates, patience, requirePopulation, segmentsUntil, type TraceReport, type Tracer } from './report.ts';

/** What a mixture tracer has to know. */
export type MixtureTracerOptions = {
  readonly book: BiasedBook | AlignedBook;
  /** N: viewer numbers given out, at most 2^24. */
  readonly viewers: number;
  readonly eps: number;
  /** Suspects per screen that a report judges exactly. */
  readonly suspects?: number;
};

const MAX_VIEWERS = 2 ** 24;
const SUSPECTS = 16;
const SCREENS = 3;
/** Screens are fixed-point nats: integers clamp at zero without a branch, and mispredicted branches cost most of the time. */
const UNIT = 65_536;
/** The model behind the third screen: three colluders who publish their rarest symbol hide from the other two screens. */
const MINORITY = MODELS.findIndex(({ colluders, attack }) => colluders === 3 && attack === 'minority');

type Observed = { readonly at: Position; readonly probabilities: Float64Array; readonly ratios: Float64Array };
type Suspect = { readonly viewer: ViewerNumber; readonly evidence: Evidence };

/** score = max(0, score + gain[symbol]) for every viewer and screen. */
const addToScreens = (screens: readonly [Int32Array, Int32Array, Int32Array], symbols: Uint8Array, single: Int32Array, mixed: Int32Array, minority: Int32Array): void => {
  const [first, second, third] = screens;
  for (let viewer = 0; viewer < symbols.length; viewer++) {
    const x = (symbols[viewer] as number) & 7;
    const a = ((first[viewer] as number) + (single[x] as number)) | 0;
    first[viewer] = a & ~(a >> 31);
    const b = ((second[viewer] as number) + (mixed[x] as number)) | 0;
    second[viewer] = b & ~(b >> 31);
    const c = ((third[viewer] as number) + (minority[x] as number)) | 0;
    third[viewer] = c & ~(c >> 31);
  }
};

/** The `count` viewers with the highest scores above zero. */
const highest = (screen: Int32Array, count: number, exclude: ReadonlySet<number> | undefined): number[] => {
  const scores = new Int32Array(count + 1).fill(0);
  const owners = new Array<number>(count + 1).fill(-1);
  const size = screen.length;
  let cut = 0;
  for (let viewer = 0; viewer < size; viewer++) {
    const score = screen[viewer] as number;
    if (score <= cut || exclude?.has(viewer) === true) continue;
    let i = count;
    while (i > 0 && (scores[i - 1] as number) < score) {
      scores[i] = scores[i - 1] as number;
      owners[i] = owners[i - 1] as number;
      i--;
    }
    scores[i] = score;
    owners[i] = viewer;
    cut = scores[count - 1] as number;
  }
  return owners.slice(0, count).filter((viewer) => viewer >= 0);
};

/** A tracer that scores the whole population; `observe` takes some nanoseconds per viewer. */
export const createMixtureTracer = ({ book, viewers, eps, suspects = SUSPECTS }: MixtureTracerOptions): Tracer => {
  requirePopulation(viewers, eps);
  if (viewers > MAX_VIEWERS) throw new SealcastError('bad-request', `viewers must be at most ${MAX_VIEWERS}: every one of them is scored`);
  const { alphabet } = book;
  const bound = Math.log(viewers / eps);
  const screens = Array.from({ length: SCREENS }, () => new Int32Array(viewers));
  const symbols = new Uint8Array(viewers);
  const intake = createIntake(alphabet);
  const readings: Observed[] = [];
  /** Codewords of the current epoch of an `aligned` book: one permutation per viewer and epoch, not per position. */
  let epochWords: { readonly epoch: number; readonly words: Uint8Array } | undefined;
  let lastTables: ModelTables | undefined;

  const tablesAt = (at: Position): ModelTables => {
    const probabilities = new Float64Array(alphabet);
    if (book.kind === 'biased') book.weights(at).forEach((weight, symbol) => (probabilities[symbol] = weight / 256));
    else probabilities.fill(1 / alphabet);
    if (lastTables?.probabilities.every((value, symbol) => value === probabilities[symbol]) === true) return lastTables;
    lastTables = modelTables(probabilities);
    return lastTables;
  };

  const fillSymbols = (at: Position): void => {
    if (book.kind === 'biased') {
      book.fill(at, viewerNumber(0), symbols);
      return;
    }
    const epoch = book.epochAt(at);
    if (epochWords?.epoch !== epoch.epoch) {
      const words = new Uint8Array(viewers * epoch.length);
      const { encode } = book.permutation(epoch);
      for (let viewer = 0; viewer < viewers; viewer++) encode(viewer, words.subarray(viewer * epoch.length, (viewer + 1) * epoch.length));
      epochWords = { epoch: epoch.epoch, words };
    }
    const { words } = epochWords;
    for (let viewer = 0, from = at - epoch.start; viewer < viewers; viewer++, from += epoch.length) symbols[viewer] = words[from] as number;
  };

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities === undefined) return;
    const ratios = logRatios(tablesAt(at), probabilities);
    fillSymbols(at);
    readings.push({ at, probabilities, ratios });
    const single = new Int32Array(8);
    const mixed = new Int32Array(8);
    const minority = new Int32Array(8);
    for (let x = 0; x < alphabet; x++) {
      single[x] = Math.round((ratios[x] as number) * UNIT);
      minority[x] = Math.round((ratios[MINORITY * alphabet + x] as number) * UNIT);
      let sum = 0;
      let weights = 0;
      for (let k = 1; k < MODELS.length; k++) {
        sum += (COALITION_PRIOR[k] as number) * Math.exp(ratios[k * alphabet + x] as number);
        weights += COALITION_PRIOR[k] as number;
      }
      mixed[x] = Math.round(Math.log(sum / weights) * UNIT);
    }
    addToScreens(screens as [Int32Array, Int32Array, Int32Array], symbols, single, mixed, minority);
  };

  const report = ({ exclude }: { exclude?: ReadonlySet<number> } = {}): TraceReport => {
    readings.sort((a, b) => a.at - b.at);
    const erased = intake.erased();
    const listed = [...new Set(screens.flatMap((screen) => highest(screen, suspects, exclude)))];
    // Position by position, because a book keeps the state of the position it was asked for last.
    const carried = listed.map(() => new Uint8Array(readings.length));
    const epochs = new Map<number, number>();
    readings.forEach(({ at }, i) => {
      if (book.kind === 'aligned') {
        const epoch = book.epochAt(at);
        epochs.set(epoch.epoch, -Math.log1p(-1 / alphabet ** epoch.length));
      }
      listed.forEach((viewer, s) => {
        (carried[s] as Uint8Array)[i] = book.symbol(viewer as ViewerNumber, at);
      });
    });
    let correction = 0;
    for (const nats of epochs.values()) correction += nats;
    const ratios = readings.map((reading) => reading.ratios);
    const judged: (Suspect & { readonly symbols: Uint8Array })[] = listed
      .map((viewer, s) => {
        const own = carried[s] as Uint8Array;
        const evidence = evidenceOf(ratios, own, alphabet, COALITION_PRIOR);
        return { viewer: viewer as ViewerNumber, symbols: own, evidence: { ...evidence, nats: evidence.nats - correction } };
      })
      .sort((a, b) => b.evidence.nats - a.evidence.nats);
    const best = judged[0];
    const second = judged[1];
    const evidence = best?.evidence.nats ?? -Infinity;
    const accused = evidence >= bound;
    let matches = 0;
    let from = 0;
    if (best !== undefined) {
      from = best.evidence.start;
      for (let i = from; i < readings.length; i++) if (mostLikely((readings[i] as Observed).probabilities) === best.symbols[i]) matches++;
    }
    const counts = { matches, mismatches: readings.length - from - matches, erased };
    const size = best?.evidence.size ?? 1;
    // A coalition's copy matches a colluder less often: its pace so far is the better forecast.
    const pace = size > 1 && evidence > 0 ? Math.ceil(((bound - evidence) * Math.max(1, readings.length - from)) / evidence) : undefined;
    const ahead = segmentsUntil(bound - Math.max(0, evidence), alphabet, counts);
    const hopeless = !accused && readings.length >= 8 * patience(bound, alphabet) && evidence < bound / 2;
    const tied = best !== undefined && second !== undefined && second.evidence.nats >= best.evidence.nats - 1e-9;
    return {
      book: 'biased',
      verdict: accused ? 'accuse' : hopeless ? 'none' : 'more',
      viewer: best === undefined || hopeless || (tied && !accused) ? null : best.viewer,
      evidence,
      bound,
      falseAccusation: Math.min(1, viewers * Math.exp(-evidence)),
      segmentsNeeded: accused ? 0 : Math.max(1, pace ?? ahead.expected),
      segmentsRange: accused ? [0, 0] : pace === undefined ? ahead.range : [Math.ceil(pace / 2), 2 * pace],
      runnerUp: second === undefined ? null : { viewer: second.viewer, evidence: second.evidence.nats },
      observed: readings.length,
      erased,
      errorRates: errorRates(counts),
      coalition: { share: best?.evidence.coalitionShare ?? 0, size },
      since: best === undefined ? null : (readings[from]?.at ?? null),
      offset: 0,
      exhaustive: true,
    };
  };

  return { observe, report };
};
