// SPDX-License-Identifier: Apache-2.0
/**
 * Ten thousand viewers at once, with coming and going: what has to work is everything, so failures are counted and not rated.
 *
 * Intervals are short so that every session renews several times within the run; the rate is that of many more viewers.
 */
import type { CrowdOrder, CrowdResult } from '../load/crowd.ts';
import { startLoad } from '../load/start.ts';
import { groupLength, type KeySchedule, type Micros } from '#core/time.ts';
import { SECOND, startInstallation } from './installation.ts';

/** Groups of 6 s, the shortest that the documentation shows. */
const SCHEDULE: KeySchedule = { period: (2 * SECOND) as Micros, periodsPerGroup: 3 };
const FULL = { sessions: 10_000, interval: 30_000, duration: 60_000, seconds: 90, processes: 2 } as const;
const SHORT = { sessions: 1000, interval: 2000, duration: 8000, seconds: 5, processes: 1 } as const;
const CONNECTIONS = 64;
/** Of the sessions, per interval. */
const CHURN = 0.01;

const quantile = (sorted: Float64Array, q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;

/** Reports the run by `judge`. */
export const runCrowd = async (
  { full, log }: { readonly full: boolean; log(line: string): void },
  judge: (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason: string) => void,
): Promise<void> => {
  const { sessions, interval, duration, seconds, processes } = full ? FULL : SHORT;
  const installation = await startInstallation(SCHEDULE);
  const crowds = Array.from({ length: processes }, () => startLoad<CrowdOrder, CrowdResult>('crowd.ts'));
  try {
    // The first renewals spread over one interval, so some sessions wait longer for theirs than others: rights last for it.
    const made = Array.from({ length: sessions }, (_, index) =>
      installation.makeSession({ level: 1, shift: 0, age: 2 * interval + index, sinceRenewal: Math.round((interval * (sessions - index)) / sessions), term: duration, own: { interval, duration } }),
    );
    const churn = (sessions * CHURN * 1000) / interval;
    const results = await Promise.all(
      crowds.map((crowd, index) =>
        crowd.order({
          url: installation.url,
          backend: installation.backend,
          licenseKey: installation.licenseKey,
          sessions: made.filter((_, nth) => nth % processes === index),
          connections: CONNECTIONS / processes,
          group: groupLength(SCHEDULE),
          interval,
          duration,
          churn: churn / processes,
          millis: seconds * 1000,
        }),
      ),
    );
    const failures: Record<string, number> = {};
    for (const result of results) for (const [kind, count] of Object.entries(result.failures)) failures[kind] = (failures[kind] ?? 0) + count;
    const failed = Object.values(failures).reduce((sum, count) => sum + count, 0);
    const merged = (of: 'latencies' | 'startLatencies'): Float64Array => Float64Array.from(results.flatMap((result) => [...result[of]])).sort();
    const [renewed, started] = [merged('latencies'), merged('startLatencies')];
    const conditions = `${sessions} sessions for ${seconds} s, renewing every ${interval / 1000} s for ${duration / 1000} s: ${renewed.length} renewals, ${started.length} of them replaced`;
    log(`crowd: ${conditions}; ${failed} failures ${JSON.stringify(failures)}; renewal p50 ${quantile(renewed, 0.5).toFixed(1)} ms, p99 ${quantile(renewed, 0.99).toFixed(1)} ms, worst ${quantile(renewed, 1).toFixed(1)} ms; start p99 ${quantile(started, 0.99).toFixed(1)} ms`);
    judge('crowd-failures', failed, 'failures', `${conditions}, 1 % per interval`, '0', failed === 0, Object.entries(failures).map(([kind, count]) => `${count} x ${kind}`).join(', '));
    judge('crowd-renewal-p99', quantile(renewed, 0.99), 'ms', `from the instant a renewal was due; ${processes} client processes on the same machine`, 'none, for comparison', true, '');
    judge('crowd-start-p99', quantile(started, 0.99), 'ms', `session starts amid the renewals, ${churn.toFixed(1)}/s`, 'none, for comparison', true, '');
  } finally {
    for (const crowd of crowds) crowd.close();
    await installation.close();
  }
};
