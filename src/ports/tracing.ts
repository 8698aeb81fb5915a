// SPDX-License-Identifier: Apache-2.0
/**
 * Accusations as they are kept: what was proved against which viewer number, how its sessions were carried, what was done.
 *
 * Design section 5. Invariant: types only, no code. A record names a session's copy, not a person; it holds no key, no token
 * and no full address.
 */
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';

/** What can be done about a leak. */
export type LeakActionKind = 'end-sessions' | 'raise-level' | 'end-account' | 'dismiss';
/** Something that was done, by an operator or by the service itself. */
export type LeakAction = {
  readonly at: Micros;
  readonly action: LeakActionKind;
  /** Name of the operator whose report or click it was. */
  readonly by: string;
  /** True if nobody was asked. */
  readonly automatic: boolean;
  /** Sessions ended. */
  readonly sessions?: number;
  readonly note?: string;
};

/** How one session was fetched at one edge: a coarse address, a digest of the client's name of itself, and how much. */
export type Carrier = {
  readonly edge: string;
  readonly session: SessionId;
  /** /24 of IPv4, /48 of IPv6. */
  readonly prefix: string;
  /** Eight bytes of SHA-256 of User-Agent, hexadecimal; empty without one. */
  readonly agent: string;
  readonly bytes: number;
  readonly from: Micros;
  readonly to: Micros;
};

/** An accusation with its evidence. Numbers are those of the trace report (docs/wire/observation.md). */
export type LeakRecord = {
  /** 22 base64url characters, from what was reported: the same report has the same id. */
  readonly leak: string;
  readonly asset: AssetId;
  readonly at: Micros;
  readonly reportedBy: string;
  /** For people: where the copy came from. */
  readonly source?: string;
  readonly viewer: number;
  /** Whose number it is; absent for numbers that no session was given (probes, test copies). */
  readonly account?: AccountId;
  readonly device?: DeviceId;
  /** Nats in favour, nats required, and what the requirement follows from. */
  readonly evidence: number;
  readonly bound: number;
  readonly eps: number;
  readonly viewers: number;
  readonly falseAccusation: number;
  readonly observed: number;
  readonly erased: number;
  readonly errorRates: { readonly symbols: number; readonly erasures: number };
  readonly coalition: { readonly share: number; readonly size: number };
  readonly runnerUp: { readonly viewer: number; readonly evidence: number } | null;
  /** True if this service came to the verdict itself, from the observation and its own mark secret. */
  readonly replayed: boolean;
  /** Evidence after each look, by position; at most 512. */
  readonly growth: readonly { readonly position: number; readonly evidence: number }[];
  /** Sessions that were ended because of it. */
  readonly sessions: readonly SessionId[];
  readonly carriers: readonly Carrier[];
  readonly actions: readonly LeakAction[];
};

/** Accusations. Durable. */
export interface LeakStore {
  /** False if the same report is there already; nothing changes then. */
  create(record: LeakRecord): Promise<boolean>;
  get(leak: string): Promise<LeakRecord | undefined>;
  /** Replaces a record by what `change` makes of it, atomically; `change` has no side effect. Undefined for an unknown id. */
  update(leak: string, change: (current: LeakRecord) => LeakRecord): Promise<LeakRecord | undefined>;
  /** Newest first. */
  list(filter: { readonly asset?: AssetId; readonly account?: AccountId; readonly limit: number }): Promise<readonly LeakRecord[]>;
}
