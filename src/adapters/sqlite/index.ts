// SPDX-License-Identifier: Apache-2.0
/**
 * The durable stores in one SQLite file: the embedded default of a single-machine deployment.
 *
 * Invariant: an acknowledged write survives kill -9 and loss of power; `test/e2e/kill-nine.test.ts` holds the first half.
 */
import type { DurableStores } from '#ports';
import { createSqliteAccounts } from './accounts.ts';
import { openDatabase } from './database.ts';
import { createSqliteAssetKeys, createSqliteMasterSecrets, createSqliteSecrets } from './keys.ts';
import { createSqliteLeaks } from './leaks.ts';
import { createSqliteAudit, createSqliteCatalogue, createSqliteOperators } from './operations.ts';
import { createSqliteOutbox } from './outbox.ts';
import { createSqliteCollections, createSqliteRoots, createSqliteUsage } from './subscription.ts';
import { createSqliteViewerNumbers } from './viewer-numbers.ts';
import { createSqliteDevices, createSqliteSessions, createSqliteSingleUse } from './viewers.ts';

/** Where the database is and how it behaves. */
export type SqliteStoresOptions = {
  /** The database file; created with mode 0600 together with its folder. */
  readonly path: string;
  /** How long one write waits for another process's lock before `store-unavailable`, 1-60000; 2000 unless told. It blocks this process. */
  readonly lockWaitMillis?: number;
  /** Largest size of the file in pages of 4 KiB; unlimited unless told. Beyond it writes answer `store-unavailable`, as on a full disk. */
  readonly pageLimit?: number;
};

/** The stores, and the function that closes their file after a last checkpoint. */
export type SqliteStores = DurableStores & { close(): void };

/** Opens or creates the database. Throws `store-unavailable` or `config-invalid` with the reason. */
export const createSqliteStores = (options: SqliteStoresOptions): SqliteStores => {
  const db = openDatabase(options);
  return {
    assetKeys: createSqliteAssetKeys(db),
    catalogue: createSqliteCatalogue(db),
    devices: createSqliteDevices(db),
    sessions: createSqliteSessions(db),
    singleUse: createSqliteSingleUse(db),
    masterSecrets: createSqliteMasterSecrets(db),
    secrets: createSqliteSecrets(db),
    operators: createSqliteOperators(db),
    audit: createSqliteAudit(db),
    accounts: createSqliteAccounts(db),
    viewerNumbers: createSqliteViewerNumbers(db),
    leaks: createSqliteLeaks(db),
    collections: createSqliteCollections(db),
    roots: createSqliteRoots(db),
    usage: createSqliteUsage(db),
    outbox: createSqliteOutbox(db),
    close: () => db.close(),
  };
};
