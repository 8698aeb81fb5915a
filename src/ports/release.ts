// SPDX-License-Identifier: Apache-2.0
/**
 * Timed release as roles see it from outside: exact waiting, the sockets of the release channel, the audit sink.
 *
 * Invariant: types only, no code. A transport never blocks and never throws; what it cannot send shows in `pending`.
 */
import type { ReleaseEntry } from '#core/release/audit.ts';
import type { Micros, Millis } from '#core/time.ts';

/** The host's clocks at full resolution; one monotonic clock for all threads of the host. */
export interface PreciseTime {
  /** Milliseconds with fractions, never stepping; the same in every thread of this host. */
  monotonic(): Millis;
  /** The system clock, and the monotonic time of reading it, give or take `within`: on a crowded core the two reads lie apart. */
  system(): { readonly at: Millis; readonly utc: Micros; readonly within: Millis };
  /** Blocks this thread until the monotonic clock says `at`. For the last milliseconds before a release only. */
  waitUntil(at: Millis): void;
}

/** One client's connection on the release channel. */
export interface ReleaseTransport {
  readonly kind: 'ws' | 'sse';
  /** The peer's address, for limits. */
  readonly address: string;
  /** Bytes handed over and not yet taken by the network. */
  readonly pending: number;
  /** Bytes exactly as they go on the wire. The caller never changes them afterwards. */
  raw(bytes: Uint8Array): void;
  /** Ends the connection with a close code of docs/wire/release.md. */
  close(code: number, reason: string): void;
}

/** How messages of the release channel are framed for one kind of transport. */
export interface ReleaseFraming {
  text(type: string, json: string): Uint8Array;
  /** A RELEASE frame. */
  release(period: number, frame: Uint8Array): Uint8Array;
  /** Another binary frame; undefined where the transport has none. */
  binary(frame: Uint8Array): Uint8Array | undefined;
}

/** Where release entries go: off the hot path, in order. Never blocks and never throws. */
export type ReleaseSink = (entry: ReleaseEntry) => void;
