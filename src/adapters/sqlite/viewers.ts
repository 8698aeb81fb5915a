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
import { type Database, recordOf, type Statement } from './database.ts';

/** Devices. */
export const createSqliteDevices = (db: Database): DeviceStore => {
  const one = db.prepare('SELECT record, account FROM devices WHERE device = ?');
  const ofAccount = db.prepare('SELECT record FROM devices WHERE account = ? ORDER BY rowid');
  const active = db.prepare('SELECT count(*) AS n FROM devices WHERE account = ? AND revoked_at IS NULL');
  const insert = db.prepare('INSERT INTO devices (device, record) VALUES (?, ?)');
  const revoke = db.prepare("UPDATE devices SET record = json_set(record, '$.revokedAt', ?) WHERE device = ? AND revoked_at IS NULL");
  const setPolicy = db.prepare("UPDATE devices SET record = json_set(record, '$.policy', json(?)) WHERE device = ?");
  const removePolicy = db.prepare("UPDATE devices SET record = json_remove(record, '$.policy') WHERE device = ?");
  return {
    register: (record, cap) =>
      db.write(() => {
        const known = one.get(record.device);
        if (known !== undefined) return known['account'] === record.account ? 'exists' : 'taken';
        if ((active.get(record.account)?.['n'] as number) >= cap) return 'limit';
        insert.run(record.device, JSON.stringify(record));
        return 'registered';
      }),
    get: (device) => db.read(() => recordOf<DeviceRecord>(one.get(device))),
    listByAccount: (account) => db.read(() => ofAccount.all(account).map((row) => recordOf<DeviceRecord>(row))),
    revoke: (device, at) => db.write(() => revoke.run(at, device) === 1),
    setPolicy: (device, policy) => db.write(() => (policy === undefined ? removePolicy.run(device) : setPolicy.run(JSON.stringify(policy), device)) === 1),
  };
};

/** Sessions. */
export const createSqliteSessions = (db: Database): SessionStore => {
  const insert = db.prepare('INSERT INTO sessions (session, record) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const one = db.prepare('SELECT record FROM sessions WHERE session = ?');
  const end = db.prepare("UPDATE sessions SET record = json_set(record, '$.endedAt', ?, '$.endReason', ?) WHERE session = ? AND ended_at IS NULL");
  const ended = db.prepare('SELECT record FROM sessions WHERE ended_at >= ? ORDER BY ended_at, rowid');
  const prepareList = (account: boolean, asset: boolean, live: boolean | undefined): Statement => {
    const conditions = [...(account ? ['account = ?'] : []), ...(asset ? ['asset = ?'] : []), ...(live === undefined ? [] : [live ? 'ended_at IS NULL' : 'ended_at IS NOT NULL'])];
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    return db.prepare(`SELECT record FROM sessions ${where} ORDER BY started_at DESC, rowid DESC LIMIT ?`);
  };
  // Twelve shapes of one query, prepared when first used.
  const lists = new Map<string, Statement>();
  return {
    create: (record) =>
      db.write(() => {
        if (insert.run(record.session, JSON.stringify(record)) === 0) throw new SealcastError('already-exists', 'a session with this id exists');
      }),
    get: (session) => db.read(() => recordOf<SessionRecord>(one.get(session))),
    end: (session, at, reason) => db.write(() => end.run(at, reason, session) === 1),
    list: ({ account, asset, live, limit }) =>
      db.read(() => {
        const shape = `${account !== undefined} ${asset !== undefined} ${live}`;
        const statement = lists.get(shape) ?? prepareList(account !== undefined, asset !== undefined, live);
        lists.set(shape, statement);
        const values: SQLInputValue[] = [account, asset].filter((value) => value !== undefined);
        return statement.all(...values, limit).map((row) => recordOf<SessionRecord>(row));
      }),
    endedSince: (since) => db.read(() => ended.all(since).map((row) => recordOf<SessionRecord>(row))),
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
