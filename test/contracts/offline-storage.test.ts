// SPDX-License-Identifier: Apache-2.0
/** The contract of offline storage: in memory and in a folder. The browser's is tried in Chromium with the app it belongs to. */
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFolderOfflineStorage } from '#adapters/node/offline-storage.ts';
import { createMemoryOfflineStorage } from '#client/offline/memory-storage.ts';
import type { OfflineStorage } from '#ports';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-offline-'));
});
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const { close } of opened.splice(0)) await close();
  await rm(folder, { recursive: true, force: true });
});

describe.each([
  ['memory', async (): Promise<OfflineStorage> => createMemoryOfflineStorage()],
  [
    'folder',
    async (): Promise<OfflineStorage> => {
      const storage = await openFolderOfflineStorage(folder);
      opened.push(storage);
      return storage;
    },
  ],
])('%s', (_name, openStorage) => {
  it('keeps batches of records whole and lists them by key', async () => {
    const { records } = await openStorage();
    expect(await records.get('a')).toBeUndefined();
    await records.write([['b/2', 'two'], ['b/1', 'one'], ['c', 'line\nbreak "quoted" ü']]);
    await records.write([['b/2', undefined], ['b/3', 'three']]);
    await records.write([]);
    expect(await records.list('b/')).toEqual([['b/1', 'one'], ['b/3', 'three']]);
    expect(await records.get('c')).toBe('line\nbreak "quoted" ü');
  });

  it('keeps files whole and removes them by prefix', async () => {
    const { files } = await openStorage();
    await files.write('film/v/1.m4s', new Uint8Array([1, 2, 3]));
    await files.write('film/v/1.m4s', new Uint8Array([4]));
    await files.write('film-2/v/1.m4s', new Uint8Array([5]));
    expect(await files.read('film/v/1.m4s')).toEqual(new Uint8Array([4]));
    await files.remove('film/');
    expect(await files.read('film/v/1.m4s')).toBeUndefined();
    expect(await files.read('film-2/v/1.m4s')).toEqual(new Uint8Array([5]));
    await files.remove('none/');
    expect(await files.read('film-2')).toBeUndefined();
  });
});

describe('a folder', () => {
  it('finds everything again, drops a torn last line, and goes on behind it', async () => {
    const first = await openFolderOfflineStorage(folder);
    for (let index = 0; index < 50; index++) await first.records.write([[`key/${index}`, String(index)], ['last', String(index)]]);
    await first.close();
    await appendFile(join(folder, 'records.jsonl'), '[["key/99","half a li');
    const second = await openFolderOfflineStorage(folder);
    expect(await second.records.list('key/')).toHaveLength(50);
    await second.records.write([['after', 'x']]);
    await second.close();
    const third = await openFolderOfflineStorage(folder);
    expect([await third.records.get('last'), await third.records.get('after'), await third.records.get('key/99')]).toEqual(['49', 'x', undefined]);
    await third.close();
  });

  it('is written anew when most of it is old', async () => {
    const storage = await openFolderOfflineStorage(folder);
    const text = 'x'.repeat(100_000);
    for (let index = 0; index < 60; index++) await storage.records.write([['big', `${index}${text}`]]);
    expect((await readFile(join(folder, 'records.jsonl'))).length).toBeLessThan(4_300_000);
    await storage.close();
    const again = await openFolderOfflineStorage(folder);
    expect((await again.records.get('big'))?.slice(0, 2)).toBe('59');
    await again.close();
  });

  it('refuses names that lead out of it', async () => {
    const { files, close } = await openFolderOfflineStorage(folder);
    for (const name of ['../x', 'a/../../x', '/etc/x']) {
      await expect(files.write(name, new Uint8Array(1))).rejects.toMatchObject({ code: 'bad-request' });
      await expect(files.read(name)).rejects.toMatchObject({ code: 'bad-request' });
    }
    await close();
  });
});
