// SPDX-License-Identifier: Apache-2.0
/**
 * What `trace` and `detect` share: their options, the run with progress on the terminal, and the answer's shape.
 *
 * Invariant: `--json` prints the same members whether the file could be read or not; exit 0 only for `accuse`.
 */
import { basename } from 'node:path';
import { createBook, createCorrelation, formatObservation, replayWithGrowth, type ObservedReading } from '#core/trace/index.ts';
import { position, viewerNumber, type EpochKeys } from '#core/watermark/index.ts';
import { type AssetId, assetId, isAssetId } from '#core/ids.ts';
import { loadConfig, type Config } from '#entry/config/index.ts';
import { openLocalTracing, type LocalTracing } from '#entry/tracing.ts';
import type { ViewersView } from '#operations/index.ts';
import { geometryOf, reportPage, type Progress, type TraceAnswer } from '#tracer/index.ts';
import { writeFile } from 'node:fs/promises';
import { CommandExit, EXIT, jsonArg, numberOption, usageError } from './command.ts';
import { callOperator } from './operator-api.ts';

/** Viewers assumed where no number was given out and nobody says how many there are. */
const DEFAULT_VIEWERS = 1_000_000;
const DEFAULT_EPS = 1e-6;

type Text = { readonly type: 'string'; readonly description: string; readonly valueHint: string };
/** The arguments of both commands. */
export type SuspectArgs = {
  readonly suspect: { readonly type: 'positional'; readonly required: true; readonly description: string };
  readonly title: Text & { readonly required: true; readonly alias: 'event' };
  readonly viewers: Text;
  readonly eps: Text;
  readonly url: Text;
  readonly 'token-file': Text;
  readonly output: Text & { readonly alias: 'o' };
  readonly report: Text;
  readonly config: Text;
  readonly data: Text;
  readonly json: typeof jsonArg.json;
};
/** Their declaration. */
export const suspectArgs: SuspectArgs = {
  suspect: { type: 'positional', required: true, description: 'the file found: any container and coding, re-encoded, scaled or cut' },
  title: { type: 'string', required: true, valueHint: 'ID', alias: 'event', description: 'title or event it was copied from: packed with --variants, or with marked tracks' },
  viewers: { type: 'string', valueHint: 'N', description: `viewer numbers given out (default: as the data folder or --url says, else ${DEFAULT_VIEWERS})` },
  eps: { type: 'string', valueHint: 'P', description: `allowed probability that any innocent is accused (default ${DEFAULT_EPS})` },
  url: { type: 'string', valueHint: 'URL', description: 'running service that knows whose viewer numbers are whose (default: the data folder)' },
  'token-file': { type: 'string', valueHint: 'FILE', description: 'file with the operator token for --url (default: environment variable SEALCAST_OPERATOR_TOKEN)' },
  output: { type: 'string', alias: 'o', valueHint: 'FILE', description: 'save the observation (docs/wire/observation.md)' },
  report: { type: 'string', valueHint: 'FILE', description: 'write a page that shows the evidence: place, slots, growth, comparison (marks inside the bitstream)' },
  config: { type: 'string', valueHint: 'FILE', description: 'configuration of the platform' },
  data: { type: 'string', valueHint: 'DIR', description: 'data folder (default ./sealcast-data)' },
  ...jsonArg,
};
/** What citty reads from them. */
export type GivenSuspect = {
  readonly suspect: string;
  readonly title: string;
  readonly viewers?: string | undefined;
  readonly eps?: string | undefined;
  readonly url?: string | undefined;
  readonly 'token-file'?: string | undefined;
  readonly output?: string | undefined;
  readonly report?: string | undefined;
  readonly config?: string | undefined;
  readonly data?: string | undefined;
  readonly json: boolean;
};

/** The configuration that `--config` and `--data` name. */
export const configOf = (given: { readonly config?: string | undefined; readonly data?: string | undefined }): Config => loadConfig(given.config, given.data === undefined ? {} : { data: given.data });

const STEPS: Readonly<Record<Progress['step'], string>> = {
  prepare: 'preparing the reference',
  decode: 'decoding',
  align: 'looking for its place in the title',
  differences: 'comparing with the differences',
  read: 'reading the marks',
  score: 'comparing with the viewers',
};
const detailOf = ({ step, seconds, done, total, segment }: Progress): string =>
  step === 'decode' || (step === 'read' && seconds !== undefined && done !== undefined) ? ` ${(seconds ?? 0).toFixed(0)} s` : step === 'prepare' && total !== undefined ? ` ${done ?? 0} of ${total}` : step === 'differences' ? ` of segment ${segment ?? 0}` : '';

const progressLine = (quiet: boolean): ((progress: Progress) => void) => {
  return (progress) => {
    if (quiet || !process.stderr.isTTY) return;
    process.stderr.write(`\r\u001b[K${STEPS[progress.step]}${detailOf(progress)}`);
    if (progress.step === 'score') process.stderr.write('\r\u001b[K');
  };
};

/** Whose copies could be accused, and who holds a number: from the service at `--url`, else from the data folder. */
export type Population = {
  /** N of the trace. */
  viewers(): Promise<number>;
  holder(viewer: number): Promise<Holder>;
};
/** Null where no session was given the number. */
export type Holder = { readonly account: string | null; readonly device: string | null };
const NOBODY: Holder = { account: null, device: null };

/** `--viewers` may raise what is known, not lower it: a bound that leaves viewers out would be none. */
export const populationOf = (given: Pick<GivenSuspect, 'viewers' | 'url' | 'token-file'>, asset: AssetId, tracing: LocalTracing): Population => {
  const asked = numberOption('viewers', given.viewers, { min: 1, max: 1e12 });
  if (asked !== undefined && !Number.isInteger(asked)) throw usageError('--viewers must be a whole number');
  const { url } = given;
  const ask = (query: string): Promise<ViewersView> => callOperator<ViewersView>({ url: url ?? '', 'token-file': given['token-file'] }, 'GET', `/v1/viewers/${asset}${query}`);
  return {
    async viewers() {
      const known = url === undefined ? await tracing.population(asset) : await ask('').then(({ given: count, viewers }) => (count === 0 ? undefined : viewers));
      if (asked === undefined) return known ?? DEFAULT_VIEWERS;
      if (known !== undefined && asked < known) throw usageError(`--viewers ${asked} leaves viewers out: ${known} numbers are given out or kept back`);
      return asked;
    },
    async holder(viewer) {
      if (url !== undefined) return ask(`?viewer=${viewer}`).then(({ account, device }) => ({ account: account ?? null, device: device ?? null }));
      return (await tracing.holder(asset, viewer)) ?? NOBODY;
    },
  };
};

/** The asset that `--title` names. */
export const assetOf = (title: string): AssetId => {
  if (!isAssetId(title)) throw usageError('--title must be 1-40 characters of a-z, 0-9 and -');
  return assetId(title);
};
/** The probability that `--eps` names. */
export const epsOf = (given: Pick<GivenSuspect, 'eps'>): number => numberOption('eps', given.eps, { min: 1e-15, max: 0.5 }) ?? DEFAULT_EPS;

/** What came of a suspect file. */
export type Traced = { readonly answer: TraceAnswer; readonly holder: Holder; readonly seconds: number };

/** Traces the file the arguments name. Throws usage errors and SealcastErrors. */
export const traceSuspect = async (given: GivenSuspect): Promise<Traced> => {
  const asset = assetOf(given.title);
  const eps = epsOf(given);
  const tracing = await openLocalTracing(configOf(given));
  const began = performance.now();
  try {
    const population = populationOf(given, asset, tracing);
    const viewers = await population.viewers();
    // Reading the mark keys is noted before it is done, whatever comes of it.
    await tracing.audit('mark-keys.read', asset, { for: 'trace' });
    const answer = await tracing.tracer.trace({ asset, file: given.suspect, viewers, eps, source: basename(given.suspect).slice(0, 200), onProgress: progressLine(given.json) });
    const viewer = answer.readable ? answer.report.viewer : null;
    const holder = viewer === null ? NOBODY : await population.holder(viewer);
    await tracing.audit('trace', asset, { verdict: answer.readable ? answer.report.verdict : answer.reason, ...(viewer !== null && { viewer }), ...(holder.account !== null && { account: holder.account }) });
    if (given.output !== undefined) {
      if (!answer.readable) throw new CommandExit(EXIT.negative, `${answer.detail}; there is no observation to save`);
      await writeFile(given.output, formatObservation(answer.observation));
    }
    if (given.report !== undefined) await writeFile(given.report, await pageOf(given, answer, holder, await tracing.keys(asset)));
    return { answer, holder, seconds: (performance.now() - began) / 1000 };
  } finally {
    tracing.close();
  }
};

/** The page of a verdict, with scores of viewers drawn at random beside the accused's. */
const pageOf = async (given: GivenSuspect, answer: TraceAnswer, holder: Holder, keys: EpochKeys): Promise<string> => {
  if (!answer.readable) throw new CommandExit(EXIT.negative, `${answer.detail}; there is nothing to show`);
  if (answer.marks === undefined) throw new CommandExit(EXIT.usage, '--report shows marks inside the bitstream; this title was packed with variants');
  const { observation, marks } = answer;
  const { header, readings } = observation;
  const { report, growth } = replayWithGrowth(observation, keys);
  const book = createBook(header.book, header.alphabet, keys);
  const scores = createCorrelation(book, readings, report.offset);
  const random = seededNumbers(header.viewers);
  const others = Array.from({ length: Math.min(OTHERS, header.viewers - 1) }, () => viewerNumber(random())).filter((viewer) => viewer !== report.viewer).map((viewer) => scores.score(viewer));
  const { viewer } = report;
  return reportPage({
    title: given.title, source: basename(given.suspect), report, viewers: header.viewers, eps: header.eps, made: new Date().toISOString().slice(0, 16).replace('T', ' '),
    ...(holder.account === null ? {} : { account: holder.account }),
    suspect: { seconds: answer.seconds, ...marks.picture }, segments: marks.segments, slots: marks.slots, growth, others, hypotheses: marks.hypotheses,
    ...(viewer === null ? {} : { symbols: marks.segments.flatMap(({ number, statistics }) => statistics.map((_, slot) => book.symbol(viewer, position(number * marks.slots + slot)))) }),
  });
};
/** Viewers drawn for comparison. */
const OTHERS = 20_000;
/** Numbers below `limit`, the same ones on every run (a linear congruential sequence). */
const seededNumbers = (limit: number): (() => number) => {
  let state = 20_260_101;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
};

const finite = (value: number): number | null => (Number.isFinite(value) ? Number(value.toFixed(3)) : null);

/** Where and how the marks were read, in numbers. */
const marksJson = ({ segments, hypotheses, picture, slots }: NonNullable<Extract<TraceAnswer, { readable: true }>['marks']>): Record<string, unknown> => {
  const first = segments[0];
  return {
    slots,
    hypotheses,
    picture,
    ...(first !== undefined && { geometry: geometryOf(first.map, picture.width / picture.height) }),
    segments: segments.map(({ number, rendition, pictures, at, shift, correlation, standardError, noise }) => ({
      number, rendition, pictures, at: finite(at), shift: finite(shift), correlation: finite(correlation), standardError: finite(standardError), noise: finite(noise),
    })),
  };
};

/** The object both commands print with `--json`. */
export const answerJson = (title: string, { answer, holder, seconds }: Traced): Record<string, unknown> => {
  const wall = Number(seconds.toFixed(3));
  if (!answer.readable) {
    const nothing = { positions: 0, observed: 0, erased: 0, verdict: 'none', viewer: null, account: null, evidence: null, bound: null, segmentsNeeded: null, runnerUp: null };
    return { title, ...nothing, reason: answer.reason, detail: answer.detail, suspectSeconds: answer.seconds, seconds: wall };
  }
  const { report, observation, stretches } = answer;
  return {
    title,
    positions: observation.readings.length,
    observed: report.observed,
    erased: report.erased,
    verdict: report.verdict,
    viewer: report.viewer,
    // Null for numbers that no session was given: probes, and copies made by `sealcast mark`.
    account: holder.account,
    device: holder.device,
    evidence: finite(report.evidence),
    bound: finite(report.bound),
    falseAccusation: report.falseAccusation,
    segmentsNeeded: report.segmentsNeeded,
    segmentsRange: report.segmentsRange,
    runnerUp: report.runnerUp === null ? null : { viewer: report.runnerUp.viewer, evidence: finite(report.runnerUp.evidence) },
    ...(report.correlation !== undefined && { correlation: { ...report.correlation, score: finite(report.correlation.score), needed: finite(report.correlation.needed) } }),
    ...(answer.marks !== undefined && { marks: marksJson(answer.marks) }),
    errorRates: report.errorRates,
    coalition: report.coalition,
    since: report.since,
    exhaustive: report.exhaustive,
    ...(observation.header.source !== undefined && { source: observation.header.source }),
    viewers: observation.header.viewers,
    eps: observation.header.eps,
    stretches,
    suspectSeconds: answer.seconds,
    seconds: wall,
  };
};

/** The likeliest symbol of a reading and its share of the likelihood. */
export const bestSymbol = ({ likelihoods }: ObservedReading): { readonly symbol: number; readonly share: number } | undefined => {
  if (likelihoods === undefined) return undefined;
  const total = likelihoods.reduce((sum, value) => sum + value, 0);
  const top = Math.max(...likelihoods);
  return { symbol: likelihoods.indexOf(top), share: top / total };
};
