// SPDX-License-Identifier: Apache-2.0
/** Our manifest reader on our manifest writer's golden files, and on what others might send. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SealcastError } from '#core/errors.ts';
import { parseMpd } from './mpd.ts';
import { parseXml } from './xml.ts';

const golden = (name: string): string => readFileSync(fileURLToPath(new URL(`../core/manifest/golden/${name}`, import.meta.url)), 'utf8');

describe('our own manifests', () => {
  test('live', () => {
    const mpd = parseMpd(golden('live.mpd'));
    expect(mpd).toMatchObject({ kind: 'event', duration: undefined, minimumUpdatePeriod: 2_000_000 });
    expect(mpd.tracks.map(({ id, kind, language, bandwidth }) => [id, kind, language, bandwidth])).toEqual([
      ['v720', 'video', undefined, 1_800_000],
      ['v360', 'video', undefined, 600_000],
      ['a-en', 'audio', 'en', 100_000],
      ['a-de', 'audio', 'de', 100_000],
      ['s-de', 'text', 'de', 1000],
    ]);
    expect(mpd.tracks[0]).toMatchObject({ init: 'v720/init.mp4', startNumber: 0, segmentDuration: 2_000_000, endNumber: undefined, codecs: 'avc1.64001f' });
    expect(mpd.tracks[0]?.segment(900_000_003)).toBe('v720/900000003.m4s');
  });
  test('an ended event has no update period', () => expect(parseMpd(golden('live-ended.mpd')).minimumUpdatePeriod).toBeUndefined());
  test('title', () => {
    const mpd = parseMpd(golden('title.mpd'));
    expect(mpd).toMatchObject({ kind: 'title', duration: 11_000_000 });
    expect(mpd.tracks.map(({ id, startNumber, endNumber, segmentDuration }) => [id, startNumber, endNumber, segmentDuration])).toEqual([
      ['v720', 0, 3, 4_000_000],
      ['a-en', 0, 3, 4_010_667],
    ]);
  });
});

describe('other manifests', () => {
  const title = golden('title.mpd');
  test.each([
    ['an absolute address', title.replace('media="$RepresentationID$', 'media="https://evil.example/$RepresentationID$')],
    ['a way out of the folder', title.replace('media="$RepresentationID$', 'media="../$RepresentationID$')],
    ['two periods', title.replace('</MPD>', '<Period id="1"/></MPD>')],
    ['no duration', title.replace(/mediaPresentationDuration="[^"]*"/, '')],
    ['a time scale of zero', title.replace(/timescale="\d+"/, 'timescale="0"')],
    ['segments without a number', title.replaceAll('$Number$', '$Time$')],
    ['another document', '<svg/>'],
    ['a document type', `<!DOCTYPE MPD [<!ENTITY x "y">]>${title}`],
    ['an unknown entity', title.replace('PT11S', '&x;')],
  ])('with %s are refused with a code', (_, text) => {
    expect(() => parseMpd(text)).toThrow(SealcastError);
  });

  test('no text makes the reader throw anything but its own errors', () => {
    const live = golden('live.mpd');
    fc.assert(
      fc.property(fc.nat(live.length), fc.nat(40), fc.string({ unit: fc.constantFrom('<', '>', '/', '"', '&', ';', '=', ' ', 'a', '-', '!', '?') }), (at, cut, insert) => {
        try {
          parseMpd(live.slice(0, at) + insert + live.slice(at + cut));
        } catch (error) {
          expect(error).toBeInstanceOf(SealcastError);
        }
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe('XML', () => {
  test('reads elements, attributes, text, entities and comments', () => {
    const root = parseXml('<?xml version="1.0"?><!-- c --><a:b x="1 &amp; &quot;2&quot;" y=\'&#x41;&#66;\'>t<c/><!-- d -->u</a:b>');
    expect(root).toMatchObject({ name: 'b', attributes: { x: '1 & "2"', y: 'AB' }, text: 'tu', children: [{ name: 'c' }] });
  });
  test.each(['', 'text', '<a>', '<a></b>', '<a/><b/>', '<a x=1/>', '<a x="1" x="2"/>', '<a>&b;</a>', '<a>&#x110000;</a>', '<a><![CDATA[x]]></a>', '<'.repeat(10), `${'<a>'.repeat(70)}${'</a>'.repeat(70)}`])('refuses %s', (text) => {
    expect(() => parseXml(text)).toThrow(SealcastError);
  });
});
