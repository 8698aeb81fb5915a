// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of the `aligned` book: e-values over keyed epochs, exact search, account changes, unknown offset.
 *
 * Accuses iff the candidate's e-value reaches N/eps (times the number of offsets tried), at any moment and after any
 * number of looks. The search proposes the candidate that a single leaking viewer would be; restarts at epoch starts
 * propose those of a pirate that changed accounts; both are judged by the same fixed e-value (evidence.ts).
 * Invariant: over all reports of one tracer, any innocent is accused with probability at most eps.
 */
import { SealcastError } from '#core/errors.ts';
import { position, type AlignedBook, type EpochAt, type ViewerNumber } from '#core/watermark/index.ts';
import { evidenceOf, SINGLE_PRIOR, type Evidence } from './evidence.ts';
import { createIntake } from './intake.ts';
import { mostLikely, type Reading } from './likelihood.ts';
import { logRatios, modelTables } from './models.ts';
import { errorRates, patience, requirePopulation, segmentsUntil, type Counts, type TraceReport, type Tracer } from './report.ts';
import { createScan, SCAN_VIEWERS } from './scan.ts';
import { SCREENED_VIEWERS, screenViewers } from './screen-scan.ts';
import { searchViewers, type EpochScores, type SearchResult } from './search.ts';

/** What an aligned tracer has to know. */
export type AlignedTracerOptions = {
  readonly book: AlignedBook;
  /** N: viewer numbers given out. */
  readonly viewers: number;
  /** Probability that any innocent is ever accused by this tracer. */
  readonly eps: number;
  /** Offsets to add to the readings' positions if alignment left several; each costs ln(number of offsets) nats. */
  readonly offsets?: readonly number[];
  /** Strings decrypted per search; the default takes about half a second. */
  readonly searchLimit?: number;
};

const SEARCH_LIMIT = 40_000;
/** Epoch starts tried as the moment of an account change: the latest ones. */
const RESTARTS = 6;
/** Epochs with more codewords than this have more strings than a search can go through once several places are misread. */
const LONG_EPOCH = 2 ** 30;
/** Viewers that a screening of everybody proposes, and how much the readings must grow between two of them. */
const PROPOSED = 8;
const SCREEN_GROWTH = 1.25;
/** Least strings tried per search when many offsets or restarts share the limit. */
const SHARE = 2000;

type Observed = { readonly at: number; readonly probabilities: Float64Array; readonly ratios: Float64Array };
type Candidate = { readonly viewer: ViewerNumber; readonly evidence: Evidence };
type Outcome = { readonly candidates: readonly Candidate[]; readonly tied: boolean; readonly exhaustive: boolean };

/** A tracer over readings at known positions (up to the given offsets). */
export const createAlignedTracer = (options: AlignedTracerOptions): Tracer => {
  const { book, viewers, eps, offsets = [0], searchLimit = SEARCH_LIMIT } = options;
  requirePopulation(viewers, eps);
  if (offsets.length === 0 || new Set(offsets).size !== offsets.length) throw new SealcastError('bad-request', 'offsets must be distinct and at least one');
  const { alphabet } = book;
  const bound = Math.log(viewers / eps) + Math.log(offsets.length);
  const tables = modelTables(new Float64Array(alphabet).fill(1 / alphabet));
  const scan = viewers <= SCAN_VIEWERS ? createScan(book, viewers) : undefined;
  const intake = createIntake(alphabet);
  const readings: Observed[] = [];
  let screened = { readings: 0, viewers: [] as readonly ViewerNumber[] };

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities !== undefined) readings.push({ at, probabilities, ratios: logRatios(tables, probabilities) });
  };

  /** Readings the schedule covers; an offset may move some before its beginning. */
  const usedAt = (offset: number): readonly Observed[] => readings.filter(({ at }) => at + offset >= (book.schedule[0]?.from ?? 0));

  /** What a viewer's copy carries at each reading. */
  const symbolsOf = (viewer: ViewerNumber, used: readonly Observed[], offset: number): Uint8Array => {
    const words = new Map<number, { epoch: EpochAt; word: Uint8Array }>();
    return Uint8Array.from(used, ({ at }) => {
      const epoch = book.epochAt(position(at + offset));
      let known = words.get(epoch.epoch);
      if (known === undefined) words.set(epoch.epoch, (known = { epoch, word: book.codeword(viewer, epoch) }));
      return known.word[at + offset - epoch.start] as number;
    });
  };

  const epochsOf = (used: readonly Observed[], offset: number): EpochScores[] => {
    const epochs = new Map<number, { at: EpochAt; scores: (Float64Array | undefined)[] }>();
    for (const { at, ratios } of used) {
      const epoch = book.epochAt(position(at + offset));
      let known = epochs.get(epoch.epoch);
      if (known === undefined) epochs.set(epoch.epoch, (known = { at: epoch, scores: new Array<Float64Array | undefined>(epoch.length).fill(undefined) }));
      // The single-leak model is the first row.
      known.scores[at + offset - epoch.start] = ratios.subarray(0, alphabet);
    }
    return [...epochs.values()].sort((a, b) => a.at.epoch - b.at.epoch);
  };

  const ceilingOf = (epochs: readonly EpochScores[]): number => {
    let ceiling = 0;
    for (const { scores } of epochs) for (const row of scores) if (row !== undefined) ceiling += Math.max(...row);
    return ceiling;
  };

  const find = (epochs: readonly EpochScores[], sharers: number, exclude: ReadonlySet<number> | undefined): SearchResult => {
    if (scan !== undefined) return scan(epochs, exclude);
    const limit = Math.max(SHARE, Math.floor(searchLimit / (sharers * offsets.length)));
    return searchViewers({ book, viewers, epochs, enough: bound + 1, limit, ...(exclude === undefined ? {} : { exclude }) });
  };

  const investigate = (offset: number, exclude: ReadonlySet<number> | undefined): Outcome => {
    const used = usedAt(offset);
    const epochs = epochsOf(used, offset);
    // m^K/(m^K-1) per epoch: an innocent's codeword differs from the leaking viewer's.
    let correction = 0;
    for (const { at } of epochs) correction -= Math.log1p(-1 / alphabet ** at.length);
    const ratios = used.map((reading) => reading.ratios);
    const judged = new Map<number, Candidate>();
    const judge = (viewer: ViewerNumber): void => {
      if (judged.has(viewer)) return;
      const evidence = evidenceOf(ratios, symbolsOf(viewer, used, offset), alphabet, SINGLE_PRIOR);
      judged.set(viewer, { viewer, evidence: { ...evidence, nats: evidence.nats - correction } });
    };
    let tied = false;
    let exhaustive = true;
    const certified = (): boolean => [...judged.values()].some(({ evidence }) => evidence.nats >= bound);
    const starts = [0, ...Array.from({ length: Math.min(RESTARTS, Math.max(0, epochs.length - 1)) }, (_, i) => epochs.length - 1 - i)];
    for (const start of starts) {
      const part = epochs.slice(start);
      // Fewer nats than there are viewers cannot single one out, and the search would wade through ties.
      if (ceilingOf(part) < Math.log(viewers)) {
        if (start === 0) exhaustive = false;
        continue;
      }
      const found = find(part, start === 0 ? 1 : RESTARTS, exclude);
      if (start === 0) ({ tied, exhaustive } = found);
      if (found.best !== null) judge(found.best.viewer);
      if (found.second !== null) judge(found.second.viewer);
      if (certified()) break;
    }
    // Too many errors in every epoch for the search, but enough readings for certainty: everybody is looked at.
    if (!certified() && !exhaustive && scan === undefined && viewers <= SCREENED_VIEWERS && epochs.some(({ at }) => alphabet ** at.length > LONG_EPOCH) && offsets.length === 1 && ceilingOf(epochs) >= bound) {
      if (readings.length >= SCREEN_GROWTH * screened.readings) screened = { readings: readings.length, viewers: screenViewers(book, viewers, epochs, PROPOSED, exclude) };
      for (const viewer of screened.viewers) if (exclude?.has(viewer) !== true) judge(viewer);
    }
    return { candidates: [...judged.values()].sort((a, b) => b.evidence.nats - a.evidence.nats), tied, exhaustive };
  };

  const report = ({ exclude }: { exclude?: ReadonlySet<number> } = {}): TraceReport => {
    readings.sort((a, b) => a.at - b.at);
    const erased = intake.erased();
    let offset = offsets[0] as number;
    let outcome: Outcome = { candidates: [], tied: false, exhaustive: false };
    for (const tried of offsets) {
      const next = investigate(tried, exclude);
      if (tried === offset || (next.candidates[0]?.evidence.nats ?? -Infinity) > (outcome.candidates[0]?.evidence.nats ?? -Infinity)) {
        outcome = next;
        offset = tried;
      }
    }
    const best = outcome.candidates[0];
    const second = outcome.candidates[1];
    const evidence = best?.evidence.nats ?? -Infinity;
    const accused = evidence >= bound;
    const counts = best === undefined ? { matches: readings.length, mismatches: 0, erased } : countsOf(best, offset);
    const ahead = segmentsUntil(bound - Math.max(0, evidence), alphabet, counts);
    const rates = errorRates(counts);
    const hopeless = !accused && readings.length >= patience(bound, alphabet) && evidence < bound / 2;
    return {
      book: 'aligned',
      verdict: accused ? 'accuse' : hopeless ? 'none' : 'more',
      viewer: best === undefined || hopeless || (outcome.tied && !accused) ? null : best.viewer,
      evidence,
      bound,
      falseAccusation: Math.min(1, viewers * offsets.length * Math.exp(-evidence)),
      segmentsNeeded: accused ? 0 : Math.max(1, ahead.expected),
      segmentsRange: accused ? [0, 0] : ahead.range,
      runnerUp: second === undefined ? null : { viewer: second.viewer, evidence: second.evidence.nats },
      observed: readings.length,
      erased,
      errorRates: rates,
      coalition: { share: best?.evidence.coalitionShare ?? 0, size: best?.evidence.size ?? 1 },
      since: best === undefined ? null : (usedAt(offset)[best.evidence.start]?.at ?? 0) + offset,
      offset,
      exhaustive: outcome.exhaustive,
    };
  };

  const countsOf = ({ viewer, evidence }: Candidate, offset: number): Counts => {
    const used = usedAt(offset).slice(evidence.start);
    const symbols = symbolsOf(viewer, used, offset);
    let matches = 0;
    used.forEach(({ probabilities }, i) => {
      if (mostLikely(probabilities) === symbols[i]) matches++;
    });
    return { matches, mismatches: used.length - matches, erased: intake.erased() };
  };

  return { observe, report };
};
