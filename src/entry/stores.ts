// SPDX-License-Identifier: Apache-2.0
/**
 * Opens the embedded stores in the data folder: SQLite for what must last, a journal for heartbeats, files for media.
 *
 * Invariant: one process owns a data folder; everything written is readable by its owner only.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createFileObjectStore, openJournalledHeartbeats } from '#adapters/files/index.ts';
import { createSqliteStores, type SqliteStores } from '#adapters/sqlite/index.ts';
import type { Clock, HeartbeatStore, ObjectStore } from '#ports';

export type OpenStores = Omit<SqliteStores, 'close'> & {
  readonly heartbeats: HeartbeatStore;
  /** Init segments, segments and manifests of the packager. */
  readonly media: ObjectStore;
  /** The edge's second tier. */
  readonly edgeCache: ObjectStore;
  close(): Promise<void>;
};

export const openStores = async (options: { dataFolder: string; clock: Clock }): Promise<OpenStores> => {
  const { dataFolder, clock } = options;
  await mkdir(dataFolder, { recursive: true, mode: 0o700 });
  const durable = createSqliteStores({ path: join(dataFolder, 'sealcast.sqlite') });
  const heartbeats = await openJournalledHeartbeats({ path: join(dataFolder, 'heartbeats.ndjson'), clock });
  return {
    ...durable,
    heartbeats,
    media: createFileObjectStore({ root: join(dataFolder, 'media') }),
    edgeCache: createFileObjectStore({ root: join(dataFolder, 'edge-cache') }),
    async close() {
      await heartbeats.close();
      durable.close();
    },
  };
};
