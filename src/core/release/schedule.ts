// SPDX-License-Identifier: Apache-2.0
/**
 * The public schedule of a timed event: when every period is released and shown, and its commitments by blocks.
 *
 * docs/wire/release.md, "Schedule of an event". Invariant: exact integers throughout; what leaves a parser here has a
 * release instant that only grows with p, and blocks that tile the periods without gap or overlap.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { jsonObject, type Members, membersOf } from '#core/license/shape.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type ReleaseSchedule, releaseInstant } from './gate.ts';

/** JOSE `typ` of a block's signed schedule. */
export const SCHEDULE_TYPE = 'release-schedule+jwt';
/** Bytes of a commitment. */
export const COMMITMENT_LENGTH = 32;
/** Media time that one block of periods covers (less than a period more). */
export const BLOCK_LENGTH: Micros = 10_000_000 as Micros;
/** A block of 20 ms periods. */
export const MAX_PER_BLOCK = 500;

/** How fine and how late an event is released. `standard`: 100 ms and 150 ms; `strict`: one frame and 120 ms. */
export type TimedMode = 'standard' | 'strict';

/** What everybody may know about a timed event. */
export type ReleaseInfo = ReleaseSchedule & {
  readonly event: AssetId;
  readonly mode: TimedMode;
  /** δ: from the release instant to the display instant. */
  readonly delta: Micros;
  /** δ of clients without WebCodecs, in strict mode. */
  readonly fallbackDelta: Micros;
  /** Periods in a block. */
  readonly perBlock: number;
};

/** `ReleaseInfo` and where to get releases. */
export type EdgeInfo = ReleaseInfo & {
  /** Name of the answering edge. */
  readonly edge: string;
  /** Base URLs of the event's edges, relative ones relative to the answering server. */
  readonly urls: readonly string[];
};

/** Commitments of one block. */
export type BlockSchedule = Omit<ReleaseInfo, 'fallbackDelta' | 'perBlock'> & {
  readonly block: number;
  readonly from: CryptoPeriod;
  /** 32 bytes each, one after the other; period `from + i` at `32 * i`. */
  readonly commitments: Uint8Array;
};

/** Defaults of the two modes. */
export const TIMED_DEFAULTS: Readonly<Record<TimedMode, { readonly period: Micros; readonly delta: Micros; readonly fallbackDelta: Micros }>> = {
  standard: { period: 100_000 as Micros, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros },
  strict: { period: 40_000 as Micros, delta: 120_000 as Micros, fallbackDelta: 150_000 as Micros },
};

/** Periods in a block of an event with this period length. */
export const periodsPerBlock = (period: Micros): number => Math.max(1, Math.floor(BLOCK_LENGTH / period));
/** Block that holds a period. */
export const blockOf = (period: CryptoPeriod, perBlock: number): number => Math.floor(period / perBlock);
/** First period of a block. */
export const firstOfBlock = (block: number, perBlock: number): CryptoPeriod => (block * perBlock) as CryptoPeriod;

/** Last period whose release instant is not after `at`; -1 before period 0. */
export const lastReleasedBy = (schedule: ReleaseSchedule, at: Micros): CryptoPeriod => Math.max(-1, Math.floor((at - schedule.firstRelease) / schedule.period)) as CryptoPeriod;

/** W: the wall instant at which every client shows media time `media` of the event. */
export const displayInstant = (info: Pick<ReleaseInfo, 'firstRelease'>, delta: Micros, media: Micros): Micros => (info.firstRelease + delta + media) as Micros;

const MAX_DELTA = 2_000_000;
const MIN_PERIOD = 20_000;
const MAX_PERIOD = 10_000_000;
/** Nothing is released later than this after its media time. */
const MAX_ORIGIN = 3_600_000_000;

/** Refuses what no event can have; `what` and `code` as in `membersOf`. */
const checked = (info: ReleaseInfo, what: string): ReleaseInfo => {
  if (info.perBlock !== periodsPerBlock(info.period)) throw new SealcastError('bad-request', `${what}: perBlock must be ${periodsPerBlock(info.period)} for this period`);
  return info;
};

const scheduleMembers = (m: Members): Pick<ReleaseInfo, 'event' | 'version' | 'mode' | 'firstRelease' | 'period' | 'delta'> => ({
  event: assetId(m.value('event')),
  version: m.integer('version', 1, 2 ** 32 - 1),
  mode: m.oneOf('mode', ['standard', 'strict']),
  firstRelease: m.integer('t0', -MAX_ORIGIN, MAX_ORIGIN) as Micros,
  period: m.integer('period', MIN_PERIOD, MAX_PERIOD) as Micros,
  delta: m.integer('delta', 0, MAX_DELTA) as Micros,
});

/** Members of the info document, in the order of docs/wire/release.md. */
export const INFO_MEMBERS = ['event', 'version', 'mode', 't0', 'period', 'delta', 'fallbackDelta', 'perBlock'] as const;
/** Members of the info document with the edge's. */
export const EDGE_INFO_MEMBERS: readonly string[] = [...INFO_MEMBERS, 'edge', 'urls'];

/** The JSON members of `ReleaseInfo`. */
export const encodeInfo = (info: ReleaseInfo): Record<string, unknown> => ({
  event: info.event, version: info.version, mode: info.mode, t0: info.firstRelease, period: info.period, delta: info.delta, fallbackDelta: info.fallbackDelta, perBlock: info.perBlock,
});
/** The JSON members of `EdgeInfo`. */
export const encodeEdgeInfo = (info: EdgeInfo): Record<string, unknown> => ({ ...encodeInfo(info), edge: info.edge, urls: info.urls });

/** Info members already read as `Members`; throws `bad-request`. */
export const readInfo = (m: Members, what: string): ReleaseInfo =>
  checked({ ...scheduleMembers(m), fallbackDelta: m.integer('fallbackDelta', 0, MAX_DELTA) as Micros, perBlock: m.integer('perBlock', 1, MAX_PER_BLOCK) }, what);
/** `urls` or `alt`: at most 16 addresses, absolute http(s) or starting with `/`. */
export const readUrls = (m: Members, name: string): readonly string[] =>
  m.list(name, 16).map((url) => {
    if (typeof url !== 'string' || url.length > 512 || !/^(?:https?:\/\/[^\s/]+|\/)/.test(`${url}`)) throw new SealcastError('bad-request', `${name}: addresses are http(s) URLs or paths of at most 512 characters`);
    return url;
  });
/** Edge info members already read as `Members`; throws `bad-request`. */
export const readEdgeInfo = (m: Members, what: string): EdgeInfo => ({ ...readInfo(m, what), edge: m.text('edge', { most: 64 }), urls: readUrls(m, 'urls') });

/** The info document of a key server; throws `bad-request`. */
export const parseInfo = (value: unknown): ReleaseInfo => readInfo(membersOf(value, 'release info', 'bad-request', INFO_MEMBERS), 'release info');
/** The info document of an edge, from its JSON text; throws `bad-request`. */
export const parseEdgeInfo = (text: string): EdgeInfo => readEdgeInfo(membersOf(jsonObject(text, 'release info', 'bad-request'), 'release info', 'bad-request', EDGE_INFO_MEMBERS), 'release info');

/** Payload of a block's schedule, for signing. */
export const encodeBlockSchedule = (schedule: BlockSchedule): Record<string, unknown> => ({
  event: schedule.event, version: schedule.version, mode: schedule.mode, t0: schedule.firstRelease, period: schedule.period, delta: schedule.delta,
  block: schedule.block, from: schedule.from, commits: encodeBase64url(schedule.commitments),
});

/** A verified JWS payload as a block's schedule; throws `bad-request`. The signature and the event are the caller's business. */
export const parseBlockSchedule = (payload: unknown): BlockSchedule => {
  const m = membersOf(payload, 'release schedule', 'bad-request', ['event', 'version', 'mode', 't0', 'period', 'delta', 'block', 'from', 'commits']);
  const common = scheduleMembers(m);
  const perBlock = periodsPerBlock(common.period);
  const block = m.integer('block', 0, Number.MAX_SAFE_INTEGER);
  const from = m.integer('from', 0, Number.MAX_SAFE_INTEGER) as CryptoPeriod;
  if (from !== block * perBlock) throw new SealcastError('bad-request', 'release schedule: from must be the first period of the block');
  return { ...common, block, from, commitments: m.bytes('commits', perBlock * COMMITMENT_LENGTH) };
};

/** commit[p] out of a block's schedule; undefined for a period of another block. A view, not a copy. */
export const commitmentOf = (schedule: BlockSchedule, period: CryptoPeriod): Uint8Array | undefined => {
  const at = (period - schedule.from) * COMMITMENT_LENGTH;
  return at >= 0 && at + COMMITMENT_LENGTH <= schedule.commitments.length ? schedule.commitments.subarray(at, at + COMMITMENT_LENGTH) : undefined;
};

/** Whether two descriptions release every period at the same instant with the same δ: what may never change. */
export const sameSchedule = (a: Pick<ReleaseInfo, 'event' | 'version' | 'firstRelease' | 'period' | 'delta'>, b: Pick<ReleaseInfo, 'event' | 'version' | 'firstRelease' | 'period' | 'delta'>): boolean =>
  a.event === b.event && a.version === b.version && a.firstRelease === b.firstRelease && a.period === b.period && a.delta === b.delta;

/** When the last secret of a block is released. */
export const blockReleasedAt = (info: ReleaseInfo, block: number): Micros => releaseInstant(info, (firstOfBlock(block + 1, info.perBlock) - 1) as CryptoPeriod);
