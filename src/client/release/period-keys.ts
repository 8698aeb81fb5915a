// SPDX-License-Identifier: Apache-2.0
/**
 * Content keys of timed periods: CEK[p,t] = HKDF(GK[g], salt RS[p]) as soon as right and time are both there.
 *
 * docs/wire/keys.md. Ten periods a second are derived one by one, each once; the grant key of a group is unwrapped once.
 * Invariant: no key without both the group's grant and the period's released secret; a bounded number is kept, newest first.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { KeyGroup } from '#core/ids.ts';
import { type ContentBinding, contentKey, keyIdOf } from '#core/keys/ladder.ts';
import { type CryptoPeriod, type GrantGroup, type KeySchedule, type Micros, groupOf, periodAt } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { OpenedKey } from '../session-types.ts';

/** Keys of one licence's periods. */
export type PeriodKeys = {
  /** Keys of the released periods within media time [from, to). */
  between(from: Micros, to: Micros): Promise<readonly OpenedKey[]>;
  /** The key of a KID that is wanted for media time `near`. */
  find(kid: Uint8Array, near: Micros): Promise<OpenedKey | undefined>;
  clear(): void;
};

/** Periods whose keys are kept. */
const MAX_PERIODS = 1200;
/** Grant keys that are kept unwrapped: the group at the playhead, the one before, and one of a seek. */
const MAX_GRANTS = 4;
/** How many periods around the expected one a KID is looked for. */
const SEARCH = 24;

/** No keys yet. `grantOf` unwraps GK[g] if it is open; `secretOf` answers RS[p] if it is released. */
export const createPeriodKeys = (options: {
  readonly binding: ContentBinding;
  readonly salt: Uint8Array;
  readonly schedule: KeySchedule;
  readonly keyGroups: readonly KeyGroup[];
  grantOf(group: GrantGroup): Promise<Uint8Array | undefined> | undefined;
  secretOf(period: CryptoPeriod): Uint8Array | undefined;
}): PeriodKeys => {
  const { binding, salt, schedule, keyGroups } = options;
  const grants = new Map<GrantGroup, Promise<Uint8Array | undefined>>();
  const periods = new Map<CryptoPeriod, readonly OpenedKey[]>();

  const grantOf = async (group: GrantGroup): Promise<Uint8Array | undefined> => {
    const known = grants.get(group);
    if (known !== undefined) return known;
    const made = options.grantOf(group);
    const grant = await made;
    if (made === undefined || grant === undefined) return undefined;
    grants.set(group, made);
    if (grants.size > MAX_GRANTS) grants.delete(grants.keys().next().value as GrantGroup);
    return grant;
  };

  const keysOf = async (period: CryptoPeriod): Promise<readonly OpenedKey[]> => {
    const known = periods.get(period);
    if (known !== undefined) return known;
    const secret = options.secretOf(period);
    const grant = secret === undefined ? undefined : await grantOf(groupOf(period, schedule));
    if (secret === undefined || grant === undefined) return [];
    const range = { from: (period * schedule.period) as Micros, to: ((period + 1) * schedule.period) as Micros };
    const keys = keyGroups.map((keyGroup) => ({ kid: keyIdOf(ladderHash, salt, binding, period, keyGroup), key: contentKey(ladderHash, grant, binding, period, keyGroup, secret), keyGroup, ...range }));
    periods.set(period, keys);
    if (periods.size > MAX_PERIODS) periods.delete(periods.keys().next().value as CryptoPeriod);
    return keys;
  };

  return {
    async between(from, to) {
      const keys: OpenedKey[] = [];
      const first = periodAt(Math.max(0, from) as Micros, schedule);
      const end = Math.min(first + MAX_PERIODS, Math.ceil(to / schedule.period));
      for (let period = first; period < end; period = (period + 1) as CryptoPeriod) keys.push(...(await keysOf(period)));
      return keys;
    },
    async find(kid, near) {
      const wanted = encodeHex(kid);
      const middle = periodAt(Math.max(0, near) as Micros, schedule);
      for (let step = 0; step <= 2 * SEARCH; step++) {
        const period = (middle + (step % 2 === 0 ? step / 2 : -(step + 1) / 2)) as CryptoPeriod;
        if (period < 0) continue;
        const found = (await keysOf(period)).find((key) => encodeHex(key.kid) === wanted);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    clear() {
      grants.clear();
      periods.clear();
    },
  };
};
