// SPDX-License-Identifier: Apache-2.0
/**
 * Per-viewer variants at the edge, whatever runtime it is in: ETSI TS 104 002 clause 5.7 and docs/wire/media.md, from outside.
 *
 * The origin is any A/B origin: variant paths and pace information, nothing of ours.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { assetId } from '#core/ids.ts';
import { encodeViewerId } from '#core/token/viewer-id.ts';
import { createAlignedBook, markKey, markKeys, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { encodePaceInfo } from '#crypto/pace-cbor.ts';
import { mintAccessToken } from '#crypto/wm-token.ts';
import { type BundleServer, type FakeOrigin, immutable, type OriginHandler, startBundleServer, startOrigin, token } from './edge-environment.ts';
import type { RunningEdge, StartEdge } from './edge-suite.ts';

const SECRET = new Uint8Array(32).fill(0x21);
const VIEWER_KEY = new Uint8Array(32).fill(0x22);
const CWT_KEY = new Uint8Array(32).fill(0x23);
const schedule = startSchedule({ alphabet: 3, viewers: 1_000_000, from: 1000 });
const length = schedule[0]?.length ?? 0;
const book = createAlignedBook({ alphabet: 3, schedule, keys: markKeys(hmacSha256, SECRET) });
const common = {
  sequencing: true,
  representations: ['v720', 'v360'],
  names: 'letters',
  pace: 'number',
  alphabet: 3,
  book: 'aligned',
  schedule,
  keys: [0, 1].map((epoch) => ({ epoch, key: markKey(hmacSha256, SECRET, epoch) })),
  viewerKeys: [{ version: 1, key: VIEWER_KEY }],
} satisfies Omit<MarkPlan, 'asset'>;
const PLANS: MarkPlan[] = [
  { ...common, asset: assetId('cup') },
  { ...common, asset: assetId('off'), sequencing: false },
  { ...common, asset: assetId('other'), pace: 'origin', names: 'digits', alphabet: 2, schedule: startSchedule({ alphabet: 2, viewers: 1_000_000 }) },
];
const NAMES = ['a', 'b', 'c'];
const bodyFor = (variant: string): Uint8Array => new Uint8Array(500).fill(variant.charCodeAt(0));
const variantOf = async (response: Response): Promise<string> => {
  const body = new Uint8Array(await response.arrayBuffer());
  return `${response.status} ${String.fromCharCode(body[0] ?? 0)}`;
};
const refusal = async (response: Response): Promise<[number, unknown]> => [response.status, ((await response.json()) as { code: unknown }).code];

export const edgeSwitchingSuite = (runtime: string, start: StartEdge): void => {
  describe(`variants in ${runtime}`, () => {
    let origin: FakeOrigin;
    let bundles: BundleServer;
    let edge: RunningEdge;

    const wmid = (viewer: number, key = VIEWER_KEY): string => encodeViewerId(hmacSha256, key, viewer);
    const ownToken = (id: string, asset = 'cup', keyVersion = 1): string => token(asset, { mark: { version: 1, vendor: 0, patternLength: 32_768, id, keyVersion } });
    const get = (file: string, text: string, headers: Record<string, string> = {}, asset = 'cup'): Promise<Response> =>
      edge.fetch(`/media/${asset}/${file}`, { headers: { authorization: `Bearer ${text}`, ...headers } });
    const pattern = async (bits: Uint8Array, wmpatlen: number): Promise<string> => {
      const now = Math.floor(Date.now() / 1000);
      return mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key: CWT_KEY }, claims: { exp: now + 100, iat: now - 100, wmver: 1, wmvnd: 7, wmpatlen, wmpattern: bits } });
    };
    const withVariants = (asset: string, file: (variant: string) => string, names: readonly string[]): void => {
      for (const name of names) {
        const handler: OriginHandler = (_request, answer) =>
          void answer
            .writeHead(200, { 'content-type': 'video/mp4', 'content-length': 500, etag: `"made-${name}"`, 'last-modified': `Fri, 0${name.charCodeAt(0) % 8} Jan 2027 00:00:00 GMT`, 'cache-control': 'public, max-age=31536000, immutable', age: String(name.charCodeAt(0)), WMPaceInfoEgress: 'ogEBAoGhBhgh' })
            .end(bodyFor(name));
        origin.on(`${asset}/${file(name)}`, handler);
      }
    };

    beforeAll(async () => {
      origin = await startOrigin();
      bundles = await startBundleServer();
      bundles.update({ marks: PLANS, tokenKeys: [{ format: 'cwt', kid: '', alg: 'HS256', key: CWT_KEY }] });
      for (let number = 1000; number < 1000 + 2 * length; number++) for (const rep of ['v720', 'v360']) withVariants('cup', (name) => `${rep}/${name}/${number}.m4s`, NAMES);
      origin.on('cup/v720/init.mp4', immutable(new Uint8Array([1])));
      origin.on('cup/a-en/1000.m4s', immutable(new Uint8Array([2])));
      edge = await start({ origin, bundles });
    });
    afterAll(async () => {
      await edge.close();
      await bundles.close();
      await origin.close();
    });

    it('B194 every viewer gets the variants of its sequence from a token, over epochs and representations', async () => {
      for (const viewer of [16, 17, 999_999]) {
        const text = ownToken(wmid(viewer));
        for (let number = 1000; number < 1000 + 2 * length; number += 3) {
          const symbol = book.symbol(viewerNumber(viewer), position(number));
          expect(await variantOf(await get(`v720/${number}.m4s`, text)), `${viewer} ${number}`).toBe(`200 ${NAMES[symbol]}`);
          expect(await variantOf(await get(`v360/${number}.m4s`, text))).toBe(`200 ${NAMES[symbol]}`);
        }
      }
    });
    it('parts carry their segment\'s symbol', async () => {
      withVariants('cup', (name) => `v720/${name}/1003.2.m4s`, NAMES);
      const symbol = book.symbol(viewerNumber(20), position(1003));
      expect(await variantOf(await get('v720/1003.2.m4s', ownToken(wmid(20))))).toBe(`200 ${NAMES[symbol]}`);
    });
    it('B199 one fetch per variant serves all who get it; the origin sees variant paths only', async () => {
      const number = 1000 + length;
      for (let viewer = 100; viewer < 130; viewer++) await variantOf(await get(`v720/${number}.m4s`, ownToken(wmid(viewer))));
      for (const name of NAMES) expect(origin.seen(`cup/v720/${name}/${number}.m4s`).length).toBe(1);
      expect(origin.seen(`cup/v720/${number}.m4s`)).toEqual([]);
    });
    it('headers, other tracks and manifests are the same for all', async () => {
      for (const file of ['v720/init.mp4', 'a-en/1000.m4s']) expect((await get(file, ownToken(wmid(30)))).status).toBe(200);
      expect((await get('v720/init.mp4', token('cup'))).status).toBe(200);
    });
    it('nothing but the bytes tells variants apart', async () => {
      const seen = new Map<string, { fields: string; tag: string }>();
      for (let viewer = 200; seen.size < 3; viewer++) {
        const response = await get('v720/1001.m4s', ownToken(wmid(viewer)));
        const fields = [...response.headers].filter(([name]) => name !== 'etag' && name !== 'date');
        seen.set(await variantOf(response), { fields: JSON.stringify(fields), tag: response.headers.get('etag') ?? '' });
        expect(JSON.stringify([...response.headers])).not.toMatch(/made-|wmpaceinfo|last-modified|variant/i);
        expect(response.headers.get('cache-control')).toBe('private, max-age=31536000, immutable, no-transform');
        expect(response.headers.get('age')).toBe('0');
      }
      expect(new Set([...seen.values()].map(({ fields }) => fields)).size).toBe(1);
      expect(new Set([...seen.values()].map(({ tag }) => tag)).size).toBe(3);
    });
    it('entity tags are of one viewer each, stable, and answer 304 to that viewer only', async () => {
      const same = [300, 301, 302, 303, 304, 305, 306].filter((viewer, _index, all) => book.symbol(viewerNumber(viewer), position(1002)) === book.symbol(viewerNumber(all[0] ?? 0), position(1002)));
      const [first = 0, second = 0] = same;
      const tag = (await get('v720/1002.m4s', ownToken(wmid(first)))).headers.get('etag') ?? '';
      expect((await get('v720/1002.m4s', ownToken(wmid(second)))).headers.get('etag')).not.toBe(tag);
      expect((await get('v720/1002.m4s', ownToken(wmid(first)), { 'if-none-match': tag })).status).toBe(304);
      expect((await get('v720/1002.m4s', ownToken(wmid(second)), { 'if-none-match': tag })).status).toBe(200);
      expect((await get('v720/1002.m4s', ownToken(wmid(first)), { 'if-range': tag, range: 'bytes=0-9' })).status).toBe(206);
    });

    it('ranges, HEAD and faults tell variants apart no more than whole answers do', async () => {
      const file = 'v720/1004.m4s';
      const bySymbol = new Map<number, string>();
      for (let viewer = 400; bySymbol.size < 3; viewer++) bySymbol.set(book.symbol(viewerNumber(viewer), position(1005)), ownToken(wmid(viewer)));
      const shapeOf = async (response: Response): Promise<string> => JSON.stringify([response.status, [...response.headers].filter(([name]) => name !== 'etag' && name !== 'date'), (await response.arrayBuffer()).byteLength]);
      for (const init of [{ range: 'bytes=10-19' }, { range: 'bytes=490-' }, { range: 'bytes=900-' }, { range: 'bytes=0-1,5-6' }]) {
        const shapes = await Promise.all([...bySymbol.values()].map(async (text) => shapeOf(await get('v720/1005.m4s', text, init))));
        expect(new Set(shapes).size, JSON.stringify(init)).toBe(1);
      }
      const heads = await Promise.all([...bySymbol.values()].map(async (text) => shapeOf(await edge.fetch('/media/cup/v720/1005.m4s', { method: 'HEAD', headers: { authorization: `Bearer ${text}` } }))));
      expect(new Set(heads).size).toBe(1);
      for (const name of NAMES) origin.on(`cup/v720/${name}/1004.m4s`, (_request, answer) => void answer.writeHead(404, { 'x-missing': name }).end(name));
      const faults = await Promise.all([...bySymbol.values()].map(async (text) => (await get(file, text)).text()));
      expect(new Set(faults).size).toBe(1);
      expect(faults[0]).not.toMatch(/"[abc]"|\/[abc]\//);
    });

    it.each<[string, () => Promise<Response>, number, string]>([
      ['no token', () => edge.fetch('/media/cup/v720/1000.m4s'), 401, 'token-missing'],
      ['a token without a mark', () => get('v720/1000.m4s', token('cup')), 401, 'token-invalid'],
      ['an id of another event', () => get('v720/1000.m4s', ownToken(wmid(16, new Uint8Array(32)))), 401, 'token-invalid'],
      ['an id of an unknown key version', () => get('v720/1000.m4s', ownToken(wmid(16), 'cup', 9)), 401, 'token-invalid'],
      ['an epoch whose key is not here', () => get(`v720/${1000 + 2 * length}.m4s`, ownToken(wmid(16))), 503, 'key-unavailable'],
      ['a position before the schedule', () => get('v720/7.m4s', ownToken(wmid(16))), 503, 'key-unavailable'],
      ['a variant by its own name', () => get('v720/b/1000.m4s', ownToken(wmid(16))), 404, 'not-found'],
      ['pace information', () => get('v720/WMPaceInfo/1000.m4s', ownToken(wmid(16))), 403, 'forbidden'],
    ])('B195 %s: refused, and never a default', async (_name, ask, status, code) => {
      expect(await refusal(await ask())).toEqual([status, code]);
    });
    it('with sequencing off the first variant is for everybody with a marked token', async () => {
      withVariants('off', (name) => `v720/${name}/1000.m4s`, NAMES);
      for (const viewer of [16, 17, 18]) expect(await variantOf(await get('v720/1000.m4s', ownToken(wmid(viewer), 'off'), {}, 'off'))).toBe('200 a');
      expect(await refusal(await get('v720/1000.m4s', token('off'), {}, 'off'))).toEqual([401, 'token-invalid']);
    });

    describe('B201 at another maker\'s pace, A/B with the same token', () => {
      const pace = (file: string, body: Uint8Array): void => origin.on(`other/v720/WMPaceInfo/${file}`, immutable(body, 'application/cbor'));
      const ask = (file: string, text: string, headers: Record<string, string> = {}): Promise<Response> => get(`v720/${file}`, text, headers, 'other');
      // Bits 0 0 0 0 1 0 1 0 ...
      const bits = Uint8Array.of(10, 11, 12, 13);

      it('a bit of the pattern picks the variant, most significant first, starting over behind the last', async () => {
        const text = await pattern(bits, 32);
        for (const [number, at, name] of [[1, 0, '0'], [2, 4, '1'], [3, 5, '0'], [4, 6, '1'], [5, 36, '1'], [6, 32_767, '1']] as const) {
          withVariants('other', (variant) => `v720/${variant}/${number}.m4s`, ['0', '1']);
          pace(`${number}.m4s`, encodePaceInfo({ kind: 'discrete', position: at }));
          expect(await variantOf(await ask(`${number}.m4s`, text)), String(at)).toBe(`200 ${name}`);
        }
        expect(origin.seen('other/v720/WMPaceInfo/1.m4s')).toHaveLength(1);
        await variantOf(await ask('1.m4s', text));
        expect(origin.seen('other/v720/WMPaceInfo/1.m4s')).toHaveLength(1);
      });
      it('position -1 is not watermarked: the first variant', async () => {
        withVariants('other', (variant) => `v720/${variant}/10.m4s`, ['0']);
        pace('10.m4s', new Uint8Array(Buffer.from('ogEBAoGhBiA', 'base64url')));
        expect(await variantOf(await ask('10.m4s', await pattern(Uint8Array.of(255), 8)))).toBe('200 0');
      });
      it('no pace information, or none that can be read: 400', async () => {
        const text = await pattern(bits, 32);
        expect(await refusal(await ask('11.m4s', text))).toEqual([400, 'bad-request']);
        pace('12.m4s', Uint8Array.of(0xa0));
        expect(await refusal(await ask('12.m4s', text))).toEqual([400, 'bad-request']);
      });
      it('a token without a mark is refused before the pace is looked up', async () => {
        expect(await refusal(await ask('13.m4s', token('other')))).toEqual([401, 'token-invalid']);
        expect(origin.seen('other/v720/WMPaceInfo/13.m4s')).toEqual([]);
      });
      it('byte ranges are served inside one position; across two: 400', async () => {
        withVariants('other', (variant) => `v720/${variant}/20.m4s`, ['0', '1']);
        pace('20.m4s', encodePaceInfo({ kind: 'byterange', fileSize: 500, ranges: [{ start: 0, position: -1 }, { start: 100, position: 4 }, { start: 200, position: 5 }, { start: 300, position: 7 }] }));
        const text = await pattern(bits, 32);
        expect(await variantOf(await ask('20.m4s', text, { range: 'bytes=0-99' }))).toBe('206 0');
        expect(await variantOf(await ask('20.m4s', text, { range: 'bytes=100-199' }))).toBe('206 1');
        expect(await variantOf(await ask('20.m4s', text, { range: 'bytes=200-250' }))).toBe('206 0');
        for (const range of ['bytes=150-250', 'bytes=0-', 'bytes=99-100']) expect(await refusal(await ask('20.m4s', text, { range })), range).toEqual([400, 'bad-request']);
        expect(await refusal(await ask('20.m4s', text))).toEqual([400, 'bad-request']);
      });
      it('an origin that is down is no reason for a default', async () => {
        origin.on('other/v720/WMPaceInfo/30.m4s', (_request, answer) => void answer.writeHead(500).end());
        expect(await refusal(await ask('30.m4s', await pattern(bits, 32)))).toEqual([502, 'origin-unavailable']);
      });
    });
  });
};
