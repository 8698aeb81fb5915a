// SPDX-License-Identifier: Apache-2.0
/** Messages on their way out, in SQLite. Invariant: adding an entry and dropping those beyond the bound is one transaction. */
import type { OutboxEntry, OutboxStore } from '#ports';
import type { Database } from './database.ts';

/** Outbox. */
export const createSqliteOutbox = (db: Database): OutboxStore => {
  const insert = db.prepare('INSERT INTO outbox (target, id, at, body) VALUES (?, ?, ?, ?) ON CONFLICT (target, id) DO NOTHING');
  const trim = db.prepare('DELETE FROM outbox WHERE target = ?1 AND seq <= (SELECT seq FROM outbox WHERE target = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)');
  const some = db.prepare('SELECT target, id, at, body FROM outbox WHERE target = ? ORDER BY seq LIMIT ?');
  const remove = db.prepare('DELETE FROM outbox WHERE target = ? AND id = ?');
  const prune = db.prepare('DELETE FROM outbox WHERE at < ?');
  return {
    push: ({ target, id, at, body }, most) =>
      db.write(() => {
        insert.run(target, id, at, body);
        return trim.run(target, most);
      }),
    list: (target, limit) => db.read(() => some.all(target, limit).map((row) => ({ ...row }) as OutboxEntry)),
    remove: async (target, id) => {
      await db.write(() => remove.run(target, id));
    },
    prune: (before) => db.write(() => prune.run(before)),
  };
};
