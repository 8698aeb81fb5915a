// SPDX-License-Identifier: Apache-2.0
/**
 * Usage records: what a device played, chained so that nothing can be left out, changed or moved unnoticed.
 *
 * docs/wire/subscription.md, "Usage" (B136-B141). Each record holds the hash of the one before it; a report is a run of records.
 * Invariant: records are compared and hashed as the texts that the device made, never as re-encoded objects.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import { PLAN } from './root.ts';

/** The JOSE `typ` of usage reports and of their acknowledgements. */
export const USAGE_TYPE = 'usage+jwt';
export const USAGE_ACKNOWLEDGEMENT_TYPE = 'usage-ack+jwt';
/** Records of one report at most. */
export const MAX_REPORT_RECORDS = 500;
/** Longest text of one record. */
export const MAX_RECORD_LENGTH = 512;
/** A clock less certain than this makes a record `uncertain`. */
export const UNCERTAIN_AFTER: Micros = 3_600_000_000 as Micros;
const HASH_LENGTH = 32;

/** What was done with a title. */
export type UsageAction = 'play' | 'download' | 'delete';

/** One thing that a device did. Instants are the device's trusted time. */
export type UsageRecord = {
  /** From 1, without gaps. */
  readonly seq: number;
  /** SHA-256 of the text of the record before; zeros for the first. */
  readonly prev: Uint8Array;
  readonly title: AssetId;
  readonly gen: number;
  readonly action: UsageAction;
  readonly plan: string;
  readonly started: Micros;
  readonly ended: Micros;
  /** How much of the title was played, media time. */
  readonly played: Micros;
  /** Where play began, media time. */
  readonly from: Micros;
  readonly offline: boolean;
  /** How far off the device's clock may have been. */
  readonly certain: Micros;
};

/** Where a chain stands: number and hash of its newest record. */
export type ChainHead = { readonly seq: number; readonly head: Uint8Array };

/** A chain without records. */
export const EMPTY_CHAIN: ChainHead = { seq: 0, head: new Uint8Array(HASH_LENGTH) };

/** The text of a record, which is what is hashed and reported. */
export const encodeUsageRecord = (record: UsageRecord): string =>
  JSON.stringify({
    seq: record.seq,
    prev: encodeBase64url(record.prev),
    title: record.title,
    gen: record.gen,
    action: record.action,
    plan: record.plan,
    started: record.started,
    ended: record.ended,
    played: record.played,
    from: record.from,
    offline: record.offline,
    certain: record.certain,
  });

/** Hash that the next record holds. */
export const usageRecordHash = (hash: LadderHash, text: string): Uint8Array => hash.sha256(encodeUtf8(text));

const MEMBERS = ['seq', 'prev', 'title', 'gen', 'action', 'plan', 'started', 'ended', 'played', 'from', 'offline', 'certain'];

const NUMBER = '(0|[1-9]\\d{0,15})';
/** A record as devices write it, members and their ranges in one pass: reports hold hundreds. Whatever else there is goes the long way. */
const WRITTEN = new RegExp(
  `^\\{"seq":([1-9]\\d{0,15}),"prev":"([A-Za-z0-9_-]{43})","title":"([a-z0-9][a-z0-9-]{0,39})","gen":(0|[1-9]\\d{0,4}),"action":"(play|download|delete)","plan":"([A-Za-z0-9._-]{1,64})","started":${NUMBER},"ended":${NUMBER},"played":${NUMBER},"from":${NUMBER},"offline":(true|false),"certain":${NUMBER}\\}$`,
);

const writtenRecord = (text: string): UsageRecord | undefined => {
  const found = WRITTEN.exec(text);
  if (found === null) return undefined;
  const [, seq, prev = '', title, gen, action, plan = '', started, ended, played, from, offline, certain] = found;
  const record = { seq: Number(seq), prev: decodeBase64url(prev), title: title as AssetId, gen: Number(gen), action: action as UsageAction, plan, started: Number(started) as Micros, ended: Number(ended) as Micros, played: Number(played) as Micros, from: Number(from) as Micros, offline: offline === 'true', certain: Number(certain) as Micros };
  const exact = [record.seq, record.started, record.ended, record.played, record.from, record.certain].every(Number.isSafeInteger);
  return exact && record.gen <= 0xffff && record.ended >= record.started ? record : undefined;
};

/** A record from its text; throws `bad-request`. */
export const parseUsageRecord = (text: string): UsageRecord => (text.length > MAX_RECORD_LENGTH ? undefined : writtenRecord(text)) ?? readRecord(text);

const readRecord = (text: string): UsageRecord => {
  const bad = (rule: string): SealcastError => new SealcastError('bad-request', `usage record: ${rule}`);
  if (text.length > MAX_RECORD_LENGTH) throw bad(`has at most ${MAX_RECORD_LENGTH} characters; got ${text.length}`);
  const record = membersOf(jsonObject(text, 'usage record', 'bad-request'), 'usage record', 'bad-request', MEMBERS);
  const micros = (name: string): Micros => record.integer(name, 0, Number.MAX_SAFE_INTEGER) as Micros;
  const offline = record.value('offline');
  if (typeof offline !== 'boolean') throw bad('offline must be true or false');
  const parsed: UsageRecord = {
    seq: record.integer('seq', 1, Number.MAX_SAFE_INTEGER),
    prev: record.bytes('prev', HASH_LENGTH),
    title: assetId(record.value('title')),
    gen: record.integer('gen', 0, 0xffff),
    action: record.oneOf('action', ['play', 'download', 'delete']),
    plan: record.text('plan', { most: 64, pattern: PLAN }),
    started: micros('started'),
    ended: micros('ended'),
    played: micros('played'),
    from: micros('from'),
    offline,
    certain: micros('certain'),
  };
  if (parsed.ended < parsed.started) throw bad('ended must not be before started');
  return parsed;
};

/** A report as it was signed. `lost`: the device lost its chain and began again. */
export type UsageReport = { readonly account: Uint8Array; readonly transaction: Uint8Array; readonly first: number; readonly records: readonly string[]; readonly head: Uint8Array; readonly lost: boolean };

/** JWT payload of a report. */
export const encodeUsageReport = (report: UsageReport): Record<string, unknown> => ({
  account: encodeBase64url(report.account),
  transaction: encodeBase64url(report.transaction),
  first: report.first,
  records: report.records,
  head: encodeBase64url(report.head),
  ...(report.lost && { lost: true }),
});

/** A report from a verified payload; throws `bad-request`. */
export const parseUsageReport = (payload: unknown): UsageReport => {
  const report = membersOf(payload, 'usage report', 'bad-request', ['account', 'transaction', 'first', 'records', 'head'], ['lost']);
  const records = report.list('records', MAX_REPORT_RECORDS);
  if (records.length === 0 || !records.every((text): text is string => typeof text === 'string' && text.length <= MAX_RECORD_LENGTH)) throw new SealcastError('bad-request', `usage report: records must be 1-${MAX_REPORT_RECORDS} record texts of at most ${MAX_RECORD_LENGTH} characters`);
  const lost = report.value('lost');
  if (lost !== undefined && lost !== true) throw new SealcastError('bad-request', 'usage report: lost can only be true');
  return {
    account: report.bytes('account', HASH_LENGTH),
    transaction: report.bytes('transaction', 16),
    first: report.integer('first', 1, Number.MAX_SAFE_INTEGER),
    records: records as readonly string[],
    head: report.bytes('head', HASH_LENGTH),
    lost: lost === true,
  };
};

/** What a report means for a chain whose newest record is `known`. `hashAt` answers the stored hash of an earlier record. */
export type ChainOutcome =
  | { readonly fits: true; /** Records that are new, parsed, in order. */ readonly fresh: readonly { readonly record: UsageRecord; readonly text: string; readonly hash: Uint8Array }[]; readonly head: ChainHead }
  | { readonly fits: false; readonly because: 'gap' | 'altered' | 'head' };

/**
 * Checks a report against the chain. Records that are known already must agree byte for byte (by hash) and are dropped; the rest
 * must follow without a gap. Throws `bad-request` for a record that is none.
 */
export const extendChain = (hash: LadderHash, known: ChainHead, report: Pick<UsageReport, 'first' | 'records' | 'head'>, hashAt: (seq: number) => Uint8Array | undefined): ChainOutcome => {
  if (report.first > known.seq + 1) return { fits: false, because: 'gap' };
  const fresh: { record: UsageRecord; text: string; hash: Uint8Array }[] = [];
  let before = report.first === known.seq + 1 ? known.head : undefined;
  let head = known.head;
  for (const [index, text] of report.records.entries()) {
    const record = parseUsageRecord(text);
    if (record.seq !== report.first + index || (before !== undefined && !equalBytes(record.prev, before))) return { fits: false, because: 'altered' };
    const own = usageRecordHash(hash, text);
    before = own;
    if (record.seq > known.seq) {
      fresh.push({ record, text, hash: own });
      head = own;
    } else {
      const stored = record.seq === known.seq ? known.head : hashAt(record.seq);
      if (stored === undefined || !equalBytes(stored, own)) return { fits: false, because: 'altered' };
    }
  }
  if (before === undefined || !equalBytes(before, report.head)) return { fits: false, because: 'head' };
  return { fits: true, fresh, head: { seq: Math.max(known.seq, report.first + report.records.length - 1), head } };
};

/** Whether a play counts for payouts: `countedAfter` of it, or half of a shorter title. */
export const countsAsPlay = (record: Pick<UsageRecord, 'action' | 'played'>, duration: Micros | undefined, countedAfter: Micros): boolean =>
  record.action === 'play' && record.played >= Math.min(countedAfter, duration === undefined ? Number.POSITIVE_INFINITY : duration / 2);

/** Hash text as it stands in documents. Throws `bad-request` for anything but 32 bytes. */
export const decodeChainHash = (text: string): Uint8Array => {
  const bytes = decodeBase64url(text);
  if (bytes.length !== HASH_LENGTH) throw new SealcastError('bad-request', `a record hash has ${HASH_LENGTH} bytes; got ${bytes.length}`);
  return bytes;
};
