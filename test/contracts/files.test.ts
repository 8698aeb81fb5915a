// SPDX-License-Identifier: Apache-2.0
/** The file adapters against their contracts, and what only a file system can get wrong. */
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createFileObjectStore, openJournalledHeartbeats } from '#adapters/files/index.ts';
import type { Clock } from '#ports';
import { heartbeatStoreContract } from './heartbeat-store-contract.ts';
import { objectStoreContract } from './object-store-contract.ts';
import { at, bytes, heartbeat, session } from './values.ts';

const folders: string[] = [];
const closing: { close(): Promise<void> }[] = [];
const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-files-'));
  folders.push(folder);
  return folder;
};
afterEach(async () => {
  for (const journal of closing.splice(0)) await journal.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('file objects, durable through power loss', () => objectStoreContract(async () => createFileObjectStore({ root: join(newFolder(), 'objects') })));
describe('file objects, durable through kill -9', () => objectStoreContract(async () => createFileObjectStore({ root: join(newFolder(), 'objects'), durability: 'process' })));

describe('file objects', () => {
  it('leave nothing unfinished behind, and sweep what a killed process left', async () => {
    const root = newFolder();
    mkdirSync(join(root, '.unfinished'));
    writeFileSync(join(root, '.unfinished', 'old'), 'left behind');
    writeFileSync(join(root, '.unfinished', 'young'), 'being written by another process');
    const twoHoursAgo = Date.now() / 1000 - 7200;
    utimesSync(join(root, '.unfinished', 'old'), twoHoursAgo, twoHoursAgo);
    const store = createFileObjectStore({ root });
    await Promise.all(Array.from({ length: 20 }, (_, index) => store.put(`a/b${index}/c`, bytes(100, index))));
    expect(readdirSync(join(root, '.unfinished'))).toEqual(['young']);
    expect(await store.list('')).toHaveLength(20);
  });

  it('answer store-unavailable with the cause when the folder cannot be written, without naming the object', async () => {
    const root = join(newFolder(), 'root');
    writeFileSync(root, 'a file where the folder should be');
    const failed = await createFileObjectStore({ root })
      .put('secret-name', bytes(1, 1))
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'store-unavailable', cause: { code: expect.stringMatching(/EEXIST|ENOTDIR/) } });
    expect(String(failed)).not.toContain('secret-name');
  });

  it('keep the old object when a write fails', async () => {
    const root = newFolder();
    const store = createFileObjectStore({ root });
    await store.put('a', bytes(10, 1));
    await expect(store.put('a/b', bytes(10, 2))).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(await store.get('a')).toEqual(bytes(10, 1));
    expect(readdirSync(join(root, '.unfinished'))).toEqual([]);
  });
});

const clock: Clock = { now: () => at(100), monotonic: () => 0 as never, after: () => () => undefined };
const openJournal = async (path: string, compactAfterLines?: number) => {
  const journal = await openJournalledHeartbeats({ path, clock, ...(compactAfterLines === undefined ? {} : { compactAfterLines }) });
  closing.push(journal);
  return journal;
};

describe('journalled heartbeats', () => {
  heartbeatStoreContract(() => openJournal(join(newFolder(), 'heartbeats.ndjson')));

  it('know who is watching after a restart, without the ended and the expired', async () => {
    const path = join(newFolder(), 'deep', 'heartbeats.ndjson');
    const first = await openJournal(path);
    await Promise.all([first.record(heartbeat(1)), first.record(heartbeat(2)), first.record(heartbeat(3, { expiresAt: at(99) }))]);
    await first.remove(session(2));
    // A crash may cut the last line and may leave a damaged one; both were never acknowledged.
    appendFileSync(path, `not json\n${JSON.stringify(heartbeat(4)).slice(0, 40)}`);
    const second = await openJournal(path);
    expect(await second.live({}, at(100))).toEqual([heartbeat(1)]);
    expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(1);
  });

  it('rewrite the journal when it is mostly history, and lose nothing doing so', async () => {
    const path = join(newFolder(), 'heartbeats.ndjson');
    const journal = await openJournal(path, 50);
    for (let round = 0; round < 40; round++) await Promise.all([1, 2, 3].map((number) => journal.record(heartbeat(number, { at: at(round) }))));
    expect(readFileSync(path, 'utf8').trim().split('\n').length).toBeLessThan(60);
    expect(existsSync(`${path}.new`)).toBe(false);
    const reopened = await openJournal(path);
    expect((await reopened.live({}, at(100))).map((each) => each.at)).toEqual([at(39), at(39), at(39)]);
  });

  it('answer store-unavailable when the journal cannot be opened', async () => {
    const folder = newFolder();
    writeFileSync(join(folder, 'file'), '');
    await expect(openJournal(join(folder, 'file', 'journal'))).rejects.toMatchObject({ code: 'store-unavailable' });
  });
});
