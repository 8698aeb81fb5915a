// SPDX-License-Identifier: Apache-2.0
/**
 * An accusation as it is reported to operations: the report that `sealcast trace --json` prints, checked, and how its
 * evidence grew.
 *
 * docs/wire/observation.md, "Reporting". Invariant: what parses is finite and consistent: evidence at least the bound, the
 * bound at least ln(N/eps) for the N and eps it names. Nothing here trusts the report to be true: `replay` can tell.
 */
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';
import { MAX_VIEWER, type EpochKeys } from '#core/watermark/index.ts';
import type { Observation } from './observation.ts';
import { createTracer } from './replay.ts';
import type { TraceReport } from './report.ts';

/** The members of a report that an accusation rests on. */
export type Accusation = {
  readonly asset: AssetId;
  readonly viewer: number;
  readonly evidence: number;
  readonly bound: number;
  readonly eps: number;
  /** N of the trace. */
  readonly viewers: number;
  readonly falseAccusation: number;
  readonly observed: number;
  readonly erased: number;
  readonly errorRates: { readonly symbols: number; readonly erasures: number };
  readonly coalition: { readonly share: number; readonly size: number };
  readonly runnerUp: { readonly viewer: number; readonly evidence: number } | null;
  readonly growth: readonly Growth[];
  readonly source?: string;
};
/** Evidence in favour of the accused once a position was read. */
export type Growth = { readonly position: number; readonly evidence: number };

/** Points kept of a growth. */
export const MAX_GROWTH = 512;
/** Printed figures are rounded to three digits. */
const ROUNDING = 0.002;

const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', `the report ${rule}`);
};

const numberIn = (value: JsonObject, name: string, least: number, most: number, whole = false): number => {
  const number = value[name];
  if (typeof number !== 'number' || !(number >= least && number <= most) || (whole && !Number.isInteger(number))) return refuse(`needs "${name}", a ${whole ? 'whole ' : ''}number from ${least} to ${most}`);
  return number;
};
const objectIn = (value: JsonObject, name: string): JsonObject => {
  const object = value[name];
  return isJsonObject(object) ? object : refuse(`needs "${name}", an object`);
};

/** Checks the object that `sealcast trace --json` prints; members it does not know are left out. Throws `bad-request`. */
export const parseAccusation = (value: unknown): Accusation => {
  if (!isJsonObject(value)) return refuse('must be an object');
  if (value['verdict'] !== 'accuse') return refuse('must have the verdict "accuse"');
  const viewers = numberIn(value, 'viewers', 1, Number.MAX_SAFE_INTEGER, true);
  const eps = numberIn(value, 'eps', 1e-15, 0.5);
  const bound = numberIn(value, 'bound', 0, 1e6);
  const evidence = numberIn(value, 'evidence', 0, 1e6);
  if (bound < Math.log(viewers / eps) - ROUNDING) return refuse('has a "bound" below ln(viewers / eps)');
  if (evidence < bound - ROUNDING) return refuse('has less "evidence" than its "bound"');
  const rates = objectIn(value, 'errorRates');
  const coalition = objectIn(value, 'coalition');
  const runnerUp = value['runnerUp'];
  const growth = value['growth'] ?? [];
  if (!Array.isArray(growth) || growth.length > MAX_GROWTH) return refuse(`may have a "growth" of at most ${MAX_GROWTH} points`);
  const { source } = value;
  if (source !== undefined && !(typeof source === 'string' && source.length > 0 && source.length <= 256 && !/\p{Cc}/u.test(source))) return refuse('may have a "source" of 1-256 characters');
  return {
    asset: assetId(value['title']),
    viewer: numberIn(value, 'viewer', 0, MAX_VIEWER, true),
    evidence,
    bound,
    eps,
    viewers,
    falseAccusation: numberIn(value, 'falseAccusation', 0, 1),
    observed: numberIn(value, 'observed', 1, 1e9, true),
    erased: numberIn(value, 'erased', 0, 1e9, true),
    errorRates: { symbols: numberIn(rates, 'symbols', 0, 1), erasures: numberIn(rates, 'erasures', 0, 1) },
    coalition: { share: numberIn(coalition, 'share', 0, 1), size: numberIn(coalition, 'size', 1, 64, true) },
    runnerUp: runnerUp === null || runnerUp === undefined ? null : isJsonObject(runnerUp) ? { viewer: numberIn(runnerUp, 'viewer', 0, MAX_VIEWER, true), evidence: numberIn({ evidence: runnerUp['evidence'] ?? 0 }, 'evidence', -1e6, 1e6) } : refuse('has a "runnerUp" that is no object'),
    growth: growth.map((point: unknown) => (isJsonObject(point) ? { position: numberIn(point, 'position', 0, Number.MAX_SAFE_INTEGER, true), evidence: numberIn(point, 'evidence', -1e6, 1e6) } : refuse('has a "growth" with something else than points'))),
    ...(typeof source === 'string' && { source }),
  };
};

/** Looks taken at most while a growth is worked out. */
const LOOKS = 64;

/** Replays an observation and notes the evidence of its best viewer on the way; `report` is the one at the end of what was needed. */
export const replayWithGrowth = (observation: Observation, keys: EpochKeys): { readonly report: TraceReport; readonly growth: readonly Growth[] } => {
  const { header, readings } = observation;
  const tracer = createTracer(header, keys);
  const every = Math.max(1, Math.ceil(readings.length / LOOKS));
  const looks: { position: number; viewer: number | null; evidence: number }[] = [];
  let report: TraceReport | undefined;
  readings.forEach((reading, index) => {
    if (report?.verdict === 'accuse') return;
    tracer.observe(reading);
    if ((index + 1) % every !== 0 && index < readings.length - 1) return;
    report = tracer.report();
    looks.push({ position: reading.position, viewer: report.viewer, evidence: report.evidence });
  });
  report ??= tracer.report();
  const { viewer } = report;
  return { report, growth: looks.filter((look) => look.viewer === viewer && Number.isFinite(look.evidence)).map(({ position, evidence }) => ({ position, evidence: Number(evidence.toFixed(3)) })) };
};
