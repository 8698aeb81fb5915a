// SPDX-License-Identifier: Apache-2.0
/**
 * What a viewing session is to whoever holds it: an app, a player binding, a headless viewer.
 *
 * docs/wire/session.md, docs/wire/renewal.md. Times are server time unless a name says media time.
 */
import type { AssetId, ContentKey, KeyGroup, KeyId, ProtectionScheme, SessionId } from '#core/ids.ts';
import type { ErrorCode, ProblemExtra, Retry } from '#core/errors.ts';
import type { Reason } from '#core/license/reasons.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { ReleaseChannel } from './release/channel-types.ts';

/**
 * `active`: renewing as planned. `degraded`: renewals fail, opened content goes on playing, the client keeps trying.
 * `expired`: still trying, but nothing is open at the playhead, so the picture stands. `idle`: nobody is watching (not playing
 * yet, or paused for long), so nothing is renewed and what is open runs out; playing on asks for what is missing. `ended`: over;
 * keys are gone.
 */
export type SessionState = 'active' | 'degraded' | 'expired' | 'idle' | 'ended';

/** Why a session is over. */
export type SessionEnd = {
  /** The renewal server's reason, or the code of the refusal that ended the session. Stable; localise by it. */
  readonly code: Reason | ErrorCode;
  /** One sentence for the viewer: `texts` of the start, else English. */
  readonly text: string;
  readonly at: Micros;
  /** `replaced`, `concurrency`: the session that took its place, where the server told. */
  readonly by?: SessionId;
};

/** A running session of the account that stands against a new one. */
export type ConflictingSession = {
  readonly session: SessionId;
  /** As its viewer named the device. */
  readonly deviceName: string;
  readonly asset: AssetId;
  readonly startedAt: Micros;
  /** Give it to `startSession` as one of `end`, and that session ends in favour of the new one. Short-lived; for this account only. */
  readonly terminationCode: string;
};

/** Why a session did not start. */
export type SessionDenial = {
  readonly code: ErrorCode;
  /** One sentence for the viewer: `texts` of the start, else English. */
  readonly text: string;
  /** For the developer. */
  readonly detail: string;
  readonly retry: Retry;
  /** `concurrency-limit`: how many streams may run, and which do. Offer them: "stop that one and watch here". */
  readonly limit?: number;
  readonly conflicts?: readonly ConflictingSession[];
  /** What else the server said, as it came. */
  readonly extra: Readonly<Record<string, unknown>> | ProblemExtra;
};

/** One content key and the media time [from, to) it decrypts. Hold it no longer than needed; never log it. */
export type OpenedKey = { readonly kid: KeyId; readonly key: ContentKey; readonly keyGroup: KeyGroup; readonly from: Micros; readonly to: Micros };

/** What a session tells its listeners, by event name. */
export type SessionEvents = {
  /** A renewal or a new licence was accepted. */
  renewed: { readonly expiresAt: Micros };
  /** Every renewal address failed; the next try comes after `retryAfter`. */
  degraded: { readonly detail: string; readonly expiresAt: Micros; readonly retryAfter: Millis };
  /** Nothing is open at the playhead any more; `text` is for the viewer. Followed by `renewed` or `ended`. */
  expired: { readonly text: string; readonly at: Micros };
  /** Timed events: release secrets of media time [from, to) came, so keys of it can be had. */
  released: { readonly from: Micros; readonly to: Micros };
  /** Renewals were left off because nobody is watching. Followed by `renewed` or `ended` once somebody is. */
  idle: { readonly at: Micros };
  ended: SessionEnd;
};

/** A running or ended session. Properties are live: read them again when needed. */
export type Session = {
  readonly id: SessionId;
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly scheme: ProtectionScheme;
  /** The decoy key id that manifests name. */
  readonly entryKid: KeyId;
  readonly state: SessionState;
  /** Set once the session has ended. */
  readonly end: SessionEnd | undefined;
  /** What to tell the viewer now; undefined while all is well. */
  readonly notice: string | undefined;
  /** When playback stops unless a renewal comes: opened content runs out at normal speed from the playhead, or the right's term is over. */
  readonly expiresAt: Micros;
  /** When the next renewal is planned, server time; it may come earlier when opened content runs short. Undefined while idle and after the end. */
  readonly renewsAt: Micros | undefined;
  /** Length of a grant group, media time: what is opened grows in steps of it. */
  readonly groupLength: Micros;
  /** Media time [from, to) that is open. */
  readonly openedRange: { readonly from: Micros; readonly to: Micros };
  /** The newest media token; ask again for every request. */
  readonly mediaToken: string;
  readonly mediaTokenExpires: Micros;
  /** Timed events: when what is shown, and the secrets as they are released. Undefined for all others. */
  readonly releases: ReleaseChannel | undefined;
  /** Server time. */
  now(): Micros;
  on<Name extends keyof SessionEvents>(name: Name, listener: (event: SessionEvents[Name]) => void): () => void;
  /** Tells the session where the viewer is. Renewals follow it; a seek outside the opened range asks to open what is there. */
  playhead(mediaTime: Micros): void;
  /**
   * Tells whether the viewer is watching: `false` when paused, ended or not started yet. Not needed where `playhead` is called all
   * the time: a playhead that stands in opened content counts as a pause. `playProtected` and `attachProtection` do both.
   */
  playing(isPlaying: boolean): void;
  /** Keys of the opened content within media time [from, to), both key groups, oldest first. Empty after `expiresAt` and the end. */
  keysBetween(from: Micros, to: Micros): Promise<readonly OpenedKey[]>;
  /** The content key of `kid`, if its group is open. `near` is the media time it is wanted for (default: the playhead). */
  key(kid: Uint8Array, near?: Micros): Promise<ContentKey | undefined>;
  /** Renews now, e.g. for a fresh media token after a 401. True if an answer was accepted; false while idle. */
  renew(): Promise<boolean>;
  /**
   * Drops the keys, then tells the server; true once the server acknowledged. Harmless to repeat. Right for `pagehide`: the request
   * is on its way when the call returns, and outlives the page.
   */
  stop(): Promise<boolean>;
};
