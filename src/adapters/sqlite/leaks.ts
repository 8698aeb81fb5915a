// SPDX-License-Identifier: Apache-2.0
/**
 * Accusations in SQLite.
 *
 * Invariant: reading a record and writing what became of it are one transaction that holds the write lock.
 */
import type { LeakRecord, LeakStore } from '#ports';
import { type Database, recordOf } from './database.ts';

/** Accusations. */
export const createSqliteLeaks = (db: Database): LeakStore => {
  const insert = db.prepare('INSERT INTO leaks (leak, record) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const replace = db.prepare('UPDATE leaks SET record = ? WHERE leak = ?');
  const one = db.prepare('SELECT record FROM leaks WHERE leak = ?');
  const some = db.prepare('SELECT record FROM leaks WHERE (?1 IS NULL OR asset = ?1) AND (?2 IS NULL OR account = ?2) ORDER BY at DESC, leak LIMIT ?3');
  return {
    create: (record) => db.write(() => insert.run(record.leak, JSON.stringify(record)) === 1),
    get: (leak) => db.read(() => recordOf<LeakRecord>(one.get(leak))),
    update: (leak, change) =>
      db.write(() => {
        const current = recordOf<LeakRecord>(one.get(leak));
        if (current === undefined) return undefined;
        const text = JSON.stringify(change(current));
        replace.run(text, leak);
        return JSON.parse(text) as LeakRecord;
      }),
    list: ({ asset, account, limit }) => db.read(() => some.all(asset ?? null, account ?? null, limit).map((row) => recordOf<LeakRecord>(row))),
  };
};
