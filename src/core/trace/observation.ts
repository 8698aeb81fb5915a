// SPDX-License-Identifier: Apache-2.0
/**
 * Observation files: what a detector read in a suspect copy, kept so that a verdict can be replayed and contested.
 *
 * docs/wire/observation.md. NDJSON: a header line, then one line per position. Holds no key: whoever replays it needs
 * the event's mark secret. Invariant: what parses is finite, ordered and complete; anything else throws `bad-request`
 * with the line number, so a damaged file never turns into a weaker or stronger accusation.
 */
import { assetId, type AssetId } from '#core/ids.ts';
import { SealcastError, isSealcastError } from '#core/errors.ts';
import { isJsonObject, parseStrictObject, type JsonObject } from '#core/token/strict-json.ts';
import { position, requireAlphabet, requireSchedule, type Bias, type EpochSchedule } from '#core/watermark/index.ts';
import { parseTracedDelivery, type TracedDelivery } from '#core/edge-bundle/delivery-plan.ts';
import { MAX_READINGS } from './intake.ts';
import { requireLikelihoods, type Reading } from './likelihood.ts';

/** First member of every header. */
export const OBSERVATION_FORMAT = 'sealcast-observation/1';
const MAX_TEXT = 256;

/** How the observed copies were marked; enough, with the event's mark secret, to rebuild the code book. */
export type BookDescription =
  | { readonly kind: 'adaptive'; readonly shortest: number }
  | { readonly kind: 'aligned'; readonly schedule: EpochSchedule }
  | { readonly kind: 'biased'; readonly schedule: EpochSchedule; readonly bias: Bias };

/** The first line: what was observed and what the verdict is to hold for. */
export type ObservationHeader = {
  readonly asset: AssetId;
  readonly alphabet: number;
  /** Positions per segment (1 for variant switching). */
  readonly slots: number;
  readonly book: BookDescription;
  /** Renditions and other readings of the same file that were compared before this one was kept; each costs its share of eps. Default 1. */
  readonly hypotheses?: number;
  /** Inner delivery of the copies; absent: every viewer had a sequence of his own at every position. */
  readonly delivery?: TracedDelivery;
  /** N and eps of the trace the file belongs to. */
  readonly viewers: number;
  readonly eps: number;
  /** Offsets left open by the alignment; absent when positions are certain. */
  readonly offsets?: readonly number[];
  /** Free text for people: where the copy came from. */
  readonly source?: string;
};

/** A parsed file. */
export type Observation = { readonly header: ObservationHeader; readonly readings: readonly ObservedReading[] };
/** `erased` says why nothing was read there, e.g. `lost`, `advertisement`, `no-match`. */
export type ObservedReading = Reading & { readonly erased?: string };

const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', rule);
};

const objectOf = (line: string): JsonObject => parseStrictObject(line) ?? refuse('must be one JSON object without repeated names');

const onlyMembers = (value: JsonObject, allowed: readonly string[]): void => {
  for (const name of Object.keys(value)) if (!allowed.includes(name)) refuse(`must not have the member "${name.slice(0, 32)}"`);
};

const numberOf = (value: unknown, name: string): number => (typeof value === 'number' ? value : refuse(`"${name}" must be a number`));

const textOf = (value: unknown, name: string): string =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT ? value : refuse(`"${name}" must be a string of 1..${MAX_TEXT} characters`);

const scheduleOf = (value: unknown, alphabet: number): EpochSchedule => {
  if (!Array.isArray(value)) return refuse('"book.schedule" must be an array of steps');
  const steps = value.map((step: unknown) => {
    if (!isJsonObject(step)) return refuse('"book.schedule" must be an array of {from, length}');
    onlyMembers(step, ['from', 'length']);
    return { from: position(numberOf(step['from'], 'from')), length: numberOf(step['length'], 'length') };
  });
  return requireSchedule(steps, alphabet);
};

const bookOf = (value: unknown, alphabet: number): BookDescription => {
  if (!isJsonObject(value)) return refuse('"book" must be an object');
  switch (value['kind']) {
    case 'adaptive': {
      onlyMembers(value, ['kind', 'shortest']);
      const shortest = numberOf(value['shortest'], 'book.shortest');
      if (!Number.isInteger(shortest) || shortest < 2 || shortest > 16) refuse('"book.shortest" must be an integer of 2..16');
      return { kind: 'adaptive', shortest };
    }
    case 'aligned':
      onlyMembers(value, ['kind', 'schedule']);
      return { kind: 'aligned', schedule: scheduleOf(value['schedule'], alphabet) };
    case 'biased': {
      onlyMembers(value, ['kind', 'schedule', 'bias']);
      const bias = value['bias'];
      if (bias !== 'uniform' && bias !== 'dirichlet' && bias !== 'alternate') return refuse('"book.bias" must be uniform, dirichlet or alternate');
      return { kind: 'biased', schedule: scheduleOf(value['schedule'], alphabet), bias };
    }
    default:
      return refuse('"book.kind" must be adaptive, aligned or biased');
  }
};

/** Reads the first line. */
export const parseHeader = (line: string): ObservationHeader => {
  const value = objectOf(line);
  if (value['format'] !== OBSERVATION_FORMAT) refuse(`"format" must be "${OBSERVATION_FORMAT}"`);
  onlyMembers(value, ['format', 'asset', 'alphabet', 'slots', 'book', 'viewers', 'eps', 'offsets', 'source', 'delivery', 'hypotheses']);
  const alphabet = requireAlphabet(numberOf(value['alphabet'], 'alphabet'));
  const slots = numberOf(value['slots'], 'slots');
  if (!Number.isInteger(slots) || slots < 1 || slots > 65_536) refuse('"slots" must be an integer of 1..65536');
  const viewers = numberOf(value['viewers'], 'viewers');
  if (!Number.isSafeInteger(viewers) || viewers < 1) refuse('"viewers" must be an integer of at least 1');
  const eps = numberOf(value['eps'], 'eps');
  if (!(eps > 0 && eps < 1)) refuse('"eps" must lie between 0 and 1');
  const offsets = value['offsets'];
  if (offsets !== undefined && !(Array.isArray(offsets) && offsets.length > 0 && offsets.length <= 4096 && offsets.every((offset) => Number.isSafeInteger(offset)) && new Set(offsets).size === offsets.length)) {
    refuse('"offsets" must be 1..4096 distinct integers');
  }
  const book = bookOf(value['book'], alphabet);
  if (offsets !== undefined && book.kind !== 'aligned') refuse('"offsets" can be searched with the aligned book only');
  const hypotheses = value['hypotheses'] === undefined ? undefined : numberOf(value['hypotheses'], 'hypotheses');
  if (hypotheses !== undefined && (!Number.isInteger(hypotheses) || hypotheses < 1 || hypotheses > 1024)) refuse('"hypotheses" must be an integer of 1..1024');
  const delivery = value['delivery'] === undefined ? undefined : parseTracedDelivery(value['delivery'], { alphabet, epoch: book.kind === 'aligned' && book.schedule.length === 1 ? book.schedule[0]?.length : undefined, biased: book.kind === 'biased' }, refuse);
  if (delivery !== undefined && offsets !== undefined) refuse('"offsets" cannot be searched where copies were shared');
  return {
    asset: assetId(value['asset']),
    alphabet,
    slots,
    book,
    ...(hypotheses === undefined ? {} : { hypotheses }),
    ...(delivery === undefined ? {} : { delivery }),
    viewers,
    eps,
    ...(offsets === undefined ? {} : { offsets: offsets as number[] }),
    ...(value['source'] === undefined ? {} : { source: textOf(value['source'], 'source') }),
  };
};

/** Reads one line after the header. */
export const parseReading = (line: string, alphabet: number): ObservedReading => {
  const value = objectOf(line);
  onlyMembers(value, ['position', 'likelihoods', 'erased']);
  const at = position(numberOf(value['position'], 'position'));
  const { likelihoods, erased } = value;
  if ((likelihoods === undefined) === (erased === undefined)) refuse('must have either "likelihoods" or "erased"');
  if (erased !== undefined) return { position: at, erased: textOf(erased, 'erased') };
  if (!Array.isArray(likelihoods)) return refuse('"likelihoods" must be an array');
  return { position: at, likelihoods: requireLikelihoods(likelihoods as number[], alphabet) };
};

/** A whole file. Positions rise strictly, so that no position counts twice. */
export const parseObservation = (text: string): Observation => {
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  let number = 0;
  try {
    number = 1;
    const header = parseHeader(lines[0] ?? '');
    if (lines.length - 1 > MAX_READINGS) refuse(`a file has at most ${MAX_READINGS} readings`);
    const readings: ObservedReading[] = [];
    for (const line of lines.slice(1)) {
      number++;
      const reading = parseReading(line, header.alphabet);
      const before = readings[readings.length - 1];
      if (before !== undefined && reading.position <= before.position) refuse('"position" must be above the position of the line before');
      readings.push(reading);
    }
    return { header, readings };
  } catch (error) {
    if (isSealcastError(error)) throw new SealcastError('bad-request', `observation file, line ${number}: ${error.message}`);
    throw error;
  }
};

/** The header line, without a newline. */
export const formatHeader = (header: ObservationHeader): string => JSON.stringify({ format: OBSERVATION_FORMAT, ...header });

/** One reading's line, without a newline; a reading without likelihoods is written as an erasure. */
export const formatReading = (reading: ObservedReading): string =>
  reading.likelihoods === undefined
    ? JSON.stringify({ position: reading.position, erased: reading.erased ?? 'lost' })
    : JSON.stringify({ position: reading.position, likelihoods: reading.likelihoods });

/** A whole file, with a newline at the end. */
export const formatObservation = ({ header, readings }: Observation): string => `${[formatHeader(header), ...readings.map(formatReading)].join('\n')}\n`;
