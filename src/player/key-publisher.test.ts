// SPDX-License-Identifier: Apache-2.0
/** The publisher against a MediaKeys that is as strict as Chromium's: one bad member refuses the whole set. */
import { describe, expect, test } from 'vitest';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { KEYS_PER_SESSION, type PublishedKey, createKeyPublisher } from './key-publisher.ts';

type FakeSession = { requested: boolean; closed: boolean; readonly kids: Set<string> };

const fakeMediaKeys = () => {
  const sessions: FakeSession[] = [];
  const createSession = () => {
    const state: FakeSession = { requested: false, closed: false, kids: new Set() };
    sessions.push(state);
    return {
      async generateRequest(type: string, data: Uint8Array) {
        const { kids } = JSON.parse(new TextDecoder().decode(data)) as { kids: string[] };
        if (state.requested || type !== 'keyids' || kids.length === 0) throw new TypeError('bad request');
        state.requested = true;
      },
      async update(data: Uint8Array) {
        const { keys, type } = JSON.parse(new TextDecoder().decode(data)) as { keys: { kty: string; kid: string; k: string }[]; type: string };
        if (!state.requested || state.closed || type !== 'temporary' || keys.length === 0) throw new TypeError('bad update');
        for (const { kty, kid, k } of keys) {
          if (kty !== 'oct' || !/^[\w-]{22}$/.test(kid) || !/^[\w-]{22}$/.test(k)) throw new TypeError('bad key');
          if (sessions.some((other) => !other.closed && other.kids.has(kid))) throw new TypeError('key twice');
          state.kids.add(kid);
        }
      },
      async close() {
        if (state.closed) throw new Error('closed already');
        state.closed = true;
      },
    };
  };
  const live = (): number => sessions.filter(({ closed }) => !closed).reduce((sum, { kids }) => sum + kids.size, 0);
  return { mediaKeys: { createSession } as unknown as MediaKeys, sessions, live };
};

const keys = (from: number, to: number): PublishedKey[] =>
  Array.from({ length: to - from }, (_, i) => ({ kid: new Uint8Array(16).fill((from + i) & 255).fill((from + i) >> 8, 8) as KeyId, key: new Uint8Array(16).fill(7) as ContentKey }));

describe('publish', () => {
  test('adds what is missing, once', async () => {
    const { mediaKeys, sessions, live } = fakeMediaKeys();
    const publisher = createKeyPublisher(mediaKeys);
    await publisher.publish([]);
    expect(sessions).toHaveLength(0);
    await publisher.publish(keys(0, 4));
    await publisher.publish(keys(2, 6));
    expect(sessions).toHaveLength(1);
    expect(live()).toBe(6);
    expect(publisher.published.size).toBe(6);
  });

  test('drops keys of a wrong length instead of losing the set', async () => {
    const { mediaKeys, live } = fakeMediaKeys();
    const [good] = keys(1, 2);
    await createKeyPublisher(mediaKeys).publish([{ kid: new Uint8Array(16) as KeyId, key: new Uint8Array(15) as ContentKey }, good as PublishedKey]);
    expect(live()).toBe(1);
  });

  test('hours of rotation leave a bounded number of keys and sessions', async () => {
    const { mediaKeys, sessions, live } = fakeMediaKeys();
    const publisher = createKeyPublisher(mediaKeys);
    for (let at = 0; at < 2000; at += 2) await publisher.publish(keys(at, at + 60));
    expect(sessions.every(({ kids }) => kids.size <= KEYS_PER_SESSION)).toBe(true);
    expect(sessions.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(3);
    expect(live()).toBe(publisher.published.size);
    expect(live()).toBeLessThanOrEqual(60 + 2 * KEYS_PER_SESSION);
  });

  test('a window wider than a session is spread over several', async () => {
    const { mediaKeys, sessions, live } = fakeMediaKeys();
    await createKeyPublisher(mediaKeys).publish(keys(0, 250));
    expect(live()).toBe(250);
    expect(sessions.map(({ kids }) => kids.size)).toEqual([100, 100, 50]);
  });

  test('a seek back publishes again what was closed', async () => {
    const { mediaKeys, live } = fakeMediaKeys();
    const publisher = createKeyPublisher(mediaKeys);
    await publisher.publish(keys(0, 100));
    await publisher.publish(keys(200, 210));
    expect(live()).toBe(10);
    await publisher.publish(keys(0, 5));
    expect(live()).toBe(15);
  });

  test('calls at once run one after another; clear closes everything', async () => {
    const { mediaKeys, live } = fakeMediaKeys();
    const publisher = createKeyPublisher(mediaKeys);
    await Promise.all([publisher.publish(keys(0, 10)), publisher.publish(keys(0, 20)), publisher.publish(keys(10, 30))]);
    expect(live()).toBe(30);
    await publisher.clear();
    expect(live()).toBe(0);
    expect(publisher.published.size).toBe(0);
    await publisher.publish(keys(0, 1));
    expect(live()).toBe(1);
  });
});
