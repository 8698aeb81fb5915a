// SPDX-License-Identifier: Apache-2.0
/**
 * Immutable objects on disk behind the memory cache, at most so many bytes, oldest use first out.
 *
 * An entry is `u32 length of the head | head as JSON | body`, so head and body cannot come apart. Only objects the origin
 * calls immutable get here: they need no revalidation after a restart.
 * Invariant: the disk is a convenience. Any fault of it is a miss and a log line, never a failed request.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { Micros } from '#core/time.ts';
import { isJsonObject } from '#core/token/strict-json.ts';
import type { StoredObject } from '#edge/memory-tier.ts';
import type { Log, ObjectStore } from '#ports';

/** The second level of the cache. Never rejects. */
export type DiskTier = {
  get(key: string): Promise<StoredObject | undefined>;
  put(key: string, object: StoredObject): Promise<void>;
  readonly bytes: number;
};

const encodeEntry = (object: StoredObject): Uint8Array => {
  const { head, freshUntil, bornAt } = object;
  const text = encodeUtf8(JSON.stringify({ ...head, freshUntil, bornAt }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length);
  return concatBytes(length, text, object.body);
};

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

const decodeEntry = (entry: Uint8Array): StoredObject | undefined => {
  if (entry.length < 4) return undefined;
  const end = 4 + new DataView(entry.buffer, entry.byteOffset).getUint32(0);
  if (end > entry.length) return undefined;
  const head: unknown = JSON.parse(decodeUtf8(entry.subarray(4, end)));
  if (!isJsonObject(head) || typeof head['type'] !== 'string' || typeof head['freshUntil'] !== 'number' || typeof head['bornAt'] !== 'number') return undefined;
  return {
    head: { type: head['type'], cacheControl: textOrNull(head['cacheControl']), etag: textOrNull(head['etag']), lastModified: textOrNull(head['lastModified']) },
    body: entry.subarray(end),
    freshUntil: head['freshUntil'] as Micros,
    bornAt: head['bornAt'] as Micros,
  };
};

/** `budget` in bytes; `prefix` of all paths. Entries of an earlier run are found again at first use. */
export const createDiskTier = (options: { store: ObjectStore; budget: number; prefix?: string; log: Log }): DiskTier => {
  const { store, budget, log } = options;
  const prefix = options.prefix ?? 'edge-cache/';
  const sizes = new Map<string, number>();
  let bytes = 0;
  let known: Promise<void> | undefined;

  const note = (path: string, size: number): void => {
    bytes += size - (sizes.get(path) ?? 0);
    sizes.delete(path);
    sizes.set(path, size);
  };
  const forget = async (path: string): Promise<void> => {
    bytes -= sizes.get(path) ?? 0;
    sizes.delete(path);
    await store.remove(path);
  };
  const takeStock = async (): Promise<void> => {
    for (const path of await store.list(prefix)) note(path, (await store.size(path)) ?? 0);
  };
  const guarded = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      known ??= takeStock();
      await known;
      return await work();
    } catch (cause) {
      if (sizes.size === 0) known = undefined;
      log.warn('disk cache fault', { what, reason: String(cause) });
      return undefined;
    }
  };

  return {
    get bytes() {
      return bytes;
    },
    get: (key) =>
      guarded('get', async () => {
        const path = prefix + key;
        const size = sizes.get(path);
        if (size === undefined) return undefined;
        note(path, size);
        const entry = await store.get(path);
        const object = entry === undefined ? undefined : decodeEntry(entry);
        if (object === undefined) await forget(path);
        return object;
      }),
    put: async (key, object) => {
      await guarded('put', async () => {
        const entry = encodeEntry(object);
        if (entry.length > budget / 8) return;
        await store.put(prefix + key, entry);
        note(prefix + key, entry.length);
        for (const oldest of sizes.keys()) {
          if (bytes <= budget) break;
          await forget(oldest);
        }
      });
    },
  };
};
