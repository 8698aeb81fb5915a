// SPDX-License-Identifier: Apache-2.0
/**
 * What a key server knows of timed events, and the release secrets that follow from it.
 *
 * docs/wire/release.md, docs/wire/keys.md (K, RS). The first key server has it from its catalogue and its own secrets, a
 * replica from the first one (`release-follower.ts`); both derive the same secrets without any shared state.
 * Invariant: K and RS leave this folder only wrapped for an enrolled edge, inside a content key, or after their time.
 */
import type { AssetId } from '#core/ids.ts';
import { type LadderHash, releaseCommitment, releaseSecret } from '#core/keys/ladder.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type BlockSchedule, COMMITMENT_LENGTH, firstOfBlock, type ReleaseInfo } from '#core/release/schedule.ts';
import { SECRET_LENGTH } from '#core/release/grant.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';

/** Media time under one event key K[event, e]. */
export const EVENT_KEY_LENGTH: Micros = 600_000_000 as Micros;

/** A timed event as key servers see it. */
export type TimedEvent = {
  readonly info: ReleaseInfo;
  readonly createdAt: Micros;
  /** Edges that may have its secrets; `all`: every enrolled one. */
  readonly edges: 'all' | readonly string[];
  /** Where viewers find the event's edges. */
  readonly urls: readonly string[];
};

/** An edge that may ask for grants. */
export type ReleaseEdge = { readonly edge: string; readonly sign: PublicJwk; readonly agree: PublicJwk; /** Host it runs on, where known: single-host mode ends with a second one. */ readonly host?: string };

/** Where timed events and their keys come from. */
export type TimedEvents = {
  /** Undefined: no such timed event, or it is over. */
  find(event: AssetId): Promise<TimedEvent | undefined>;
  list(): Promise<readonly TimedEvent[]>;
  edge(name: string): Promise<ReleaseEdge | undefined>;
  edges(): Promise<readonly ReleaseEdge[]>;
  /** K[event, e], 32 bytes. */
  eventKey(event: AssetId, epoch: number): Promise<Uint8Array>;
};

/** Epoch of the event key that a period belongs to. */
export const eventKeyEpoch = (info: Pick<ReleaseInfo, 'period'>, period: CryptoPeriod): number => Math.floor((period * info.period) / EVENT_KEY_LENGTH);

/** Derives secrets and commitments of timed events. */
export type ReleaseSecrets = {
  /** RS[p], 16 bytes. */
  secret(info: Pick<ReleaseInfo, 'event' | 'period'>, period: CryptoPeriod): Promise<Uint8Array>;
  /** RS of `count` periods, one after the other. */
  run(info: Pick<ReleaseInfo, 'event' | 'period'>, from: CryptoPeriod, count: number): Promise<Uint8Array>;
  /** The commitments of a block. */
  schedule(info: ReleaseInfo, block: number): Promise<BlockSchedule>;
};

/** Over `eventKey`, whose answers are remembered for the running epochs. */
export const createReleaseSecrets = (options: { eventKey: TimedEvents['eventKey']; hash: LadderHash }): ReleaseSecrets => {
  const { hash } = options;
  const keys = new Map<string, Promise<Uint8Array>>();
  const keyOf = (event: AssetId, epoch: number): Promise<Uint8Array> => {
    const id = `${event}/${epoch}`;
    const known = keys.get(id);
    if (known !== undefined) return known;
    const asked = options.eventKey(event, epoch);
    keys.set(id, asked);
    asked.catch(() => keys.delete(id));
    const [oldest] = keys.keys();
    if (keys.size > 64 && oldest !== undefined) keys.delete(oldest);
    return asked;
  };
  const secrets: ReleaseSecrets = {
    secret: async (info, period) => releaseSecret(hash, await keyOf(info.event, eventKeyEpoch(info, period)), info.event, period),
    async run(info, from, count) {
      const out = new Uint8Array(count * SECRET_LENGTH);
      for (let index = 0; index < count; index++) out.set(await secrets.secret(info, (from + index) as CryptoPeriod), index * SECRET_LENGTH);
      return out;
    },
    async schedule(info, block) {
      const { event, version, mode, firstRelease, period, delta } = info;
      const from = firstOfBlock(block, info.perBlock);
      const commitments = new Uint8Array(info.perBlock * COMMITMENT_LENGTH);
      for (let index = 0; index < info.perBlock; index++) {
        const p = (from + index) as CryptoPeriod;
        const secret = await secrets.secret(info, p);
        commitments.set(releaseCommitment(hash, { eventId: event, version, period: p, releaseAt: releaseInstant(info, p) }, secret), index * COMMITMENT_LENGTH);
      }
      return { event, version, mode, firstRelease, period, delta, block, from, commitments };
    },
  };
  return secrets;
};
