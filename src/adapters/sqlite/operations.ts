// SPDX-License-Identifier: Apache-2.0
/**
 * Catalogue, operators and the audit chain in SQLite.
 *
 * Invariant: reading the previous hash and appending the next entry is one transaction; triggers in the schema refuse
 * to change or remove entries, even by hand.
 */
import type { AuditEntry, AuditStore, CatalogueEntry, CatalogueStore, OperatorRecord, OperatorStore } from '#ports';
import { type Database, recordOf, type Row } from './database.ts';

/** Events and titles. */
export const createSqliteCatalogue = (db: Database): CatalogueStore => {
  const insert = db.prepare('INSERT INTO catalogue (record, asset) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const update = db.prepare('UPDATE catalogue SET record = ? WHERE asset = ?');
  const one = db.prepare('SELECT record FROM catalogue WHERE asset = ?');
  const some = db.prepare('SELECT asset, record FROM json_each(?) JOIN catalogue ON asset = value');
  const every = db.prepare('SELECT record FROM catalogue ORDER BY rowid');
  return {
    create: (entry) => db.write(() => insert.run(JSON.stringify(entry), entry.asset) === 1),
    get: (asset) => db.read(() => recordOf<CatalogueEntry>(one.get(asset))),
    getMany: (assets) =>
      db.read(() => {
        const found = new Map(some.all(JSON.stringify([...new Set(assets)])).map((row) => [row['asset'], recordOf<CatalogueEntry>(row)]));
        return assets.map((asset) => found.get(asset));
      }),
    list: () => db.read(() => every.all().map((row) => recordOf<CatalogueEntry>(row))),
    update: (entry) => db.write(() => update.run(JSON.stringify(entry), entry.asset) === 1),
  };
};

/** Operators. */
export const createSqliteOperators = (db: Database): OperatorStore => {
  const columns = 'name, role, token_hash AS tokenHash, created_at AS createdAt';
  const insert = db.prepare('INSERT INTO operators (name, role, token_hash, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING');
  const byHash = db.prepare(`SELECT ${columns} FROM operators WHERE token_hash = ?`);
  const every = db.prepare(`SELECT ${columns} FROM operators ORDER BY rowid`);
  return {
    create: (r) => db.write(() => insert.run(r.name, r.role, r.tokenHash, r.createdAt) === 1),
    byTokenHash: (tokenHash) =>
      db.read(() => {
        const row = byHash.get(tokenHash);
        return row && ({ ...row } as OperatorRecord);
      }),
    list: () => db.read(() => every.all().map((row) => ({ ...row }) as OperatorRecord)),
  };
};

/** Audit chain. */
export const createSqliteAudit = (db: Database): AuditStore => {
  const last = db.prepare('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
  const insert = db.prepare('INSERT INTO audit (seq, at, actor, action, target, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)');
  const after = db.prepare('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?');
  const entryOf = (row: Row): AuditEntry => ({ ...row, detail: JSON.parse(row['detail'] as string) }) as AuditEntry;
  return {
    append: (entry, seal) =>
      db.write(() => {
        const previous = last.get() as { seq: number; hash: string } | undefined;
        // The same text is stored and sealed, so verifying what is read back gives the same hash.
        const detail = JSON.stringify(entry.detail);
        const numbered = { ...entry, detail: JSON.parse(detail) as AuditEntry['detail'], seq: (previous?.seq ?? 0) + 1 };
        const sealed: AuditEntry = { ...numbered, hash: seal(previous?.hash ?? '', numbered) };
        insert.run(sealed.seq, sealed.at, sealed.actor, sealed.action, sealed.target, detail, sealed.hash);
        return sealed;
      }),
    read: (afterSeq, limit) => db.read(() => after.all(afterSeq, limit).map(entryOf)),
  };
};
