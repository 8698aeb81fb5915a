// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMediaAddress } from '#edge/media-path.ts';

const parse = (target: string) => parseMediaAddress(`https://edge.example:8443${target}`);
const TOKEN = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(43)}`;

describe('media addresses', () => {
  it.each<[string, string, string]>([
    ['/media/cup/manifest.mpd', 'manifest', 'cup/manifest.mpd'],
    ['/media/cup/master.m3u8', 'manifest', 'cup/master.m3u8'],
    ['/media/cup/master.m3u8?keyformat=identity', 'manifest', 'cup/master.m3u8?keyformat=identity'],
    ['/media/cup/v720/playlist.m3u8?_HLS_part=2&x=1&_HLS_msn=9#t=1', 'manifest', 'cup/v720/playlist.m3u8?_HLS_msn=9&_HLS_part=2'],
    ['/media/cup/v720/init.mp4?token=x', 'init', 'cup/v720/init.mp4'],
    ['/media/cup/v720/0.m4s', 'segment', 'cup/v720/0.m4s'],
    ['/media/cup/v720/900000001.m4s?CMCD=br%3D1', 'segment', 'cup/v720/900000001.m4s'],
    ['/media/cup/v720/900000001.0.m4s', 'part', 'cup/v720/900000001.0.m4s'],
    ['/media/cup/s-de/7.vtt', 'subtitle', 'cup/s-de/7.vtt'],
    ['/media/cup/imported-keys.json', 'keys', 'cup/imported-keys.json'],
    ['/media/1-2/a-en/5.m4s', 'segment', '1-2/a-en/5.m4s'],
  ])('%s', (target, kind, key) => {
    expect(parse(target)).toMatchObject({ kind, key, pathToken: undefined });
    expect(parse(target.replace('/media/', `/media/${TOKEN}/`))).toMatchObject({ kind, key, pathToken: TOKEN });
  });

  it('takes a first segment with a dot or of more than 40 characters for a token', () => {
    expect(parse('/media/a.b/cup/manifest.mpd')).toMatchObject({ pathToken: 'a.b', asset: 'cup' });
    expect(parse(`/media/${'a'.repeat(41)}/cup/manifest.mpd`)).toMatchObject({ pathToken: 'a'.repeat(41), asset: 'cup' });
    expect(parse(`/media/${'a'.repeat(40)}/v720/1.m4s`)).toMatchObject({ pathToken: undefined, asset: 'a'.repeat(40) });
  });

  it.each([
    '',
    '/',
    '/media',
    '/media/',
    '/media//cup/manifest.mpd',
    '/Media/cup/manifest.mpd',
    '/media/cup/v720/',
    '/media/cup/v720/1.m4s/',
    '/media/cup/v720//1.m4s',
    '/media/cup/../cup/v720/1.m4s',
    '/media/cup/v720/../../../etc/passwd',
    '/media/cup/%2e%2e/1.m4s',
    '/media/cup%2fv720/1.m4s',
    '/media/cup/v720%2F1.m4s',
    '/media/cup\\v720\\1.m4s',
    '/media/cup/v720/1.m4s%00',
    '/media/cup/v720/01.m4s',
    '/media/cup/v720/1.00.m4s',
    '/media/cup/v720/99999999999999999.m4s',
    '/media/cup/v720/1.99999.m4s',
    '/media/cup/v720/-1.m4s',
    '/media/cup/v720/1e3.m4s',
    '/media/cup/v720/\u0661.m4s',
    '/media/CUP/v720/1.m4s',
    '/media/-cup/v720/1.m4s',
    '/media/cup/v720/init.mp4.bak',
    '/media/cup/v720/manifest.mpd',
    '/media/cup/init.mp4',
    `/media/${'x'.repeat(10_000)}/cup/manifest.mpd`,
  ])('%s is none', (target) => {
    expect(parse(target)).toBe('not-found');
  });

  it('refuses known query members of another form', () => {
    for (const query of ['keyformat=', 'keyformat=com.apple', '_HLS_msn=', '_HLS_msn=01', '_HLS_msn=-1', '_HLS_part=1.5', '_HLS_msn=%31%20']) {
      expect(parse(`/media/cup/v720/playlist.m3u8?${query}`)).toBe('bad-query');
    }
  });

  it('a key never holds anything but its checked parts, whatever is asked', () => {
    const piece = fc.oneof(
      fc.constantFrom('..', '.', '', '%2e%2e', '%2f', '\\', 'cup', 'v720', '1.m4s', '1.2.m4s', 'init.mp4', 'playlist.m3u8', 'manifest.mpd', TOKEN, 'a.b', '\u0000', 'é'),
      fc.string({ maxLength: 20 }),
    );
    const query = fc.oneof(fc.constant(''), fc.constantFrom('?_HLS_msn=4', '?keyformat=identity&token=x', '?_HLS_msn=4&_HLS_msn=5', '?%5FHLS_msn=4'), fc.string({ maxLength: 30 }).map((text) => `?${text}`));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), query, (pieces, text) => {
        const address = parse(`/media/${pieces.join('/')}${text}`);
        if (typeof address === 'string') return;
        expect(address.key).toMatch(
          /^[a-z0-9][a-z0-9-]{0,39}\/(manifest\.mpd|master\.m3u8|imported-keys\.json|[a-z0-9][a-z0-9-]{0,31}\/(playlist\.m3u8|init\.mp4|\d+(\.\d+)?\.m4s|\d+\.vtt))(\?(keyformat=identity)?(&?_HLS_msn=\d+)?(&?_HLS_part=\d+)?)?$/,
        );
        expect(address.key).not.toContain('token');
      }),
      { numRuns: 2000 },
    );
  });
  it('any text at all is an address or a refusal', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => typeof parseMediaAddress(text) === 'string' || text.includes('/media/')));
  });
});
