// SPDX-License-Identifier: Apache-2.0
/**
 * Subscriptions as roles see them from outside: keys of roots and leaves, what collections hold, roots given, usage reported.
 *
 * docs/wire/subscription.md. Invariant: types only, no code; a usage record is kept as the text its device signed.
 */
import type { AccountId, AssetId, DeviceId } from '#core/ids.ts';
import type { OpenNode } from '#core/keys/unlock.ts';
import type { LicenseAction } from '#core/subscription/leaf.ts';
import type { LeafScope, RootMonth } from '#core/subscription/root-keys.ts';
import type { ChainHead, UsageAction } from '#core/subscription/usage.ts';
import type { Micros } from '#core/time.ts';

// ---- keys ---------------------------------------------------------------------------------------------------------

/** A leaf to be made. */
export type LeafOrder = {
  readonly asset: AssetId;
  readonly duration: Micros;
  /** 1-8 root keys to wrap the title key under, and what each of their collections sells. */
  readonly under: readonly { readonly collection: string; readonly scope: LeafScope; readonly month: RootMonth; readonly actions: readonly LicenseAction[] }[];
};

/** Key server → licence server. In process or over HTTP (docs/wire/keys.md). `account`: SHA-256 of the account id. */
export interface LeafKeySource {
  /** Nodes that open months [from, to) of a collection. */
  rootNodes(request: { readonly collection: string; readonly scope: LeafScope; readonly account: Uint8Array; readonly from: RootMonth; readonly to: RootMonth }): Promise<readonly OpenNode[]>;
  /** Leaf texts in the order asked, at most 10,000; undefined for assets without keys, and for timed ones, which have no leaves. */
  leaves(request: { readonly account: Uint8Array; readonly orders: readonly LeafOrder[] }): Promise<readonly (string | undefined)[]>;
}

// ---- collections --------------------------------------------------------------------------------------------------

/** A title's place in a collection. */
export type Membership = {
  readonly collection: string;
  readonly asset: AssetId;
  /** Decides the month whose root key opens it. */
  readonly published: Micros;
  readonly scope: LeafScope;
  readonly actions: readonly LicenseAction[];
  /** Who is paid for its plays. */
  readonly owner?: string;
};

/** What collections hold. Durable. */
export interface CollectionStore {
  /** Adds or changes one. */
  put(membership: Membership): Promise<void>;
  remove(collection: string, asset: AssetId): Promise<boolean>;
  /** The collections of each asset, by name, in the order asked. */
  ofAssets(assets: readonly AssetId[]): Promise<readonly (readonly Membership[])[]>;
  /** The assets of a collection after `after`, by id. */
  list(collection: string, page: { readonly after?: AssetId; readonly limit: number }): Promise<readonly Membership[]>;
  /** Every collection with its size, by name. */
  collections(): Promise<readonly { readonly collection: string; readonly titles: number }[]>;
}

// ---- roots --------------------------------------------------------------------------------------------------------

/** The newest root given to a device for a plan. */
export type RootRecord = {
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly plan: string;
  readonly collection: string;
  readonly jti: string;
  readonly issuedAt: Micros;
  readonly begin: Micros;
  /** Absent: for ever. */
  readonly end?: Micros;
  /** The plan was refunded or cancelled; the device was told with this root. */
  readonly revoked: boolean;
  /** How often this plan was renewed on this device. */
  readonly renewals: number;
};

/** Roots given. Durable. */
export interface RootStore {
  /** Keeps it in place of the device's older root of that plan, and counts renewals. */
  put(record: Omit<RootRecord, 'renewals'>): Promise<void>;
  /** Newest first. */
  list(filter: { readonly account?: AccountId; readonly device?: DeviceId; readonly limit: number }): Promise<readonly RootRecord[]>;
  /** Devices per plan whose root is good at `now`. */
  plans(now: Micros): Promise<readonly { readonly plan: string; readonly collection: string; readonly devices: number }[]>;
}

// ---- usage --------------------------------------------------------------------------------------------------------

/** A device's chain of usage records. A device that lost its chain starts the next one. */
export type UsageChain = ChainHead & { readonly device: DeviceId; readonly chain: number; readonly account: AccountId; readonly updatedAt: Micros };

/** A usage record as stored. */
export type StoredUsage = {
  readonly device: DeviceId;
  readonly chain: number;
  readonly seq: number;
  /** SHA-256 of `text`. */
  readonly hash: Uint8Array;
  readonly text: string;
  readonly account: AccountId;
  readonly title: AssetId;
  readonly owner: string;
  readonly action: UsageAction;
  readonly plan: string;
  readonly started: Micros;
  readonly played: Micros;
  readonly offline: boolean;
  /** Counts for payouts. */
  readonly counted: boolean;
  /** The device's clock was too far off for its dates to be relied on. */
  readonly uncertain: boolean;
  readonly receivedAt: Micros;
};

/** What usage may be summed by. */
export type UsageKey = 'title' | 'account' | 'owner';
/** Sums of one title, account or owner; `uncertain` plays are among `plays`. */
export type UsageTotal = { readonly key: string; readonly plays: number; readonly offlinePlays: number; readonly uncertain: number; readonly downloads: number; readonly played: Micros };

/** Usage reported by devices. Durable. */
export interface UsageStore {
  /** The newest chain of a device. */
  chain(device: DeviceId): Promise<UsageChain | undefined>;
  /** Hashes of records [from, to) of a chain, in order. */
  hashes(device: DeviceId, chain: number, from: number, to: number): Promise<readonly Uint8Array[]>;
  /**
   * Appends records to the chain and moves its head, all or nothing. `expected` is the head before (undefined: the chain is new);
   * false if it is not that any more, and nothing is stored.
   */
  append(chain: UsageChain, expected: ChainHead | undefined, records: readonly StoredUsage[]): Promise<boolean>;
  /** Sums over records whose `started` lies in [from, to), greatest first. */
  totals(by: UsageKey, range: { readonly from: Micros; readonly to: Micros; readonly limit: number }): Promise<readonly UsageTotal[]>;
  /** Records, newest received first. */
  list(filter: { readonly account?: AccountId; readonly device?: DeviceId; readonly title?: AssetId; readonly limit: number }): Promise<readonly StoredUsage[]>;
}
