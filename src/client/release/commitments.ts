// SPDX-License-Identifier: Apache-2.0
/**
 * The commitments of an event's release secrets, out of signed schedules; and the check of a secret that came.
 *
 * docs/wire/release.md, "Schedule". A key server signs a block's commitments before the first of them is released, so a secret costs one hash to
 * check and no signature.
 * Invariants: a commitment counts only out of a schedule with a good signature of a key the session was told, for this event, with the T0, P and δ
 * that the first such schedule pinned; two good schedules that commit to different secrets are a fault of the service, and neither is replaced.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import type { AssetId } from '#core/ids.ts';
import { releaseCommitment } from '#core/keys/ladder.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type BlockSchedule, type ReleaseInfo, SCHEDULE_TYPE, blockOf, commitmentOf, parseBlockSchedule, sameSchedule } from '#core/release/schedule.ts';
import type { CryptoPeriod } from '#core/time.ts';
import { type JwsKey, verifyJws } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';

/** Blocks kept: an hour of ten seconds each. */
const MAX_BLOCKS = 360;
const MAX_SCHEDULE = 65_536;

/** What an offered schedule turned out to be. */
export type Offered = 'taken' | 'known' | 'forged' | 'contradicts';
/** What a secret turned out to be; `unknown`: its block's schedule is not here yet. */
export type Checked = 'good' | 'mismatch' | 'unknown';

/** Commitments of one event. */
export type Commitments = {
  offer(jws: string): Promise<Offered>;
  check(period: CryptoPeriod, secret: Uint8Array): Checked;
  holds(block: number): boolean;
  /** Whether an edge's word on the schedule agrees with what is pinned; true while nothing is. */
  agrees(info: ReleaseInfo): boolean;
  /** T0, P, δ and version as signed; undefined before the first schedule. */
  readonly pinned: Pick<BlockSchedule, 'event' | 'version' | 'mode' | 'firstRelease' | 'period' | 'delta'> | undefined;
};

/** No commitments yet. `keyOf` finds a verification key that the session was told. */
export const createCommitments = (event: AssetId, keyOf: (kid: string | undefined) => JwsKey | undefined): Commitments => {
  const blocks = new Map<number, BlockSchedule>();
  const seen = new Set<string>();
  let pinned: Commitments['pinned'];
  let perBlock = 1;

  return {
    async offer(jws) {
      if (seen.has(jws)) return 'known';
      const payload = await verifyJws(jws, { typ: SCHEDULE_TYPE, key: keyOf, maxLength: MAX_SCHEDULE });
      let schedule: BlockSchedule;
      try {
        schedule = parseBlockSchedule(payload);
      } catch {
        return 'forged';
      }
      if (schedule.event !== event) return 'forged';
      if (pinned !== undefined && (!sameSchedule(pinned, schedule) || pinned.mode !== schedule.mode)) return 'contradicts';
      const there = blocks.get(schedule.block);
      if (there !== undefined && !equalBytes(there.commitments, schedule.commitments)) return 'contradicts';
      pinned ??= schedule;
      perBlock = schedule.commitments.length / 32;
      seen.add(jws);
      blocks.set(schedule.block, there ?? schedule);
      if (blocks.size > MAX_BLOCKS) blocks.delete(Math.min(...blocks.keys()));
      if (seen.size > 4 * MAX_BLOCKS) seen.clear();
      return there === undefined ? 'taken' : 'known';
    },
    check(period, secret) {
      const schedule = pinned === undefined ? undefined : blocks.get(blockOf(period, perBlock));
      const commitment = schedule === undefined ? undefined : commitmentOf(schedule, period);
      if (schedule === undefined || commitment === undefined) return 'unknown';
      const made = releaseCommitment(ladderHash, { eventId: event, version: schedule.version, period, releaseAt: releaseInstant(schedule, period) }, secret);
      return equalBytes(made, commitment) ? 'good' : 'mismatch';
    },
    holds: (block) => blocks.has(block),
    agrees: (info) => pinned === undefined || (sameSchedule(pinned, info) && pinned.mode === info.mode),
    get pinned() {
      return pinned;
    },
  };
};
