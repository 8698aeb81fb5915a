// SPDX-License-Identifier: Apache-2.0
/**
 * Offline storage of a headless device: one folder with a journal of records and a file for each piece of a download.
 *
 * docs/wire/subscription.md, "Downloads". A batch of records is one line of the journal, written and synced before `write` resolves;
 * files are written beside their place and renamed into it. Invariant: a torn last line is a batch that nobody was told of, and is
 * dropped; a full disk is `storage-full` and leaves what was there.
 */
import { mkdir, open, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { SealcastError } from '#core/errors.ts';
import type { OfflineStorage } from '#ports';

/** A storage that lets go of its files. */
export type FolderOfflineStorage = OfflineStorage & { close(): Promise<void> };

type Batch = readonly (readonly [key: string, text: string | null])[];
/** The journal is written anew once so much of it is old. */
const COMPACT_ABOVE = 4_000_000;

const isCode = (error: unknown, ...codes: string[]): boolean => error instanceof Error && codes.includes(String((error as NodeJS.ErrnoException).code));
const full = (error: unknown): never => {
  if (isCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG')) throw new SealcastError('storage-full', 'the disk is full', { cause: error });
  throw error;
};

const isBatch = (value: unknown): value is Batch => Array.isArray(value) && value.every((entry) => Array.isArray(entry) && typeof entry[0] === 'string' && (entry[1] === null || typeof entry[1] === 'string'));

/** The storage in `folder`, which one process uses at a time. */
export const openFolderOfflineStorage = async (folder: string): Promise<FolderOfflineStorage> => {
  const media = join(folder, 'media');
  const journal = join(folder, 'records.jsonl');
  await mkdir(media, { recursive: true, mode: 0o700 });
  const texts = new Map<string, string>();
  let length = 0;
  let queue: Promise<unknown> = Promise.resolve();

  const apply = (batch: Batch): void => {
    for (const [key, text] of batch) {
      if (text === null) texts.delete(key);
      else texts.set(key, text);
    }
  };

  const recover = async (): Promise<void> => {
    const bytes = await readFile(journal).catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return Buffer.alloc(0);
      throw error;
    });
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(10, at);
      let batch: unknown;
      try {
        batch = end < 0 ? undefined : JSON.parse(bytes.toString('utf8', at, end));
      } catch {
        batch = undefined;
      }
      // Lines are appended and synced one by one, so only the last can be torn: everything before it was promised.
      if (!isBatch(batch)) break;
      apply(batch);
      at = end + 1;
      length = at;
    }
  };
  await recover();
  let file = await open(journal, 'a', 0o600);
  await file.truncate(length);

  const compact = async (): Promise<void> => {
    const live = [...texts].reduce((sum, [key, text]) => sum + key.length + text.length, 0);
    if (length < COMPACT_ABOVE || length < 2 * live) return;
    const text = [...texts].map((entry) => `${JSON.stringify([entry])}\n`).join('');
    const fresh = await open(`${journal}.new`, 'w', 0o600);
    await fresh.writeFile(text);
    await fresh.sync();
    await fresh.close();
    await rename(`${journal}.new`, journal);
    await file.close();
    file = await open(journal, 'a', 0o600);
    length = Buffer.byteLength(text);
  };

  const inOrder = <T>(run: () => Promise<T>): Promise<T> => {
    const done = queue.then(run);
    queue = done.catch(() => undefined);
    return done;
  };

  const placeOf = (name: string): string => {
    const path = resolve(media, name);
    if (path !== media && !path.startsWith(media + sep)) throw new SealcastError('bad-request', 'a file of a download lies within its folder');
    return path;
  };

  return {
    records: {
      get: async (key) => texts.get(key),
      list: async (prefix) => [...texts].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)),
      write: (entries) =>
        inOrder(async () => {
          if (entries.length === 0) return;
          const batch: Batch = entries.map(([key, text]) => [key, text ?? null] as const);
          const line = Buffer.from(`${JSON.stringify(batch)}\n`);
          try {
            await file.appendFile(line);
            await file.datasync();
          } catch (error) {
            // Half a line must not stand before the next one.
            await file.truncate(length).catch(() => undefined);
            full(error);
          }
          length += line.length;
          apply(batch);
          await compact();
        }),
    },
    files: {
      async read(name) {
        try {
          return new Uint8Array(await readFile(placeOf(name)));
        } catch (error) {
          if (isCode(error, 'ENOENT', 'EISDIR')) return undefined;
          throw error;
        }
      },
      async write(name, bytes) {
        const path = placeOf(name);
        try {
          await mkdir(dirname(path), { recursive: true, mode: 0o700 });
          await writeFile(`${path}.part`, bytes, { mode: 0o600 });
          await rename(`${path}.part`, path);
        } catch (error) {
          await rm(`${path}.part`, { force: true });
          full(error);
        }
      },
      remove: async (prefix) => rm(placeOf(prefix), { recursive: true, force: true }),
      async room() {
        const { bavail, bsize } = await statfs(folder);
        return bavail * bsize;
      },
    },
    close: () => inOrder(() => file.close()),
  };
};
