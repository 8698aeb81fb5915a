// SPDX-License-Identifier: Apache-2.0
/**
 * Everything an edge holds of one timed event: its schedule, commitments and secrets, behind the one gate.
 *
 * docs/wire/release.md; facts of the gate in `gate.ts`. Push, SSE and pull all ask `open`; nothing else gives a secret out.
 * Invariant: a secret whose hash does not match a signed commitment never becomes releasable and is wiped; what leaves
 * `open` passed `mayRelease` at that instant. Memory only.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { type LadderHash, releaseCommitment } from '#core/keys/ladder.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import type { ClockBound } from './clock-bound.ts';
import { type GateRefusal, mayRelease, releaseInstant } from './gate.ts';
import { SECRET_LENGTH } from './grant.ts';
import { type BlockSchedule, blockOf, commitmentOf, firstOfBlock, lastReleasedBy, type ReleaseInfo, sameSchedule } from './schedule.ts';

/** What the gate says of one period. */
export type Opening = { readonly release: true; readonly secret: Uint8Array } | { readonly release: false; readonly because: GateRefusal; readonly waitFor: Micros };

/** One event's releases at an edge. */
export type ReleaseBook = {
  readonly info: ReleaseInfo;
  /** Takes a block's commitments, signature already checked; false if it contradicts the schedule or an earlier one. `jws` is passed on to clients. */
  addSchedule(schedule: BlockSchedule, jws: string): boolean;
  /** Takes secrets of consecutive periods. Those that do not match a commitment are wiped and counted; those without one wait for it. */
  addSecrets(from: CryptoPeriod, secrets: Uint8Array): { readonly held: number; readonly mismatched: number };
  /** The gate: may this period's secret leave now? The answer's bytes are the book's own: copy them before they are kept. */
  open(period: CryptoPeriod, bound: ClockBound): Opening;
  /** Whether the period's secret is here and proven, whatever the time. */
  holds(period: CryptoPeriod): boolean;
  /** Signed schedules of blocks from the one of `period` on, at most `count`. */
  schedules(period: CryptoPeriod, count: number): readonly string[];
  /** The signed schedule of one block. */
  schedule(block: number): string | undefined;
  /** How far ahead of `now` proven secrets reach without a gap; 0 if the next one is missing. */
  horizon(now: Micros): Micros;
  /** Remembers that a period was released, for `released`. */
  passed(period: CryptoPeriod): void;
  /** Highest period released here; -1 before the first. */
  readonly released: CryptoPeriod;
  /** Forgets and wipes what was released before `before`, and its schedules. */
  forget(before: Micros): void;
  /** Wipes everything. */
  close(): void;
};

type Held = { readonly secret: Uint8Array; proven: boolean };

/** An empty book. `released`: the highest period released in an earlier life (persisted), -1 if none. */
export const createReleaseBook = (options: { info: ReleaseInfo; hash: Pick<LadderHash, 'sha256'>; released?: CryptoPeriod }): ReleaseBook => {
  const { info } = options;
  // The ladder's hash set is passed whole to its functions; commitments use SHA-256 only.
  const hash = options.hash as LadderHash;
  const blocks = new Map<number, { readonly schedule: BlockSchedule; readonly jws: string }>();
  const secrets = new Map<number, Held>();
  let released = (options.released ?? -1) as CryptoPeriod;

  /** undefined: no commitment is known yet. */
  const proves = (period: CryptoPeriod, secret: Uint8Array): boolean | undefined => {
    const block = blocks.get(blockOf(period, info.perBlock));
    const expected = block && commitmentOf(block.schedule, period);
    return expected && equalBytes(expected, releaseCommitment(hash, { eventId: info.event, version: info.version, period, releaseAt: releaseInstant(info, period) }, secret));
  };
  const drop = (period: number): void => {
    secrets.get(period)?.secret.fill(0);
    secrets.delete(period);
  };

  return {
    info,
    addSchedule(schedule, jws) {
      if (!sameSchedule(schedule, info)) return false;
      const known = blocks.get(schedule.block);
      // Every key server signs for itself; the first signature is passed on, but all must say the same.
      if (known !== undefined) return equalBytes(known.schedule.commitments, schedule.commitments);
      blocks.set(schedule.block, { schedule, jws });
      for (let period = schedule.from; period < schedule.from + info.perBlock; period = (period + 1) as CryptoPeriod) {
        const held = secrets.get(period);
        if (held === undefined || held.proven) continue;
        if (proves(period, held.secret) === true) held.proven = true;
        else drop(period);
      }
      return true;
    },
    addSecrets(from, bytes) {
      let held = 0;
      let mismatched = 0;
      for (let at = 0; at + SECRET_LENGTH <= bytes.length; at += SECRET_LENGTH) {
        const period = (from + at / SECRET_LENGTH) as CryptoPeriod;
        const secret = bytes.slice(at, at + SECRET_LENGTH);
        const proven = proves(period, secret);
        if (proven === false) {
          secret.fill(0);
          mismatched++;
        } else {
          held++;
          // A proven one stays: the second copy is the same secret. An unproven one may be a lie; the newer is no better.
          if (!secrets.has(period)) secrets.set(period, { secret, proven: proven === true });
        }
      }
      return { held, mismatched };
    },
    open(period, bound) {
      const held = secrets.get(period);
      const decision = mayRelease({ bound, schedule: info, period, granted: held !== undefined, committed: held?.proven === true });
      return decision.release && held !== undefined ? { release: true, secret: held.secret } : decision.release ? { release: false, because: 'not-granted', waitFor: 0 as Micros } : decision;
    },
    holds: (period) => secrets.get(period)?.proven === true,
    schedules: (period, count) => {
      const first = blockOf(period, info.perBlock);
      return Array.from({ length: count }, (_, index) => blocks.get(first + index)?.jws).filter((jws) => jws !== undefined);
    },
    schedule: (block) => blocks.get(block)?.jws,
    horizon(now) {
      let period = (Math.max(lastReleasedBy(info, now), -1) + 1) as CryptoPeriod;
      const next = period;
      while (secrets.get(period)?.proven === true) period = (period + 1) as CryptoPeriod;
      return period === next ? (0 as Micros) : ((releaseInstant(info, period) - now) as Micros);
    },
    passed(period) {
      if (period > released) released = period;
    },
    get released() {
      return released;
    },
    forget(before) {
      const last = lastReleasedBy(info, before);
      for (const period of secrets.keys()) if (period <= last) drop(period);
      for (const block of blocks.keys()) if (firstOfBlock(block + 1, info.perBlock) <= last) blocks.delete(block);
    },
    close() {
      for (const period of [...secrets.keys()]) drop(period);
      blocks.clear();
    },
  };
};
