// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowedAddress, readBroadcast, readPlaylist } from '#adapters/http/broadcast.ts';
import type { Clock } from '#ports';
import type { Micros, Millis } from '#core/time.ts';

/** Time that passes when somebody waits. */
const hasty = (): Clock => {
  let elapsed = 0;
  return {
    now: () => elapsed as Micros,
    monotonic: () => elapsed as Millis,
    after(delay, run) {
      const timer = setImmediate(() => {
        elapsed += delay;
        run();
      });
      return () => clearImmediate(timer);
    },
  };
};
const text = async (stream: AsyncIterable<Uint8Array>): Promise<string> => {
  let out = '';
  for await (const part of stream) out += Buffer.from(part).toString();
  return out;
};
const site = (pages: Record<string, () => string | { redirect: string }>): { asked: string[]; fetch: (request: Request) => Promise<Response> } => {
  const asked: string[] = [];
  return {
    asked,
    async fetch(request) {
      asked.push(request.url);
      const page = pages[request.url]?.();
      if (page === undefined) return new Response(null, { status: 404 });
      if (typeof page === 'object') return new Response(null, { status: 302, headers: { location: page.redirect } });
      return new Response(page, { headers: { 'content-type': request.url.endsWith('.m3u8') ? 'application/vnd.apple.mpegurl' : 'video/mp2t' } });
    },
  };
};
const read = (address: string, pages: Parameters<typeof site>[0]): { out: Promise<string>; asked: string[] } => {
  const { fetch, asked } = site(pages);
  return { out: text(readBroadcast({ address, fetch, clock: hasty(), signal: new AbortController().signal })), asked };
};

describe('a published stream', () => {
  it('is one long answer', async () => {
    await expect(read('https://pirate.example/live.ts', { 'https://pirate.example/live.ts': () => 'bytes' }).out).resolves.toBe('bytes');
  });
  it('or a playlist, by way of its first variant: the newest three segments, then each new one once', async () => {
    let round = 0;
    const lists = ['#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:4\n4.ts\n5.ts\n6.ts\n7.ts', '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n5.ts\n6.ts\n7.ts\n8.ts', '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:5\n5.ts\n6.ts\n7.ts\n8.ts\n#EXT-X-ENDLIST'];
    const base = 'https://pirate.example/tv';
    const { out } = read(`${base}/master.m3u8`, {
      [`${base}/master.m3u8`]: () => '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow/list.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nhigh/list.m3u8',
      [`${base}/low/list.m3u8`]: () => lists[Math.min(round++, 3)] ?? lists[2] ?? '',
      ...Object.fromEntries([5, 6, 7, 8].map((n) => [`${base}/low/${n}.ts`, () => `<${n}>`])),
    });
    await expect(out).resolves.toMatch(/^(?:<5>)?<6><7><8>$/);
  });
  it('may name no address that its publisher should not reach', async () => {
    const base = new URL('https://pirate.example/a.m3u8');
    for (const bad of ['file:///etc/passwd', 'ftp://x/y', 'http://127.0.0.1/admin', 'http://localhost:8080/', 'http://169.254.169.254/latest', 'http://192.168.0.1/', 'http://[::1]/', 'http://10.1.2.3/', 'http://x.internal/']) {
      expect(() => allowedAddress(bad, base), bad).toThrow(expect.objectContaining({ code: 'media-unsupported' }));
    }
    expect(allowedAddress('../b.ts', base).href).toBe('https://pirate.example/b.ts');
    expect(allowedAddress('http://127.0.0.1/x', new URL('http://127.0.0.1/y')).pathname).toBe('/x');
    const { out, asked } = read('https://pirate.example/live', { 'https://pirate.example/live': () => ({ redirect: 'http://127.0.0.1/admin' }) });
    await expect(out).rejects.toMatchObject({ code: 'media-unsupported' });
    expect(asked).toEqual(['https://pirate.example/live']);
  });
  it('that is not there, is encrypted, or nests without end says so', async () => {
    await expect(read('https://pirate.example/x', {}).out).rejects.toMatchObject({ code: 'service-unreachable' });
    expect(() => readPlaylist('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n1.ts')).toThrow(expect.objectContaining({ code: 'media-unsupported' }));
    const loop = 'https://pirate.example/loop.m3u8';
    await expect(read(loop, { [loop]: () => `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nloop.m3u8` }).out).rejects.toMatchObject({ code: 'media-unsupported' });
  });
  it('B195 whatever a playlist holds: names, numbers, or one refusal', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('#EXTM3U', '#EXT-X-STREAM-INF:', '#EXT-X-MEDIA-SEQUENCE:9', '#EXT-X-MAP:URI="m"', 'a.ts'))), (lines) => {
        try {
          const { segments } = readPlaylist(['#EXTM3U', ...lines].join('\n'));
          return segments.every(({ number }) => Number.isSafeInteger(number));
        } catch (error) {
          return (error as { code?: string }).code === 'media-unsupported';
        }
      }),
    );
  });
});
