// SPDX-License-Identifier: Apache-2.0
/**
 * What a session can open: unlock nodes and wrapped grants in, content keys out.
 *
 * docs/wire/keys.md: node → UK[s,g] → GK[g] (AES-256 key unwrap) → CEK[p,t], KID[p,t] for both key groups of every period.
 * Invariant: a key leaves only if its group was opened by a node and its grant unwrapped with a valid integrity check, so a
 * wrong key is impossible rather than unlikely. Keys of a bounded number of groups are in memory; none after `clear`.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey } from '#core/ids.ts';
import { contentKey, importWrapKey, keyIdOf } from '#core/keys/ladder.ts';
import { type OpenNode, createUnlocker } from '#core/keys/unlock.ts';
import { type LicenseClaims, MAX_HORIZON_GROUPS, type SealedLicense, WRAPPED_GRANT_LENGTH, wrappedGrant } from '#core/license/license-claims.ts';
import { firstPeriodOf, groupAt, groupLength, groupOf } from '#core/time.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { unwrapKey } from './key-wrap.ts';
import { createPeriodKeys } from './release/period-keys.ts';
import type { OpenedKey } from './session-types.ts';

/** What a ring takes from a licence. */
export type RingLicense = Pick<LicenseClaims, 'asset' | 'mode' | 'scheme' | 'gen' | 'salt' | 'schedule' | 'keyGroups' | 'horizon'> & Pick<SealedLicense, 'nodes' | 'grants' | 'imported'>;

/** The content keys of one licence, as far as its nodes open them. */
export type KeyRing = {
  /** The nodes of a renewal. */
  addNodes(nodes: readonly OpenNode[]): void;
  /** True if a node opens the group and a grant covers it. */
  opens(group: GrantGroup): boolean;
  keysBetween(from: Micros, to: Micros): Promise<readonly OpenedKey[]>;
  key(kid: Uint8Array, near: Micros): Promise<ContentKey | undefined>;
  /** Forgets nodes and keys of groups before `group`. */
  forgetBefore(group: GrantGroup): void;
  /** Forgets everything for good. */
  clear(): void;
};

/** Groups whose content keys are kept derived; more than a player's window, less than a long title. */
const MAX_DERIVED = 32;
/** How far from the expected media time a KID is looked for: a segment may begin just across a group's border. */
const SEARCH = [0, 1, -1, 2, -2] as const;

/**
 * The ring of one licence, opened as far as its first nodes go. `releaseSecret` answers RS[p] of timed assets once it is released; periods without
 * one stay closed.
 */
export const createKeyRing = (license: RingLicense, releaseSecret?: (period: CryptoPeriod) => Uint8Array | undefined): KeyRing => {
  const { schedule, salt, mode, horizon } = license;
  let { grants, imported } = license;
  let unlocker = createUnlocker(ladderHash, MAX_HORIZON_GROUPS);
  unlocker.add(license.nodes);
  const derived = new Map<GrantGroup, Promise<readonly OpenedKey[]>>();

  const grantOf = (group: GrantGroup): Promise<Uint8Array | undefined> | undefined => {
    const unlockKey = unlocker.unlockKey(group);
    const wrapped = wrappedGrant({ grants }, horizon, group);
    return unlockKey === undefined || wrapped === undefined ? undefined : unwrapKey(unlockKey, wrapped);
  };
  const timed = mode === 'timed' ? createPeriodKeys({ binding: license, salt, schedule, keyGroups: license.keyGroups, grantOf, secretOf: (period) => releaseSecret?.(period) }) : undefined;

  const mediaTimes = (from: number, to: number): { from: Micros; to: Micros } => ({ from: (from * schedule.period) as Micros, to: (to * schedule.period) as Micros });

  const derive = async (group: GrantGroup): Promise<readonly OpenedKey[]> => {
    const fixed = imported.filter((item) => groupOf(item.from, schedule) === group);
    if (timed !== undefined && fixed.length === 0) return [];
    const grant = await grantOf(group);
    if (grant === undefined) return [];
    const keys: OpenedKey[] = [];
    const first = firstPeriodOf(group, schedule);
    for (let period = first; timed === undefined && period < first + schedule.periodsPerGroup; period = (period + 1) as CryptoPeriod) {
      for (const keyGroup of license.keyGroups) {
        keys.push({ kid: keyIdOf(ladderHash, salt, license, period, keyGroup), key: contentKey(ladderHash, grant, license, period, keyGroup), keyGroup, ...mediaTimes(period, period + 1) });
      }
    }
    for (const item of fixed) {
      const secret = mode === 'timed' ? releaseSecret?.(item.from) : undefined;
      if (mode === 'timed' && secret === undefined) continue;
      const key = await unwrapKey(importWrapKey(ladderHash, grant, license, item.from, item.keyGroup, secret), item.wrapped);
      if (key?.length === 16) keys.push({ kid: item.kid, key: key as ContentKey, keyGroup: item.keyGroup, ...mediaTimes(item.from, item.to) });
    }
    return keys;
  };

  const groupKeys = async (group: GrantGroup): Promise<readonly OpenedKey[]> => {
    const known = derived.get(group);
    if (known !== undefined) return known;
    const made = derive(group);
    // Timed periods open one by one and have a store of their own; imported ones wait for the secret of their first period.
    if (mode === 'untimed' && unlocker.unlockKey(group) !== undefined) {
      derived.set(group, made);
      for (const oldest of derived.keys()) {
        if (derived.size <= MAX_DERIVED) break;
        derived.delete(oldest);
      }
    }
    return made;
  };

  const importedCovering = (from: Micros, to: Micros): readonly GrantGroup[] =>
    imported.filter((item) => item.from * schedule.period < to && item.to * schedule.period > from).map((item) => groupOf(item.from, schedule));

  const ring: KeyRing = {
    addNodes(nodes) {
      unlocker.add(nodes);
    },
    opens: (group) => unlocker.unlockKey(group) !== undefined && wrappedGrant({ grants }, horizon, group)?.length === WRAPPED_GRANT_LENGTH,
    async keysBetween(from, to) {
      const groups = new Set<GrantGroup>(importedCovering(from, to));
      const first = Math.max(horizon.from, Math.floor(from / groupLength(schedule)));
      const end = Math.min(horizon.to, Math.ceil(to / groupLength(schedule)));
      for (let group = first as GrantGroup; group < end; group = (group + 1) as GrantGroup) if (ring.opens(group)) groups.add(group);
      const keys = [...((await timed?.between(from, to)) ?? []), ...(await Promise.all([...groups].sort((a, b) => a - b).map(groupKeys))).flat()];
      return keys.filter((key) => key.to > from && key.from < to);
    },
    async key(kid, near) {
      const wanted = encodeHex(kid);
      const single = await timed?.find(kid, near);
      if (single !== undefined) return single.key;
      const middle = groupAt(Math.max(0, near) as Micros, schedule);
      const candidates = [...SEARCH.map((step) => (middle + step) as GrantGroup), ...importedCovering(near, (near + 1) as Micros)];
      for (const group of candidates) {
        if (group < 0 || !ring.opens(group)) continue;
        const found = (await groupKeys(group)).find((item) => encodeHex(item.kid) === wanted);
        if (found !== undefined) return found.key;
      }
      return undefined;
    },
    forgetBefore(group) {
      unlocker.forgetBefore(group);
      for (const known of derived.keys()) if (known < group) derived.delete(known);
    },
    clear() {
      unlocker = createUnlocker(ladderHash, 1);
      grants = new Uint8Array(0);
      imported = [];
      derived.clear();
      timed?.clear();
    },
  };
  return ring;
};
