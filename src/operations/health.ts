// SPDX-License-Identifier: Apache-2.0
/**
 * Readiness: named checks run side by side, each with a time limit.
 *
 * `/healthz` says the process answers; `/readyz` says it can do its work. Names and reasons are for operators only.
 * Invariant: a check that hangs or throws counts as not ready and never holds up the answer.
 */
import type { Millis } from '#core/time.ts';
import type { Clock } from '#ports';

/** True when ready; a rejected promise counts as false. */
export type ReadinessCheck = () => Promise<boolean> | boolean;

const LIMIT = 2000 as Millis;

const runCheck = (check: ReadinessCheck, clock: Clock): Promise<boolean> =>
  new Promise((resolve) => {
    const cancel = clock.after(LIMIT, () => resolve(false));
    Promise.resolve()
      .then(check)
      .catch(() => false)
      .then((ready) => {
        cancel();
        resolve(ready);
      }, () => resolve(false));
  });

/** name → ready. An empty list of checks is ready. */
export const runChecks = async (checks: Readonly<Record<string, ReadinessCheck>>, clock: Clock): Promise<Readonly<Record<string, boolean>>> => {
  const names = Object.keys(checks);
  const results = await Promise.all(names.map((name) => runCheck(checks[name] as ReadinessCheck, clock)));
  return Object.fromEntries(names.map((name, i) => [name, results[i] === true]));
};
