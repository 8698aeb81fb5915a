// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it } from 'vitest';
import { createHttpKeys } from '#adapters/http/keys.ts';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { grantKey, leafWrapKey } from '#core/keys/ladder.ts';
import { createUnlocker } from '#core/keys/unlock.ts';
import { type Leaf, leafTagMatches, parseLeaf } from '#core/subscription/leaf.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Clock, LeafKeySource, LeafOrder } from '#ports';
import { hashCredential } from './handler.ts';
import { createKeyServer, type KeyServer } from './key-server.ts';

const schedule = { period: 30_000_000 as Micros, periodsPerGroup: 1 };
const film = assetId('film');
const account = sha256(new TextEncoder().encode('someone'));
const MONTH = 12 * 2026;
const BOTH = ['play', 'download'] as const;
const order = (asset: AssetId = film, under: LeafOrder['under'] = [{ collection: 'films', scope: 'account', month: MONTH, actions: BOTH }]): LeafOrder => ({ asset, duration: 90_000_000 as Micros, under });

let server: KeyServer;
let remote: LeafKeySource;
let counter = 0;

beforeEach(async () => {
  counter = 0;
  const secrets = new Map<string, Uint8Array>();
  server = createKeyServer({
    store: createMemoryStores().assetKeys,
    box: createSecretBox(new Uint8Array(32).fill(1)),
    random: { bytes: (length) => new Uint8Array(length).map(() => (counter = (counter * 73 + 41) % 256)) },
    clock: { now: () => 1_800_000_000_000_000 as Micros } as Clock,
    credentials: [{ role: 'license-server', tokenHash: hashCredential('right') }, { role: 'packager', tokenHash: hashCredential('packager') }],
    releaseSecret: async () => new Uint8Array(16).fill(7),
    roots: {
      wrapper: nodeKeyWrapper,
      async secret(collection) {
        const secret = secrets.get(collection) ?? sha256(new TextEncoder().encode(`secret of ${collection}`));
        secrets.set(collection, secret);
        return secret;
      },
    },
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    events: () => undefined,
    metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
  });
  remote = createHttpKeys({ baseUrl: 'http://keys', credential: 'right', fetch: (request) => server.handler(request) });
  await server.createAsset({ asset: film, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule });
  await server.createAsset({ asset: assetId('race'), kind: 'event', scheme: 'cenc', mode: 'timed', schedule });
});

/** TK of a leaf as a client gets it: by the nodes of a root. */
const open = async (source: LeafKeySource, text: string, months: { from: number; to: number }, index = 0): Promise<Uint8Array | undefined> => {
  const leaf: Leaf = parseLeaf(text);
  const wrap = leaf.wraps[index] as Leaf['wraps'][number];
  const unlocker = createUnlocker(ladderHash);
  unlocker.add(await source.rootNodes({ collection: wrap.collection, scope: wrap.scope, account, ...months }));
  const key = unlocker.unlockKey(wrap.month);
  if (key === undefined || !leafTagMatches(ladderHash, key, leaf, wrap)) return undefined;
  return nodeKeyWrapper.unwrap(leafWrapKey(ladderHash, key, leaf.title, leaf.gen), wrap.wrap);
};

describe('leaves', () => {
  it('B116: open with the root of their collection and month, and give the keys that licences give', async () => {
    for (const source of [server, remote]) {
      const [text] = await source.leaves({ account, orders: [order()] });
      const titleKey = await open(source, text as string, { from: MONTH, to: MONTH + 1 });
      const [grant] = await server.grantKeys({ asset: film, from: 2 as GrantGroup, to: 3 as GrantGroup });
      expect(grantKey(ladderHash, titleKey as Uint8Array, film, 1, 2)).toEqual(grant?.key);
    }
  });

  it('B117: a lapsed plan opens no later month, another account nothing', async () => {
    const [text] = await server.leaves({ account, orders: [order()] });
    expect(await open(server, text as string, { from: MONTH - 12, to: MONTH })).toBeUndefined();
    expect(await open(server, text as string, { from: MONTH + 1, to: MONTH + 12 })).toBeUndefined();
    const others = await server.leaves({ account: sha256(new Uint8Array(1)), orders: [order()] });
    expect(await open(server, others[0] as string, { from: MONTH, to: MONTH + 1 })).toBeUndefined();
  });

  it('B118: asked again they are the same bytes; B121: nobody has to exist for the shared ones', async () => {
    const shared = order(film, [{ collection: 'catalogue', scope: 'shared', month: MONTH, actions: BOTH }]);
    const nobody = new Uint8Array(32);
    expect(await server.leaves({ account, orders: [order(), shared] })).toEqual(await remote.leaves({ account, orders: [order(), shared] }));
    expect(await server.leaves({ account: nobody, orders: [shared] })).toEqual(await server.leaves({ account, orders: [shared] }));
  });

  it('B122: a leaf under two roots opens with either', async () => {
    const [text] = await server.leaves({ account, orders: [order(film, [{ collection: 'films', scope: 'account', month: MONTH, actions: BOTH }, { collection: 'sports', scope: 'shared', month: MONTH + 5, actions: ['play'] }])] });
    const one = await open(server, text as string, { from: MONTH, to: MONTH + 1 });
    expect(one).toHaveLength(32);
    expect(await open(server, text as string, { from: MONTH + 5, to: MONTH + 6 }, 1)).toEqual(one);
  });

  it('are not made for timed events, nor for what nobody packed', async () => {
    expect(await remote.leaves({ account, orders: [order(assetId('race')), order(assetId('nothing')), order()] })).toEqual([undefined, undefined, expect.stringContaining('"film"')]);
  });

  it('are refused to packagers, and bodies are read strictly', async () => {
    const packager = createHttpKeys({ baseUrl: 'http://keys', credential: 'packager', fetch: (request) => server.handler(request) });
    await expect(packager.leaves({ account, orders: [order()] })).rejects.toMatchObject({ code: 'forbidden' });
    for (const body of ['{}', '{"account":"x","orders":[]}', JSON.stringify({ account: 'A'.repeat(43), orders: [{ ...order(), under: [{ collection: '../x', scope: 'account', month: MONTH }] }] })]) {
      const response = await server.handler(new Request('http://keys/v1/keys/-/leaves', { method: 'POST', headers: { authorization: 'Bearer right' }, body }));
      expect(response.status).toBe(400);
    }
  });
});
