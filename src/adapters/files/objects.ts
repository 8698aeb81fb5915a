// SPDX-License-Identifier: Apache-2.0
/**
 * Objects as files under one folder: the default origin of a single machine.
 *
 * POSIX rename: a new object is written beside the tree, flushed, then renamed over the old one, and the folder entry
 * is flushed too, so a resolved `put` survives loss of power.
 * Invariant: no path leaves the root, and no reader ever sees part of an object.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import type { ObjectStore } from '#ports';
import { checkObjectPath } from '#core/object-path.ts';

/** Where objects live and what a resolved `put` promises. */
export type FileObjectStoreOptions = {
  /** The folder; created when the first object is put. */
  readonly root: string;
  /**
   * `power` (default): a resolved `put` survives loss of power, at two or more flushes of the disk per object.
   * `process`: it survives kill -9 only; for caches and for segments that a live window forgets anyway.
   */
  readonly durability?: 'power' | 'process';
};

/** Holds unfinished objects; object paths cannot start with a dot, so it is out of their reach. */
const UNFINISHED = '.unfinished';

/** No write takes this long. */
const LEFTOVER_MILLIS = 3_600_000;

const codeOf = (error: unknown): string | undefined => (error instanceof Error && 'code' in error ? String(error.code) : undefined);
const isAbsent = (error: unknown): boolean => ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error) ?? '');

/** Object paths stay out of the message: they may come from a request. */
const fault = (doing: string, error: unknown): SealcastError =>
  isSealcastError(error) ? error : new SealcastError('store-unavailable', `object store cannot ${doing}: ${codeOf(error) ?? 'unknown fault'}`, { cause: error });

const absentOr = async <T>(doing: string, work: () => Promise<T>): Promise<T | undefined> => {
  try {
    return await work();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw fault(doing, error);
  }
};

const flushFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const readFully = async (handle: FileHandle, into: Uint8Array, from: number): Promise<Uint8Array> => {
  let filled = 0;
  while (filled < into.length) {
    const { bytesRead } = await handle.read(into, filled, into.length - filled, from + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled === into.length ? into : into.subarray(0, filled);
};

/** An object store in a folder. Faults are `store-unavailable` with the system's error as cause. */
export const createFileObjectStore = (options: FileObjectStoreOptions): ObjectStore => {
  const root = resolve(options.root);
  const unfinished = join(root, UNFINISHED);
  const throughPower = (options.durability ?? 'power') === 'power';
  const fileOf = (path: string): string => join(root, checkObjectPath(path));
  let ready: Promise<unknown> | undefined;

  /** Removes what killed processes left behind; anything younger may be another process's write in progress. */
  const prepare = async (): Promise<void> => {
    await mkdir(unfinished, { recursive: true });
    for (const name of await readdir(unfinished)) {
      const file = join(unfinished, name);
      const left = await absentOr('inspect', () => stat(file));
      if (left !== undefined && Date.now() - left.mtimeMs > LEFTOVER_MILLIS) await rm(file, { force: true });
    }
  };

  /** Creates the folders above `file`; flushes the entries of those that are new. */
  const makeFolder = async (folder: string): Promise<void> => {
    const first = await mkdir(folder, { recursive: true });
    if (first === undefined || !throughPower) return;
    for (let at = dirname(folder); at.length >= dirname(first).length; at = dirname(at)) await flushFolder(at);
  };

  const write = async (file: string, bytes: Uint8Array): Promise<void> => {
    const temporary = join(unfinished, randomBytes(16).toString('hex'));
    try {
      const handle = await open(temporary, 'wx', 0o640);
      try {
        await handle.writeFile(bytes);
        if (throughPower) await handle.datasync();
      } finally {
        await handle.close();
      }
      await makeFolder(dirname(file));
      await rename(temporary, file);
      if (throughPower) await flushFolder(dirname(file));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  };

  const walk = async (folder: string, found: string[]): Promise<void> => {
    for (const entry of (await absentOr('list', () => readdir(folder, { withFileTypes: true }))) ?? []) {
      if (entry.name.startsWith('.')) continue;
      const at = join(folder, entry.name);
      if (entry.isDirectory()) await walk(at, found);
      else found.push(relative(root, at).replaceAll('\\', '/'));
    }
  };

  return {
    async put(path, bytes) {
      const file = fileOf(path);
      try {
        ready ??= prepare();
        await ready;
        await write(file, bytes);
      } catch (error) {
        ready = undefined;
        throw fault('write', error);
      }
    },
    get: async (path) => {
      const file = fileOf(path);
      return absentOr('read', async () => {
        const bytes = await readFile(file);
        return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      });
    },
    range: async (path, start, end) => {
      const file = fileOf(path);
      return absentOr('read', async () => {
        const handle = await open(file, constants.O_RDONLY);
        try {
          const { size } = await handle.stat();
          return await readFully(handle, new Uint8Array(Math.max(0, Math.min(end, size) - start)), start);
        } finally {
          await handle.close();
        }
      });
    },
    size: async (path) => {
      const file = fileOf(path);
      return absentOr('read', async () => {
        const known = await stat(file);
        return known.isFile() ? known.size : undefined;
      });
    },
    async list(prefix) {
      const found: string[] = [];
      const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1).replace(/\/$/, '');
      await walk(folder === '' ? root : fileOf(folder), found);
      return found.filter((path) => path.startsWith(prefix)).sort();
    },
    async remove(path) {
      const file = fileOf(path);
      await absentOr('remove', () => rm(file));
      if (throughPower) await absentOr('remove', () => flushFolder(dirname(file)));
    },
  };
};
