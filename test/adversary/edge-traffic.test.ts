// SPDX-License-Identifier: Apache-2.0
/** What edges in other processes say they fetched: signed, bounded, and on the operators' board beside the edge of this process. */
import { describe, expect, it } from 'vitest';
import type { EdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import { assetId } from '#core/ids.ts';
import type { Millis } from '#core/time.ts';
import { makeKeyPair } from '#crypto/jose.ts';
import { createBundleClient } from '#edge/bundle-client.ts';
import { createTrafficBoard } from '#entry/edge-traffic.ts';
import type { EnrolledEdge } from '#license-server/index.ts';
import { createWorld } from './license-world.ts';

const row = (asset: string, variants: number): EdgeTraffic => ({ asset: assetId(asset), segments: 1_000_000, variants, bytes: 5e12, plainBytes: 1e12 });

const sceneOf = async () => {
  const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
  const enrolled: EnrolledEdge = { edge: 'ams', sign: sign.publicJwk, agree: agree.publicJwk, zone: 0, renews: false };
  const board = createTrafficBoard(() => world.clock.now());
  const world = await createWorld({ edges: (id) => (id === 'ams' ? enrolled : undefined), onTraffic: board.heard });
  let drawn = 0;
  const client = createBundleClient({
    server: 'https://license.example', edge: 'ams', signKey: sign.privateJwk, agreeKey: agree.privateJwk,
    fetch: (request) => world.licenses.handler(request), clock: world.clock,
    random: { bytes: (length) => new Uint8Array(length).fill(drawn++) },
  });
  const ask = (traffic: readonly EdgeTraffic[]) => client({ version: 0, wait: 0 as Millis, signal: new AbortController().signal, traffic });
  return { board, ask, world };
};

describe('traffic of edges', () => {
  it('reaches the board with the request for the bundle; a newer report takes the place of the one before', async () => {
    const { board, ask, world } = await sceneOf();
    expect(await ask([row('cup', 1_003_000)])).toMatchObject({ edge: 'ams' });
    expect(board.rows()).toEqual([{ edge: 'ams', ...row('cup', 1_003_000), heardAt: world.clock.now() }]);
    // Sixteen assets with long names and long numbers fit into the field.
    const many = Array.from({ length: 16 }, (_, index) => row(`${'a-very-long-name-of-an-event-'.slice(0, 30)}${index}`, 5_000_000 - index));
    await ask(many);
    board.setLocal('here', () => [row('film', 2_000_000)]);
    expect(board.rows().map(({ edge, asset }) => `${edge} ${asset}`)).toEqual(['here film', ...many.map(({ asset }) => `ams ${asset}`)]);
  });
  it('that cannot be is refused and not taken', async () => {
    const { board, ask } = await sceneOf();
    await expect(ask([row('cup', 1)])).rejects.toMatchObject({ code: 'key-unavailable' });
    await expect(ask(Array.from({ length: 17 }, () => row('cup', 2_000_000)))).rejects.toMatchObject({ code: 'key-unavailable' });
    expect(board.rows()).toEqual([]);
  });
});
