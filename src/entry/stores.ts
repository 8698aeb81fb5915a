// SPDX-License-Identifier: Apache-2.0
/**
 * Opens the embedded stores in the data folder: SQLite for what must last, a journal for heartbeats, files for media.
 *
 * Invariant: one process owns the heartbeat journal; the database may be shared by processes of one host. Everything
 * written is readable by its owner only.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createFileObjectStore, openJournalledHeartbeats } from '#adapters/files/index.ts';
import { createMemoryHeartbeats } from '#adapters/memory/index.ts';
import { createSqliteStores, type SqliteStores } from '#adapters/sqlite/index.ts';
import type { Clock, HeartbeatStore, ObjectStore } from '#ports';

/** The embedded stores of one process. */
export type OpenStores = Omit<SqliteStores, 'close'> & {
  readonly heartbeats: HeartbeatStore;
  /** Init segments, segments and manifests of the packager. */
  readonly media: ObjectStore;
  close(): Promise<void>;
};

/** `counts`: this process records heartbeats, so it owns the journal. Other roles on the same folder share the database only. */
export const openStores = async (options: { dataFolder: string; clock: Clock; counts: boolean }): Promise<OpenStores> => {
  const { dataFolder, clock, counts } = options;
  await mkdir(dataFolder, { recursive: true, mode: 0o700 });
  const durable = createSqliteStores({ path: join(dataFolder, 'sealcast.sqlite') });
  const heartbeats = counts ? await openJournalledHeartbeats({ path: join(dataFolder, 'heartbeats.ndjson'), clock }) : { ...createMemoryHeartbeats(), close: async () => undefined };
  return {
    ...durable,
    heartbeats,
    media: createFileObjectStore({ root: join(dataFolder, 'media') }),
    async close() {
      await heartbeats.close();
      durable.close();
    },
  };
};
