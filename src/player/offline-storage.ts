// SPDX-License-Identifier: Apache-2.0
/**
 * Offline storage of a browser: records in IndexedDB, bytes of downloads in Cache Storage, where a service worker finds them.
 *
 * docs/wire/subscription.md, "Downloads". Invariant: a record batch is one transaction with strict durability; a file is put whole
 * or not at all; where the browser has no room, `storage-full` says so.
 */
import { SealcastError } from '#core/errors.ts';
import type { OfflineStorage } from '#ports';

/** Name of the cache that downloads lie in, and the address below which. The service worker knows them. */
export const DOWNLOADS_CACHE = 'sealcast-downloads';
const STORE = 'records';

/** Address of a file in the cache; nothing on the network has it. */
export const cachedAddress = (name: string): string => new URL(`/.sealcast-offline/${name}`, self.location.origin).href;

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB request failed'));
  });

const full = (error: unknown): never => {
  if (error instanceof Error && error.name === 'QuotaExceededError') throw new SealcastError('storage-full', 'the browser has no room left', { cause: error });
  throw error;
};

/** The storage of this origin, in the IndexedDB database `database`. Asks the browser to keep it when room gets short. */
export const browserOfflineStorage = async (database: string = 'sealcast-offline'): Promise<OfflineStorage> => {
  const opening = indexedDB.open(database, 1);
  opening.onupgradeneeded = () => void opening.result.createObjectStore(STORE);
  const db = await settled(opening);
  db.onversionchange = () => db.close();
  const cache = await caches.open(DOWNLOADS_CACHE);
  await navigator.storage?.persist?.().catch(() => false);
  const store = (): IDBObjectStore => db.transaction(STORE).objectStore(STORE);
  return {
    records: {
      async get(key) {
        const text = (await settled(store().get(key))) as unknown;
        return typeof text === 'string' ? text : undefined;
      },
      async list(prefix) {
        const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
        const objects = store();
        const [keys, texts] = await Promise.all([settled(objects.getAllKeys(range)), settled(objects.getAll(range))]);
        // Keys and texts are what `write` put there: strings.
        return keys.map((key, index) => [key as string, texts[index] as string] as const);
      },
      async write(entries) {
        const transaction = db.transaction(STORE, 'readwrite', { durability: 'strict' });
        const done = new Promise<void>((resolve, reject) => {
          transaction.oncomplete = () => resolve();
          transaction.onabort = () => reject(transaction.error ?? new Error('IndexedDB transaction failed'));
        });
        const objects = transaction.objectStore(STORE);
        for (const [key, text] of entries) {
          if (text === undefined) objects.delete(key);
          else objects.put(text, key);
        }
        await done.catch(full);
      },
    },
    files: {
      async read(name) {
        const found = await cache.match(cachedAddress(name));
        return found === undefined ? undefined : new Uint8Array(await found.arrayBuffer());
      },
      write: (name, bytes) => cache.put(cachedAddress(name), new Response(bytes as BodyInit, { headers: { 'content-length': String(bytes.length) } })).catch(full),
      async remove(prefix) {
        const start = cachedAddress(prefix);
        for (const request of await cache.keys()) if (request.url.startsWith(start)) await cache.delete(request);
      },
      async room() {
        const estimate = await navigator.storage?.estimate?.();
        return estimate?.quota === undefined ? undefined : Math.max(0, estimate.quota - (estimate.usage ?? 0));
      },
    },
  };
};

/**
 * A name for this page that others can ask after, as `openOffline` takes it (`owner`, `alive`): the name is a lock that the
 * browser lets go of when the page is gone, however it went.
 */
export const pageOwner = async (): Promise<{ readonly owner: string; readonly alive: (owner: string) => Promise<boolean> }> => {
  const owner = crypto.randomUUID();
  const name = (of: string): string => `sealcast-page-${of}`;
  await new Promise<void>((held) => {
    void navigator.locks.request(name(owner), () => {
      held();
      return new Promise(() => undefined);
    });
  });
  return { owner, alive: async (of) => ((await navigator.locks.query()).held ?? []).some((lock) => lock.name === name(of)) };
};
