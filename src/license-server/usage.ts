// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/usage: takes signed, chained reports of what devices played, and acknowledges what is stored.
 *
 * docs/wire/subscription.md, "Usage" (B136-B141). Invariant: a record is acknowledged only after it is durable, counted once
 * however often it arrives, and never counted if its chain was broken.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, type DeviceId, deviceId } from '#core/ids.ts';
import { accountHash, type LadderHash } from '#core/keys/ladder.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { membersOf } from '#core/license/shape.ts';
import { type ChainHead, countsAsPlay, EMPTY_CHAIN, extendChain, parseUsageReport, UNCERTAIN_AFTER, USAGE_ACKNOWLEDGEMENT_TYPE, USAGE_TYPE, type UsageReport, usageRecordHash } from '#core/subscription/usage.ts';
import type { Micros } from '#core/time.ts';
import { type Es256, importVerifyKey, signJws, verifyJws } from '#crypto/jose.ts';
import type { CatalogueEntry, CatalogueStore, Clock, CollectionStore, DeviceRecord, DeviceStore, EventSink, Metrics, StoredUsage, UsageChain, UsageStore } from '#ports';
import type { ServerSecrets } from './server-secrets.ts';

/** Longest report, characters. */
export const MAX_USAGE_REPORT: number = 256 * 1024;
const DEFAULT_COUNTED_AFTER = 30_000_000 as Micros;
/** Devices whose broken chain was told of already. */
const MAX_TOLD = 4096;
const RACES = 4;

/** µs that a change of a title's owner may take until it counts. */
const FACTS_KEPT = 2_000_000;
const MAX_FACTS = 100_000;

type TitleFacts = { readonly owner: string; readonly duration: Micros | undefined };
/** Ended events that were kept are as long as what was kept. */
const lengthOf = (entry: CatalogueEntry | undefined): Micros | undefined => (entry?.archive === undefined ? entry?.duration : ((entry.archive.to - entry.archive.from) as Micros));

/** Answer to POST /v1/usage. */
export type UsageAnswer = { readonly ack: number; readonly head: string; readonly time: Micros; readonly signature: string };

/** What reports are taken with. */
export type UsageOptions = {
  readonly secrets: ServerSecrets;
  readonly devices: DeviceStore;
  readonly catalogue: Pick<CatalogueStore, 'getMany'>;
  readonly collections: CollectionStore;
  readonly usage: UsageStore;
  readonly hash: LadderHash;
  readonly es256?: Es256 | undefined;
  /** Played for this long, a play counts; half of a shorter title does too. */
  readonly countedAfter?: Micros;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** Answers the body of POST /v1/usage. Throws `device-unknown`, `proof-invalid`, `usage-chain-broken`, `bad-request`. */
export const createUsage = (options: UsageOptions): ((body: unknown) => Promise<UsageAnswer>) => {
  const { secrets, devices, catalogue, collections, usage, hash, countedAfter = DEFAULT_COUNTED_AFTER, clock, events, metrics } = options;
  const told = new Set<DeviceId>();

  const reportOf = async (record: DeviceRecord, token: string): Promise<UsageReport> => {
    const payload = await verifyJws(token, { typ: USAGE_TYPE, key: await importVerifyKey(parsePublicJwk(record.sign, 'device sign key', 'internal'), options.es256), maxLength: MAX_USAGE_REPORT });
    if (payload === undefined) {
      events({ at: clock.now(), kind: 'usage.forged', severity: 'alert', message: 'A usage report was not signed by its device.', account: record.account });
      throw new SealcastError('proof-invalid', `a usage report is a JWS (ES256, typ ${USAGE_TYPE}) by the device's sign key`);
    }
    const report = parseUsageReport(payload);
    if (!equalBytes(report.account, accountHash(hash, record.account))) throw new SealcastError('proof-invalid', 'usage report: made for another account');
    return report;
  };

  const broken = (record: DeviceRecord, known: ChainHead, because: string): SealcastError => {
    if (!told.has(record.device)) {
      if (told.size >= MAX_TOLD) told.clear();
      told.add(record.device);
      events({ at: clock.now(), kind: 'usage.chain-broken', severity: 'alert', message: 'A device reported usage that does not continue what it reported before.', account: record.account, data: { because } });
    }
    metrics.count('sealcast_usage_refused_total', 'Usage reports refused, by cause.', { because });
    return new SealcastError('usage-chain-broken', `usage report: does not continue the device's chain (${because})`, { extra: { expected: { seq: known.seq + 1, head: encodeBase64url(known.head) } } });
  };

  /** Which chain a report belongs to: the newest, or the next one of a device that lost it. */
  const standing = async (record: DeviceRecord, report: UsageReport): Promise<{ readonly chain: number; readonly known: ChainHead; readonly exists: boolean }> => {
    const newest = await usage.chain(record.device);
    if (newest === undefined) return { chain: 1, known: EMPTY_CHAIN, exists: false };
    if (!report.lost) return { chain: newest.chain, known: newest, exists: true };
    // The same report again, after a lost acknowledgement, is of the chain that it began.
    const [first] = await usage.hashes(record.device, newest.chain, 1, 2);
    if (newest.chain > 1 && first !== undefined && equalBytes(first, usageRecordHash(hash, report.records[0] ?? ''))) return { chain: newest.chain, known: newest, exists: true };
    return { chain: newest.chain + 1, known: EMPTY_CHAIN, exists: false };
  };

  /** Who is paid for a title, and how long it is: the same few thousand titles are reported again and again. */
  let facts: { readonly until: Micros; readonly known: Map<AssetId, TitleFacts> } = { until: 0 as Micros, known: new Map() };
  const factsOf = async (titles: readonly AssetId[], now: Micros): Promise<ReadonlyMap<AssetId, TitleFacts>> => {
    if (now >= facts.until || facts.known.size > MAX_FACTS) facts = { until: (now + FACTS_KEPT) as Micros, known: new Map() };
    const { known } = facts;
    const unknown = titles.filter((title) => !known.has(title));
    if (unknown.length === 0) return known;
    const [memberships, entries] = await Promise.all([collections.ofAssets(unknown), catalogue.getMany(unknown)]);
    for (const [index, title] of unknown.entries()) known.set(title, { owner: memberships[index]?.find(({ owner }) => owner !== undefined)?.owner ?? '', duration: lengthOf(entries[index]) });
    return known;
  };

  const store = async (record: DeviceRecord, report: UsageReport, now: Micros): Promise<ChainHead | undefined> => {
    const { chain, known, exists } = await standing(record, report);
    const hashes = exists && report.first <= known.seq ? await usage.hashes(record.device, chain, report.first, known.seq + 1) : [];
    const outcome = extendChain(hash, known, report, (seq) => hashes[seq - report.first]);
    if (!outcome.fits) throw broken(record, known, outcome.because);
    if (outcome.fresh.length === 0) return outcome.head;
    const titles = await factsOf([...new Set(outcome.fresh.map((each) => each.record.title))], now);
    const records = outcome.fresh.map(({ record: used, text, hash: own }): StoredUsage => {
      const fact = titles.get(used.title);
      return {
        device: record.device, chain, seq: used.seq, hash: own, text, account: record.account, title: used.title, owner: fact?.owner ?? '', action: used.action, plan: used.plan, started: used.started, played: used.played,
        offline: used.offline, counted: countsAsPlay(used, fact?.duration, countedAfter), uncertain: used.certain > UNCERTAIN_AFTER, receivedAt: now,
      };
    });
    const next: UsageChain = { ...outcome.head, device: record.device, chain, account: record.account, updatedAt: now };
    if (!(await usage.append(next, exists ? known : undefined, records))) return undefined;
    metrics.count('sealcast_usage_records_total', 'Usage records stored.', {}, records.length);
    if (report.lost && !exists) events({ at: now, kind: 'usage.chain-lost', severity: 'warning', message: 'A device lost its usage records and began again.', account: record.account, data: { chain } });
    return outcome.head;
  };

  return async (body) => {
    const members = membersOf(body, 'body', 'bad-request', ['device', 'report']);
    const device = deviceId(members.value('device'));
    const record = await devices.get(device);
    // A revoked device still owes what it played before.
    if (record === undefined) throw new SealcastError('device-unknown', 'usage is taken from registered devices only');
    const report = await reportOf(record, members.text('report', { most: MAX_USAGE_REPORT }));
    const now = clock.now();
    let head: ChainHead | undefined;
    // Two reports of one device at once: the later one looks again at where the chain stands.
    for (let race = 0; head === undefined && race < RACES; race++) head = await store(record, report, now);
    if (head === undefined) throw new SealcastError('overloaded', 'other reports of this device are being stored; send it again');
    const answer = { device, ack: head.seq, head: encodeBase64url(head.head), time: now };
    return { ack: answer.ack, head: answer.head, time: now, signature: await signJws(answer, { typ: USAGE_ACKNOWLEDGEMENT_TYPE, key: secrets.signing, kid: secrets.kid }) };
  };
};
