// SPDX-License-Identifier: Apache-2.0
/** What every ObjectStore does: whole objects, exact ranges, and no way out of its root. */
import { expect, it } from 'vitest';
import type { ObjectStore } from '#ports';
import { bytes } from './values.ts';

export const objectStoreContract = (open: () => Promise<ObjectStore>): void => {
  it('keeps objects, replaces them whole, removes them', async () => {
    const store = await open();
    await store.put('titles/movie/init.mp4', bytes(1000, 1));
    expect(await store.get('titles/movie/init.mp4')).toEqual(bytes(1000, 1));
    await store.put('titles/movie/init.mp4', bytes(10, 2));
    expect(await store.get('titles/movie/init.mp4')).toEqual(bytes(10, 2));
    expect(await store.size('titles/movie/init.mp4')).toBe(10);
    await store.remove('titles/movie/init.mp4');
    await store.remove('titles/movie/init.mp4');
    expect(await store.get('titles/movie/init.mp4')).toBeUndefined();
    expect(await store.size('titles/movie/init.mp4')).toBeUndefined();
    expect(await store.range('titles/movie/init.mp4', 0, 1)).toBeUndefined();
  });

  it('keeps empty objects apart from absent ones', async () => {
    const store = await open();
    await store.put('empty', new Uint8Array());
    expect(await store.get('empty')).toEqual(new Uint8Array());
    expect(await store.size('empty')).toBe(0);
  });

  it('does not take a folder for an object', async () => {
    const store = await open();
    await store.put('a/b', bytes(1, 1));
    expect(await store.get('a')).toBeUndefined();
    expect(await store.size('a')).toBeUndefined();
    expect(await store.range('a', 0, 1)).toBeUndefined();
    expect(await store.get('a/b/c')).toBeUndefined();
  });

  it('reads ranges, cut at the end', async () => {
    const store = await open();
    const whole = bytes(70_000, 3);
    await store.put('segment', whole);
    for (const [start, end] of [
      [0, 70_000],
      [0, 0],
      [1, 2],
      [65_535, 65_537],
      [69_999, 80_000],
      [70_000, 70_001],
      [90_000, 90_001],
    ] as const) {
      expect(await store.range('segment', start, end), `${start}-${end}`).toEqual(whole.slice(start, end));
    }
  });

  it('lists by prefix, sorted', async () => {
    const store = await open();
    for (const path of ['b/2', 'b/10', 'a', 'bb/1', 'b/c/1', 'b.x']) await store.put(path, bytes(1, 1));
    expect(await store.list('')).toEqual(['a', 'b.x', 'b/10', 'b/2', 'b/c/1', 'bb/1']);
    expect(await store.list('b/')).toEqual(['b/10', 'b/2', 'b/c/1']);
    expect(await store.list('b')).toEqual(['b.x', 'b/10', 'b/2', 'b/c/1', 'bb/1']);
    expect(await store.list('b/c/1')).toEqual(['b/c/1']);
    expect(await store.list('none/')).toEqual([]);
  });

  it.each([
    '',
    '/',
    '/etc/passwd',
    '../up',
    'a/../b',
    'a/..',
    './a',
    'a//b',
    'a/',
    '.hidden',
    'a/.hidden',
    'a\\b',
    'a\0b',
    'a b',
    'é',
    'a:b',
    '%2e%2e/a',
    'x'.repeat(129),
    Array(17).fill('a').join('/'),
  ])('refuses the path %j at every door', async (path) => {
    const store = await open();
    for (const work of [() => store.put(path, bytes(1, 1)), () => store.get(path), () => store.range(path, 0, 1), () => store.size(path), () => store.remove(path)]) {
      await expect(work()).rejects.toMatchObject({ code: 'bad-request' });
    }
  });

  it('shows readers the old object or the new one, never a mixture', async () => {
    const store = await open();
    const versions = [1, 2, 3, 4].map((seed) => new Uint8Array(200_000).fill(seed));
    await store.put('hot', versions[0] as Uint8Array);
    let writing = true;
    const reader = async (): Promise<number> => {
      let seen = 0;
      while (writing) {
        const got = (await store.get('hot')) as Uint8Array;
        expect(got.length).toBe(200_000);
        expect(got.every((value) => value === got[0])).toBe(true);
        seen += 1;
      }
      return seen;
    };
    const readers = [reader(), reader()];
    try {
      for (let round = 0; round < 5; round++) await Promise.all(versions.map((version) => store.put('hot', version)));
    } finally {
      writing = false;
    }
    expect((await Promise.all(readers)).every((seen) => seen > 0)).toBe(true);
  });

  it('does not share memory with its callers', async () => {
    const store = await open();
    const mine = bytes(100, 1);
    await store.put('a', mine);
    mine.fill(0);
    (await store.get('a'))?.fill(0);
    expect(await store.get('a')).toEqual(bytes(100, 1));
  });
};
