// SPDX-License-Identifier: Apache-2.0
/**
 * A viewing session from its start to its end: licence, renewals, media tokens, keys.
 *
 * docs/wire/session.md, docs/wire/renewal.md. One object owns the renewal timer; it follows the newest answer.
 * Invariant: a licence is used only after its signature, type, audience and expiry were checked; an answer only after its
 * MAC was; after the end no key leaves and none is left behind.
 */
import type { ErrorCode } from '#core/errors.ts';
import { type ContentKey, isSessionId, type SessionId } from '#core/ids.ts';
import { MAX_HORIZON_GROUPS } from '#core/license/license-claims.ts';
import { reachOf } from '#core/license/opened-range.ts';
import { isEndReason, type Reason } from '#core/license/reasons.ts';
import { encodeRequest, nextState, openAnswer } from '#core/license/renewal-message.ts';
import { decodeState } from '#core/license/renewal-state.ts';
import { groupAt, groupLength } from '#core/time.ts';
import type { GrantGroup, Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Clock, Fetch, Random } from '#ports';
import type { ServerTime } from './clock.ts';
import { createEmitter } from './emitter.ts';
import { type KeyRing, createKeyRing } from './key-ring.ts';
import type { Admission, Desk, SignedStop } from './license-desk.ts';
import type { StopKeeper } from './offline/stop-keeper.ts';
import { createPresence } from './presence.ts';
import { type ReleaseOptions, type SessionReleases, openSessionReleases } from './release/session-releases.ts';
import { type Attempt, createRenewalTimer, earlier } from './renewal-timer.ts';
import type { OpenedKey, Session, SessionEnd, SessionEvents, SessionState } from './session-types.ts';
import { type Texts, textOf } from './texts/texts.ts';
import { type Failure, longestPause, type Transport } from './transport.ts';

/** What a session is made of; `startSession` puts it together. */
export type SessionParts = {
  readonly admission: Admission;
  readonly desk: Desk;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverTime: ServerTime;
  /** Opened content kept behind the playhead of an event, for seeks back. */
  readonly keepBehind: Micros;
  /** Titles: where the viewer starts. */
  readonly startAt: Micros;
  /** A pause of this length ends renewals until somebody watches again. */
  readonly idleAfter: Millis;
  readonly texts: Texts;
  /** Keeps the session's stop until it is acknowledged, also over a crash. */
  readonly stops?: StopKeeper | undefined;
  /** How the release channel of a timed event connects. */
  readonly release?: ReleaseOptions & { readonly fetch: Fetch };
};

/** A player stands some frames before the first one it has no key for, and never gets closer. */
const EXPIRY_SLACK = 500_000;
/** Least pause between two renewals, and between two moves or licences, that the playhead asks for. */
const RENEWAL_GAP = 1000 as Millis;
const MOVE_GAP = 3000 as Millis;
/** Share of the spare time (term minus interval) at which content left, not time, asks for a renewal; at most one interval. */
const CONTENT_MARGIN = 0.9;
/** Share of that at which a viewer who plays faster than time, and so faster than renewals may open, asks to move the anchor. */
const MOVE_MARGIN = 0.75;
/** An address gets at least so long to answer, however little content is left. */
const LEAST_DEADLINE = 500;
/** Licences whose grants stay in use after newer ones came, so that the picture does not notice the change. */
const MAX_RINGS = 3;
const TOKEN_HEADER = 'sealcast-media-token';
const ENDED_BY_HEADER = 'sealcast-ended-by';
const RELEASE_TOKEN_HEADER = 'sealcast-release-token';

/** A running session from its admission; it renews itself from now on. */
export const createSession = (parts: SessionParts): Session => {
  const { desk, transport, clock, random, serverTime, texts } = parts;
  const events = createEmitter<SessionEvents>();
  let { license, mediaToken, mediaTokenExpires, renewUrls, licenseUrls } = parts.admission;
  const { sid, asset, kind, scheme, entryKid } = license;
  let rings: KeyRing[] = [];
  let state: SessionState = 'active';
  let end: SessionEnd | undefined;
  let renewalState = license.state;
  let terms = license.terms;
  let openedFrom = license.horizon.from;
  let opened = license.opened;
  let reported: { readonly mediaTime: Micros } | undefined;
  let wants: 'move' | 'license' | undefined;
  let wantedAt = Number.NEGATIVE_INFINITY;
  let cancelExpiry = (): void => undefined;
  let signedStop: SignedStop | undefined;
  const giveUp = new AbortController();
  const startedAt = clock.monotonic();
  const presence = createPresence({ clock, idleAfter: parts.idleAfter });

  // ---- where the viewer is --------------------------------------------------------------------------------------

  /** Unreported playheads move at normal speed: events at the live edge, titles from their start. */
  const playhead = (): Micros =>
    reported?.mediaTime ?? (kind === 'event' ? serverTime.now() : ((parts.startAt + (clock.monotonic() - startedAt) * 1000) as Micros));
  const groupNow = (): GrantGroup => groupAt(playhead(), license.schedule);
  const openedTo = (): Micros => (opened * groupLength(license.schedule)) as Micros;
  const contentLeft = (): Micros => (openedTo() - playhead()) as Micros;
  /** A right lasts one term from the last answer that gave or confirmed it, whatever is open: a long pause does not stretch it. */
  let lapsesAt = (license.time + terms.duration * 1000) as Micros;
  const lapsed = (): boolean => serverTime.now() >= lapsesAt;
  const expiresAt = (): Micros => Math.min(serverTime.now() + Math.max(0, contentLeft()), lapsesAt) as Micros;

  /**
   * What a renewal now would open, by the servers' own formula: `more`, nothing because the playhead runs ahead of the anchor (`ahead`), or nothing at all.
   */
  const prospect = (): 'more' | 'ahead' | 'nothing' => {
    const { g0, t0, end: horizonEnd } = decodeState(renewalState).state;
    const reach = { position: groupNow(), g0, t0, groupLength: groupLength(license.schedule), term: (terms.duration * 1000) as Micros, now: serverTime.now() };
    if (Math.min(reachOf(reach), horizonEnd) > opened) return 'more';
    return Math.min(reach.position + Math.ceil(reach.term / reach.groupLength), horizonEnd) > opened ? 'ahead' : 'nothing';
  };

  /** Content left, in ms, below which it and not the time asks for a renewal. */
  const margin = (): number => Math.min(CONTENT_MARGIN * (terms.duration - terms.interval), terms.interval);

  /** Dead addresses must not use up the content that is left before the last one was asked. Once it is used up, slow ones get their full time. */
  const deadline = (): Millis => {
    const left = (contentLeft() - EXPIRY_SLACK) / 1000;
    return (left <= 0 ? Number.POSITIVE_INFINITY : Math.max(LEAST_DEADLINE, left / (renewUrls.length + 1))) as Millis;
  };

  // ---- state ----------------------------------------------------------------------------------------------------

  const finish = (code: Reason | ErrorCode, by?: SessionId): void => {
    if (end !== undefined) return;
    end = { code, text: textOf(code, texts), at: serverTime.now(), ...(by !== undefined && { by }) };
    state = 'ended';
    timer.stop();
    cancelExpiry();
    giveUp.abort();
    for (const ring of rings) ring.clear();
    rings = [];
    releases?.stop();
    // Whatever else ended it, the service knows; a stop by the viewer is due first.
    if (code !== 'viewer') void parts.stops?.over(sid).catch(() => undefined);
    events.emit('ended', end);
  };

  const watchExpiry = (): void => {
    cancelExpiry();
    if (end !== undefined) return;
    const left = Math.min(contentLeft() - EXPIRY_SLACK, lapsesAt - serverTime.now());
    // Without a failed renewal there is nothing to tell: the content is over, or a new licence is on its way.
    if (left > 0) cancelExpiry = clock.after(Math.ceil(left / 1000) as Millis, watchExpiry);
    else if (timer.failures > 0 && state === 'degraded') {
      state = 'expired';
      events.emit('expired', { text: textOf('connection-lost', texts), at: serverTime.now() });
    }
  };

  /** Pages that close cannot wait for a signature, so there is always one at hand that is not older than a renewal. */
  const keepStopReady = (): void => {
    void desk.prepareStop(sid).then(async (signed) => {
      signedStop = signed;
      if (end === undefined) await parts.stops?.running(signed).catch(() => undefined);
    });
  };

  const accepted = (): void => {
    state = 'active';
    lapsesAt = (serverTime.now() + terms.duration * 1000) as Micros;
    watchExpiry();
    keepStopReady();
    events.emit('renewed', { expiresAt: expiresAt() });
  };

  // ---- licences and renewals ------------------------------------------------------------------------------------

  const useLicense = (): void => {
    rings = [createKeyRing(license, (period) => releases?.secretOf(period)), ...rings].slice(0, MAX_RINGS);
  };

  const failed = (failure: Failure): Attempt => {
    if (!failure.final) return { ok: false, failure };
    const { reason, by } = failure.extra ?? {};
    finish(failure.code === 'session-ended' && isEndReason(reason) ? reason : (failure.code ?? 'internal'), sessionOf(by));
    return { ok: false, over: true };
  };

  const relicense = async (): Promise<Attempt> => {
    wants = undefined;
    wantedAt = clock.monotonic();
    const answer = await desk.relicense({ sid, urls: licenseUrls, ...(kind === 'title' ? { position: playhead() } : {}) }, giveUp.signal);
    if (end !== undefined) return { ok: false, over: true };
    if (!answer.ok) return failed(answer);
    ({ license, mediaToken, mediaTokenExpires, renewUrls, licenseUrls } = answer.value);
    releases?.renewed(answer.value.release?.token ?? '');
    ({ state: renewalState, terms, opened } = license);
    openedFrom = license.horizon.from;
    useLicense();
    accepted();
    return { ok: true, after: beforeItIsShort(earlier(terms.interval, random)) };
  };

  const rest = (): Attempt => {
    cancelExpiry();
    if (state !== 'idle') {
      state = 'idle';
      events.emit('idle', { at: serverTime.now() });
    }
    return { ok: false, idle: true };
  };

  /**
   * The pause that the servers ask for, or less where the content opened so far does not last that long: suspicious accounts get
   * little with their first licence, and the rest with its first renewal.
   */
  const beforeItIsShort = (after: Millis): Millis => {
    const lasts = contentLeft() / 1000 - margin();
    return (lasts < after && opened < decodeState(renewalState).state.end ? Math.max(RENEWAL_GAP, lasts) : after) as Millis;
  };

  const renewOnce = async (): Promise<Attempt> => {
    if (presence.idle) return rest();
    if (wants === 'license') return relicense();
    const move = wants === 'move';
    wants = undefined;
    if (move) wantedAt = clock.monotonic();
    const { bytes, mac } = encodeRequest(ladderHash, license.renewalKey, { position: groupNow(), clientTime: serverTime.now(), state: renewalState, move });
    const exchange = { method: 'POST', body: bytes, headers: { 'content-type': 'application/octet-stream' } } as const;
    const result = await transport.request(
      renewUrls,
      exchange,
      (answer) => {
        const renewal = openAnswer(ladderHash, license.renewalKey, mac, answer.body);
        serverTime.sample(renewal.serverTime, answer.sent, answer.received);
        return { renewal, token: answer.headers.get(TOKEN_HEADER), by: answer.headers.get(ENDED_BY_HEADER), releaseToken: answer.headers.get(RELEASE_TOKEN_HEADER) };
      },
      giveUp.signal,
      deadline(),
    );
    if (end !== undefined) return { ok: false, over: true };
    if (!result.ok) return result.final && result.retry === 'relicense' ? relicense() : failed(result);
    const { renewal, token, by, releaseToken } = result.value;
    if (renewal.act === 'end') {
      finish(renewal.reason, sessionOf(by));
      return { ok: false, over: true };
    }
    if (renewal.act === 'relicense') return relicense();
    const sought = renewal.t0 !== decodeState(renewalState).state.t0;
    if (sought) openedFrom = renewal.g0;
    renewalState = nextState(renewalState, renewal);
    terms = { interval: renewal.interval, duration: renewal.duration };
    const grew = sought || renewal.opened > opened;
    opened = renewal.opened;
    if (token !== null) {
      mediaToken = token;
      mediaTokenExpires = tokenExpiry(token) ?? mediaTokenExpires;
    }
    if (releaseToken !== null) releases?.renewed(releaseToken);
    rings[0]?.addNodes(renewal.nodes);
    forgetOld();
    accepted();
    return { ok: true, after: grew ? beforeItIsShort(renewal.after as Millis) : (renewal.after as Millis) };
  };

  const forgetOld = (): void => {
    if (kind !== 'event') return;
    const oldest = groupAt(Math.max(0, playhead() - parts.keepBehind) as Micros, license.schedule);
    for (const ring of rings) ring.forgetBefore(oldest);
    openedFrom = Math.max(openedFrom, oldest) as GrantGroup;
  };

  const timer = createRenewalTimer({
    clock,
    random,
    attempt: renewOnce,
    longestPause: () => longestPause(contentLeft() / 1000),
    onFailure(failure, retryAfter) {
      if (state === 'active') state = 'degraded';
      events.emit('degraded', { detail: failure.detail, expiresAt: expiresAt(), retryAfter });
      watchExpiry();
    },
  });

  /** Somebody watches again. */
  const wake = (): void => {
    if (state !== 'idle' || presence.idle) return;
    state = 'active';
    void timer.run();
  };

  const { release: access } = parts.admission;
  const releases: SessionReleases | undefined =
    access === undefined || parts.release === undefined
      ? undefined
      : openSessionReleases({ ...parts.release, event: asset, access, schedule: license.schedule, clock, random, renew: () => timer.hurry(RENEWAL_GAP), onReleased: (from, to) => events.emit('released', { from, to }) });

  useLicense();
  keepStopReady();
  timer.arm(beforeItIsShort(earlier(terms.interval, random)));
  watchExpiry();

  const openedKeys = async (from: Micros, to: Micros): Promise<readonly OpenedKey[]> => {
    releases?.need(from, to);
    const found = await Promise.all(rings.map((ring) => ring.keysBetween(from, to)));
    // The session may have ended while keys were being unwrapped.
    if (end !== undefined || lapsed()) return [];
    const byKid = new Map(found.flat().map((item) => [item.kid.join(), item]));
    return [...byKid.values()].sort((a, b) => a.from - b.from);
  };

  return {
    id: sid,
    asset,
    kind,
    scheme,
    entryKid,
    get state() {
      return state;
    },
    get end() {
      return end;
    },
    get notice() {
      return end?.text ?? (state === 'expired' ? textOf('connection-lost', texts) : undefined);
    },
    get expiresAt() {
      return end?.at ?? expiresAt();
    },
    get renewsAt() {
      return timer.due === undefined ? undefined : ((serverTime.now() + Math.round((timer.due - clock.monotonic()) * 1000)) as Micros);
    },
    get groupLength() {
      return groupLength(license.schedule);
    },
    get openedRange() {
      return { from: (openedFrom * groupLength(license.schedule)) as Micros, to: openedTo() };
    },
    get mediaToken() {
      return mediaToken;
    },
    get mediaTokenExpires() {
      return mediaTokenExpires;
    },
    releases: releases?.channel,
    now: serverTime.now,
    on: events.on,
    playhead(mediaTime) {
      if (!Number.isFinite(mediaTime) || end !== undefined) return;
      reported = { mediaTime: Math.max(0, Math.round(mediaTime)) as Micros };
      presence.playhead(reported.mediaTime, contentLeft() > EXPIRY_SLACK);
      if (state === 'idle') return wake();
      const group = groupNow();
      const outside = group < openedFrom || group >= opened;
      const left = contentLeft() / 1000;
      const open = left < margin() ? prospect() : 'nothing';
      if (open === 'more' || lapsed()) timer.hurry(RENEWAL_GAP);
      else if (kind === 'title' && (outside || (open === 'ahead' && left < margin() * MOVE_MARGIN))) {
        const { from, to } = license.horizon;
        // A licence that is not of the greatest length reaches to the end of the title: beyond it there is nothing to ask for.
        const exists = group < to || to - from >= MAX_HORIZON_GROUPS;
        if (exists && clock.monotonic() - wantedAt >= MOVE_GAP) {
          wants = group >= from && group < to ? 'move' : 'license';
          timer.hurry(RENEWAL_GAP);
        }
      }
      if (state === 'degraded' || state === 'expired') watchExpiry();
    },
    playing(isPlaying) {
      presence.playing(isPlaying);
      wake();
    },
    keysBetween: openedKeys,
    async key(kid, near = playhead()): Promise<ContentKey | undefined> {
      releases?.need(near, (near + license.schedule.period) as Micros);
      for (const ring of rings) {
        const found = await ring.key(kid, near);
        if (found !== undefined) return end === undefined && !lapsed() ? found : undefined;
      }
      return undefined;
    },
    renew: () => timer.run(),
    async stop() {
      // Keys are gone before anything is recorded (B150), and the request is on its way before the first wait.
      finish('viewer');
      const signed = signedStop ?? (await desk.prepareStop(sid));
      const [stopped] = await Promise.all([desk.stop(signed), parts.stops?.due(signed).catch(() => undefined)]);
      if (stopped) await parts.stops?.over(sid).catch(() => undefined);
      return stopped;
    },
  };
};

const sessionOf = (value: unknown): SessionId | undefined => (typeof value === 'string' && isSessionId(value) ? value : undefined);

/** Expiry of a media token; the client never checks it, it only asks for a new one in time. */
const tokenExpiry = (token: string): Micros | undefined => {
  try {
    const claims = JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))) as { exp?: unknown };
    return typeof claims.exp === 'number' ? ((claims.exp * 1_000_000) as Micros) : undefined;
  } catch {
    return undefined;
  }
};
