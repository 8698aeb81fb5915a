// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { isSealcastError } from '#core/errors.ts';
import { type PaceInfo, parsePaceIngest, positionOf, variantName } from '#core/pace/pace-info.ts';
import { decodePaceInfo, encodePaceInfo } from '#crypto/pace-cbor.ts';

describe('pace information', () => {
  it('of a discrete segment is the published vector', () => {
    expect(encodeBase64url(encodePaceInfo({ kind: 'discrete', position: 33 }))).toBe('ogEBAoGhBhgh');
    expect(decodePaceInfo(decodeBase64url('ogEBAoGhBhgh'))).toEqual({ kind: 'discrete', position: 33 });
    expect(Buffer.from(encodePaceInfo({ kind: 'discrete', position: -1 })).toString('hex')).toBe('a2010102 81a1 0620'.replaceAll(' ', ''));
  });
  it('of another maker may name parts and files, which egress drops', () => {
    // {1: 1, 2: [{5: "a", 6: 7, 7: true, 8: true}]}
    expect(decodePaceInfo(Buffer.from('a2010102 81a4 05616106070 7f508f5'.replaceAll(' ', ''), 'hex'))).toEqual({ kind: 'discrete', position: 7 });
  });
  const ranges: PaceInfo = { kind: 'byterange', fileSize: 1000, ranges: [{ start: 0, position: -1 }, { start: 100, position: 3 }, { start: 500, position: 3 }, { start: 600, position: 4 }] };
  it('of byte ranges round-trips and places ranges', () => {
    expect(decodePaceInfo(encodePaceInfo(ranges))).toEqual(ranges);
    expect(positionOf(ranges, { start: 0, end: 100 })).toBe(-1);
    expect(positionOf(ranges, { start: 100, end: 600 })).toBe(3);
    expect(positionOf(ranges, { start: 599, end: 601 })).toBeUndefined();
    expect(positionOf(ranges, { start: 99, end: 101 })).toBeUndefined();
    expect(positionOf(ranges, { start: 999, end: 1000 })).toBe(4);
    expect(positionOf(ranges)).toBeUndefined();
  });
  it.each<[string, Parameters<typeof encodePaceInfo>[0]]>([
    ['a position out of range', { kind: 'discrete', position: 32_768 }],
    ['overlapping ranges', { kind: 'byterange', fileSize: 10, ranges: [{ start: 0, position: 1 }, { start: 5, position: 2 }, { start: 5, position: 3 }] }],
    ['falling ranges', { kind: 'byterange', fileSize: 10, ranges: [{ start: 0, position: 1 }, { start: 6, position: 2 }, { start: 5, position: 3 }] }],
    ['ranges that do not begin at 0', { kind: 'byterange', fileSize: 10, ranges: [{ start: 1, position: 1 }] }],
    ['a range behind the end', { kind: 'byterange', fileSize: 10, ranges: [{ start: 0, position: 1 }, { start: 10, position: 2 }] }],
    ['no range', { kind: 'byterange', fileSize: 10, ranges: [] }],
  ])('with %s is none', (_name, pace) => {
    expect(decodePaceInfo(encodePaceInfo(pace))).toBeUndefined();
  });
  it('is none or well formed, whatever the bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => decodePaceInfo(bytes)?.kind !== 'byterange' || bytes.length > 8));
  });
});

describe('WMPaceInfoIngest', () => {
  it('is read as encoders write it', () => {
    expect(parsePaceIngest('{"version":1,"variant":0,"position":33,"firstpart":true,"lastpart":true}')).toEqual({ variant: 0, position: 33, firstPart: true, lastPart: true });
    expect(parsePaceIngest('{"version":1,"variant":1,"position":-1,"lastpart":false}')).toEqual({ variant: 1, position: -1, firstPart: true, lastPart: false });
  });
  it.each(['', '{}', '[]', '{"version":2,"variant":0,"position":1}', '{"version":1,"variant":8,"position":1}', '{"version":1,"variant":0,"position":32768}', '{"version":1,"variant":0,"position":-2}', '{"version":1,"variant":0,"position":"1"}', '{"version":1,"variant":0,"position":1,"position":2}', '{"version":1,"variant":0,"position":1,"firstpart":1}', `{"version":1,"variant":0,"position":1,"x":"${'x'.repeat(600)}"}`])('%s is refused', (header) => {
    let error: unknown;
    try {
      parsePaceIngest(header);
    } catch (cause) {
      error = cause;
    }
    expect(isSealcastError(error, 'bad-request')).toBe(true);
  });
  it('variants are letters or digits', () => {
    expect([variantName('letters', 0), variantName('letters', 4), variantName('digits', 1)]).toEqual(['a', 'e', '1']);
  });
});
