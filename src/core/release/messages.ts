// SPDX-License-Identifier: Apache-2.0
/**
 * The JSON messages of the release channel, both directions: WebSocket text frames and SSE data.
 *
 * docs/wire/release.md, "Edge → client". Invariant: strict both ways (unknown members, repeated names and values out of
 * range are `bad-request`), bounded before parsing; nothing a client says here can move a release.
 */
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { jsonObject, type Members, membersOf } from '#core/license/shape.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { REPORT_STEPS } from './delta-advice.ts';
import { EDGE_INFO_MEMBERS, type EdgeInfo, encodeEdgeInfo, readEdgeInfo, readUrls } from './schedule.ts';

/** WebSocket subprotocol. */
export const SUBPROTOCOL = 'sealcast.release.v1';
/** Longest text or binary message of a client. */
export const MAX_CLIENT_MESSAGE = 4096;
/** Longest text message of an edge: a welcome with three schedules of 20 ms periods. */
export const MAX_EDGE_MESSAGE = 131_072;
/** Periods of one pull. */
export const MAX_PULL = 50;
const MAX_RECEIPTS = 20;
const MAX_SEGMENTS = 10;

/** Close codes of the release channel beside those of RFC 6455. */
export const CLOSE = { malformed: 4400, token: 4401, forbidden: 4403, unknownEvent: 4404, silent: 4408, connections: 4409, slow: 4413, flood: 4429 } as const;

/** What a client can play with. */
export type ClientCapability = 'ws' | 'eme' | 'subtle' | 'codecs';
/** Lower and upper quantile of something in microseconds. */
export type Spread = { readonly p50: number; readonly high: number };

/** A client's statistics; untrusted. */
export type StatMessage = {
  readonly type: 'stat';
  readonly from: CryptoPeriod;
  readonly to: CryptoPeriod;
  /** Periods that should have been shown. */
  readonly n: number;
  readonly late: number;
  readonly skipped: number;
  readonly pulled: number;
  /** Arrival after T_p: p50, p99. */
  readonly arrival?: Spread;
  /** Absolute display error against W: p50, p95. */
  readonly display?: Spread;
  readonly clock?: { readonly offset: number; readonly error: number };
  /** Share of the periods whose bytes were there at T_p, 0-1. */
  readonly held?: number;
  /** Arrivals counted by `REPORT_STEPS` of `delta-advice.ts`. */
  readonly steps?: readonly number[];
  /** δ in use. */
  readonly delta?: Micros;
  /** Arrival bounds of sampled periods, UTC. */
  readonly receipts?: readonly { readonly period: CryptoPeriod; readonly earliest: Micros; readonly latest: Micros }[];
  /** When the last byte of segments was there, UTC. */
  readonly segments?: readonly { readonly segment: number; readonly at: Micros }[];
};

/** Client → edge. */
export type ClientMessage =
  | { readonly type: 'hello'; readonly token: string; readonly event: AssetId; readonly last?: CryptoPeriod; readonly caps: readonly ClientCapability[] }
  | { readonly type: 'pull'; readonly periods: readonly CryptoPeriod[] }
  | { readonly type: 'token'; readonly token: string }
  | StatMessage
  | { readonly type: 'bye' };

/** Why an edge cannot give a period. */
export type PullRefusal = 'too-early' | 'unknown' | 'gone' | 'rate-limited';
/** Why an edge suspends releases. */
export type HoldReason = 'clock' | 'horizon' | 'key-server' | 'stopped';

/** Edge → client. */
export type EdgeMessage =
  | { readonly type: 'welcome'; readonly alias: number; readonly now: number; readonly info: EdgeInfo; readonly alt: readonly string[]; readonly schedules: readonly string[] }
  | { readonly type: 'sched'; readonly schedules: readonly string[] }
  | { readonly type: 'err'; readonly code: PullRefusal; readonly period?: CryptoPeriod }
  | { readonly type: 'drain'; readonly alt: readonly string[]; readonly spreadMs: number }
  | { readonly type: 'hold'; readonly reason: HoldReason }
  | { readonly type: 'resume'; readonly now: number };

const MAX_PERIOD = Number.MAX_SAFE_INTEGER;
const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', `release message: ${rule}`);
};
const period = (value: unknown): CryptoPeriod => (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? (value as CryptoPeriod) : refuse('periods are integers from 0'));
const instant = (value: unknown): Micros => (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? (value as Micros) : refuse('instants are integer microseconds'));

const members = (text: string, limit: number): { m: (required: readonly string[], optional?: readonly string[]) => Members; type: unknown } => {
  if (text.length > limit) refuse(`at most ${limit} characters; got ${text.length}`);
  const object = jsonObject(text, 'release message', 'bad-request');
  return { m: (required, optional = []) => membersOf(object, 'release message', 'bad-request', ['type', ...required], optional), type: object['type'] };
};

const token = (m: Members): string => m.text('token', { most: 2048, pattern: /^[A-Za-z0-9_.-]+$/ });

const spread = (value: unknown, high: string): Spread => {
  const m = membersOf(value, 'release message', 'bad-request', ['p50', high]);
  return { p50: m.integer('p50', -60_000_000, 60_000_000), high: m.integer(high, -60_000_000, 60_000_000) };
};

const triple = (value: unknown): { period: CryptoPeriod; earliest: Micros; latest: Micros } =>
  Array.isArray(value) && value.length === 3 ? { period: period(value[0]), earliest: instant(value[1]), latest: instant(value[2]) } : refuse('a receipt is [p, earliest, latest]');
const pair = (value: unknown): { segment: number; at: Micros } => (Array.isArray(value) && value.length === 2 ? { segment: period(value[0]), at: instant(value[1]) } : refuse('a segment is [number, at]'));

const COUNTS = ['from', 'to', 'n', 'late', 'skipped', 'pulled'] as const;
const STAT_EXTRAS = ['arrival', 'display', 'clock', 'held', 'steps', 'delta', 'receipts', 'segments'] as const;

const steps = (m: Members): readonly number[] => {
  const counts = m.list('steps', REPORT_STEPS.length + 1).map((count) => (typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 && count <= 100_000 ? count : refuse('steps are counts')));
  return counts.length === REPORT_STEPS.length + 1 ? counts : refuse(`steps are ${REPORT_STEPS.length + 1} counts`);
};

const readStat = (m: Members): StatMessage => {
  const has = (name: string): boolean => m.value(name) !== undefined;
  const held = m.value('held');
  if (held !== undefined && !(typeof held === 'number' && held >= 0 && held <= 1)) refuse('held is a share of 0-1');
  const clock = has('clock') ? membersOf(m.value('clock'), 'release message', 'bad-request', ['offset', 'error']) : undefined;
  return {
    type: 'stat',
    from: period(m.value('from')),
    to: period(m.value('to')),
    n: m.integer('n', 0, 100_000),
    late: m.integer('late', 0, 100_000),
    skipped: m.integer('skipped', 0, 100_000),
    pulled: m.integer('pulled', 0, 100_000),
    ...(has('arrival') && { arrival: spread(m.value('arrival'), 'p99') }),
    ...(has('display') && { display: spread(m.value('display'), 'p95') }),
    ...(clock !== undefined && { clock: { offset: clock.integer('offset', -MAX_PERIOD, MAX_PERIOD), error: clock.integer('error', 0, MAX_PERIOD) } }),
    ...(typeof held === 'number' && { held }),
    ...(has('steps') && { steps: steps(m) }),
    ...(has('delta') && { delta: m.integer('delta', 0, 60_000_000) as Micros }),
    ...(has('receipts') && { receipts: m.list('receipts', MAX_RECEIPTS).map(triple) }),
    ...(has('segments') && { segments: m.list('segments', MAX_SEGMENTS).map(pair) }),
  };
};

/** A client's text message; throws `bad-request` for anything but exactly one of them. */
export const parseClientMessage = (text: string): ClientMessage => {
  const { m, type } = members(text, MAX_CLIENT_MESSAGE);
  switch (type) {
    case 'hello': {
      const hello = m(['v', 'token', 'event'], ['last', 'caps']);
      hello.integer('v', 1, 1);
      const caps = hello.value('caps') === undefined ? [] : hello.list('caps', 8);
      const known: readonly ClientCapability[] = ['ws', 'eme', 'subtle', 'codecs'];
      return {
        type,
        token: token(hello),
        event: assetId(hello.value('event')),
        ...(hello.value('last') !== undefined && { last: period(hello.value('last')) }),
        caps: caps.map((cap) => known.find((each) => each === cap) ?? refuse('caps are ws, eme, subtle, codecs')),
      };
    }
    case 'pull': {
      const periods = m(['p']).list('p', MAX_PULL).map(period);
      return periods.length === 0 ? refuse('a pull names a period') : { type, periods };
    }
    case 'token':
      return { type, token: token(m(['token'])) };
    case 'stat':
      return readStat(m(COUNTS, STAT_EXTRAS));
    case 'bye':
      m([]);
      return { type };
    default:
      return refuse('unknown type');
  }
};

/** JSON of a client's message. */
export const encodeClientMessage = (message: ClientMessage): string => {
  switch (message.type) {
    case 'hello':
      return JSON.stringify({ type: 'hello', v: 1, token: message.token, event: message.event, last: message.last, caps: message.caps });
    case 'pull':
      return JSON.stringify({ type: 'pull', p: message.periods });
    case 'stat': {
      const { arrival, display, receipts, segments, ...rest } = message;
      return JSON.stringify({
        ...rest,
        arrival: arrival && { p50: arrival.p50, p99: arrival.high },
        display: display && { p50: display.p50, p95: display.high },
        receipts: receipts?.map((each) => [each.period, each.earliest, each.latest]),
        segments: segments?.map((each) => [each.segment, each.at]),
      });
    }
    case 'token':
    case 'bye':
      return JSON.stringify(message);
  }
};

const jwsList = (m: Members, name: string, most: number): readonly string[] =>
  m.list(name, most).map((jws) => (typeof jws === 'string' && jws.length <= 65_536 && /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(jws) ? jws : refuse('schedules are compact JWS')));

/** An edge's text message; throws `bad-request`. For SSE pass the event's name as `type`: its data has none. */
export const parseEdgeMessage = (text: string, name?: string): EdgeMessage => {
  if (text.length > MAX_EDGE_MESSAGE) refuse(`at most ${MAX_EDGE_MESSAGE} characters; got ${text.length}`);
  const object = jsonObject(text, 'release message', 'bad-request');
  const type = name ?? object['type'];
  const m = (required: readonly string[], optional: readonly string[] = []): Members => membersOf(object, 'release message', 'bad-request', name === undefined ? ['type', ...required] : required, optional);
  switch (type) {
    case 'welcome': {
      const welcome = m(['v', 'alias', 'now', 'alt', 'schedules', ...EDGE_INFO_MEMBERS]);
      welcome.integer('v', 1, 1);
      return {
        type,
        alias: welcome.integer('alias', 0, 65_535),
        now: welcome.integer('now', -1, MAX_PERIOD),
        info: readEdgeInfo(welcome, 'release message'),
        alt: readUrls(welcome, 'alt'),
        schedules: jwsList(welcome, 'schedules', 8),
      };
    }
    case 'sched':
      return { type, schedules: jwsList(m(['jws']), 'jws', 8) };
    case 'err': {
      const err = m(['code'], ['p']);
      return { type, code: err.oneOf('code', ['too-early', 'unknown', 'gone', 'rate-limited']), ...(err.value('p') !== undefined && { period: period(err.value('p')) }) };
    }
    case 'drain': {
      const drain = m(['alt', 'spreadMs']);
      return { type, alt: readUrls(drain, 'alt'), spreadMs: drain.integer('spreadMs', 0, 600_000) };
    }
    case 'hold':
      return { type, reason: m(['reason']).oneOf('reason', ['clock', 'horizon', 'key-server', 'stopped']) };
    case 'resume':
      return { type, now: m(['now']).integer('now', -1, MAX_PERIOD) };
    default:
      return refuse('unknown type');
  }
};

/** Data of an edge's message without its type, as SSE carries it. */
export const edgeMessageData = (message: EdgeMessage): Record<string, unknown> => {
  switch (message.type) {
    case 'welcome':
      return { v: 1, alias: message.alias, now: message.now, ...encodeEdgeInfo(message.info), alt: message.alt, schedules: message.schedules };
    case 'sched':
      return { jws: message.schedules };
    case 'err':
      return { code: message.code, p: message.period };
    case 'drain':
      return { alt: message.alt, spreadMs: message.spreadMs };
    case 'hold':
      return { reason: message.reason };
    case 'resume':
      return { now: message.now };
  }
};
/** JSON of an edge's message, as WebSocket carries it. */
export const encodeEdgeMessage = (message: EdgeMessage): string => JSON.stringify({ type: message.type, ...edgeMessageData(message) });
