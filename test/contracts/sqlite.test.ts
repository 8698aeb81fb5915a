// SPDX-License-Identifier: Apache-2.0
/** The SQLite adapter against every contract, and what only a file can get wrong. */
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, it } from 'vitest';
import { createSqliteStores, type SqliteStores } from '#adapters/sqlite/index.ts';
import { durableStoresContract } from './stores-contract.ts';
import { account, asset, assetKeyRecord, at, catalogueEntry, deviceRecord, sessionRecord } from './values.ts';

const folders: string[] = [];
const opened: SqliteStores[] = [];
const newFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-sqlite-'));
  folders.push(folder);
  return join(folder, 'data', 'sealcast.db');
};
const open = (path: string, lockWaitMillis = 50): SqliteStores => {
  const stores = createSqliteStores({ path, lockWaitMillis });
  opened.push(stores);
  return stores;
};
afterEach(() => {
  for (const stores of opened.splice(0)) stores.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('sqlite', () => {
  durableStoresContract(async () => open(newFile()));

  it('has everything again after reopening', async () => {
    const path = newFile();
    const first = open(path);
    await first.assetKeys.create(assetKeyRecord('final'));
    await first.sessions.create(sessionRecord(1));
    await first.singleUse.claim('jti', at(60), at(0));
    const audited = await first.audit.append({ at: at(0), actor: 'a', action: 'b', target: 'c', detail: {} }, () => 'h1');
    first.close();
    const second = open(path);
    expect(await second.assetKeys.list()).toEqual([assetKeyRecord('final')]);
    expect(await second.sessions.list({ limit: 9 })).toEqual([sessionRecord(1)]);
    expect(await second.singleUse.claim('jti', at(60), at(0))).toBe(false);
    expect(await second.audit.read(0, 9)).toEqual([audited]);
  });

  it('keeps its decisions when two processes share the file', async () => {
    const path = newFile();
    const stores = [open(path, 5000), open(path, 5000)];
    const outcomes = await Promise.all(Array.from({ length: 40 }, (_, index) => (stores[index % 2] as SqliteStores).devices.register(deviceRecord(index, 'ann'), 3)));
    expect(outcomes.filter((outcome) => outcome === 'registered')).toHaveLength(3);
    expect(await stores[0]?.devices.listByAccount(account('ann'))).toHaveLength(3);
    const won = await Promise.all(Array.from({ length: 20 }, (_, index) => (stores[index % 2] as SqliteStores).singleUse.claim('jti', at(60), at(0))));
    expect(won.filter(Boolean)).toHaveLength(1);
    const appended = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        (stores[index % 2] as SqliteStores).audit.append(
          { at: at(index), actor: 'a', action: 'b', target: 'c', detail: {} },
          (previous, { seq }) => `${previous.length === 0 ? 0 : previous.split('/')[0]}+/${seq}`,
        ),
      ),
    );
    expect(appended.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    // Each hash holds one + more than the one before: every entry was sealed over its true predecessor.
    for (const entry of (await stores[0]?.audit.read(0, 100)) ?? []) expect(entry.hash).toBe(`0${'+'.repeat(entry.seq)}/${entry.seq}`);
  });

  it('is readable by its owner only', () => {
    const path = newFile();
    open(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(statSync(`${path}-wal`).mode & 0o777).toBe(0o600);
  });

  it('says store-unavailable with the cause when another process holds the lock, and recovers', async () => {
    const path = newFile();
    const stores = open(path, 20);
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const failed = await stores.catalogue.create(catalogueEntry('final')).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'store-unavailable', message: expect.stringContaining('locked'), cause: { errcode: 5 } });
    other.exec('ROLLBACK');
    other.close();
    expect(await stores.catalogue.create(catalogueEntry('final'))).toBe(true);
  });

  it('says store-unavailable when the disk is full, keeps what it had, and recovers', async () => {
    const path = newFile();
    const stores = open(path);
    await stores.catalogue.create(catalogueEntry('kept'));
    stores.close();
    // A page limit stands in for the end of the disk: the engine answers SQLITE_FULL for both.
    const limited = createSqliteStores({ path, pageLimit: 60 });
    opened.push(limited);
    const outcomes: PromiseSettledResult<boolean>[] = [];
    while (outcomes.length < 200) {
      const group = Array.from({ length: 7 }, (_, index) => catalogueEntry(`e${outcomes.length + index}`, { name: 'x'.repeat(4000) }));
      outcomes.push(...(await Promise.allSettled(group.map((entry) => limited.catalogue.create(entry)))));
    }
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(outcomes.length);
    expect((refused[0] as PromiseRejectedResult).reason).toMatchObject({ code: 'store-unavailable', message: expect.stringContaining('full') });
    const present = new Set((await limited.catalogue.list()).map((entry) => entry.asset));
    expect(present.has(asset('kept'))).toBe(true);
    for (const [index, outcome] of outcomes.entries()) expect(present.has(asset(`e${index}`)), `e${index}`).toBe(outcome.status === 'fulfilled');
    limited.close();
    expect(await open(path).catalogue.create(catalogueEntry('later'))).toBe(true);
  });

  it('refuses writes after close with store-unavailable', async () => {
    const stores = open(newFile());
    stores.close();
    stores.close();
    await expect(stores.catalogue.create(catalogueEntry('late'))).rejects.toMatchObject({ code: 'store-unavailable' });
    await expect(stores.catalogue.list()).rejects.toMatchObject({ code: 'store-unavailable' });
  });

  it('commits what was asked for before close', async () => {
    const path = newFile();
    const stores = open(path);
    const pending = stores.catalogue.create(catalogueEntry('final'));
    stores.close();
    expect(await pending).toBe(true);
    expect(await open(path).catalogue.get(asset('final'))).toEqual(catalogueEntry('final'));
  });

  it('refuses files that are not databases, databases of others, and newer schemas', () => {
    const garbage = newFile();
    open(garbage).close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(garbage + suffix, { force: true });
    writeFileSync(garbage, 'this is not a database, although it is long enough to be looked at as one'.repeat(20));
    expect(() => createSqliteStores({ path: garbage })).toThrow(expect.objectContaining({ code: 'store-unavailable' }));

    const foreign = newFile();
    open(foreign).close();
    const other = new DatabaseSync(foreign);
    other.exec('PRAGMA application_id = 1');
    expect(() => createSqliteStores({ path: foreign })).toThrow(expect.objectContaining({ code: 'config-invalid', message: expect.stringContaining('another application') }));
    other.exec(`PRAGMA application_id = ${0x5345414c}; PRAGMA user_version = 999`);
    other.close();
    expect(() => createSqliteStores({ path: foreign })).toThrow(expect.objectContaining({ code: 'config-invalid', message: expect.stringContaining('newer release') }));
  });

  it('says store-unavailable when the file cannot be opened', () => {
    const path = newFile();
    open(path).close();
    rmSync(path);
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
    writeFileSync(join(path, '..', 'file'), '');
    chmodSync(join(path, '..', 'file'), 0o600);
    expect(() => createSqliteStores({ path: join(path, '..', 'file', 'sealcast.db') })).toThrow(expect.objectContaining({ code: 'store-unavailable' }));
  });

  it('refuses to change or remove audit entries, by any hand', async () => {
    const path = newFile();
    await open(path).audit.append({ at: at(0), actor: 'a', action: 'b', target: 'c', detail: {} }, () => 'h');
    const hand = new DatabaseSync(path);
    try {
      expect(() => hand.exec("UPDATE audit SET actor = 'x'")).toThrow('cannot be changed');
      expect(() => hand.exec('DELETE FROM audit')).toThrow('cannot be removed');
    } finally {
      hand.close();
    }
  });
});
