// SPDX-License-Identifier: Apache-2.0
/**
 * The files of downloads: written whole, remembered by length and hash, and looked at before they are given out.
 *
 * docs/wire/subscription.md, "Downloads". Invariant: a file is remembered only after it was written, and what is given out is what
 * was fetched: a file that was cut, changed or evicted counts as not there.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { AssetId } from '#core/ids.ts';
import type { OfflineStorage } from '#ports';

/** Files of one device's downloads. */
export type DownloadFiles = {
  /** Bytes of a file by its remembered length; undefined if it is not there. */
  length(title: AssetId, path: string): number | undefined;
  bytes(title: AssetId): number;
  readonly total: number;
  write(title: AssetId, path: string, bytes: Uint8Array): Promise<void>;
  /** The file as it was fetched, or undefined; a damaged one is forgotten. */
  read(title: AssetId, path: string): Promise<Uint8Array | undefined>;
  /** Looks at every file; forgets those that are damaged or gone. */
  verify(title: AssetId): Promise<void>;
  forget(title: AssetId): Promise<void>;
};

const PREFIX = 'file/';
type Known = { readonly length: number; readonly hash: string };

/** Opens what is remembered in `storage`. */
export const openDownloadFiles = async ({ records, files }: OfflineStorage): Promise<DownloadFiles> => {
  const known = new Map<AssetId, Map<string, Known>>();
  const of = (title: AssetId): Map<string, Known> => {
    let map = known.get(title);
    if (map === undefined) known.set(title, (map = new Map()));
    return map;
  };
  for (const [key, text] of await records.list(PREFIX)) {
    const [, title = '', ...path] = key.split('/');
    const [length = '', hash = ''] = text.split('.');
    of(title as AssetId).set(path.join('/'), { length: Number(length), hash });
  }
  const keyOf = (title: AssetId, path: string): string => `${PREFIX}${title}/${path}`;
  const hashOf = async (bytes: Uint8Array): Promise<string> => encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as BufferSource)).subarray(0, 16));
  const bytesOf = (title: AssetId): number => [...(known.get(title)?.values() ?? [])].reduce((sum, { length }) => sum + length, 0);

  const own: DownloadFiles = {
    length: (title, path) => known.get(title)?.get(path)?.length,
    bytes: bytesOf,
    get total() {
      return [...known.keys()].reduce((sum, title) => sum + bytesOf(title), 0);
    },
    async write(title, path, bytes) {
      const entry = { length: bytes.length, hash: await hashOf(bytes) };
      await files.write(`${title}/${path}`, bytes);
      await records.write([[keyOf(title, path), `${entry.length}.${entry.hash}`]]);
      of(title).set(path, entry);
    },
    async read(title, path) {
      const entry = known.get(title)?.get(path);
      if (entry === undefined) return undefined;
      const bytes = await files.read(`${title}/${path}`);
      if (bytes !== undefined && bytes.length === entry.length && (await hashOf(bytes)) === entry.hash) return bytes;
      known.get(title)?.delete(path);
      await records.write([[keyOf(title, path), undefined]]);
      return undefined;
    },
    async verify(title) {
      for (const path of [...(known.get(title)?.keys() ?? [])]) await own.read(title, path);
    },
    async forget(title) {
      const paths = [...(known.get(title)?.keys() ?? [])];
      // First what is remembered: files without a memory are rubbish, a memory without files would be a promise.
      await records.write(paths.map((path) => [keyOf(title, path), undefined] as const));
      known.delete(title);
      await files.remove(`${title}/`);
    },
  };
  return own;
};
