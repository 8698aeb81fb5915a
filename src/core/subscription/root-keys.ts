// SPDX-License-Identifier: Apache-2.0
/**
 * Root keys: from a collection's root secret to the key of each month, and from a month's key to the keys under it.
 *
 * docs/wire/subscription.md, "Keys"; the months of a collection are leaves of the unlock tree (core/keys/unlock.ts), so a plan's
 * root carries few nodes however long the plan is. Invariant: a node of months [from, to) opens no other month.
 */
import { SealcastError } from '#core/errors.ts';
import { msg, u16, u32 } from '#core/keys/encoding.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { openNodes, type OpenNode, unlockKeys } from '#core/keys/unlock.ts';
import type { Micros } from '#core/time.ts';

/** Whose leaves a root opens: one account's, or everybody's. */
export type LeafScope = 'account' | 'shared';

/** 12 * year + month - 1, UTC. */
export type RootMonth = number & { readonly __brand?: 'RootMonth' };

/** Months a date may lie in: years 1970 to 9999. */
export const FIRST_MONTH: RootMonth = 12 * 1970;
/** First month after the last one. */
export const END_OF_MONTHS: RootMonth = 12 * 10_000;

/** Names of collections. */
export const COLLECTION: RegExp = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Month that holds `instant`, UTC. */
export const monthAt = (instant: Micros): RootMonth => {
  const date = new Date(instant / 1000);
  return 12 * date.getUTCFullYear() + date.getUTCMonth();
};

/** First instant of a month, UTC. */
export const startOfMonth = (month: RootMonth): Micros => (Date.UTC(Math.floor(month / 12), month % 12) * 1000) as Micros;

/** The secret below which one account's root keys lie; the shared scope uses the collection's own. `account`: SHA-256 of the account id. */
export const scopedRootSecret = (hash: LadderHash, rootSecret: Uint8Array, scope: LeafScope, account: Uint8Array): Uint8Array => {
  if (rootSecret.length !== 32 || account.length !== 32) throw new SealcastError('internal', `a root secret and an account hash have 32 bytes; got ${rootSecret.length} and ${account.length}`);
  return scope === 'shared' ? rootSecret : hash.hmac(rootSecret, msg('root-account', account));
};

/** Nodes of months [from, to). Key servers only. Throws RangeError for an impossible range. */
export const rootNodes = (hash: LadderHash, scoped: Uint8Array, from: RootMonth, to: RootMonth): readonly OpenNode[] => openNodes(hash, scoped, from, to);

/** RootKey of one month. Key servers only; clients take theirs from an unlocker that holds a root's nodes. */
export const rootKey = (hash: LadderHash, scoped: Uint8Array, month: RootMonth): Uint8Array => unlockKeys(hash, scoped, month, month + 1)[0] as Uint8Array;

/** Key-encryption key of one group's in-band leaf. */
export const groupLeafWrapKey = (hash: LadderHash, key: Uint8Array, asset: string, gen: number, group: number): Uint8Array => hash.hmac(key, msg('leaf-group', asset, u16(gen), u32(group)));
