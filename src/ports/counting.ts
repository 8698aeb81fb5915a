// SPDX-License-Identifier: Apache-2.0
/**
 * Counting streams: the heartbeat record that limits, flags and grant buckets live in, and what is kept of an account.
 *
 * A refusal changes nothing in the store; only `counted` renewals are extended. One viewer never needs more than one
 * shard (B020-B048). Invariant: types only, no code.
 */
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { EndReason } from '#core/license/reasons.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import type { ConcurrencyMode, PolicyOverride } from '#core/policy/decide-terms.ts';
import type { AccountHistory } from '#core/policy/account-history.ts';
import type { AccountRecord } from '#core/policy/enforcement.ts';
import type { Micros } from '#core/time.ts';

/** One initial licence or renewal served (B020). */
export type Heartbeat = {
  readonly session: SessionId;
  /** base64url of SHA-256(account id), as in the renewal state: a renewal node knows no more. `heartbeatAccount()` makes it. */
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly asset: AssetId;
  readonly at: Micros;
  readonly expiresAt: Micros;
  readonly kind: 'initial' | 'renewal';
};
/** Who is watching now. May forget at a restart; adapters say whether they do. */
export interface HeartbeatStore {
  /** Records it; a second heartbeat of the same session replaces the first. */
  record(heartbeat: Heartbeat): Promise<void>;
  /** Sessions with an unexpired heartbeat. */
  live(filter: { account?: AccountId; asset?: AssetId }, now: Micros): Promise<readonly Heartbeat[]>;
  remove(session: SessionId): Promise<void>;
}

export type { ConcurrencyMode };

/** At most `limit` streams of one account in this scope; `key` is the title or collection, and empty for `account`. */
export type StreamLimit = { readonly scope: 'account' | 'title' | 'collection'; readonly key: string; readonly limit: number };
/**
 * A draw on the account's bucket of content (design section 3). It fills up to `capacity` at `refill` seconds of content
 * per second of server time, is full when first seen, and gives nothing back.
 */
export type BucketDraw = { readonly capacity: Micros; readonly refill: number; readonly cost: Micros };
/** Why a session may not go on, and which session took its place. */
export type SessionFlag = { readonly reason: EndReason; readonly by?: SessionId };

/** A session that wants to start, or wants a new licence under its old id. */
export type StreamStart = {
  /** Its `expiresAt` is when the session leaves the count unless it is renewed. */
  readonly heartbeat: Heartbeat;
  /** When the right ends, if that is later: flags and replays are remembered for as long again. */
  readonly rightUntil?: Micros;
  /** For the list of conflicts that another device of the account may see. */
  readonly deviceName: string;
  readonly collection?: string;
  readonly level: EnforcementLevel;
  /** All of them hold; absent scopes are unlimited. */
  readonly limits: readonly StreamLimit[];
  readonly mode: ConcurrencyMode;
  /** Sessions of the account that its viewer chose to end for this one. They end if, and only if, the start is granted. */
  readonly ends: readonly SessionId[];
  readonly bucket?: BucketDraw;
};
/** A live session as the store knows it. */
export type LiveSession = Omit<Heartbeat, 'kind'> & { readonly deviceName: string; readonly collection?: string; readonly level: EnforcementLevel; readonly startedAt: Micros };
/** What became of a start. A refusal changes nothing in the store. */
export type Admission =
  | {
      readonly granted: true;
      /** Sessions that this start ended because of a limit (terminate-oldest), oldest first: exactly as many as were over it. */
      readonly flagged: readonly SessionId[];
      /** Of the start's `ends`, those that were running. */
      readonly ended: readonly SessionId[];
      /** Detection only: the account is over a limit now. */
      readonly over: boolean;
      /** Streams in the scope of each of the start's limits, this one included. */
      readonly counts: readonly number[];
    }
  | { readonly granted: false; readonly because: 'limit'; readonly limit: StreamLimit; readonly conflicts: readonly LiveSession[] }
  | { readonly granted: false; readonly because: 'bucket'; readonly retryAfter: Micros }
  | { readonly granted: false; readonly because: 'ended'; readonly flag: SessionFlag };

/** An authentic renewal, before it is answered. */
export type StreamRenewal = {
  readonly heartbeat: Heartbeat;
  /** As of a start. */
  readonly rightUntil?: Micros;
  readonly level: EnforcementLevel;
  /** When the state that came with the request was issued. The answer's state is issued at `heartbeat.at`. */
  readonly issued: Micros;
  /** First 8 bytes of the request's MAC, base64url: tells a repeated request from another one with the same state. */
  readonly request: string;
  readonly bucket?: BucketDraw;
};
/** What the record says to a renewal. Only `counted` ones are extended. */
export type RenewalCount =
  | { readonly kind: 'flagged'; readonly flag: SessionFlag }
  /**
   * It has to prove its device again and be admitted anew. `clone`: its state is a fork of one that someone else goes on
   * with, or an older one rolled back to. `limit`: it was out of the count (expired or replaced) and its place is taken.
   */
  | { readonly kind: 'readmit'; readonly because: 'clone' | 'limit' }
  | {
      readonly kind: 'counted';
      /** When this request was first counted: the instant to answer it for, so that repeating it gives no longer right. */
      readonly at: Micros;
      readonly duplicate: boolean;
      /** `short`: the draw was refused and nothing was taken; `retryAfter` says when it would fit. */
      readonly bucket: 'ok' | 'short';
      readonly retryAfter?: Micros;
      /** Streams of the account. */
      readonly count: number;
    };
/** A heartbeat from a time when the record could not be reached. */
export type GatheredHeartbeat = Heartbeat & { readonly level: EnforcementLevel; readonly rightUntil?: Micros };
/** Whose streams to count. */
export type CountScope = { readonly account: AccountId } | { readonly title: AssetId } | { readonly collection: string } | 'service';

/**
 * The record of who is watching, on which limits are decided. Each call is atomic within one account, and one account's
 * calls touch one shard. Time is an argument: `heartbeat.at`, `at` or `now`, by server clocks.
 *
 * A session counts while its newest heartbeat has not expired and it is neither flagged nor replaced by a newer session
 * of the same device and title (a reload). Flags outlive the expiry by one term, so that no late renewal revives a session.
 * Adapters bound what they keep per account.
 */
export interface ConcurrencyStore {
  /** Repeating it for the same session is harmless: one session never counts twice. */
  admit(start: StreamStart): Promise<Admission>;
  /** A session that the record does not know (it started during an outage) is taken in. */
  renew(renewal: StreamRenewal): Promise<RenewalCount>;
  /** Out of the count at once, and not revived by a late renewal. False if it was not counted. */
  stop(account: AccountId, session: SessionId, at: Micros): Promise<boolean>;
  /** The first flag of a session stays. Also for sessions that this record does not know, until `until`. False if flagged before. */
  flag(account: AccountId, session: SessionId, flag: SessionFlag, at: Micros, until: Micros): Promise<boolean>;
  /** Takes a flag back; the session counts again if it still runs. False if there was none. */
  unflag(account: AccountId, session: SessionId, at: Micros): Promise<boolean>;
  /** Counted sessions, oldest first. */
  live(filter: { account?: AccountId; asset?: AssetId; collection?: string }, now: Micros): Promise<readonly LiveSession[]>;
  /** One number per scope. Scopes wider than an account may lag by one write. */
  counts(scopes: readonly CountScope[], now: Micros): Promise<readonly number[]>;
  /** Heartbeats gathered while the record was unreachable (B103). Older than what is known, expired or flagged ones change nothing. */
  writeBack(heartbeats: readonly GatheredHeartbeat[], now: Micros): Promise<void>;
}

/**
 * The concurrency record as roles use it: behind a circuit breaker, and never a fault. What cannot be answered in time is
 * undefined; the role then decides by what it knows, and the heartbeat is gathered here and written back later.
 */
export interface ConcurrencyRecord {
  admit(start: StreamStart): Promise<Admission | undefined>;
  renew(renewal: StreamRenewal): Promise<RenewalCount | undefined>;
  /** Kept here until the record takes it. */
  flag(account: AccountId, session: SessionId, flag: SessionFlag, until: Micros): Promise<void>;
  /** The account's counted sessions, oldest first. */
  live(account: AccountId): Promise<readonly LiveSession[] | undefined>;
  /** Keeps the heartbeat of a start that was served without an answer of the record. */
  gather(heartbeat: GatheredHeartbeat): void;
  /** Flags that went through this process: they hold in an emergency too. */
  knownFlag(session: SessionId): SessionFlag | undefined;
  /** Set while the breaker is open; `renewals` were answered without the record since then. */
  readonly emergency: { readonly since: Micros; readonly cause: string; readonly renewals: number } | undefined;
}

/** What is kept of an account beside its streams. `account` is the hash that heartbeats carry. */
export type AccountState = {
  readonly account: AccountId;
  readonly record: AccountRecord;
  /** Recorded events and moves, for operators; absent until something happened. */
  readonly history?: AccountHistory;
  /** What an operator set for it, and when. */
  readonly override?: PolicyOverride;
  readonly overrideAt?: Micros;
};
/** Enforcement records of accounts. Durable. */
export interface AccountStore {
  get(account: AccountId): Promise<AccountState | undefined>;
  /** Atomic: `change` sees what is stored and its answer is stored. It may be called again and must be pure. */
  update(account: AccountId, change: (current: AccountState | undefined) => AccountState): Promise<AccountState>;
  /** Accounts on a level, the latest move first. */
  list(filter: { level?: EnforcementLevel; limit: number }): Promise<readonly AccountState[]>;
  /** How many accounts there are on each level. */
  levels(): Promise<Readonly<Record<EnforcementLevel, number>>>;
}
