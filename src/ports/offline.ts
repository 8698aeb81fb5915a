// SPDX-License-Identifier: Apache-2.0
/**
 * What a device keeps for playing without a connection, as types: small records and the bytes of downloads.
 *
 * docs/wire/subscription.md. Invariant: types only, no code; nothing decrypted and no key in the clear is ever given to a store.
 */

/** Small texts by key, durable: once `write` resolved, a crash loses none of it. */
export interface OfflineRecords {
  get(key: string): Promise<string | undefined>;
  /** Entries whose key begins with `prefix`, by key. */
  list(prefix: string): Promise<readonly (readonly [key: string, text: string])[]>;
  /** All of them or none; undefined removes. Throws SealcastError('storage-full') where there is no room. */
  write(entries: readonly (readonly [key: string, text: string | undefined])[]): Promise<void>;
}

/** Bytes of downloads by name (`asset/path`). A file is there whole or not at all. */
export interface OfflineFiles {
  read(name: string): Promise<Uint8Array | undefined>;
  /** Throws SealcastError('storage-full') where there is no room. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Removes every file whose name begins with `prefix`. */
  remove(prefix: string): Promise<void>;
  /** What may still be written, bytes; undefined where nobody knows. */
  room(): Promise<number | undefined>;
}

/** Where a device keeps its offline rights and downloads. */
export type OfflineStorage = { readonly records: OfflineRecords; readonly files: OfflineFiles };
