// SPDX-License-Identifier: Apache-2.0
/**
 * Devices, sessions and single-use ids in SQLite.
 *
 * Invariant: each decision (device cap, session end, single use) is one transaction that holds the write lock from its
 * first read, so two processes on one file cannot both win.
 */
import type { SQLInputValue } from 'node:sqlite';
import { SealcastError } from '#core/errors.ts';
import type { DeviceRecord, DeviceStore, SessionRecord, SessionStore, SingleUseStore } from '#ports';
import type { Database, Row } from './database.ts';

/** Reads the two public keys, and turns SQL NULL into an absent property, as the records' types want it. */
const withKeys = (row: Row): Row => ({
  ...Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)),
  sign: JSON.parse(row['sign'] as string) as unknown,
  agree: JSON.parse(row['agree'] as string) as unknown,
});

/** Devices. */
export const createSqliteDevices = (db: Database): DeviceStore => {
  const columns = 'device, account, name, sign, agree, registered_at AS registeredAt, revoked_at AS revokedAt';
  const one = db.prepare(`SELECT ${columns} FROM devices WHERE device = ?`);
  const ofAccount = db.prepare(`SELECT ${columns} FROM devices WHERE account = ? ORDER BY rowid`);
  const active = db.prepare('SELECT count(*) AS n FROM devices WHERE account = ? AND revoked_at IS NULL');
  const insert = db.prepare('INSERT INTO devices (device, account, name, sign, agree, registered_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, ?)');
  const revoke = db.prepare('UPDATE devices SET revoked_at = ? WHERE device = ? AND revoked_at IS NULL');
  const recordOf = (row: Row): DeviceRecord => withKeys(row) as DeviceRecord;
  return {
    register: (record, cap) =>
      db.write(() => {
        const known = one.get(record.device);
        if (known !== undefined) return known['account'] === record.account ? 'exists' : 'taken';
        if ((active.get(record.account)?.['n'] as number) >= cap) return 'limit';
        const { device, account, name, sign, agree, registeredAt, revokedAt } = record;
        insert.run(device, account, name, JSON.stringify(sign), JSON.stringify(agree), registeredAt, revokedAt ?? null);
        return 'registered';
      }),
    get: (device) =>
      db.read(() => {
        const row = one.get(device);
        return row && recordOf(row);
      }),
    listByAccount: (account) => db.read(() => ofAccount.all(account).map(recordOf)),
    revoke: (device, at) => db.write(() => revoke.run(at, device) === 1),
  };
};

/** Sessions. */
export const createSqliteSessions = (db: Database): SessionStore => {
  const columns =
    'session, account, device, device_name AS deviceName, sign, agree, asset, started_at AS startedAt, entitled_until AS entitledUntil, ended_at AS endedAt, end_reason AS endReason';
  const insert = db.prepare(
    `INSERT INTO sessions (session, account, device, device_name, sign, agree, asset, started_at, entitled_until, ended_at, end_reason)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  );
  const one = db.prepare(`SELECT ${columns} FROM sessions WHERE session = ?`);
  const end = db.prepare('UPDATE sessions SET ended_at = ?, end_reason = ? WHERE session = ? AND ended_at IS NULL');
  const ended = db.prepare(`SELECT ${columns} FROM sessions WHERE ended_at >= ? ORDER BY ended_at, rowid`);
  const recordOf = (row: Row): SessionRecord => withKeys(row) as SessionRecord;
  const listBy = (account: boolean, asset: boolean, live: boolean | undefined) => {
    const conditions = [
      ...(account ? ['account = ?'] : []),
      ...(asset ? ['asset = ?'] : []),
      ...(live === undefined ? [] : [live ? 'ended_at IS NULL' : 'ended_at IS NOT NULL']),
    ];
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    return db.prepare(`SELECT ${columns} FROM sessions ${where} ORDER BY started_at DESC, rowid DESC LIMIT ?`);
  };
  // Twelve shapes of one query, prepared when first used.
  const lists = new Map<string, ReturnType<typeof listBy>>();
  return {
    create: (r) =>
      db.write(() => {
        const keys = [JSON.stringify(r.sign), JSON.stringify(r.agree)] as const;
        const ending = [r.endedAt ?? null, r.endReason ?? null] as const;
        const added = insert.run(r.session, r.account, r.device, r.deviceName, ...keys, r.asset, r.startedAt, r.entitledUntil, ...ending);
        if (added === 0) throw new SealcastError('already-exists', 'a session with this id exists');
      }),
    get: (session) =>
      db.read(() => {
        const row = one.get(session);
        return row && recordOf(row);
      }),
    end: (session, at, reason) => db.write(() => end.run(at, reason, session) === 1),
    list: ({ account, asset, live, limit }) =>
      db.read(() => {
        const shape = `${account !== undefined} ${asset !== undefined} ${live}`;
        const statement = lists.get(shape) ?? listBy(account !== undefined, asset !== undefined, live);
        lists.set(shape, statement);
        const values: SQLInputValue[] = [account, asset].filter((value) => value !== undefined);
        return statement.all(...values, limit).map(recordOf);
      }),
    endedSince: (since) => db.read(() => ended.all(since).map(recordOf)),
  };
};

/** Rows removed per claim: keeps the table near its live size without one long delete. */
const SWEEP_ROWS = 4;

/** Ids that may be used once; expired ones are removed a few at a time. */
export const createSqliteSingleUse = (db: Database): SingleUseStore => {
  const claim = db.prepare('INSERT INTO single_use (id, expires_at) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at WHERE expires_at <= ?');
  const sweep = db.prepare('DELETE FROM single_use WHERE id IN (SELECT id FROM single_use WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)');
  return {
    claim: (id, expiresAt, now) =>
      db.write(() => {
        sweep.run(now, SWEEP_ROWS);
        return claim.run(id, expiresAt, now) === 1;
      }),
  };
};
