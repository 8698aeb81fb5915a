// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps a media element supplied with the content keys of a session, beside whatever stock player drives it.
 *
 * The player sets up EME with the entry key named in the manifest; content keys rotate in band and go into our own
 * MediaKeySession on the same MediaKeys, which is the one arrangement that Shaka, hls.js and dash.js all play on with.
 * It also tells the session whether the viewer is watching, so that a paused element stops renewing after a while.
 * Invariant: the element holds keys of opened content around the playhead only; when the session ends they are closed within
 * one turn of the event loop, whatever the player does.
 */
import { mediaTimeAt } from '#client/release/playout.ts';
import type { Session } from '#client/session-types.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { createKeyPublisher } from './key-publisher.ts';
import type { KeyPublisher } from './key-publisher.ts';

/** How the binding learns the position and tells the viewer. */
export type ProtectionOptions = {
  /** The playhead on the media timeline (events: Unix time). Default: `video.currentTime`, which is right for DASH. */
  readonly mediaTime?: () => Micros | undefined;
  /** What the viewer should read now, `undefined` when there is nothing to say. Called on changes only. */
  readonly onNotice?: (text: string | undefined) => void;
};

/** A media element bound to a session. */
export type Protection = {
  /** Keys the element holds now. */
  readonly keyCount: number;
  /** Stops supplying keys and takes back those that were given. */
  detach(): Promise<void>;
};

/** Keys kept behind the playhead, for short seeks back and for frames still in the decoder. */
const BEHIND = microsFromSeconds(10);
/** Keys given ahead: more than stock players decode ahead, and little enough to be taken back at once. */
const AHEAD = microsFromSeconds(40);
/** Timed events have a hundred keys in five seconds: what a decoder needs from its last key frame on, and no more. */
const BEHIND_TIMED = microsFromSeconds(4);
const AHEAD_TIMED = microsFromSeconds(2);
const TICK_MILLIS = 250;
const PLAY_EVENTS = ['play', 'playing', 'pause', 'ended'] as const;
const WAKE_EVENTS = ['encrypted', 'waitingforkey', 'waiting', 'seeking', 'loadedmetadata', 'playing'] as const;

/** Attaches `session` to `video`. Call it once, before or after the stock player loads; it waits for the player's MediaKeys. */
export const attachProtection = (video: HTMLMediaElement, session: Session, options: ProtectionOptions = {}): Protection => {
  const mediaTime = options.mediaTime ?? (() => (video.readyState > 0 ? microsFromSeconds(video.currentTime) : undefined));
  let publisher: KeyPublisher | undefined;
  let notice: string | undefined;
  let attached = true;
  let running = false;
  let again = false;

  const tell = (): void => {
    if (session.notice === notice) return;
    notice = session.notice;
    options.onNotice?.(notice);
  };

  const supply = async (): Promise<void> => {
    const { mediaKeys } = video;
    if (mediaKeys === null || session.state === 'ended' || !attached) return;
    if (publisher?.mediaKeys !== mediaKeys) {
      await publisher?.clear();
      publisher = createKeyPublisher(mediaKeys);
    }
    const position = mediaTime();
    // At the end there is nothing more to open, and asking would count as watching.
    if (position !== undefined && !video.ended) session.playhead(position);
    // Before the first frame the player has no position yet: give the keys of where it is going to start.
    const at = position ?? (session.kind === 'event' ? startOf(session) : session.openedRange.from);
    const timed = session.releases !== undefined;
    const keys = await session.keysBetween((at - (timed ? BEHIND_TIMED : BEHIND)) as Micros, (at + (timed ? AHEAD_TIMED : AHEAD)) as Micros);
    tellReceived(at);
    // The session may have ended, or the viewer left, while the keys were being unwrapped.
    if (attached && keys.length > 0 && publisher.mediaKeys === video.mediaKeys) await publisher.publish(keys);
    // A term that is over takes its keys along, though content would still be open.
    const lapsed = keys.length === 0 && session.expiresAt <= session.now();
    if (!attached || lapsed || hasEnded(session)) await publisher.clear();
  };

  const wake = (): void => {
    tell();
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    // A publish fails when the player tears its MediaKeys down meanwhile; the next tick starts from what is there then.
    void supply()
      .catch(() => publisher?.clear())
      .finally(() => {
        running = false;
        if (again && attached) wake();
      });
  };

  /** Whether this viewer held the bytes of a period at its release. */
  const tellReceived = (at: Micros): void => {
    const { buffered, currentTime } = video;
    for (let range = 0; range < buffered.length; range++) {
      if (buffered.start(range) <= currentTime + 0.1 && buffered.end(range) > currentTime) session.releases?.received(Math.round(at + (buffered.end(range) - currentTime) * 1e6) as Micros);
    }
  };

  const takeBack = async (): Promise<void> => {
    tell();
    await publisher?.clear();
  };

  const tellPlaying = (): void => session.playing(!video.paused && !video.ended);

  const timer = setInterval(wake, TICK_MILLIS);
  for (const name of PLAY_EVENTS) video.addEventListener(name, tellPlaying);
  for (const name of WAKE_EVENTS) video.addEventListener(name, wake);
  const unsubscribe = [
    session.on('renewed', wake),
    session.on('released', wake),
    session.on('degraded', tell),
    session.on('expired', tell),
    session.on('idle', tell),
    session.on('ended', () => void takeBack()),
  ];
  tellPlaying();
  wake();

  return {
    get keyCount() {
      return publisher?.published.size ?? 0;
    },
    async detach() {
      attached = false;
      clearInterval(timer);
      for (const name of WAKE_EVENTS) video.removeEventListener(name, wake);
      for (const name of PLAY_EVENTS) video.removeEventListener(name, tellPlaying);
      for (const off of unsubscribe) off();
      await publisher?.clear();
    },
  };
};

/** Where a player is going to start an event: at what is due now, or at the camera's time. */
const startOf = (session: Session): Micros => {
  const { releases } = session;
  const reading = releases?.now();
  return releases?.plan === undefined || reading === undefined ? session.now() : mediaTimeAt(releases.plan, reading.now);
};

const hasEnded = (session: Session): boolean => session.state === 'ended';

/** Sets up EME on an element that no stock player drives: Clear Key MediaKeys without any key. */
export const setUpClearKey = async (video: HTMLMediaElement, configuration: readonly MediaKeySystemConfiguration[]): Promise<MediaKeys> => {
  const access = await navigator.requestMediaKeySystemAccess('org.w3.clearkey', configuration as MediaKeySystemConfiguration[]);
  const mediaKeys = await access.createMediaKeys();
  await video.setMediaKeys(mediaKeys);
  return mediaKeys;
};
