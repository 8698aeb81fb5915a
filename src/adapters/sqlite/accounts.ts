// SPDX-License-Identifier: Apache-2.0
/** Enforcement records of accounts in SQLite. Invariant: an update reads and writes inside one transaction. */
import type { AccountState, AccountStore } from '#ports';
import { type Database, recordOf } from './database.ts';

/** Accounts. */
export const createSqliteAccounts = (db: Database): AccountStore => {
  const one = db.prepare('SELECT record FROM accounts WHERE account = ?');
  const put = db.prepare('INSERT INTO accounts (account, record) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET record = excluded.record');
  const all = db.prepare('SELECT record FROM accounts ORDER BY since DESC, account LIMIT ?');
  const onLevel = db.prepare('SELECT record FROM accounts WHERE level = ? ORDER BY since DESC, account LIMIT ?');
  const perLevel = db.prepare('SELECT level, count(*) AS n FROM accounts GROUP BY level');
  return {
    get: (account) => db.read(() => recordOf<AccountState>(one.get(account))),
    update: (account, change) =>
      db.write(() => {
        const next = change(recordOf<AccountState>(one.get(account)));
        put.run(account, JSON.stringify(next));
        return next;
      }),
    list: ({ level, limit }) => db.read(() => (level === undefined ? all.all(limit) : onLevel.all(level, limit)).map((row) => recordOf<AccountState>(row))),
    levels: () =>
      db.read(() => {
        const counts = { 1: 0, 2: 0, 3: 0 };
        for (const { level, n } of perLevel.all()) counts[level as 1 | 2 | 3] = Number(n);
        return counts;
      }),
  };
};
