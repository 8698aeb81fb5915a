// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a server's clock may date licences: it must not have been stepped since it was trusted, nor disagree with its peers.
 *
 * Facts 4.9, fault 6: a server whose clock steps leaves the rotation, and no licence with wrong times leaves it. A step shows as a
 * change of wall time against monotonic time; slewing (at most 500 ppm) is not one.
 * Invariant: from the first look after a step until the step is undone, confirmed by peers or old enough, nothing is trusted.
 */
import type { Micros, Millis } from '../time.ts';

/** What counts as a step, and when its result is believed. */
export type ClockWatchPolicy = {
  /** A smaller difference is no harm: renewals round up to grant groups of seconds. */
  readonly tolerance: Micros;
  /** A clock that did not step may differ from its peers by so much before it is not trusted (B159). */
  readonly skew: Micros;
  /** A step that nobody can judge is believed after so long; Infinity: never. */
  readonly acceptAfter: Millis;
};

/** What is known of the clock. */
export type ClockWatch = {
  /** Wall minus monotonic time that is trusted, µs, as of `seenAt`. */
  readonly offset: number;
  readonly seenAt: Millis;
  /** Set while the clock is not trusted. */
  readonly suspect?: { readonly since: Millis; /** Wall minus monotonic time that it jumped to. */ readonly offset: number; readonly cause: 'step' | 'peers' };
};

const SLEW = 500e-6;

/** A clock as it is at the start of a process: what came before is not known. */
export const startClockWatch = (wall: Micros, monotonic: Millis): ClockWatch => ({ offset: wall - monotonic * 1000, seenAt: monotonic });

/** Takes one look at both clocks in. */
export const observeClock = (watch: ClockWatch, policy: ClockWatchPolicy, wall: Micros, monotonic: Millis): ClockWatch => {
  const { suspect } = watch;
  const offset = wall - monotonic * 1000;
  const off = offset - watch.offset;
  const near = Math.abs(off) <= policy.tolerance;
  if (near && suspect?.cause !== 'peers') {
    const slew = Math.max(0, monotonic - watch.seenAt) * 1000 * SLEW;
    return { offset: watch.offset + Math.max(-slew, Math.min(slew, off)), seenAt: monotonic };
  }
  if (suspect === undefined || Math.abs(offset - suspect.offset) > policy.tolerance) return { offset: watch.offset, seenAt: monotonic, suspect: { since: monotonic, offset, cause: near ? 'peers' : 'step' } };
  if (suspect.cause === 'step' && monotonic - suspect.since >= policy.acceptAfter) return { offset, seenAt: monotonic };
  return { ...watch, seenAt: monotonic };
};

/** Median of what peers said: how far this clock is ahead of each, µs; undefined until at least half of `asked` answered. */
export const skewOf = (ahead: readonly number[], asked: number): number | undefined => {
  if (ahead.length === 0 || ahead.length * 2 < asked) return undefined;
  const sorted = [...ahead].sort((a, b) => a - b);
  return ((sorted[Math.floor((sorted.length - 1) / 2)] ?? 0) + (sorted[Math.ceil((sorted.length - 1) / 2)] ?? 0)) / 2;
};

/**
 * Takes in what peers said: how far this clock is ahead of each, µs. Their median decides, once at least half of `asked` answered:
 * a peer that is wrong itself does not. A smaller skew than the policy's is left to NTP, but never settles a doubt.
 */
export const observePeers = (watch: ClockWatch, policy: ClockWatchPolicy, wall: Micros, monotonic: Millis, ahead: readonly number[], asked: number): ClockWatch => {
  const median = skewOf(ahead, asked);
  if (median === undefined) return watch;
  const offset = wall - monotonic * 1000;
  if (Math.abs(median) <= policy.tolerance) return { offset, seenAt: monotonic };
  if (watch.suspect === undefined && Math.abs(median) <= policy.skew) return watch;
  return watch.suspect?.cause === 'peers' ? watch : { offset: watch.offset, seenAt: monotonic, suspect: { since: watch.suspect?.since ?? monotonic, offset, cause: 'peers' } };
};
