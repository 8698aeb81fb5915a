// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps a browser's device keys in IndexedDB, as CryptoKey objects that no script can export.
 *
 * Invariant: `load` and `save` reject where the browser refuses storage (private windows, blocked site data); the
 * client then plays with keys that live as long as the page.
 */
import type { DeviceKeyPairs, DeviceKeyStorage, DeviceTicket } from '#client/device.ts';

const STORE = 'keys';
const RECORD = 'device';
const TICKET = 'ticket';

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

const isTicket = (value: unknown): value is DeviceTicket =>
  typeof value === 'object' && value !== null && (value as DeviceTicket).key instanceof CryptoKey && (value as DeviceTicket).value instanceof Uint8Array && typeof (value as DeviceTicket).expiresAt === 'number';

/** Device keys and the newest ticket of this origin, in the IndexedDB database named `database`. */
export const indexedDbDeviceStorage = (database: string = 'sealcast-device'): DeviceKeyStorage => {
  const read = async (record: string): Promise<unknown> => {
    const db = await open(database);
    try {
      return (await settled(db.transaction(STORE).objectStore(STORE).get(record))) as unknown;
    } finally {
      db.close();
    }
  };
  /** Undefined removes the record. */
  const write = async (record: string, value: object | undefined): Promise<void> => {
    const db = await open(database);
    try {
      const transaction = db.transaction(STORE, 'readwrite');
      const done = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error('IndexedDB transaction failed'));
      });
      if (value === undefined) transaction.objectStore(STORE).delete(record);
      else transaction.objectStore(STORE).put(value, record);
      await done;
    } finally {
      db.close();
    }
  };
  return {
    extractable: false,
    async load() {
      const pairs = (await read(RECORD)) as Partial<DeviceKeyPairs> | undefined;
      return isPair(pairs?.sign) && isPair(pairs.agree) ? { sign: pairs.sign, agree: pairs.agree } : undefined;
    },
    save: (keys) => write(RECORD, { sign: keys.sign, agree: keys.agree }),
    async loadTicket() {
      const ticket = await read(TICKET);
      return isTicket(ticket) ? ticket : undefined;
    },
    saveTicket: (ticket) => write(TICKET, ticket),
  };
};
