// SPDX-License-Identifier: Apache-2.0
/**
 * The release secrets that are here: checked ones, and those that wait for their block's commitments.
 *
 * docs/wire/release.md, "Schedule". Invariant: `get` answers only what matched a signed commitment; memory is bounded, newest secrets stay.
 */
import type { AssetId } from '#core/ids.ts';
import type { CryptoPeriod } from '#core/time.ts';
import type { JwsKey } from '#crypto/jose.ts';
import { type Commitments, createCommitments } from './commitments.ts';

/** Who brought a secret, and what to do when its verdict is known: perhaps only once its schedule comes. */
export type Bearer = {
  good(waited: boolean): void;
  mismatch(): void;
};

/** Secrets of one event. */
export type SecretKeeper = {
  /** RS[p]; a view. */
  get(period: CryptoPeriod): Uint8Array | undefined;
  has(period: CryptoPeriod): boolean;
  /** Here or waiting for its commitment. */
  came(period: CryptoPeriod): boolean;
  /** Takes a secret in; false unless it is new and good now. */
  take(period: CryptoPeriod, secret: Uint8Array, bearer: Bearer): boolean;
  /** Takes signed schedules in; false for one that is forged or contradicts what is known. */
  offer(schedules: readonly string[]): Promise<boolean>;
  /** Highest period that is here. */
  readonly last: CryptoPeriod | undefined;
  readonly commitments: Pick<Commitments, 'holds' | 'agrees' | 'pinned'>;
  clear(): void;
};

/** Secrets kept, newest ones: half an hour of 100 ms. */
const MAX_SECRETS = 18_000;
/** Periods whose commitment is awaited, and copies of each: an edge that lies must not keep the true one out. */
const MAX_WAITING = 100;
const MAX_COPIES = 3;

/** Nothing is here yet. `wanted` is told of periods whose schedule is missing, `kept` of every good secret. */
export const createSecretKeeper = (options: {
  readonly event: AssetId;
  readonly keyOf: (kid: string | undefined) => JwsKey | undefined;
  wanted(period: CryptoPeriod): void;
  kept(period: CryptoPeriod): void;
}): SecretKeeper => {
  const commitments = createCommitments(options.event, options.keyOf);
  const secrets = new Map<CryptoPeriod, Uint8Array>();
  const waiting = new Map<CryptoPeriod, readonly { readonly secret: Uint8Array; readonly bearer: Bearer }[]>();
  let last: CryptoPeriod | undefined;

  const judge = (period: CryptoPeriod, secret: Uint8Array, bearer: Bearer, waited: boolean): boolean => {
    if (secrets.has(period)) return false;
    const verdict = commitments.check(period, secret);
    if (verdict === 'mismatch') bearer.mismatch();
    if (verdict === 'unknown') {
      const others = waiting.get(period) ?? [];
      if (waiting.size < MAX_WAITING && others.length < MAX_COPIES) waiting.set(period, [...others, { secret, bearer }]);
      options.wanted(period);
    }
    if (verdict !== 'good') return false;
    secrets.set(period, secret);
    if (secrets.size > MAX_SECRETS) secrets.delete(secrets.keys().next().value as CryptoPeriod);
    last = Math.max(last ?? 0, period) as CryptoPeriod;
    options.kept(period);
    bearer.good(waited);
    return true;
  };

  return {
    get: (period) => secrets.get(period),
    has: (period) => secrets.has(period),
    came: (period) => secrets.has(period) || waiting.has(period),
    take: (period, secret, bearer) => judge(period, secret, bearer, false),
    async offer(schedules) {
      let good = true;
      for (const jws of schedules) {
        const verdict = await commitments.offer(jws);
        if (verdict === 'forged' || verdict === 'contradicts') good = false;
      }
      for (const [period, copies] of [...waiting]) {
        if (commitments.check(period, copies[0]?.secret ?? new Uint8Array(0)) === 'unknown') continue;
        waiting.delete(period);
        for (const { secret, bearer } of copies) judge(period, secret, bearer, true);
      }
      return good;
    },
    get last() {
      return last;
    },
    commitments,
    clear() {
      secrets.clear();
      waiting.clear();
    },
  };
};
