// SPDX-License-Identifier: Apache-2.0
/**
 * Stored records → what operators may see.
 *
 * Invariant: members are picked one by one; a secret added to a record later does not show up here by itself.
 */
import type { AccountId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { CatalogueEntry, DeviceRecord, Heartbeat, HeartbeatStore, SessionRecord } from '#ports';
import type { AccountSummary, AssetView, DeviceView, SessionView } from '#operations/api.ts';

/** An event or title without its ingest credential’s hash. */
export const assetView = (entry: CatalogueEntry, liveSessions: number): AssetView => ({
  asset: entry.asset,
  kind: entry.kind,
  name: entry.name,
  state: entry.state,
  createdAt: entry.createdAt,
  ...(entry.endedAt === undefined ? {} : { endedAt: entry.endedAt }),
  ...(entry.duration === undefined ? {} : { duration: entry.duration }),
  clearKey: entry.clearKey,
  ...(entry.collection === undefined ? {} : { collection: entry.collection }),
  ...(entry.bundle === undefined ? {} : { bundle: entry.bundle }),
  ...(entry.archive === undefined ? {} : { archive: entry.archive }),
  ...(entry.policy === undefined ? {} : { policy: entry.policy }),
  ...(entry.timed === undefined ? {} : { timed: entry.timed }),
  liveSessions,
});

/** A device without its keys. */
export const deviceView = (record: DeviceRecord): DeviceView => ({
  device: record.device,
  account: record.account,
  name: record.name,
  registeredAt: record.registeredAt,
  ...(record.revokedAt === undefined ? {} : { revokedAt: record.revokedAt }),
  ...(record.policy === undefined ? {} : { policy: record.policy }),
});

/** `heartbeats` are the unexpired ones. */
export const sessionView = (record: SessionRecord, heartbeats: ReadonlyMap<string, Heartbeat>): SessionView => {
  const heartbeat = record.endedAt === undefined ? heartbeats.get(record.session) : undefined;
  return {
    session: record.session,
    account: record.account,
    device: record.device,
    deviceName: record.deviceName,
    asset: record.asset,
    startedAt: record.startedAt,
    entitledUntil: record.entitledUntil,
    ...(record.endedAt === undefined ? {} : { endedAt: record.endedAt }),
    ...(record.endReason === undefined ? {} : { endReason: record.endReason }),
    live: heartbeat !== undefined,
    ...(heartbeat === undefined ? {} : { expiresAt: heartbeat.expiresAt }),
  };
};

/** Unexpired heartbeats by session id, of one account or of all. Heartbeats carry the account's hash: renewal nodes know no more. */
export const liveHeartbeats = async (store: HeartbeatStore, account: AccountId | undefined, now: Micros): Promise<ReadonlyMap<string, Heartbeat>> =>
  new Map((await store.live(account === undefined ? {} : { account: heartbeatAccount(ladderHash, account) }, now)).map((heartbeat) => [heartbeat.session, heartbeat]));

/** One line per account, those with most live sessions first. */
export const accountSummaries = (records: readonly SessionRecord[], heartbeats: ReadonlyMap<string, Heartbeat>): readonly AccountSummary[] => {
  const accounts = new Map<string, { live: number; sessions: number; lastStartedAt: number }>();
  for (const record of records) {
    const sum = accounts.get(record.account) ?? { live: 0, sessions: 0, lastStartedAt: 0 };
    sum.sessions++;
    if (record.endedAt === undefined && heartbeats.has(record.session)) sum.live++;
    sum.lastStartedAt = Math.max(sum.lastStartedAt, record.startedAt);
    accounts.set(record.account, sum);
  }
  return [...accounts].map(([account, sum]) => ({ account, ...sum })).sort((a, b) => b.live - a.live || b.lastStartedAt - a.lastStartedAt);
};
