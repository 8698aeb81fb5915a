// SPDX-License-Identifier: Apache-2.0
/** Inner delivery at the edge, whatever runtime it is in: shared copies as the bundle says, and what was fetched in the next request for it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { assetId } from '#core/ids.ts';
import { encodeViewerId } from '#core/token/viewer-id.ts';
import { createBiasedBook, createPrefixBook, edgeCopy, markKey, markKeys, planBlocks, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { type BundleServer, type FakeOrigin, immutable, startBundleServer, startOrigin, token } from './edge-environment.ts';
import type { RunningEdge, StartEdge } from './edge-suite.ts';

const SECRET = new Uint8Array(32).fill(0x31);
const VIEWER_KEY = new Uint8Array(32).fill(0x32);
const FIRST = 1000;
const prefix = planBlocks({ alphabet: 3, edges: [{ edge: 0, viewers: 25 }, { edge: 1, viewers: 25 }, { edge: 2, viewers: 200 }], from: FIRST });
const schedule = startSchedule({ alphabet: 3, viewers: 1_000_000, from: FIRST });
const common = { sequencing: true, representations: ['v720'], names: 'letters', pace: 'number', alphabet: 3, viewerKeys: [{ version: 1, key: VIEWER_KEY }] } satisfies Partial<MarkPlan>;
const keysFrom = (count: number) => Array.from({ length: count }, (_, epoch) => ({ epoch, key: markKey(hmacSha256, SECRET, epoch) }));
const EDGE = 4;
const PLANS: MarkPlan[] = [
  { ...common, asset: assetId('blocks'), book: 'aligned', schedule: [{ from: prefix.from, length: prefix.length }], keys: keysFrom(8), delivery: { kind: 'prefix', blocks: prefix.blocks } },
  { ...common, asset: assetId('phases'), book: 'biased-uniform', schedule, keys: keysFrom(3), delivery: { kind: 'two-phase', edge: EDGE, switched: [{ edge: 3, from: position(0) }, { edge: EDGE, from: position(FIRST + 8), until: position(FIRST + 12) }] } },
];

export const edgeDeliverySuite = (runtime: string, start: StartEdge): void => {
  describe(`inner delivery in ${runtime}`, () => {
    let origin: FakeOrigin;
    let bundles: BundleServer;
    let edge: RunningEdge;
    beforeAll(async () => {
      origin = await startOrigin();
      bundles = await startBundleServer();
      bundles.update({ marks: PLANS });
      for (const asset of ['blocks', 'phases']) {
        for (let number = FIRST; number < FIRST + 20; number++) for (const name of ['a', 'b', 'c']) origin.on(`${asset}/v720/${name}/${number}.m4s`, immutable(new Uint8Array(100).fill(name.charCodeAt(0))));
      }
      edge = await start({ origin, bundles });
    });
    afterAll(async () => {
      await edge.close();
      await bundles.close();
      await origin.close();
    });

    const symbol = async (asset: string, viewer: number, number: number): Promise<number> => {
      const id = encodeViewerId(hmacSha256, VIEWER_KEY, viewer);
      const response = await edge.fetch(`/media/${asset}/v720/${number}.m4s`, { headers: { authorization: `Bearer ${token(asset, { mark: { version: 1, vendor: 0, patternLength: 32_768, id, keyVersion: 1 } })}` } });
      return response.status === 200 ? (new Uint8Array(await response.arrayBuffer())[0] ?? 0) - 97 : -response.status;
    };

    it('prefix: viewers of a block share the leading symbols of an epoch, and have the book\'s at all positions', async () => {
      const book = createPrefixBook(prefix, markKeys(hmacSha256, SECRET));
      const block = prefix.blocks.find((item) => item.edge === 1);
      const viewers = [0, 7, 26].map((own) => (block?.first ?? 0) + own);
      for (let number = FIRST; number < FIRST + 12; number++) {
        const got = await Promise.all(viewers.map((viewer) => symbol('blocks', viewer, number)));
        expect(got).toEqual(viewers.map((viewer) => book.symbol(viewerNumber(viewer), position(number))));
        if (!book.ownDigit(viewerNumber(viewers[0] as number), position(number))) expect(new Set(got).size).toBe(1);
      }
      expect(await symbol('blocks', 3 ** prefix.length, FIRST)).toBe(-503);
    });
    it('two phases: the edge\'s own copy, but for the positions it is switched at', async () => {
      const book = createBiasedBook({ alphabet: 3, bias: 'uniform', schedule, keys: markKeys(hmacSha256, SECRET) });
      for (let number = FIRST; number < FIRST + 20; number++) {
        const own = number >= FIRST + 8 && number < FIRST + 12;
        for (const viewer of [16, 17, 18, 400]) expect(await symbol('phases', viewer, number), `${number}`).toBe(book.symbol(own ? viewerNumber(viewer) : edgeCopy(EDGE), position(number)));
      }
    });
    it('what was fetched is told with the next request for the bundle', async () => {
      await symbol('phases', 16, FIRST);
      bundles.update({});
      const told = (): { asset: string; segments: number; variants: number }[] => (bundles.traffic ?? []) as { asset: string; segments: number; variants: number }[];
      // A worker asks after answering; any request makes it do so.
      for (let tries = 0; tries < 200 && told().find(({ asset }) => asset === 'phases')?.segments !== 20; tries++) {
        await symbol('phases', 16, FIRST);
        await new Promise((wake) => setTimeout(wake, 50));
      }
      const row = told().find(({ asset }) => asset === 'phases');
      expect(row).toMatchObject({ segments: 20, bytes: 100 * (row?.variants ?? 0), plainBytes: 2000 });
      expect(row?.variants).toBeLessThanOrEqual(20 + 4 * 2);
      expect(told().find(({ asset }) => asset === 'blocks')?.segments).toBe(12);
    });
  });
};
