// SPDX-License-Identifier: Apache-2.0
/**
 * The timed-release side of a key server: grants for edges, signed schedules, past secrets.
 *
 * docs/wire/release.md, "Key server → edge". Any number of these may answer for one event; they need not know each other.
 * Invariant: a secret leaves before its time only inside a grant sealed to an edge that is enrolled and authorised for the
 * event, at most one horizon ahead; in the clear it leaves a second after its time at the earliest.
 */
import { SealcastError } from '#core/errors.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { membersOf } from '#core/license/shape.ts';
import { encodeRun, MAX_BLOCKS } from '#core/release/block.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { encodeGrant, GRANT_AFTERLIFE, GRANT_TYPE, HORIZON, MAX_GRANT_PERIODS } from '#core/release/grant.ts';
import { blockOf, encodeBlockSchedule, encodeInfo, firstOfBlock, lastReleasedBy, type ReleaseInfo, SCHEDULE_TYPE } from '#core/release/schedule.ts';
import { type EdgeReport, MAX_REPORT, parseEdgeReport } from '#core/release/report.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { importVerifyKey, type JwsKey, sealTo, signJws, verifyJws } from '#crypto/jose.ts';
import type { Clock, Log, Metrics } from '#ports';
import { createReleaseSecrets, type ReleaseEdge, type ReleaseSecrets, type TimedEvent, type TimedEvents } from './timed-events.ts';

/** What the release side of a key server is made of. */
export type ReleaseServerOptions = {
  /** Name of this key server, unique among its replicas: `iss` of its grants. */
  readonly name: string;
  readonly events: TimedEvents;
  /** EdDSA: signs grants. ES256: signs what clients check. */
  readonly grantKey: { readonly kid: string; readonly key: JwsKey };
  readonly scheduleKey: { readonly kid: string; readonly key: JwsKey };
  /** Public keys of all key servers of the service, for clients. */
  readonly publicKeys: () => readonly object[];
  readonly hash: LadderHash;
  readonly clock: Clock;
  /** Hears how releases stand at an edge. */
  readonly onReport?: (edge: string, report: EdgeReport, at: Micros) => void;
  /** Keeps the head of an edge's release log: whoever holds it can tell a rewritten log. */
  readonly onLogHead?: (edge: string, jws: string, at: Micros) => void;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** The release side of a key server. */
export type ReleaseServer = {
  /** `/v1/events/{id}/grants`, `/v1/events/{id}/release/keys`, `/schedule/{n}`, `/blocks/{n}`. */
  readonly handler: (request: Request) => Promise<Response>;
  /** RS[p] for the packager's content keys, ahead of time: never to be answered to anybody. */
  readonly secrets: ReleaseSecrets;
  /** Lets waiting requests go. */
  close(): void;
};

const PATH = /^\/v1\/events\/([^/]+)\/(?:(grants)|release\/(keys|schedule|blocks)(?:\/([0-9]{1,15}))?)$/;
const LIST = /^\/v1\/edges\/[^/]+\/releases$/;
const REPORTS = /^\/v1\/edges\/[^/]+\/release-report$/;
const HEADS = /^\/v1\/edges\/[^/]+\/log-heads$/;
const MAX_HEAD = 2048;
const REQUEST_AGE = 60_000_000;
/** Edges are topped up in steps of a second of release time. */
const STEP: Micros = 1_000_000 as Micros;
/** Schedules are given this far ahead. */
const SCHEDULE_AHEAD: Micros = 40_000_000 as Micros;
/** Past secrets are given in the clear so long after their time: this server's clock has no stated bound. */
const PAST_MARGIN: Micros = 1_000_000 as Micros;
const MAX_WAIT = 20;
const IMMUTABLE = 'public, max-age=31536000, immutable';

const integer = (query: URLSearchParams, name: string, fallback: number, least: number, most: number): number => {
  const text = query.get(name);
  const value = text === null ? fallback : /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) throw new SealcastError('bad-request', `${name} must be an integer of ${least}-${most}`);
  return value;
};

/** Starts nothing: requests do. The handler throws SealcastErrors, for the caller's problem documents. */
export const createReleaseServer = (options: ReleaseServerOptions): ReleaseServer => {
  const { name, events, clock, metrics } = options;
  const secrets = createReleaseSecrets({ eventKey: events.eventKey, hash: options.hash });
  const signed = new Map<string, Promise<string>>();
  /** Signed requests seen within their lifetime. */
  const seen = new Map<string, number>();
  const closing = new AbortController();
  let lastSeq = 0;

  const scheduleOf = (info: ReleaseInfo, block: number): Promise<string> => {
    const id = `${info.event}/${info.version}/${block}`;
    const known = signed.get(id);
    if (known !== undefined) return known;
    const made = secrets.schedule(info, block).then((schedule) => signJws(encodeBlockSchedule(schedule), { typ: SCHEDULE_TYPE, key: options.scheduleKey.key, kid: options.scheduleKey.kid }));
    signed.set(id, made);
    made.catch(() => signed.delete(id));
    const [oldest] = signed.keys();
    if (signed.size > 512 && oldest !== undefined) signed.delete(oldest);
    return made;
  };

  const claim = (id: string, now: Micros): boolean => {
    for (const [old, until] of seen) if (until <= now) seen.delete(old);
      else break;
    if (seen.has(id)) return false;
    seen.set(id, now + 2 * REQUEST_AGE);
    return true;
  };

  const authenticate = async (request: Request): Promise<ReleaseEdge> => {
    const token = /^Bearer ([A-Za-z0-9_.-]{1,2048})$/.exec(request.headers.get('authorization') ?? '')?.[1];
    if (token === undefined) throw new SealcastError('token-missing', 'a request signed by an enrolled edge is required');
    // The name in the token only selects the key that it is then checked with.
    const claimed = /"edge":"([a-z0-9-]{1,64})"/.exec(payloadText(token))?.[1];
    const edge = claimed === undefined ? undefined : await events.edge(claimed);
    const payload = edge === undefined ? undefined : await verifyJws(token, { typ: 'edge-request+jwt', key: await importVerifyKey(edge.sign), maxLength: 2048 });
    if (edge === undefined || payload === undefined) throw new SealcastError('credential-invalid', 'the request is not signed by an enrolled edge');
    const claims = membersOf(payload, 'edge request', 'credential-invalid', ['edge', 'iat', 'jti', 'aud']);
    const now = clock.now();
    if (claims.value('edge') !== edge.edge || claims.value('aud') !== name) throw new SealcastError('credential-invalid', 'the request was signed for another edge or key server');
    if (Math.abs(claims.integer('iat', 0, 2 ** 42) * 1_000_000 - now) > REQUEST_AGE) throw new SealcastError('credential-invalid', 'the request was signed more than 60 s from now');
    if (!claim(`${edge.edge}/${claims.text('jti', { most: 128 })}`, now)) throw new SealcastError('credential-invalid', 'the request was used before');
    return edge;
  };

  const allowed = (event: TimedEvent, edge: string): boolean => event.edges === 'all' || event.edges.includes(edge);

  /** What may be granted now: periods (after, last] inside the horizon. */
  const range = (info: ReleaseInfo, after: number, now: Micros): { from: CryptoPeriod; to: CryptoPeriod } => {
    const oldest = lastReleasedBy(info, (now - HORIZON) as Micros);
    const from = Math.max(after, oldest, -1) + 1;
    const last = Math.min(lastReleasedBy(info, (now + HORIZON) as Micros), from + MAX_GRANT_PERIODS - 1);
    return { from: from as CryptoPeriod, to: (last + 1) as CryptoPeriod };
  };

  const grant = async (event: TimedEvent, edge: ReleaseEdge, from: CryptoPeriod, to: CryptoPeriod): Promise<string> => {
    const { info } = event;
    const now = clock.now();
    // Rises across restarts, too, as long as the clock is not set back; an edge refuses what does not rise.
    lastSeq = Math.max(lastSeq + 1, now);
    const payload = encodeGrant({
      issuer: name, edge: edge.edge, event: info.event, version: info.version, firstRelease: info.firstRelease, period: info.period, delta: info.delta,
      from, secrets: await secrets.run(info, from, to - from), issuedAt: now, expiresAt: (releaseInstant(info, to) + GRANT_AFTERLIFE) as Micros, seq: lastSeq,
    });
    metrics.count('sealcast_key_server_release_grants_total', 'Release grants made.');
    return sealTo(edge.agree, await signJws(payload, { typ: GRANT_TYPE, key: options.grantKey.key, kid: options.grantKey.kid }));
  };

  const pause = (wait: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        closing.signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = clock.after(wait as Millis, done);
      signal.addEventListener('abort', done);
      closing.signal.addEventListener('abort', done);
      if (signal.aborted || closing.signal.aborted) done();
    });

  const grants = async (id: AssetId, request: Request): Promise<Response> => {
    const edge = await authenticate(request);
    const query = new URL(request.url).searchParams;
    const after = integer(query, 'after', -1, -1, Number.MAX_SAFE_INTEGER);
    const block = integer(query, 'block', -1, -1, Number.MAX_SAFE_INTEGER);
    const deadline = clock.monotonic() + integer(query, 'wait', 0, 0, MAX_WAIT) * 1000;
    for (;;) {
      const event = await events.find(id);
      if (event === undefined) throw new SealcastError('not-found', 'no running timed event of this id');
      // Checked at every turn: an edge whose authorisation ends while it waits gets nothing more.
      if (!allowed(event, edge.edge)) throw new SealcastError('forbidden', 'this edge is not authorised for the event');
      const { info } = event;
      const now = clock.now();
      const { from, to } = range(info, after, now);
      const lacking = to > from && (releaseInstant(info, to) - releaseInstant(info, (after + 1) as CryptoPeriod) >= STEP || info.period >= STEP || after < 0);
      const [first, last] = [Math.max(block + 1, blockOf(lastReleasedBy(info, now), info.perBlock)), blockOf(lastReleasedBy(info, (now + SCHEDULE_AHEAD) as Micros), info.perBlock)];
      if (lacking || last >= first) {
        const schedules = await Promise.all(Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => scheduleOf(info, first + index)));
        const body = { server: name, now, info: encodeInfo(info), urls: event.urls, grants: lacking ? [await grant(event, edge, from, to)] : [], schedules };
        return new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' } });
      }
      const left = deadline - clock.monotonic();
      if (left <= 0 || request.signal.aborted || closing.signal.aborted) return new Response(null, { status: 204, headers: { 'Cache-Control': 'no-store' } });
      await pause(Math.min(left, 250), request.signal);
    }
  };

  const past = async (info: ReleaseInfo, createdAt: Micros, block: number, count: number): Promise<Response> => {
    const now = clock.now();
    const from = firstOfBlock(block, info.perBlock);
    const end = firstOfBlock(block + count, info.perBlock);
    const last = lastReleasedBy(info, (now - PAST_MARGIN) as Micros);
    if (from > last) throw new SealcastError('too-early', 'this block has not been released');
    // Nothing of the event is older than the event, and the rest of the timeline would be work for nothing.
    if (releaseInstant(info, end) < createdAt) throw new SealcastError('not-found', 'the block is older than the event');
    const to = Math.min(end, last + 1);
    const run = encodeRun({ from, releaseAt: releaseInstant(info, from), period: info.period, version: info.version, secrets: await secrets.run(info, from, to - from) });
    return new Response(run as BodyInit, { headers: { 'Content-Type': 'application/octet-stream', 'Cache-Control': to === end ? IMMUTABLE : 'no-store', 'Access-Control-Allow-Origin': '*' } });
  };

  /** Which events an edge may serve; nothing of the others. */
  const releases = async (request: Request): Promise<Response> => {
    const edge = await authenticate(request);
    const mine = (await events.list()).filter((event) => allowed(event, edge.edge)).map(({ info }) => info.event);
    return new Response(JSON.stringify({ events: mine, hosts: (await events.edges()).map((each) => each.host ?? each.edge) }), { headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' } });
  };

  /** Signed by the edge's log key inside and by its request key outside; kept as it is. */
  const logHead = async (request: Request): Promise<Response> => {
    if (request.method !== 'POST') throw new SealcastError('method-not-allowed', 'log heads take POST');
    const edge = await authenticate(request);
    const jws = await request.text();
    if (jws.length > MAX_HEAD || !/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(jws)) throw new SealcastError('bad-request', `a log head is a compact JWS of at most ${MAX_HEAD} characters`);
    options.onLogHead?.(edge.edge, jws, clock.now());
    return new Response(null, { status: 204 });
  };

  const report = async (request: Request): Promise<Response> => {
    if (request.method !== 'POST') throw new SealcastError('method-not-allowed', 'reports take POST');
    const edge = await authenticate(request);
    const text = await request.text();
    if (text.length > MAX_REPORT) throw new SealcastError('payload-too-large', `a report has at most ${MAX_REPORT} characters`);
    options.onReport?.(edge.edge, parseEdgeReport(text), clock.now());
    return new Response(null, { status: 204 });
  };

  const handler = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    if (LIST.test(url.pathname)) return releases(request);
    if (HEADS.test(url.pathname)) return logHead(request);
    if (REPORTS.test(url.pathname)) return report(request);
    const match = PATH.exec(url.pathname);
    if (match === null) throw new SealcastError('not-found', 'no such route of the key server');
    if (request.method !== 'GET') throw new SealcastError('method-not-allowed', 'release routes take GET');
    const id = assetId(match[1]);
    if (match[2] !== undefined) return grants(id, request);
    const event = await events.find(id);
    if (event === undefined) throw new SealcastError('not-found', 'no running timed event of this id');
    if (match[3] === 'keys') return new Response(JSON.stringify({ keys: options.publicKeys() }), { headers: { 'Content-Type': 'application/jwk-set+json', 'Cache-Control': 'public, max-age=300', 'Access-Control-Allow-Origin': '*' } });
    if (match[4] === undefined) throw new SealcastError('not-found', 'a block number belongs here');
    const block = Number(match[4]);
    if (match[3] === 'blocks') return past(event.info, event.createdAt, block, integer(url.searchParams, 'count', 1, 1, MAX_BLOCKS));
    const now = clock.now();
    if (block > blockOf(lastReleasedBy(event.info, (now + SCHEDULE_AHEAD) as Micros), event.info.perBlock)) throw new SealcastError('too-early', 'schedules are published 40 s ahead');
    if (releaseInstant(event.info, firstOfBlock(block + 1, event.info.perBlock)) < event.createdAt) throw new SealcastError('not-found', 'the block is older than the event');
    return new Response(await scheduleOf(event.info, block), { headers: { 'Content-Type': 'application/jwt', 'Cache-Control': IMMUTABLE, 'Access-Control-Allow-Origin': '*' } });
  };

  return { handler, secrets, close: () => closing.abort() };
};

/** Payload text of a compact JWS, unverified; empty for anything else. */
const payloadText = (token: string): string => {
  const part = token.split('.')[1] ?? '';
  try {
    return atob(part.replace(/-/g, '+').replace(/_/g, '/'));
  } catch {
    return '';
  }
};
