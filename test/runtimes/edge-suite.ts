// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge does, whatever runtime it is in: docs/wire/media.md and docs/wire/edge-bundle.md, seen from outside.
 *
 * Each runtime starts its edge on the same environment and runs this suite unchanged.
 * Length: one contract in one place; cut in two, a runtime could pass half of it.
 */
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { type BundleServer, type FakeOrigin, immutable, MEDIA_TOKEN_KEY, SESSION, startBundleServer, startOrigin, token, wallClock } from './edge-environment.ts';

export type RunningEdge = {
  /** `path` from `/`, as a client on the network would ask. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
};
export type StartEdge = (environment: { origin: FakeOrigin; bundles: BundleServer }) => Promise<RunningEdge>;

const bytesOf = (length: number, seed = 1): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff);
const bodyOf = async (response: Response): Promise<Uint8Array> => new Uint8Array(await response.arrayBuffer());
const codeOf = async (response: Response): Promise<unknown> => ((await response.json()) as { code?: unknown }).code;
const anAnswer = (): { promise: Promise<ServerResponse>; resolve: (answer: ServerResponse) => void } => Promise.withResolvers<ServerResponse>();

/** Reads until `length` bytes are there. */
const readUpTo = async (reader: ReadableStreamDefaultReader<Uint8Array>, length: number): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let got = 0;
  while (got < length) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    got += value.length;
  }
  return new Uint8Array(Buffer.concat(parts));
};

/** What a runtime cannot do, asserted so that we notice when it can. */
export type RuntimeLimits = {
  /** The answer of a stream that failed looks whole to the client, if its length was not announced. */
  readonly endsBrokenChunksCleanly: boolean;
};

export const edgeSuite = (runtime: string, start: StartEdge, limits: RuntimeLimits): void => {
  describe(`edge in ${runtime}`, () => {
    let origin: FakeOrigin;
    let bundles: BundleServer;
    let edge: RunningEdge;
    const segment = bytesOf(200_000);
    const authorized = (asset = 'cup'): { headers: Record<string, string> } => ({ headers: { authorization: `Bearer ${token(asset)}` } });
    const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Response> =>
      edge.fetch(`/media/cup/${path}`, { method, headers: { ...authorized().headers, ...headers } });

    beforeAll(async () => {
      origin = await startOrigin();
      bundles = await startBundleServer();
      origin.on('cup/v720/1.m4s', immutable(segment));
      edge = await start({ origin, bundles });
    });
    afterAll(async () => {
      await edge.close();
      await Promise.all([origin.close(), bundles.close()]);
    });

    describe('tokens', () => {
      const carriages: [string, (text: string, asset?: string) => Promise<Response>][] = [
        ['path', (text, asset = 'cup') => edge.fetch(`/media/${text}/${asset}/v720/1.m4s`)],
        ['query', (text, asset = 'cup') => edge.fetch(`/media/${asset}/v720/1.m4s?token=${encodeURIComponent(text)}`)],
        ['header', (text, asset = 'cup') => edge.fetch(`/media/${asset}/v720/1.m4s`, { headers: { authorization: `Bearer ${text}` } })],
      ];
      const none = btoa(JSON.stringify({ alg: 'none', typ: 'media+jwt', kid: '7.3' })).replaceAll('=', '');

      it.each(carriages)('a good one in the %s opens the media', async (_name, ask) => {
        const response = await ask(token('cup'));
        expect(response.status).toBe(200);
        expect(await bodyOf(response)).toEqual(segment);
      });

      describe.each(carriages)('in the %s', (_name, ask) => {
        const past = (seconds: number): Micros => (wallClock() - microsFromSeconds(seconds)) as Micros;
        it.each<[string, () => string, number, string]>([
          ['expired', () => token('cup', { issuedAt: past(100), expiresAt: past(10) }), 401, 'token-expired'],
          ['signed with another key', () => token('cup', {}, new Uint8Array(32)), 401, 'token-invalid'],
          ['of an unknown epoch', () => token('cup', {}, MEDIA_TOKEN_KEY, 99), 401, 'token-invalid'],
          ['changed after signing', () => token('cup').replace(/\.[^.]+\./, (part) => `${part.slice(0, -2)}.`), 401, 'token-invalid'],
          ['without a signature (alg none)', () => `${none}.${token('cup').split('.')[1]}.`, 401, 'token-invalid'],
          ['of no form at all', () => 'a.b.c', 401, 'token-invalid'],
          ['huge', () => `${'a'.repeat(2500)}.${'b'.repeat(2500)}.c`, 401, 'token-invalid'],
        ])('%s: refused', async (_kind, make, status, code) => {
          const response = await ask(make());
          expect(response.status).toBe(status);
          expect(response.headers.get('content-type')).toBe('application/problem+json');
          expect(response.headers.get('cache-control')).toBe('no-store');
          expect(response.headers.get('access-control-allow-origin')).toBe('*');
          expect(response.headers.get('www-authenticate')).toContain('Bearer');
          expect(await codeOf(response)).toBe(code);
        });
        it('for another asset: 403', async () => {
          const response = await ask(token('other'));
          expect([response.status, await codeOf(response)]).toEqual([403, 'token-wrong-asset']);
        });
      });

      it('none at all: 401 token-missing, and the origin is not asked', async () => {
        const response = await edge.fetch('/media/cup/v720/777.m4s');
        expect([response.status, await codeOf(response)]).toEqual([401, 'token-missing']);
        expect(origin.seen('cup/v720/777.m4s')).toHaveLength(0);
      });
      it('never reach the origin', async () => {
        origin.on('cup/v720/2.m4s', immutable(bytesOf(10)));
        const text = token('cup');
        await bodyOf(await edge.fetch(`/media/${text}/cup/v720/2.m4s?token=${text}&CMCD=br%3D1`, { headers: { authorization: `Bearer ${text}`, cookie: 'a=b' } }));
        const [request] = origin.seen('cup/v720/2.m4s');
        expect(request?.url).toBe('/origin/cup/v720/2.m4s');
        expect(request?.rawHeaders.join('\n')).not.toContain(text);
        expect(request?.headers.cookie).toBeUndefined();
      });
      it('of a revoked session are refused as soon as the bundle says so', async () => {
        const session = sessionId('BwMP_wIDBAUGBwgJCgsMDQ4P');
        const ask = (): Promise<Response> => edge.fetch('/media/cup/v720/1.m4s', { headers: { authorization: `Bearer ${token('cup', { session })}` } });
        expect((await ask()).status).toBe(200);
        bundles.update({ revokedSessions: [{ session, until: (wallClock() + microsFromSeconds(60)) as Micros, reason: 'ended' }] });
        let response = await ask();
        while (response.status === 200) {
          await bodyOf(response);
          response = await ask();
        }
        expect([response.status, await codeOf(response)]).toEqual([403, 'session-ended']);
        const other = await edge.fetch('/media/cup/v720/1.m4s', { headers: { authorization: `Bearer ${token('cup', { session: SESSION })}` } });
        expect(other.status).toBe(200);
        await bodyOf(other);
      });
    });

    describe('addresses', () => {
      it.each([
        'cup/../cup/v720/1.m4s',
        'cup/%2e%2e/secret',
        'cup/v720%2f1.m4s',
        'cup//v720/1.m4s',
        'cup/v720/01.m4s',
        'cup/v720/1.m4s/',
        'cup/v720/-1.m4s',
        'cup/v720/1.2.3.m4s',
        'cup/V720/1.m4s',
        'cup/v720/1.mp4',
        'cup/etc/passwd',
        'cup',
        '',
      ])('%s is not one', async (path) => {
        const response = await edge.fetch(`/media/${token('cup')}/${path}`);
        // A client may normalise dots and slashes before it asks; what remains must still not be an unchecked address.
        expect([200, 404]).toContain(response.status);
        if (response.status === 200) expect(await bodyOf(response)).toEqual(segment);
        else expect(await codeOf(response)).toBe('not-found');
      });
      it('a playlist query of the wrong form is refused', async () => {
        for (const query of ['keyformat=widevine', '_HLS_msn=-1', '_HLS_msn=1e9', '_HLS_msn=1&_HLS_part=x']) {
          expect((await get(`v720/playlist.m3u8?${query}`)).status).toBe(400);
        }
      });
      it('other methods are refused', async () => {
        const response = await get('v720/1.m4s', {}, 'POST');
        expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
        await response.body?.cancel();
      });
    });

    describe('header fields', () => {
      it('of a segment', async () => {
        await bodyOf(await get('v720/1.m4s'));
        const response = await get('v720/1.m4s');
        const fields = Object.fromEntries(response.headers);
        expect(fields).toMatchObject({
          'access-control-allow-origin': '*',
          'access-control-expose-headers': 'Date, Content-Length, Content-Range, ETag, CTA-Common-Access-Token',
          'timing-allow-origin': '*',
          'x-content-type-options': 'nosniff',
          'referrer-policy': 'no-referrer',
          'content-type': 'video/mp4',
          'content-length': '200000',
          'accept-ranges': 'bytes',
          'cache-control': 'private, max-age=31536000, immutable',
          etag: '"v1"',
        });
        expect(Date.parse(fields['date'] ?? '')).toBeGreaterThan(Date.now() - 5000);
        expect(fields['age']).toMatch(/^[0-9]+$/);
        await response.body?.cancel();
      });
      it('of a preflight, which needs no token', async () => {
        const response = await edge.fetch('/media/cup/v720/1.m4s', {
          method: 'OPTIONS',
          headers: { origin: 'https://player.example', 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,range,cmcd-request' },
        });
        expect(response.status).toBe(204);
        const allowed = (response.headers.get('access-control-allow-headers') ?? '').toLowerCase();
        for (const name of ['authorization', 'range', 'cmcd-object', 'cmcd-request', 'cmcd-session', 'cmcd-status']) expect(allowed).toContain(name);
        expect(response.headers.get('access-control-allow-methods')).toBe('GET, HEAD, OPTIONS');
        expect(response.headers.get('access-control-allow-origin')).toBe('*');
      });
      it('of HEAD are those of GET, without a body', async () => {
        await bodyOf(await get('v720/1.m4s'));
        const response = await get('v720/1.m4s', {}, 'HEAD');
        expect(response.status).toBe(200);
        expect(response.headers.get('content-length')).toBe('200000');
        expect((await bodyOf(response)).length).toBe(0);
      });
    });

    describe('ranges and validators', () => {
      it.each<[string, number, number]>([
        ['bytes=0-0', 0, 1],
        ['bytes=100-199', 100, 200],
        ['bytes=199990-', 199_990, 200_000],
        ['bytes=-10', 199_990, 200_000],
        ['bytes=199990-999999', 199_990, 200_000],
        ['bytes=-999999', 0, 200_000],
      ])('%s', async (range, from, to) => {
        const response = await get('v720/1.m4s', { range });
        expect(response.status).toBe(206);
        expect(response.headers.get('content-range')).toBe(`bytes ${from}-${to - 1}/200000`);
        expect(await bodyOf(response)).toEqual(segment.slice(from, to));
      });
      it.each(['bytes=0-1,5-6', 'items=0-1', 'bytes=9-1', 'bytes=x-', 'bytes=-'])('%s is ignored', async (range) => {
        const response = await get('v720/1.m4s', { range });
        expect(response.status).toBe(200);
        expect((await bodyOf(response)).length).toBe(200_000);
      });
      it.each(['bytes=200000-', 'bytes=-0'])('%s cannot be satisfied', async (range) => {
        const response = await get('v720/1.m4s', { range });
        expect([response.status, response.headers.get('content-range'), await codeOf(response)]).toEqual([416, 'bytes */200000', 'range-not-satisfiable']);
      });
      it('If-Range decides between part and whole', async () => {
        const status = async (ifRange: string): Promise<number> => {
          const response = await get('v720/1.m4s', { range: 'bytes=0-9', 'if-range': ifRange });
          await bodyOf(response);
          return response.status;
        };
        expect(await status('"v1"')).toBe(206);
        expect(await status('"v0"')).toBe(200);
        expect(await status('W/"v1"')).toBe(200);
        expect(await status('Wed, 21 Oct 2015 07:28:00 GMT')).toBe(200);
      });
      it('If-None-Match answers 304', async () => {
        for (const tag of ['"v1"', 'W/"v1"', '"a", "v1"', '*']) {
          const response = await get('v720/1.m4s', { 'if-none-match': tag });
          expect([response.status, response.headers.get('etag')]).toEqual([304, '"v1"']);
        }
        const other = await get('v720/1.m4s', { 'if-none-match': '"v2"' });
        expect(other.status).toBe(200);
        await bodyOf(other);
      });
      it('a range of an object still unknown is cut from its first fetch', async () => {
        origin.on('cup/v720/3.m4s', immutable(segment));
        const response = await get('v720/3.m4s', { range: 'bytes=1000-1999' });
        expect(response.status).toBe(206);
        expect(await bodyOf(response)).toEqual(segment.slice(1000, 2000));
        expect(origin.seen('cup/v720/3.m4s')[0]?.headers.range).toBeUndefined();
      });
    });

    describe('cache', () => {
      it('asks the origin once for an immutable object, however many ask at once', async () => {
        const held = anAnswer();
        origin.on('cup/v720/10.m4s', (_request, answer) => held.resolve(answer));
        const asking = Array.from({ length: 8 }, () => get('v720/10.m4s').then(bodyOf));
        const answer = await held.promise;
        // All eight are on their way before the origin says a word, or join later; none may ask again.
        immutable(segment)(answer.req, answer);
        for (const body of await Promise.all(asking)) expect(body).toEqual(segment);
        expect(await bodyOf(await get('v720/10.m4s'))).toEqual(segment);
        expect(origin.seen('cup/v720/10.m4s')).toHaveLength(1);
      });
      it('hands bytes on while they come, to all readers, also to those who join late', async () => {
        const held = anAnswer();
        origin.on('cup/v720/11.m4s', (_request, answer) => held.resolve(answer));
        const first = get('v720/11.m4s');
        const answer = await held.promise;
        answer.writeHead(200, { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable' });
        answer.write(segment.slice(0, 1000));
        const early = ((await first).body as ReadableStream<Uint8Array>).getReader();
        // The origin has not finished: these bytes can only have come through while the object was being made.
        expect(await readUpTo(early, 1000)).toEqual(segment.slice(0, 1000));
        const late = ((await get('v720/11.m4s')).body as ReadableStream<Uint8Array>).getReader();
        expect(await readUpTo(late, 1000)).toEqual(segment.slice(0, 1000));
        answer.write(segment.slice(1000, 3000));
        expect(await readUpTo(early, 2000)).toEqual(segment.slice(1000, 3000));
        answer.end(segment.slice(3000));
        expect(await readUpTo(late, segment.length)).toEqual(segment.slice(1000));
        expect(await readUpTo(early, segment.length)).toEqual(segment.slice(3000));
        expect(await bodyOf(await get('v720/11.m4s'))).toEqual(segment);
        expect(origin.seen('cup/v720/11.m4s')).toHaveLength(1);
      });
      it('keeps fetching for the others when the first client leaves', async () => {
        const held = anAnswer();
        origin.on('cup/v720/12.m4s', (_request, answer) => held.resolve(answer));
        const leaving = new AbortController();
        const first = edge.fetch('/media/cup/v720/12.m4s', { ...authorized(), signal: leaving.signal });
        const answer = await held.promise;
        answer.writeHead(200, { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable' });
        answer.write(segment.slice(0, 1000));
        const firstReader = ((await first).body as ReadableStream<Uint8Array>).getReader();
        await readUpTo(firstReader, 1000);
        const second = ((await get('v720/12.m4s')).body as ReadableStream<Uint8Array>).getReader();
        expect(await readUpTo(second, 1000)).toEqual(segment.slice(0, 1000));
        leaving.abort();
        await expect(firstReader.read()).rejects.toThrow();
        answer.end(segment.slice(1000));
        expect(await readUpTo(second, segment.length)).toEqual(segment.slice(1000));
        expect(origin.seen('cup/v720/12.m4s')).toHaveLength(1);
      });
      it('keeps nothing the origin calls no-store, private or names no lifetime for', async () => {
        for (const [name, cacheControl] of [['a', 'no-store'], ['b', 'private, max-age=60'], ['c', undefined], ['d', 'max-age=0'], ['e', 'no-cache, max-age=60']]) {
          const key = `cup/${name}/playlist.m3u8`;
          let count = 0;
          origin.on(key, (_request, answer) => {
            count += 1;
            answer.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl', ...(cacheControl !== undefined && { 'cache-control': cacheControl }) }).end(`${count}`);
          });
          expect(await (await get(`${name}/playlist.m3u8`)).text()).toBe('1');
          expect(await (await get(`${name}/playlist.m3u8`)).text()).toBe('2');
        }
      });
      it('revalidates what has aged, and believes a 304', async () => {
        let count = 0;
        origin.on('cup/manifest.mpd', (request, answer) => {
          count += 1;
          // Already a minute old when it comes: fresh for no time at all.
          const fields = { 'cache-control': 'public, max-age=60', age: '60', etag: '"m"' };
          if (request.headers['if-none-match'] === '"m"') return void answer.writeHead(304, fields).end();
          answer.writeHead(200, { ...fields, 'content-type': 'application/dash+xml' }).end('<MPD/>');
        });
        expect(await (await get('manifest.mpd')).text()).toBe('<MPD/>');
        expect(await (await get('manifest.mpd')).text()).toBe('<MPD/>');
        expect(count).toBe(2);
        expect(origin.seen('cup/manifest.mpd')[1]?.headers['if-none-match']).toBe('"m"');
      });
      it('serves nothing stale when the origin is down', async () => {
        let up = true;
        origin.on('cup/v360/playlist.m3u8', (_request, answer) => {
          if (!up) return void answer.destroy();
          answer.writeHead(200, { 'content-type': 'application/vnd.apple.mpegurl', 'cache-control': 'public, max-age=1', age: '1' }).end('#EXTM3U');
        });
        expect((await get('v360/playlist.m3u8')).status).toBe(200);
        up = false;
        const response = await get('v360/playlist.m3u8');
        expect([response.status, response.headers.get('access-control-allow-origin'), await codeOf(response)]).toEqual([502, '*', 'origin-unavailable']);
      });
      it('shares one blocking playlist request per full address', async () => {
        const held = anAnswer();
        const key = 'cup/v720/playlist.m3u8?keyformat=identity&_HLS_msn=5&_HLS_part=1';
        origin.on(key, (_request, answer) => held.resolve(answer));
        origin.on('cup/v720/playlist.m3u8?_HLS_msn=6', (_request, answer) => void answer.writeHead(200, { 'cache-control': 'no-store' }).end('six'));
        const first = get('v720/playlist.m3u8?_HLS_part=1&_HLS_msn=5&keyformat=identity&x=y');
        const answer = await held.promise;
        const second = get('v720/playlist.m3u8?keyformat=identity&_HLS_msn=5&_HLS_part=1');
        expect(await (await get('v720/playlist.m3u8?_HLS_msn=6')).text()).toBe('six');
        // By now the second request has been in the edge for a whole round trip.
        answer.writeHead(200, { 'cache-control': 'no-store', 'content-type': 'application/vnd.apple.mpegurl' }).end('five');
        expect(await (await first).text()).toBe('five');
        expect(await (await second).text()).toBe('five');
        expect(origin.seen(key)).toHaveLength(1);
      });
    });

    describe('an origin that misbehaves', () => {
      it.each<[number, number, string]>([
        [404, 404, 'not-found'],
        [410, 404, 'not-found'],
        [425, 425, 'too-early'],
        [500, 502, 'origin-unavailable'],
        [503, 502, 'origin-unavailable'],
        [302, 502, 'origin-unavailable'],
        [401, 502, 'origin-unavailable'],
        [206, 502, 'origin-unavailable'],
      ])('status %i becomes %i %s', async (status, expected, code) => {
        origin.on(`cup/v720/${status}.m4s`, (_request, answer) => void answer.writeHead(status, { location: 'http://127.0.0.1:1/', 'cache-control': 'no-store' }).end());
        const response = await get(`v720/${status}.m4s`);
        expect([response.status, await codeOf(response)]).toEqual([expected, code]);
        expect(response.headers.get('cache-control')).toBe('no-store');
      });
      const breaksOff = (number: number, fields: Record<string, number>): void =>
        origin.on(`cup/v720/${number}.m4s`, (_request, answer) => {
          answer.writeHead(200, { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable', ...fields });
          answer.write(segment.slice(0, 5000), () => answer.socket?.destroySoon());
        });
      it('that sends less than it announced: the client sees a broken answer, and nothing is kept', async () => {
        breaksOff(20, { 'content-length': segment.length });
        await expect(get('v720/20.m4s').then(bodyOf)).rejects.toThrow();
        origin.on('cup/v720/20.m4s', immutable(segment));
        expect(await bodyOf(await get('v720/20.m4s'))).toEqual(segment);
      });
      it('that breaks off in the middle of chunks: nothing is kept', async () => {
        breaksOff(21, {});
        const body = get('v720/21.m4s').then(bodyOf);
        if (limits.endsBrokenChunksCleanly) expect((await body).length).toBe(5000);
        else await expect(body).rejects.toThrow();
        origin.on('cup/v720/21.m4s', immutable(segment));
        expect(await bodyOf(await get('v720/21.m4s'))).toEqual(segment);
      });
    });
  });
};
