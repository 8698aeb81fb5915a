// SPDX-License-Identifier: Apache-2.0
/**
 * What a release channel is to whoever holds it: a session's key ring, a player binding, a headless viewer.
 *
 * docs/wire/release.md. Times are UTC microseconds by the channel's own estimate, which the edges' clocks feed and the device's does not.
 */
import type { AssetId } from '#core/ids.ts';
import type { ClientCapability, HoldReason } from '#core/release/messages.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { JwsKey } from '#crypto/jose.ts';
import type { Clock, Fetch, Random } from '#ports';
import type { ClockReading } from './clock-estimate.ts';
import type { OpenSocket } from './edge-link.ts';
import type { PresentationPlan } from './playout.ts';
import type { ReleaseStatistics, Way } from './statistics.ts';

/** What a channel is about and whom it asks. */
export type ReleaseChannelOptions = {
  readonly event: AssetId;
  /** Absolute base URLs of the event's edges. */
  readonly urls: readonly string[];
  /** The newest release token. */
  readonly token: () => string;
  /** Verification keys of schedules, as the session was told them. */
  readonly keyOf: (kid: string | undefined) => JwsKey | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly fetch: Fetch;
  /** Opens a WebSocket; undefined where there is none. */
  readonly openSocket?: OpenSocket | undefined;
  readonly caps: readonly ClientCapability[];
  /** Edges to be connected to at once. Default 2. */
  readonly edges?: 1 | 2;
  /** Asked for when an edge refuses the token. */
  readonly renewToken?: () => void;
};

/** What a channel tells. */
export type ReleaseEvents = {
  /** The schedule is known; once. */
  info: { readonly info: ReleaseInfo };
  /** Secrets of [from, to) are here, at least one of them new. `way` as in the statistics. */
  released: { readonly from: CryptoPeriod; readonly to: CryptoPeriod; readonly way: Way };
  /** No connected edge releases, or some do again (undefined). */
  held: { readonly reason: HoldReason | undefined };
  /** An edge sent something that contradicts what is signed, or a secret before its time; it was left. */
  mistrusted: { readonly edge: string; readonly what: 'secret' | 'schedule' | 'early'; readonly period: CryptoPeriod };
  /** The device's clocks moved against each other: time is being asked for anew. */
  stepped: Record<never, never>;
};

/** A running channel. */
export type ReleaseChannel = {
  /** Undefined until an edge answered. */
  readonly info: ReleaseInfo | undefined;
  /** When frames are shown, with δ for what this device can; undefined like `info`. */
  readonly plan: PresentationPlan | undefined;
  /** Strict events on a device without WebCodecs: δ is the longer one. */
  readonly fallback: boolean;
  /** UTC; undefined before the first exchange. */
  now(): ClockReading | undefined;
  /** The monotonic time at which it is `utc`. */
  monotonicAt(utc: Micros): Millis | undefined;
  /** RS[p], once it is here. A view: do not change it. */
  secret(period: CryptoPeriod): Uint8Array | undefined;
  /** Fetches released secrets of [from, to) that are missing, by the block. */
  need(from: CryptoPeriod, to: CryptoPeriod): void;
  readonly connections: readonly { readonly url: string; readonly up: boolean; readonly holding: boolean }[];
  readonly statistics: ReleaseStatistics;
  /** A fresh token: connections go on with it. */
  tokenRenewed(): void;
  /** Tells that media is complete here up to media time `to`. */
  received(to: Micros): void;
  /** Tells of a picture that was shown so many ms off its instant, of periods skipped, of a segment complete at `at`. */
  displayed(error: Millis): void;
  skipped(periods: number): void;
  segment(number: number, at: Micros): void;
  /** The page came back or the device woke: time and connections are looked after at once. */
  wake(): void;
  on<Name extends keyof ReleaseEvents>(name: Name, listener: (event: ReleaseEvents[Name]) => void): () => void;
  stop(): void;
};
