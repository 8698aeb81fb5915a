// SPDX-License-Identifier: Apache-2.0
/**
 * When to renew: one attempt at a time, at the instant the newest answer asked for, sooner when told to hurry, again
 * after a pause when it failed.
 *
 * Invariant: never two attempts at once; hurrying asks at most once per `gap`, so that a client which waits for something
 * that the server will not give does not hammer it.
 */
import type { Millis } from '#core/time.ts';
import type { Clock, Random } from '#ports';
import { type Failure, backoff, fraction } from './transport.ts';

/** What came of one attempt. `over`: the session ended, nothing is to be scheduled any more. `idle`: nothing until `run` is called. */
export type Attempt =
  | { readonly ok: true; readonly after: Millis }
  | { readonly ok: false; readonly failure: Failure }
  | { readonly ok: false; readonly over: true }
  | { readonly ok: false; readonly idle: true };

/** Plans and runs attempts. Idle until `arm`, `run` or `hurry` is called. */
export type RenewalTimer = {
  /** Plans the next attempt `delay` from now, in place of any other plan. */
  arm(delay: Millis): void;
  /** Attempts now, or joins the attempt under way. True if it succeeded. */
  run(): Promise<boolean>;
  /** Attempts now unless the last one started less than `gap` ago or failed and is waiting for its pause. */
  hurry(gap: Millis): void;
  /** Attempts that failed in a row. */
  readonly failures: number;
  /** Monotonic ms at which the next attempt is planned; undefined while none is. */
  readonly due: Millis | undefined;
  stop(): void;
};

/** The first renewal of a licence has no jittered pause from a server (B077): `interval` shortened here, by 0-10 %. */
export const earlier = (interval: number, random: Random): Millis => (interval * (1 - fraction(random) / 10)) as Millis;

/** A timer around `attempt`, which must not be called by anyone else. */
export const createRenewalTimer = (options: {
  readonly clock: Clock;
  readonly random: Random;
  attempt(): Promise<Attempt>;
  /** Longest pause after a failure, ms. */
  longestPause(): number;
  /** Told of every failure, with the pause until the next attempt. */
  onFailure(failure: Failure, retryAfter: Millis): void;
}): RenewalTimer => {
  const { clock, random } = options;
  let cancel = (): void => undefined;
  let running: Promise<boolean> | undefined;
  let startedAt = Number.NEGATIVE_INFINITY;
  let due: Millis | undefined;
  let failures = 0;
  let stopped = false;

  const arm = (delay: Millis): void => {
    cancel();
    if (stopped) return;
    due = (clock.monotonic() + delay) as Millis;
    cancel = clock.after(delay, () => void run());
  };

  const attempt = async (): Promise<boolean> => {
    cancel();
    due = undefined;
    startedAt = clock.monotonic();
    const outcome = await options.attempt();
    running = undefined;
    if ('over' in outcome) stopped = true;
    if (stopped) return outcome.ok;
    if (outcome.ok) {
      failures = 0;
      arm(outcome.after);
    } else if ('failure' in outcome) {
      failures += 1;
      const pause = backoff(failures, random, outcome.failure, options.longestPause());
      arm(pause);
      options.onFailure(outcome.failure, pause);
    }
    return outcome.ok;
  };

  const run = (): Promise<boolean> => {
    if (stopped) return Promise.resolve(false);
    running ??= attempt();
    return running;
  };

  return {
    arm,
    run,
    hurry(gap) {
      if (!stopped && running === undefined && failures === 0 && clock.monotonic() - startedAt >= gap) void run();
    },
    get failures() {
      return failures;
    },
    get due() {
      return due;
    },
    stop() {
      stopped = true;
      due = undefined;
      cancel();
    },
  };
};
