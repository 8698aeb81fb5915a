// SPDX-License-Identifier: Apache-2.0
/**
 * What chrony says of the host's clock, as one more time source: `chronyc -c tracking`.
 *
 * chronyc(1): offset, root delay and root dispersion in seconds; the bound is |offset| + root dispersion + root delay / 2.
 * Invariant: a host without chrony, or with a chrony that is not synchronised, gives no sample.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ClockSample } from '#core/release/clock-bound.ts';
import type { Micros } from '#core/time.ts';
import type { PreciseTime } from '#ports';

const run = promisify(execFile);
const TIMEOUT = 1000;

/** The bound in microseconds that a line of `chronyc -c tracking` states; undefined if it is not synchronised or no such line. */
export const parseTracking = (line: string): Micros | undefined => {
  // Reference id, name, stratum, reference time, system offset, last offset, RMS offset, frequency, residual, skew, root delay, root dispersion, interval, leap status.
  const fields = line.trim().split(',');
  if (fields.length < 14 || (fields[13] ?? '').startsWith('Not synchronised')) return undefined;
  const [offset, delay, dispersion] = [Number(fields[4]), Number(fields[10]), Number(fields[11])];
  const bound = Math.abs(offset) + dispersion + delay / 2;
  return Number.isFinite(bound) && bound >= 0 && bound < 1 && Number(fields[2]) < 16 ? (Math.ceil(bound * 1e6) as Micros) : undefined;
};

/** Asks chrony once; undefined where it does not run. */
export const askChrony = async (time: PreciseTime): Promise<ClockSample | undefined> => {
  let line: string;
  try {
    ({ stdout: line } = await run('chronyc', ['-c', 'tracking'], { timeout: TIMEOUT, maxBuffer: 4096 }));
  } catch {
    return undefined;
  }
  const error = parseTracking(line);
  if (error === undefined) return undefined;
  const { at, utc } = time.system();
  return { source: 'chrony', at, offset: utc - at * 1000, error };
};
