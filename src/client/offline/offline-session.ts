// SPDX-License-Identifier: Apache-2.0
/**
 * A viewing session without a server: keys from a leaf and a root, for as long as the root lasts on trusted time.
 *
 * docs/wire/subscription.md (B119, B124, B134). It has the interface of every other session, so that the headless viewer and the
 * players take it as it is. Invariant: when the right is over, also in the middle of a play, no key leaves and none is left.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { ErrorCode } from '#core/errors.ts';
import { type AssetId, sessionId } from '#core/ids.ts';
import type { Reason } from '#core/license/reasons.ts';
import type { Leaf } from '#core/subscription/leaf.ts';
import { groupLength } from '#core/time.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Random } from '#ports';
import { createEmitter } from '../emitter.ts';
import type { Session, SessionEnd, SessionEvents } from '../session-types.ts';
import { type Texts, textOf } from '../texts/texts.ts';
import type { OpenedTitle } from './subscriptions.ts';
import { createTitleRing } from './title-ring.ts';
import type { TrustedClock } from './trusted-clock.ts';

/** Told what happens in a session; each is awaited by `stop`. */
export type PlayWatch = {
  playhead(mediaTime: Micros): void;
  playing(isPlaying: boolean): void;
  /** The play is over; resolves once it is recorded. */
  end(): Promise<void>;
};

/** What a session is made of. */
export type OfflineSessionParts = {
  readonly opened: OpenedTitle;
  /** The right as it is now, asked again at every playhead: the root may have been replaced meanwhile. */
  readonly until: () => Micros | undefined | 'gone';
  /** A media token for what is not downloaded yet. */
  readonly token: () => string | undefined;
  readonly trusted: TrustedClock;
  readonly watch: PlayWatch;
  readonly clock: Clock;
  readonly random: Random;
  readonly texts: Texts;
};

/** Requests for media of a downloaded title carry this in place of a token; only the device itself reads it. */
export const OFFLINE_TOKEN = 'offline';
/** Rights without an end are looked at again after this. */
const LONG = 86_400_000_000;
const FOREVER = Number.MAX_SAFE_INTEGER as Micros;

/** A session of an opened title. */
export const createOfflineSession = (parts: OfflineSessionParts): Session => {
  const { opened, trusted, watch, clock, texts } = parts;
  const leaf: Leaf = opened.leaf;
  const events = createEmitter<SessionEvents>();
  const ring = createTitleRing(leaf, opened.titleKey);
  let end: SessionEnd | undefined;
  let recorded: Promise<void> | undefined;
  let position = 0 as Micros;
  let cancel = (): void => undefined;
  const now = (): Micros => trusted.now() ?? clock.now();

  const finish = (code: Reason | ErrorCode): void => {
    if (end !== undefined) return;
    end = { code, text: textOf(code, texts), at: now() };
    cancel();
    ring.clear();
    recorded = watch.end();
    recorded.catch(() => undefined);
    events.emit('ended', end);
  };

  /** Ends the session if its right is over; true while it is not. */
  const check = (): boolean => {
    cancel();
    if (end !== undefined) return false;
    const until = parts.until();
    const at = trusted.now();
    if (until === 'gone') finish('license-expired');
    else if (until !== undefined && at === undefined) finish('clock-unconfirmed');
    else if (until !== undefined && at !== undefined && at >= until) finish('license-expired');
    else cancel = clock.after((Math.min(LONG, until === undefined || at === undefined ? LONG : until - at) / 1000) as Millis, check);
    return end === undefined;
  };
  check();

  return {
    id: sessionId(encodeBase64url(parts.random.bytes(18))),
    asset: leaf.title as AssetId,
    kind: 'title',
    scheme: leaf.scheme,
    entryKid: leaf.entryKid,
    get state() {
      return end === undefined ? 'active' : 'ended';
    },
    get end() {
      return end;
    },
    get notice() {
      return end?.text;
    },
    get expiresAt() {
      const until = parts.until();
      return end?.at ?? (until === 'gone' ? now() : (until ?? FOREVER));
    },
    renewsAt: undefined,
    groupLength: groupLength(leaf.schedule),
    openedRange: { from: 0 as Micros, to: leaf.duration },
    get mediaToken() {
      return parts.token() ?? OFFLINE_TOKEN;
    },
    mediaTokenExpires: FOREVER,
    releases: undefined,
    now,
    on: events.on,
    playhead(mediaTime) {
      if (!Number.isFinite(mediaTime) || !check()) return;
      position = Math.max(0, Math.round(mediaTime)) as Micros;
      watch.playhead(position);
    },
    playing: (isPlaying) => watch.playing(isPlaying),
    keysBetween: async (from, to) => (check() ? ring.keysBetween(from, to) : []),
    key: async (kid, near = position) => (check() ? ring.key(kid, near) : undefined),
    renew: async () => check(),
    async stop() {
      finish('viewer');
      await recorded;
      return true;
    },
  };
};
