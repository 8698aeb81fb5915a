// SPDX-License-Identifier: Apache-2.0
/**
 * Collections, roots and usage in SQLite.
 *
 * Invariant: usage records and the head of their chain change in one transaction, so an acknowledged report is counted once
 * whatever happens between.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import type { Micros } from '#core/time.ts';
import type { CollectionStore, Membership, RootRecord, RootStore, StoredUsage, UsageChain, UsageKey, UsageStore, UsageTotal } from '#ports';
import { type Database, recordOf, type Row } from './database.ts';

/** What collections hold. */
export const createSqliteCollections = (db: Database): CollectionStore => {
  const put = db.prepare('INSERT INTO memberships (collection, asset, record) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record');
  const drop = db.prepare('DELETE FROM memberships WHERE collection = ? AND asset = ?');
  const ofAssets = db.prepare('SELECT asset, record FROM json_each(?) JOIN memberships ON asset = value ORDER BY collection');
  const page = db.prepare('SELECT record FROM memberships WHERE collection = ? AND asset > ? ORDER BY asset LIMIT ?');
  const sizes = db.prepare('SELECT collection, count(*) AS titles FROM memberships GROUP BY collection ORDER BY collection');
  return {
    put: (membership) =>
      db.write(() => {
        put.run(membership.collection, membership.asset, JSON.stringify(membership));
      }),
    remove: (collection, asset) => db.write(() => drop.run(collection, asset) === 1),
    ofAssets: (assets) =>
      db.read(() => {
        const found = Map.groupBy(ofAssets.all(JSON.stringify([...new Set(assets)])), (row) => row['asset']);
        return assets.map((asset) => (found.get(asset) ?? []).map((row) => recordOf<Membership>(row)));
      }),
    list: (collection, { after, limit }) => db.read(() => page.all(collection, after ?? '', limit).map((row) => recordOf<Membership>(row))),
    collections: () => db.read(() => sizes.all().map((row) => ({ ...row }) as { collection: string; titles: number })),
  };
};

/** Roots given. */
export const createSqliteRoots = (db: Database): RootStore => {
  const put = db.prepare('INSERT INTO roots (device, plan, record, renewals) VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET record = excluded.record, renewals = renewals + 1');
  const some = db.prepare('SELECT record, renewals FROM roots WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR device = ?2) ORDER BY issued_at DESC, jti LIMIT ?3');
  const plans = db.prepare(`SELECT plan, record ->> 'collection' AS collection, count(*) AS devices FROM roots WHERE begins <= ?1 AND (ends IS NULL OR ends > ?1) GROUP BY 1, 2 ORDER BY 1, 2`);
  return {
    put: (record) =>
      db.write(() => {
        put.run(record.device, record.plan, JSON.stringify(record));
      }),
    list: ({ account, device, limit }) => db.read(() => some.all(account ?? null, device ?? null, limit).map((row) => ({ ...recordOf<Omit<RootRecord, 'renewals'>>(row), renewals: row['renewals'] as number }))),
    plans: (now) => db.read(() => plans.all(now).map((row) => ({ ...row }) as { plan: string; collection: string; devices: number })),
  };
};

const usageOf = (row: Row): StoredUsage =>
  ({
    device: row['device'], chain: row['chain'], seq: row['seq'], hash: row['hash'], text: row['text'], account: row['account'], title: row['title'], owner: row['owner'], action: row['action'], plan: row['plan'],
    started: row['started'], played: row['played'], offline: row['offline'] === 1, counted: row['counted'] === 1, uncertain: row['uncertain'] === 1, receivedAt: row['received_at'],
  }) as StoredUsage;

/** Usage reported by devices. */
export const createSqliteUsage = (db: Database): UsageStore => {
  const columns = 'device, chain, seq, hash, text, account, title, owner, action, plan, started, played, offline, counted, uncertain, received_at';
  const chainOf = db.prepare('SELECT device, chain, seq, head, account, updated_at AS updatedAt FROM usage_chains WHERE device = ?');
  const setChain = db.prepare('INSERT INTO usage_chains (device, chain, seq, head, account, updated_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET chain = excluded.chain, seq = excluded.seq, head = excluded.head, account = excluded.account, updated_at = excluded.updated_at');
  const insert = db.prepare(`INSERT INTO usage_records (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const hashes = db.prepare('SELECT hash FROM usage_records WHERE device = ? AND chain = ? AND seq >= ? AND seq < ? ORDER BY seq');
  const some = db.prepare(`SELECT ${columns} FROM usage_records WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR device = ?2) AND (?3 IS NULL OR title = ?3) ORDER BY received_at DESC, chain DESC, seq DESC LIMIT ?4`);
  const totals = Object.fromEntries(
    (['title', 'account', 'owner'] satisfies UsageKey[]).map((by) => [
      by,
      db.prepare(`SELECT ${by} AS "key", sum(counted) AS plays, sum(counted AND offline) AS offlinePlays, sum(counted AND uncertain) AS uncertain, sum(action = 'download') AS downloads, sum(played) AS played
        FROM usage_records WHERE started >= ? AND started < ? GROUP BY ${by} ORDER BY plays DESC, played DESC, "key" LIMIT ?`),
    ]),
  ) as Record<UsageKey, ReturnType<Database['prepare']>>;

  const known = (device: string): UsageChain | undefined => {
    const row = chainOf.get(device);
    return row && ({ ...row } as UsageChain);
  };

  return {
    chain: (device) => db.read(() => known(device)),
    hashes: (device, chain, from, to) => db.read(() => hashes.all(device, chain, from, to).map((row) => row['hash'] as Uint8Array)),
    append: (chain, expected, records) =>
      db.write(() => {
        const newest = known(chain.device);
        const current = newest?.chain === chain.chain ? newest : undefined;
        const fits = expected === undefined ? current === undefined && (newest?.chain ?? 0) < chain.chain : current !== undefined && current.seq === expected.seq && equalBytes(current.head, expected.head);
        if (!fits) return false;
        setChain.run(chain.device, chain.chain, chain.seq, chain.head, chain.account, chain.updatedAt);
        for (const r of records) insert.run(r.device, r.chain, r.seq, r.hash, r.text, r.account, r.title, r.owner, r.action, r.plan, r.started, r.played, Number(r.offline), Number(r.counted), Number(r.uncertain), r.receivedAt);
        return true;
      }),
    totals: (by, { from, to, limit }) => db.read(() => totals[by].all(from, to, limit).map((row) => ({ ...row, played: row['played'] as Micros }) as UsageTotal)),
    list: ({ account, device, title, limit }) => db.read(() => some.all(account ?? null, device ?? null, title ?? null, limit).map(usageOf)),
  };
};
