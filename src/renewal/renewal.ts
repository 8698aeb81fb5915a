// SPDX-License-Identifier: Apache-2.0
/**
 * The renewal role: answers renewals from the zone key alone, on any node, also one that started after the session did.
 *
 * docs/wire/renewal.md, design section 3. It holds no content key and no account; everything it must know of a session is in
 * the state that the client carries.
 * Invariant: nothing is stored, counted or granted before both MACs were checked; an ended session gets no node.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import { type LadderHash, renewalKey, sessionKey, stateKey } from '#core/keys/ladder.ts';
import { openNodes } from '#core/keys/unlock.ts';
import { type AnchorMove, anchorMove, isFirstRenewal } from '#core/license/anchor-move.ts';
import { decide, type Decision, mediaTokenLife, type PolicyVersion } from '#core/license/decide.ts';
import { openedRange, reachOf } from '#core/license/opened-range.ts';
import { type EndReason, type Reason, reasonText } from '#core/license/reasons.ts';
import { type DecodedRequest, decodeRequest, encodeAnswer, type RenewalAct, requestMac } from '#core/license/renewal-message.ts';
import { type EnforcementLevel, encodeStateBody, type RenewalState, stateMac } from '#core/license/renewal-state.ts';
import { SESSION_ID_LENGTH } from '#core/license/session-id.ts';
import type { ZoneKeys, ZoneKeysFinder } from '#core/license/zone-keys.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import { FIRST_GROUPS, grantDraw } from '#core/policy/grant-bucket.ts';
import { markClaimsOf } from '#core/token/viewer-id.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { mintReleaseToken } from '#crypto/release-token.ts';
import { DEFAULT_CONNECTIONS } from '#core/token/release-claims.ts';
import type { BucketDraw, Clock, ConcurrencyRecord, EventSink, Heartbeat, HeartbeatStore, Log, Metrics, ResponseFactory } from '#ports';
import { createRenewalEndpoint, type RenewalEndpoint } from './handler.ts';
import type { RenewalOutcome } from './outcome.ts';
import { createReplays } from './replays.ts';
import { createUncountedMoves, RETRY_MOVE } from './uncounted-moves.ts';

/** What a renewal node is built from. */
export type RenewalOptions = {
  /** Keys of the zones this node serves: from the licence server in process, or from the edge bundle. */
  readonly zones: ZoneKeysFinder;
  /** Where renewals are counted; absent where a node cannot reach the counting store. */
  readonly heartbeats?: Pick<HeartbeatStore, 'record'>;
  /** Decides about limits and clones; absent where a node cannot reach the record: then every valid licence is renewed. */
  readonly record?: ConcurrencyRecord;
  /** Where accounts stand, beside a licence server; elsewhere a session's level is in its state. */
  readonly accounts?: {
    known(account: AccountId): { readonly level: EnforcementLevel; readonly since: Micros; readonly override?: PolicyOverride; readonly overrideAt?: Micros } | undefined;
    renewed(account: AccountId, session: SessionId, position: Micros, at: Micros): void;
  };
  /** Whether this node's clock may date answers; while it may not, every request is refused with `clock-untrusted`. Default: always. */
  readonly trusted?: () => boolean;
  /** Overload factor on periods. Default: 1. */
  readonly load?: () => number;
  /** Why a session or its device may not go on. In memory: it is asked at every renewal. */
  readonly flags: (session: SessionId, device: DeviceId) => EndReason | undefined;
  readonly policy: PolicyVersion;
  readonly clock: Clock;
  /** Hashes of the key ladder; default: the portable ones. `#adapters/node/ladder-hash.ts` is faster. */
  readonly hash?: LadderHash;
  /** How answers are made; default: the platform's `Response`. `#adapters/node/http-response.ts` is faster behind `serve`. */
  readonly respond?: ResponseFactory;
  readonly log: Log;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** A renewal node. */
export type Renewal = {
  /** POST /v1/renew. */
  readonly handler: RenewalEndpoint['handler'];
  /** The same for servers that can do without `Request` and `Response`: a `DirectRoute` of `#adapters/node/http-server.ts`. */
  readonly direct: RenewalEndpoint['direct'];
  /** Answers one request by what the node knows alone. The heartbeat is recorded without waiting for the store. */
  readonly renew: (bytes: Uint8Array) => RenewalOutcome;
  /** Answers one request with the record's consent, or without it in an emergency. */
  readonly answer: (bytes: Uint8Array) => Promise<RenewalOutcome>;
};

type Verified = DecodedRequest & { readonly zone: ZoneKeys; readonly sessionKey: Uint8Array; readonly renewalKey: Uint8Array; readonly stateKey: Uint8Array };
type Grant = { readonly act: RenewalAct; readonly reason: Reason; readonly state: RenewalState; readonly after: number; /** First group of the nodes, where it is not the first one that was not open. */ readonly from?: GrantGroup; readonly by?: SessionId };

/** Frozen and kept, since every renewal is counted under one of them. */
const labels = new Map<string, Readonly<Record<string, string>>>();
const outcomeLabels = (act: RenewalAct, reason: Reason): Readonly<Record<string, string>> => {
  const id = `${act} ${reason}`;
  let known = labels.get(id);
  if (known === undefined) labels.set(id, (known = Object.freeze({ act, reason })));
  return known;
};

const platformResponse: ResponseFactory = (body, init) => new Response(body as BodyInit | null, init);

/** Remembers no session; only the last request of each, so as not to count it twice. */
export const createRenewal = (options: RenewalOptions): Renewal => {
  const { zones, heartbeats, record: counting, accounts, flags, policy, clock, trusted = () => true, load = () => 1, hash = ladderHash, log, events, metrics } = options;
  const replays = createReplays();
  const uncounted = createUncountedMoves();

  /** Where the state says which keys are the session's; docs/wire/renewal.md, version byte and sid. */
  const placeOf = ({ stateBody }: DecodedRequest): { readonly sid: Uint8Array; readonly epochByte: number; readonly zone: number } => {
    const sid = stateBody.subarray(1, 1 + SESSION_ID_LENGTH);
    return { sid, epochByte: sid[0] as number, zone: sid[1] as number };
  };

  const verify = (bytes: Uint8Array, now: Micros): Verified => {
    const request = decodeRequest(bytes);
    const { state } = request;
    const { sid, epochByte, zone: index } = placeOf(request);
    const zone = zones(epochByte, index, now);
    if (zone === undefined) throw new SealcastError('epoch-unknown', 'renewal: no key for the session\'s epoch and zone here');
    const sk = sessionKey(hash, zone.zoneKey, { sid, accountHash: state.accountHash, device: state.device, asset: state.asset, gen: state.gen });
    const rk = renewalKey(hash, sk);
    if (!equalBytes(requestMac(hash, rk, request.body), request.mac)) throw new SealcastError('renewal-invalid', 'renewal: the request is not authentic');
    const stk = stateKey(hash, sk);
    if (!equalBytes(stateMac(hash, stk, request.stateBody), request.stateMac)) throw new SealcastError('renewal-invalid', 'renewal: the state is not authentic');
    return { ...request, zone, sessionKey: sk, renewalKey: rk, stateKey: stk };
  };

  /** What was set for the account after the licence: what was set before is in its state, weighed against what was set for its device and title. */
  const newerOverride = ({ state }: Verified): PolicyOverride | undefined => {
    const standing = accounts?.known(encodeBase64url(state.accountHash) as AccountId);
    return (standing?.overrideAt ?? 0) > state.t0 ? standing?.override : undefined;
  };

  const judge = (verified: Verified, now: Micros, health: 'up' | 'down', flagged?: EndReason): Decision => {
    const { state } = verified;
    const device = encodeBase64url(state.device) as DeviceId;
    const ended = flags(state.sid, device) ?? flagged;
    const standing = accounts?.known(encodeBase64url(state.accountHash) as AccountId);
    const override = newerOverride(verified);
    return decide({
      policyVersion: policy,
      account: { level: standing?.level ?? state.level, since: standing?.since ?? state.issued, counters: {} },
      device: { device, registered: true },
      title: { asset: state.asset, live: state.live, timed: state.timed, groupMillis: state.groupMillis },
      session: { sid: state.sid, ...(ended !== undefined && { ended }) },
      ...(override !== undefined && { overrides: { account: override } }),
      state,
      load: load(),
      health,
      now,
    });
  };

  /** A range that does not grow, on the same terms, keeps the state as it is, so that a repeated request has a repeated answer. */
  const grant = ({ state, position }: Verified, decision: Decision, now: Micros): Grant => {
    const { act, reason, after, grant: ahead, interval, duration, nextLevel: level } = decision;
    if (act !== 'extend') return { act, reason, state, after };
    const range = { opened: state.opened, end: state.end, position, g0: state.g0, t0: state.t0, groupLength: (state.groupMillis * 1000) as Micros, term: (ahead * 1000) as Micros, now };
    // The end of a title's licence is the end of the title; an event goes on, and needs a new licence to go on with.
    if (state.live && state.opened >= state.end && reachOf(range) > state.end) return { act: 'relicense', reason: 'horizon', state, after };
    const opened = openedRange(range);
    const same = opened === state.opened && level === state.level && interval === state.interval && duration === state.duration;
    return { act, reason, after, state: same ? state : { ...state, level, policy: policy.version, interval, duration, opened, issued: now } };
  };

  /** The move that the request asks for, or undefined if it asks for none or there is nothing to move. */
  const moveOf = ({ state, position, move }: Verified, { act, duration, nextLevel: level }: Decision, now: Micros): AnchorMove | undefined =>
    move && act === 'extend' ? anchorMove({ state, position, duration, firstGroups: policy.enforcement !== undefined && level > 1 ? FIRST_GROUPS : undefined, now }) : undefined;

  const moved = (verified: Verified, decision: Decision, { g0, t0, from, to }: AnchorMove, now: Micros, spent: number): Grant => {
    const { act, reason, after, interval, duration, nextLevel: level } = decision;
    const { state } = verified;
    // The anchor's time says which settings the licence knows of. Where there are newer ones, a licence has to take them in first.
    if (t0 !== state.t0 && newerOverride(verified) !== undefined) return { act: 'relicense', reason: 'horizon', state, after };
    return { act, reason, after, from, state: { ...state, level, policy: policy.version, interval, duration, g0, t0, opened: to, issued: now, spent } };
  };

  /** A move that nobody counted: free at level 1, three times at level 2, later at level 3 (design section 3). */
  const uncountedMove = (verified: Verified, decision: Decision, move: AnchorMove, now: Micros): Grant => {
    const { state } = verified;
    const level = decision.nextLevel;
    const spent = level === 1 ? state.spent : level === 2 ? uncounted.take(state.sid, verified.mac, state.spent) : undefined;
    if (spent !== undefined) return moved(verified, decision, move, now, spent);
    const inOrder = grant(verified, decision, now);
    return { ...inOrder, after: Math.min(inOrder.after, RETRY_MOVE) };
  };

  const encode = (verified: Verified, { act, reason, state, after, from = verified.state.opened }: Grant, now: Micros): Uint8Array => {
    const { level, interval, duration, policy: version, g0, t0, opened, issued, spent } = state;
    const mac = state === verified.state ? verified.stateMac : stateMac(hash, verified.stateKey, encodeStateBody(state));
    const nodes = openNodes(hash, verified.sessionKey, from, opened);
    return encodeAnswer(hash, verified.renewalKey, verified.mac, { act, reason, level, serverTime: now, after, interval, duration, policy: version, g0, t0, opened, issued, spent, stateMac: mac, nodes });
  };

  const heartbeatOf = (state: RenewalState, { countFor }: Decision, now: Micros): Heartbeat => ({
    session: state.sid,
    account: encodeBase64url(state.accountHash) as AccountId,
    device: encodeBase64url(state.device) as DeviceId,
    asset: state.asset,
    at: now,
    expiresAt: (now + countFor * 1000) as Micros,
    kind: 'renewal',
  });

  /** Listing who watches never delays an answer, and its failure never denies one. */
  const list = (heartbeat: Heartbeat): void => {
    heartbeats?.record(heartbeat).catch((error: unknown) => {
      metrics.count('sealcast_renewal_heartbeat_failures_total', 'Renewals that could not be counted.');
      log.warn('a renewal could not be counted', { error: error instanceof Error ? error.name : typeof error });
    });
  };

  const tokenFor = ({ zone }: Verified, state: RenewalState, now: Micros): string =>
    mintMediaToken({
      key: zone.mediaTokenKey,
      kid: { epoch: zone.epoch, zone: zone.zone.index },
      hmac: hash.hmac,
      claims: { session: state.sid, asset: state.asset, issuedAt: now, expiresAt: (now + mediaTokenLife(policy, state.duration) * 1000) as Micros, ...(state.mark !== undefined && { mark: markClaimsOf(state.mark) }) },
    });

  const releaseTokenFor = ({ zone }: Verified, state: RenewalState, now: Micros): string =>
    mintReleaseToken({
      key: zone.releaseTokenKey,
      kid: { epoch: zone.epoch, zone: zone.zone.index },
      hmac: hash.hmac,
      claims: { session: state.sid, asset: state.asset, account: encodeBase64url(state.accountHash), connections: DEFAULT_CONNECTIONS, issuedAt: now, expiresAt: (now + mediaTokenLife(policy, state.duration) * 1000) as Micros },
    });

  const tell = (asset: AssetId, session: SessionId, act: RenewalAct, reason: Reason, now: Micros): void => {
    metrics.count('sealcast_renewals_total', 'Authentic renewals by outcome.', outcomeLabels(act, reason));
    if (act === 'end') events({ at: now, kind: 'renewal.denied', severity: 'warning', message: `A renewal was denied: ${reasonText(reason)}`, asset, session, data: { reason } });
  };

  const refused = (error: unknown): RenewalOutcome => {
    if (!isSealcastError(error)) throw error;
    const code = error.code === 'epoch-unknown' ? 'epoch-unknown' : 'renewal-invalid';
    metrics.count('sealcast_renewals_refused_total', 'Renewals that were not authentic, by code.', { code });
    return { kind: 'refused', code, detail: error.message };
  };

  const finish = (verified: Verified, granted: Grant, decision: Decision, now: Micros, isNew: boolean): RenewalOutcome => {
    const { act, reason, state, by } = granted;
    if (isNew) {
      if (act === 'extend') {
        const heartbeat = heartbeatOf(state, decision, now);
        list(heartbeat);
        accounts?.renewed(heartbeat.account, state.sid, state.live ? now : ((verified.position * state.groupMillis * 1000) as Micros), now);
      }
      tell(state.asset, state.sid, act, reason, now);
    }
    const token = act === 'extend' ? { mediaToken: tokenFor(verified, state, now), ...(state.timed && { releaseToken: releaseTokenFor(verified, state, now) }) } : {};
    return { kind: 'answered', bytes: encode(verified, granted, now), act, reason, session: state.sid, opened: state.opened, ...token, ...(by !== undefined && { by }) };
  };

  /** By local knowledge: an ended session, a state too old, or go on. */
  const alone = (verified: Verified, now: Micros, health: 'up' | 'down', flagged?: EndReason): RenewalOutcome => {
    const decision = judge(verified, now, health, flagged);
    const by = decision.act === 'end' ? counting?.knownFlag(verified.state.sid)?.by : undefined;
    const move = moveOf(verified, decision, now);
    const granted = move === undefined ? grant(verified, decision, now) : uncountedMove(verified, decision, move, now);
    return finish(verified, { ...granted, ...(by !== undefined && { by }) }, decision, now, replays.isNew(verified.state.sid, verified.mac));
  };

  /** What this renewal draws from the grant bucket: on levels 2 and 3 a move, and the first one after a licence or a seek, which opens a whole term (design section 3). */
  const drawFor = ({ state, position }: Verified, { duration, limits }: Decision, level: number, move: AnchorMove | undefined, now: Micros): BucketDraw | undefined => {
    if (policy.enforcement === undefined || level === 1) return undefined;
    if (move !== undefined) return grantDraw(level, limits.account, move.groups * state.groupMillis);
    if (!isFirstRenewal(state)) return undefined;
    const groupLength = (state.groupMillis * 1000) as Micros;
    const opened = openedRange({ opened: state.opened, end: state.end, position, g0: state.g0, t0: state.t0, groupLength, term: (duration * 1000) as Micros, now });
    return grantDraw(level, limits.account, (opened - state.opened) * state.groupMillis);
  };

  const withRecord = async (verified: Verified, record: ConcurrencyRecord, now: Micros): Promise<RenewalOutcome> => {
    const { state } = verified;
    const expected = judge(verified, now, 'up');
    const ask = (bucket?: BucketDraw): ReturnType<ConcurrencyRecord['renew']> =>
      record.renew({
        heartbeat: heartbeatOf(state, expected, now),
        rightUntil: (now + expected.duration * 1000) as Micros,
        level: expected.nextLevel,
        issued: state.issued,
        request: encodeBase64url(verified.mac.subarray(0, 8)),
        ...(bucket !== undefined && { bucket }),
      });
    // Nobody is asked about a session that is over or too old anyway, but for which session took its place: this node may have heard of the end alone.
    if (expected.act !== 'extend') {
      const replaced = expected.act === 'end' && (expected.reason === 'concurrency' || expected.reason === 'replaced');
      if (replaced && record.knownFlag(state.sid)?.by === undefined) {
        const count = await ask();
        // A record that lost the flag must not count who is over.
        if (count?.kind === 'counted') await record.flag(encodeBase64url(state.accountHash) as AccountId, state.sid, { reason: expected.reason }, (now + 2 * state.duration * 1000) as Micros);
      }
      return alone(verified, now, 'up');
    }
    const bucket = drawFor(verified, expected, expected.nextLevel, moveOf(verified, expected, now), now);
    const count = await ask(bucket);
    if (count === undefined) return alone(verified, now, 'down', record.knownFlag(state.sid)?.reason);
    const told = (act: RenewalAct, reason: Reason, by?: SessionId): RenewalOutcome =>
      finish(verified, { act, reason, state, after: expected.after, ...(by !== undefined && { by }) }, expected, now, replays.isNew(state.sid, verified.mac));
    if (count.kind === 'flagged') return told('end', count.flag.reason, count.flag.by);
    if (count.kind === 'readmit') {
      if (count.because === 'clone') events({ at: now, kind: 'renewal.clone', severity: 'alert', message: 'A session\'s state is used by more than one client; its device has to prove itself again.', asset: state.asset, session: state.sid });
      return told('relicense', count.because === 'clone' ? 'state-old' : 'concurrency');
    }
    if (count.bucket === 'short') {
      const wait = Math.ceil((count.retryAfter ?? 0) / 1000);
      // What is in order costs nothing, and goes on, unless it is a first term that could not be paid for.
      const inOrder = isFirstRenewal(state) ? { act: 'extend' as const, reason: 'none' as const, state, after: expected.after } : grant(verified, expected, count.at);
      return finish(verified, { ...inOrder, after: Math.max(1000, Math.min(inOrder.after, wait)) }, expected, now, !count.duplicate);
    }
    // A repeated request is decided for the instant it first came, so that it opens no more than it did.
    const decision = count.at === now ? expected : judge(verified, count.at, 'up');
    const move = moveOf(verified, decision, count.at);
    uncounted.forget(state.sid);
    const granted = move === undefined ? grant(verified, decision, count.at) : moved(verified, decision, move, count.at, 0);
    // Counted again: what was moved uncounted is forgiven.
    if (granted.state !== state && state.spent > 0) return finish(verified, { ...granted, state: { ...granted.state, spent: 0 } }, decision, now, !count.duplicate);
    return finish(verified, granted, decision, now, !count.duplicate);
  };

  /** A wrong clock would open too much, or too little: another node answers (facts 4.9, fault 6). */
  const requireClock = (): void => {
    if (!trusted()) throw new SealcastError('clock-untrusted', 'this node waits until its clock is settled; ask another one');
  };

  const renew = (bytes: Uint8Array): RenewalOutcome => {
    requireClock();
    const now = clock.now();
    try {
      return alone(verify(bytes, now), now, 'up');
    } catch (error) {
      return refused(error);
    }
  };

  const answer = async (bytes: Uint8Array): Promise<RenewalOutcome> => {
    if (counting === undefined) return renew(bytes);
    requireClock();
    const now = clock.now();
    let verified: Verified;
    try {
      verified = verify(bytes, now);
    } catch (error) {
      return refused(error);
    }
    return withRecord(verified, counting, now);
  };

  return { renew, answer, ...createRenewalEndpoint(counting === undefined ? renew : answer, log, options.respond ?? platformResponse) };
};
