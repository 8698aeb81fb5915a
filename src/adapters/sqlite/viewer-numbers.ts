// SPDX-License-Identifier: Apache-2.0
/**
 * Viewer numbers in SQLite.
 *
 * Invariant: look-up and insertion are one transaction that holds the write lock, so numbers are dense and given once,
 * also between two processes on one file.
 */
import type { AccountId, DeviceId } from '#core/ids.ts';
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import type { ViewerNumberStore } from '#ports';
import type { Database } from './database.ts';

/** Viewer numbers. */
export const createSqliteViewerNumbers = (db: Database): ViewerNumberStore => {
  const known = db.prepare('SELECT number FROM viewer_numbers WHERE asset = ? AND account = ? AND device = ?');
  const last = db.prepare('SELECT max(number) AS number FROM viewer_numbers WHERE asset = ?');
  const lastWithin = db.prepare('SELECT max(number) AS number FROM viewer_numbers WHERE asset = ? AND number >= ? AND number < ?');
  const insert = db.prepare('INSERT INTO viewer_numbers (asset, number, account, device) VALUES (?, ?, ?, ?)');
  const holder = db.prepare('SELECT account, device FROM viewer_numbers WHERE asset = ? AND number = ?');
  const numbers = db.prepare('SELECT count(*) AS n FROM viewer_numbers WHERE asset = ?');
  return {
    give: async ({ asset, account, device }) => {
      // Nearly every call is a reload or a new licence: it needs no write lock.
      const read = await db.read(() => known.get(asset, account, device)?.['number']);
      if (typeof read === 'number') return read;
      return db.write(() => {
        const meanwhile = known.get(asset, account, device)?.['number'];
        if (typeof meanwhile === 'number') return meanwhile;
        const next = Number(last.get(asset)?.['number'] ?? FIRST_VIEWER - 1) + 1;
        insert.run(asset, next, account, device);
        return next;
      });
    },
    giveWithin: async ({ asset, account, device }, { first, count }) => {
      const read = await db.read(() => known.get(asset, account, device)?.['number']);
      if (typeof read === 'number') return read;
      return db.write(() => {
        const meanwhile = known.get(asset, account, device)?.['number'];
        if (typeof meanwhile === 'number') return meanwhile;
        const next = Number(lastWithin.get(asset, first, first + count)?.['number'] ?? first - 1) + 1;
        if (next >= first + count) return undefined;
        insert.run(asset, next, account, device);
        return next;
      });
    },
    whose: (asset, number) =>
      db.read(() => {
        const row = holder.get(asset, number);
        return row && { account: row['account'] as AccountId, device: row['device'] as DeviceId };
      }),
    count: (asset) => db.read(() => Number(numbers.get(asset)?.['n'] ?? 0)),
  };
};
