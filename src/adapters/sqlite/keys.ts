// SPDX-License-Identifier: Apache-2.0
/**
 * Key records, master secrets and named secrets in SQLite. Everything secret arrives sealed; this file cannot open it.
 *
 * Invariant: an asset's record, its title keys and its imported keys change in one transaction.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetKeyRecord, AssetKeyStore, MasterSecretRecord, MasterSecretStore, SecretStore } from '#ports';
import type { Database, Row } from './database.ts';

/** Key server's asset records. */
export const createSqliteAssetKeys = (db: Database): AssetKeyStore => {
  const columns = 'kind, scheme, mode, gen, salt, period_micros, periods_per_group, entry_kid, sealed_entry_key, created_at';
  const insert = db.prepare(`INSERT INTO asset_keys (${columns}, asset) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`);
  const update = db.prepare(`UPDATE asset_keys SET (${columns}) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE asset = ? AND gen = ?`);
  const one = db.prepare('SELECT * FROM asset_keys WHERE asset = ?');
  const some = db.prepare('SELECT asset_keys.* FROM json_each(?) JOIN asset_keys ON asset_keys.asset = json_each.value');
  const someTitleKeys = db.prepare('SELECT asset, gen, sealed FROM json_each(?) JOIN title_keys ON asset = value ORDER BY gen');
  const someImportedKeys = db.prepare('SELECT asset, kid, sealed, key_group AS keyGroup, from_period AS "from", to_period AS "to" FROM json_each(?) JOIN imported_keys ON asset = value ORDER BY position');
  const every = db.prepare('SELECT * FROM asset_keys ORDER BY rowid');
  const titleKeys = db.prepare('SELECT gen, sealed FROM title_keys WHERE asset = ? ORDER BY gen');
  const importedKeys = db.prepare('SELECT kid, sealed, key_group AS keyGroup, from_period AS "from", to_period AS "to" FROM imported_keys WHERE asset = ? ORDER BY position');
  const dropTitleKeys = db.prepare('DELETE FROM title_keys WHERE asset = ?');
  const dropImportedKeys = db.prepare('DELETE FROM imported_keys WHERE asset = ?');
  const addTitleKey = db.prepare('INSERT INTO title_keys (asset, gen, sealed) VALUES (?, ?, ?)');
  const addImportedKey = db.prepare('INSERT INTO imported_keys (asset, position, kid, sealed, key_group, from_period, to_period) VALUES (?, ?, ?, ?, ?, ?, ?)');

  // Counts commits of other connections, to whatever table; own changes are counted here.
  const dataVersion = db.prepare('PRAGMA data_version');
  let changes = 0;

  const values = (r: AssetKeyRecord) => [r.kind, r.scheme, r.mode, r.gen, r.salt, r.periodMicros, r.periodsPerGroup, r.entryKid, r.sealedEntryKey, r.createdAt, r.asset] as const;
  const writeChildren = (record: AssetKeyRecord): void => {
    changes += 1;
    dropTitleKeys.run(record.asset);
    dropImportedKeys.run(record.asset);
    for (const { gen, sealed } of record.sealedTitleKeys) addTitleKey.run(record.asset, gen, sealed);
    for (const [position, key] of record.importedKeys.entries()) {
      addImportedKey.run(record.asset, position, key.kid, key.sealed, key.keyGroup, key.from, key.to);
    }
  };
  const withChildren = (row: Row, sealedTitleKeys: readonly Row[], imported: readonly Row[]): AssetKeyRecord =>
    ({
      asset: row['asset'],
      kind: row['kind'],
      scheme: row['scheme'],
      mode: row['mode'],
      gen: row['gen'],
      salt: row['salt'],
      periodMicros: row['period_micros'],
      periodsPerGroup: row['periods_per_group'],
      entryKid: row['entry_kid'],
      sealedEntryKey: row['sealed_entry_key'],
      sealedTitleKeys: sealedTitleKeys.map(({ gen, sealed }) => ({ gen, sealed })),
      importedKeys: imported.map(({ kid, sealed, keyGroup, from, to }) => ({ kid, sealed, keyGroup, from, to })),
      createdAt: row['created_at'],
    }) as AssetKeyRecord;
  const recordOf = (row: Row): AssetKeyRecord => withChildren(row, titleKeys.all(row['asset'] as string), importedKeys.all(row['asset'] as string));

  return {
    create: (record) =>
      db.write(() => {
        const created = insert.run(...values(record)) === 1;
        if (created) writeChildren(record);
        return created;
      }),
    get: (asset) =>
      db.read(() => {
        const row = one.get(asset);
        return row && recordOf(row);
      }),
    // Own changes are at most thousands; versions of 2^32 commits and more would still be exact.
    revision: () => db.read(() => Number(dataVersion.get()?.['data_version']) * 2 ** 20 + changes),
    getMany: (assets) =>
      db.read(() => {
        const asked = JSON.stringify([...new Set(assets)]);
        const byAsset = (rows: readonly Row[]): Map<unknown, Row[]> => Map.groupBy(rows, (row) => row['asset']);
        const [sealed, imported] = [byAsset(someTitleKeys.all(asked)), byAsset(someImportedKeys.all(asked))];
        const found = new Map(some.all(asked).map((row) => [row['asset'], withChildren(row, sealed.get(row['asset']) ?? [], imported.get(row['asset']) ?? [])]));
        return assets.map((asset) => found.get(asset));
      }),
    list: () => db.read(() => every.all().map(recordOf)),
    replace: (record, expectedGen) =>
      db.write(() => {
        const replaced = update.run(...values(record), expectedGen) === 1;
        if (replaced) writeChildren(record);
        return replaced;
      }),
  };
};

/** Master secrets by epoch. */
export const createSqliteMasterSecrets = (db: Database): MasterSecretStore => {
  const insert = db.prepare('INSERT INTO master_secrets (epoch, sealed, not_before, retire_at, not_after) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING');
  const every = db.prepare('SELECT epoch, sealed, not_before AS notBefore, retire_at AS retireAt, not_after AS notAfter FROM master_secrets ORDER BY epoch');
  const drop = db.prepare('DELETE FROM master_secrets WHERE epoch = ?');
  return {
    create: (r) => db.write(() => insert.run(r.epoch, r.sealed, r.notBefore, r.retireAt, r.notAfter) === 1),
    list: () => db.read(() => every.all().map((row) => ({ ...row }) as MasterSecretRecord)),
    remove: (epoch) =>
      db.write(() => {
        drop.run(epoch);
      }),
  };
};

/** Named sealed secrets. */
export const createSqliteSecrets = (db: Database): SecretStore => {
  const insert = db.prepare('INSERT INTO secrets (name, sealed) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const one = db.prepare('SELECT sealed FROM secrets WHERE name = ?');
  const sealedOf = (name: string): Uint8Array | undefined => one.get(name)?.['sealed'] as Uint8Array | undefined;
  return {
    get: (name) => db.read(() => sealedOf(name)),
    putIfAbsent: (name, sealed) =>
      db.write(() => {
        insert.run(name, sealed);
        const kept = sealedOf(name);
        if (kept === undefined) throw new SealcastError('store-unavailable', 'database: a secret vanished while it was stored');
        return kept;
      }),
  };
};
