// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer for coalitions: every viewer is scored at every reading, suspects are judged by an exact e-value.
 *
 * Screening (screens.ts) keeps two running scores per viewer: the average of the coalition models, in which a single
 * leak stands out as well, and minority choice. In `biased` books the leaders bet on each other as pairs (pairs.ts). A report takes the best of each screen and
 * computes their e-values from the key material (evidence.ts); screening alone never accuses.
 * Works on `biased` and on `aligned` books up to some ten million viewers; 9 bytes of memory per viewer.
 * Invariant: over all reports of one tracer, any innocent is accused with probability at most eps.
 */
import { SealcastError } from '#core/errors.ts';
import { viewerNumber, type AlignedBook, type BiasedBook, type Position, type ViewerNumber } from '#core/watermark/index.ts';
import { COALITION_PRIOR, evidenceOf, SCREEN_PRIOR, type Evidence } from './evidence.ts';
import { createIntake } from './intake.ts';
import { mostLikely, type Reading } from './likelihood.ts';
import { logRatios, MODELS, modelTables, type ModelTables } from './models.ts';
import { createPairBets } from './pairs.ts';
import { errorRates, patience, requirePopulation, segmentsUntil, type TraceReport, type Tracer } from './report.ts';
import { createScreens } from './screens.ts';

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
const SUSPECTS = 24;
/** The model behind the second screen: three colluders who publish their rarest symbol hide from the first screen. */
const MINORITY = MODELS.findIndex(({ colluders, attack }) => colluders === 3 && attack === 'minority');

type Observed = { readonly at: Position; readonly probabilities: Float64Array; readonly ratios: Float64Array };
type Suspect = { readonly viewer: ViewerNumber; readonly evidence: Evidence };

/** A tracer that scores the whole population; `observe` takes some nanoseconds per viewer. */
export const createMixtureTracer = ({ book, viewers, eps, suspects = SUSPECTS }: MixtureTracerOptions): Tracer => {
  requirePopulation(viewers, eps);
  if (viewers > MAX_VIEWERS) throw new SealcastError('bad-request', `viewers must be at most ${MAX_VIEWERS}: every one of them is scored`);
  const { alphabet } = book;
  const bound = Math.log(viewers / eps);
  const screens = createScreens(viewers);
  // A permutation's codewords depend on each other: pairs are only bet on where symbols are independent.
  const pairs = book.kind === 'biased' ? createPairBets(alphabet, viewers) : undefined;
  const symbols = new Uint8Array(viewers);
  const intake = createIntake(alphabet);
  /** In the order of arrival, which is the order of the pair bets. */
  const arrived: Observed[] = [];
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

  /** Symbols of viewers at readings; position by position, because a book keeps the state of the position it was asked for last. */
  const carriedBy = (listed: readonly number[], readings: readonly Observed[]): readonly Uint8Array[] => {
    const carried = listed.map(() => new Uint8Array(readings.length));
    readings.forEach(({ at }, i) => {
      listed.forEach((viewer, s) => {
        (carried[s] as Uint8Array)[i] = book.symbol(viewer as ViewerNumber, at);
      });
    });
    return carried;
  };

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities === undefined) return;
    const tables = tablesAt(at);
    const ratios = logRatios(tables, probabilities);
    fillSymbols(at);
    const mixed = new Float64Array(alphabet);
    for (let x = 0; x < alphabet; x++) {
      let sum = 0;
      for (let k = 0; k < MODELS.length; k++) sum += (SCREEN_PRIOR[k] as number) * Math.exp(ratios[k * alphabet + x] as number);
      mixed[x] = Math.log(sum);
    }
    // The bets come first: they were laid before this reading.
    pairs?.observe(probabilities, tables.probabilities, symbols);
    arrived.push({ at, probabilities, ratios });
    screens.add(symbols, [mixed, ratios.subarray(MINORITY * alphabet, (MINORITY + 1) * alphabet)]);
    pairs?.lead(screens.leaders(0), (listed) => carriedBy(listed, arrived));
  };

  const report = ({ exclude }: { exclude?: ReadonlySet<number> } = {}): TraceReport => {
    const readings = [...arrived].sort((a, b) => a.at - b.at);
    const erased = intake.erased();
    const listed = [...new Set(([0, 1] as const).flatMap((screen) => screens.leaders(screen).filter((viewer) => exclude?.has(viewer) !== true).slice(0, suspects)))];
    const carried = carriedBy(listed, readings);
    const epochs = new Map<number, number>();
    if (book.kind === 'aligned') {
      for (const { at } of readings) {
        const epoch = book.epochAt(at);
        epochs.set(epoch.epoch, -Math.log1p(-1 / alphabet ** epoch.length));
      }
    }
    let correction = 0;
    for (const nats of epochs.values()) correction += nats;
    const ratios = readings.map((reading) => reading.ratios);
    const judged: (Suspect & { readonly symbols: Uint8Array })[] = listed
      .map((viewer, s) => {
        const own = carried[s] as Uint8Array;
        const evidence = evidenceOf(ratios, own, alphabet, COALITION_PRIOR, pairs?.gain(viewer));
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
