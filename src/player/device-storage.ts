// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps a browser's device keys in IndexedDB, as CryptoKey objects that no script can export.
 *
 * Invariant: `load` and `save` reject where the browser refuses storage (private windows, blocked site data); the
 * client then plays with keys that live as long as the page.
 */
import type { DeviceKeyPairs, DeviceKeyStorage } from '#client/device.ts';

const STORE = 'keys';
const RECORD = 'device';

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB request failed'));
  });

const open = (database: string): Promise<IDBDatabase> => {
  const request = indexedDB.open(database, 1);
  request.onupgradeneeded = () => void request.result.createObjectStore(STORE);
  return settled(request);
};

const isPair = (value: unknown): value is CryptoKeyPair =>
  typeof value === 'object' && value !== null && (value as CryptoKeyPair).privateKey instanceof CryptoKey && (value as CryptoKeyPair).publicKey instanceof CryptoKey;

/** Device keys of this origin, in the IndexedDB database named `database`. */
export const indexedDbDeviceStorage = (database: string = 'sealcast-device'): DeviceKeyStorage => ({
  extractable: false,
  async load() {
    const db = await open(database);
    try {
      const found: unknown = await settled(db.transaction(STORE).objectStore(STORE).get(RECORD));
      const pairs = found as Partial<DeviceKeyPairs> | undefined;
      return isPair(pairs?.sign) && isPair(pairs.agree) ? { sign: pairs.sign, agree: pairs.agree } : undefined;
    } finally {
      db.close();
    }
  },
  async save(keys) {
    const db = await open(database);
    try {
      const transaction = db.transaction(STORE, 'readwrite');
      const done = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error('IndexedDB transaction failed'));
      });
      transaction.objectStore(STORE).put({ sign: keys.sign, agree: keys.agree }, RECORD);
      await done;
    } finally {
      db.close();
    }
  },
});
