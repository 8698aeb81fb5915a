// SPDX-License-Identifier: Apache-2.0
/**
 * What `trace` and `detect` share: their options, the run with progress on the terminal, and the answer's shape.
 *
 * Invariant: `--json` prints the same members whether the file could be read or not; exit 0 only for `accuse`.
 */
import { basename } from 'node:path';
import { formatObservation, type ObservedReading } from '#core/trace/index.ts';
import { assetId, isAssetId } from '#core/ids.ts';
import { loadConfig, type Config } from '#entry/config/index.ts';
import { openLocalTracing } from '#entry/tracing.ts';
import type { Progress, TraceAnswer } from '#tracer/index.ts';
import { writeFile } from 'node:fs/promises';
import { CommandExit, EXIT, jsonArg, numberOption, usageError } from './command.ts';

/** Viewers assumed when nobody says how many there are. */
const DEFAULT_VIEWERS = 1_000_000;
const DEFAULT_EPS = 1e-6;

type Text = { readonly type: 'string'; readonly description: string; readonly valueHint: string };
/** The arguments of both commands. */
export type SuspectArgs = {
  readonly suspect: { readonly type: 'positional'; readonly required: true; readonly description: string };
  readonly title: Text & { readonly required: true };
  readonly viewers: Text;
  readonly eps: Text;
  readonly output: Text & { readonly alias: 'o' };
  readonly config: Text;
  readonly data: Text;
  readonly json: typeof jsonArg.json;
};
/** Their declaration. */
export const suspectArgs: SuspectArgs = {
  suspect: { type: 'positional', required: true, description: 'the file found: any container and coding, re-encoded, scaled or cut' },
  title: { type: 'string', required: true, valueHint: 'ID', description: 'title it was copied from, packed with --variants' },
  viewers: { type: 'string', valueHint: 'N', description: `viewer numbers given out (default ${DEFAULT_VIEWERS})` },
  eps: { type: 'string', valueHint: 'P', description: `allowed probability that any innocent is accused (default ${DEFAULT_EPS})` },
  output: { type: 'string', alias: 'o', valueHint: 'FILE', description: 'save the observation (docs/wire/observation.md)' },
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
  readonly output?: string | undefined;
  readonly config?: string | undefined;
  readonly data?: string | undefined;
  readonly json: boolean;
};

/** The configuration that `--config` and `--data` name. */
export const configOf = (given: { readonly config?: string | undefined; readonly data?: string | undefined }): Config => loadConfig(given.config, given.data === undefined ? {} : { data: given.data });

const STEPS: Readonly<Record<Progress['step'], string>> = { decode: 'decoding', align: 'looking for its place in the title', read: 'reading the marks', score: 'comparing with the viewers' };

const progressLine = (quiet: boolean): ((progress: Progress) => void) => {
  return ({ step, seconds }) => {
    if (quiet || !process.stderr.isTTY) return;
    process.stderr.write(`\r\u001b[K${STEPS[step]}${step === 'decode' ? ` ${(seconds ?? 0).toFixed(0)} s` : ''}`);
    if (step === 'score') process.stderr.write('\r\u001b[K');
  };
};

/** Traces the file the arguments name. Throws usage errors and SealcastErrors. */
export const traceSuspect = async (given: GivenSuspect): Promise<{ readonly answer: TraceAnswer; readonly seconds: number }> => {
  if (!isAssetId(given.title)) throw usageError('--title must be 1-40 characters of a-z, 0-9 and -');
  const viewers = numberOption('viewers', given.viewers, { min: 1, max: 1e12 }) ?? DEFAULT_VIEWERS;
  if (!Number.isInteger(viewers)) throw usageError('--viewers must be a whole number');
  const eps = numberOption('eps', given.eps, { min: 1e-15, max: 0.5 }) ?? DEFAULT_EPS;
  const asset = assetId(given.title);
  const tracing = await openLocalTracing(configOf(given));
  const began = performance.now();
  try {
    const answer = await tracing.tracer.trace({ asset, file: given.suspect, viewers, eps, source: basename(given.suspect).slice(0, 200), onProgress: progressLine(given.json) });
    await tracing.audit('trace', asset, { verdict: answer.readable ? answer.report.verdict : answer.reason });
    if (given.output !== undefined) {
      if (!answer.readable) throw new CommandExit(EXIT.negative, `${answer.detail}; there is no observation to save`);
      await writeFile(given.output, formatObservation(answer.observation));
    }
    return { answer, seconds: (performance.now() - began) / 1000 };
  } finally {
    tracing.close();
  }
};

const finite = (value: number): number | null => (Number.isFinite(value) ? Number(value.toFixed(3)) : null);

/** The object both commands print with `--json`. */
export const answerJson = (title: string, answer: TraceAnswer, seconds: number): Record<string, unknown> => {
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
    // Which account holds a viewer number is known where sessions are started, not in a packed folder.
    account: null,
    evidence: finite(report.evidence),
    bound: finite(report.bound),
    falseAccusation: report.falseAccusation,
    segmentsNeeded: report.segmentsNeeded,
    segmentsRange: report.segmentsRange,
    runnerUp: report.runnerUp === null ? null : { viewer: report.runnerUp.viewer, evidence: finite(report.runnerUp.evidence) },
    errorRates: report.errorRates,
    coalition: report.coalition,
    since: report.since,
    exhaustive: report.exhaustive,
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
