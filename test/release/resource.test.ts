// SPDX-License-Identifier: Apache-2.0
/** B174: timed resources (odds, results, trailers) open with the right and the time, by the same release channel, and not before. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { grantKey } from '#core/keys/ladder.ts';
import { decodeResource, encodeResource, periodFrom, resourceName, resourceType } from '#core/release/resource.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { groupOf, type GrantGroup, type Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { openResource } from '#crypto/timed-resource.ts';
import { createTimedResources } from '#key-server/index.ts';
import type { AssetKeying } from '#ports';
import { createWorld, EVENT, p } from './world.ts';

const titleKey = new Uint8Array(32).fill(6);
const keying: AssetKeying = { asset: EVENT, kind: 'event', scheme: 'cenc', mode: 'timed', gen: 1, salt: new Uint8Array(16), schedule: { period: 100_000 as Micros, periodsPerGroup: 300 }, entryKid: new Uint8Array(16) as never };
const text = (content: Uint8Array | undefined): string | undefined => content && new TextDecoder().decode(content);

describe('timed resources', () => {
  test('B174: published hours ahead, fetched by everybody, opened by the secret of its period and the right, and by nothing less', async () => {
    const world = await createWorld();
    const edge = await world.edge({ alone: true });
    await world.clock.advance(3000);
    const objects = new Map<string, Uint8Array>();
    const grantOf = (group: number) => grantKey(ladderHash, titleKey, EVENT, 1, group);
    const resources = createTimedResources({
      events: { find: async (event: AssetId) => (event === EVENT ? { info: world.info, createdAt: 0 as Micros, edges: 'all', urls: [] } : undefined) },
      secrets: world.keyServers[0]?.server.secrets as never,
      keys: { keying: async () => keying, grantKeys: async ({ from }: { from: GrantGroup }) => [{ group: from, key: grantOf(from) }] },
      store: { put: async (path: string, bytes: Uint8Array) => void objects.set(path, bytes), get: async (path: string) => objects.get(path) } as never,
      random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) }, clock: world.clock,
    });
    const at = (world.truth() + 3_000_000) as Micros;
    const { period, releaseAt } = await resources.put(EVENT, { name: 'odds.json', type: 'application/json', at, content: new TextEncoder().encode('{"home":1.8}') });
    expect(releaseAt).toBeGreaterThanOrEqual(at);
    expect(releaseAt - at).toBeLessThan(100_000);
    await expect(resources.put(EVENT, { name: 'late', type: 'text/plain', at: world.truth() as Micros, content: new Uint8Array(1) })).rejects.toThrow(/second from now/);
    const sealed = (await resources.get(EVENT, 'odds.json')) as Uint8Array;
    expect(text(sealed)).not.toContain('home');
    const client = edge.client();
    await world.clock.advance(2500);
    expect(client.frames.some(({ frame }) => frame.period === period)).toBe(false);
    await world.clock.advance(1000);
    const frame = client.frames.find((each) => each.frame.period === period);
    expect(frame?.truth).toBeGreaterThanOrEqual(releaseAt);
    const grant = grantOf(groupOf(period, keying.schedule));
    const secret = frame?.frame.secret as Uint8Array;
    expect(text((await openResource({ grant, secret, binding: keying }, 'odds.json', sealed))?.content)).toBe('{"home":1.8}');
    const before = client.frames.find((each) => each.frame.period === period - 1)?.frame.secret as Uint8Array;
    expect(await openResource({ grant, secret: before, binding: keying }, 'odds.json', sealed)).toBeUndefined();
    expect(await openResource({ grant: grantOf(1), secret, binding: keying }, 'odds.json', sealed)).toBeUndefined();
    expect(await openResource({ grant, secret, binding: keying }, 'result.json', sealed)).toBeUndefined();
    await edge.edge.stop();
  });

  test('the format reads back, and anything else is bad-request', () => {
    const resource = { period: p(7), type: 'text/plain', iv: new Uint8Array(12).fill(1), sealed: new Uint8Array(20) };
    expect(decodeResource(encodeResource(resource))).toEqual(resource);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
        try {
          decodeResource(bytes);
        } catch (error) {
          expect(isSealcastError(error, 'bad-request')).toBe(true);
        }
      }),
      { seed: 2, numRuns: 1000 },
    );
    for (const name of ['', '../x', 'A', 'x'.repeat(65)]) expect(() => resourceName(name)).toThrow();
    for (const type of ['', 'json', 'text/html\n']) expect(() => resourceType(type)).toThrow();
  });

  test('an instant maps to the first period released at it or after it', async () => {
    const { info } = await createWorld({ keyServers: 1 });
    fc.assert(
      fc.property(fc.integer({ min: 5_000_000, max: 2 ** 50 }), (at) => {
        const period = periodFrom(info, at as Micros);
        expect(releaseInstant(info, period)).toBeGreaterThanOrEqual(at);
        expect(releaseInstant(info, p(period - 1))).toBeLessThan(at);
      }),
      { seed: 4 },
    );
  });
});
