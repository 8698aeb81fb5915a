// SPDX-License-Identifier: Apache-2.0
/** Pages: headers, caching, which files, which hosts. */
import { describe, expect, it } from 'vitest';
import { type PagesOptions, createPages } from '#operations/pages.ts';

const FILES: Readonly<Record<string, string>> = { 'watch.html': '<watch>', 'control.html': '<control>', 'assets/control-Ab12.js': 'code', 'favicon.svg': '<svg/>', 'secret.txt': 'no' };
const pages = (overrides: Partial<PagesOptions> = {}) =>
  createPages({
    read: (path) => Promise.resolve(FILES[path] === undefined ? undefined : new TextEncoder().encode(FILES[path])),
    pages: ['watch', 'control'],
    allowedHosts: ['ops.example'],
    ...overrides,
  });
const get = (path: string, origin = 'https://ops.example', method = 'GET'): Request => new Request(`${origin}${path}`, { method });

describe('pages', () => {
  it('carry a policy without inline code and foreign hosts', async () => {
    for (const path of ['/', '/watch', '/control', '/control/']) {
      const answer = await pages()(get(path));
      expect(answer?.status).toBe(200);
      const policy = answer?.headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toMatch(/unsafe|https?:|\*/);
      expect(answer?.headers.get('x-content-type-options')).toBe('nosniff');
      expect(answer?.headers.get('x-frame-options')).toBe('DENY');
      expect(answer?.headers.get('referrer-policy')).toBe('no-referrer');
      expect(answer?.headers.get('cache-control')).toBe('no-cache');
      expect(answer?.headers.get('content-type')).toBe('text/html; charset=utf-8');
    }
  });

  it('let only the watch page play media and reach listed edges', async () => {
    const serve = pages({ connect: ['https://edge.example:8443'] });
    const policyOf = async (path: string) => (await serve(get(path)))?.headers.get('content-security-policy') ?? '';
    expect(await policyOf('/')).toContain("connect-src 'self' https://edge.example:8443; media-src 'self' blob:");
    expect(await policyOf('/control')).toContain("connect-src 'self';");
    expect(await policyOf('/control')).not.toContain('blob:');
    expect(() => pages({ connect: ["'unsafe-eval'; script-src *"] })).toThrow(/pages\.connect/);
  });

  it('are cached never, hashed assets for ever', async () => {
    const answer = await pages()(get('/assets/control-Ab12.js'));
    expect(answer?.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(answer?.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect(await answer?.text()).toBe('code');
  });

  it('serve only built files by exact name', async () => {
    expect((await pages()(get('/assets/none.js')))?.status).toBe(404);
    expect((await pages()(get('/assets/..%2Fsecret.txt')))?.status).toBe(404);
    expect((await pages()(get('/assets/%2e%2e/secret.txt')))).toBeUndefined();
    expect(await pages()(get('/secret.txt'))).toBeUndefined();
    expect(await pages()(get('/v1/events'))).toBeUndefined();
    expect((await pages()(get('/favicon.svg')))?.status).toBe(200);
  });

  it('keep the control room to its hosts and its listener', async () => {
    expect((await pages()(get('/control', 'http://rebound.example')))?.status).toBe(403);
    expect((await pages()(get('/', 'http://rebound.example')))?.status).toBe(200);
    expect(await pages({ pages: ['watch'] })(get('/control'))).toBeUndefined();
    const controlOnly = pages({ pages: ['control'] });
    expect(await controlOnly(get('/'))).toBeUndefined();
    expect((await controlOnly(get('/assets/control-Ab12.js', 'http://rebound.example')))?.status).toBe(403);
  });

  it('answer GET and HEAD only', async () => {
    const head = await pages()(get('/control', undefined, 'HEAD'));
    expect([head?.status, head?.headers.get('content-length'), await head?.text()]).toEqual([200, '9', '']);
    const post = await pages()(get('/control', undefined, 'POST'));
    expect([post?.status, post?.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });
});
