// SPDX-License-Identifier: Apache-2.0
/**
 * Offline storage in memory: for tests and for viewers that live shorter than a download.
 *
 * Invariant: behaves like a disk of `capacity` bytes, so that a full one can be tried.
 */
import { SealcastError } from '#core/errors.ts';
import type { OfflineStorage } from '#ports';

/** A storage whose parts can be looked into, copied and damaged. */
export type MemoryOfflineStorage = OfflineStorage & { readonly texts: Map<string, string>; readonly bytes: Map<string, Uint8Array>; capacity: number };

/** `capacity` bytes for files; default: no bound. */
export const createMemoryOfflineStorage = (capacity: number = Number.POSITIVE_INFINITY): MemoryOfflineStorage => {
  const texts = new Map<string, string>();
  const bytes = new Map<string, Uint8Array>();
  const used = (): number => [...bytes.values()].reduce((sum, { length }) => sum + length, 0);
  const storage: MemoryOfflineStorage = {
    texts,
    bytes,
    capacity,
    records: {
      get: async (key) => texts.get(key),
      list: async (prefix) => [...texts].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)),
      async write(entries) {
        for (const [key, text] of entries) {
          if (text === undefined) texts.delete(key);
          else texts.set(key, text);
        }
      },
    },
    files: {
      read: async (name) => bytes.get(name)?.slice(),
      async write(name, content) {
        if (used() - (bytes.get(name)?.length ?? 0) + content.length > storage.capacity) throw new SealcastError('storage-full', `a file of ${content.length} bytes does not fit`);
        bytes.set(name, content.slice());
      },
      async remove(prefix) {
        for (const name of [...bytes.keys()]) if (name.startsWith(prefix)) bytes.delete(name);
      },
      room: async () => (Number.isFinite(storage.capacity) ? Math.max(0, storage.capacity - used()) : undefined),
    },
  };
  return storage;
};
