// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeBase64url, decodeByHand, encodeBase64url, encodePortable } from './base64url.ts';
import { concatBytes } from './concat.ts';
import { equalBytes } from './equal.ts';
import { decodeHex, encodeHex } from './hex.ts';
import { decodeUtf8, encodeUtf8 } from './utf8.ts';

const badRequest = expect.objectContaining({ code: 'bad-request' });
const bytes = fc.uint8Array({ maxLength: 80 });

describe('base64url', () => {
  it('long texts are read as short ones are, canonical or not', () => {
    const outcome = (decode: (text: string) => Uint8Array, text: string): unknown => {
      try {
        return decode(text);
      } catch (error) {
        return (error as { code?: string }).code;
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 190, maxLength: 400 }), fc.nat(), fc.constantFrom('', '=', ' ', '\n', '+', '/', 'é', 'B', '_'), (input, at, wrong) => {
        const text = encodeBase64url(input);
        const place = at % (text.length + 1);
        for (const each of [text, text.slice(0, place) + wrong + text.slice(place), text.slice(0, place) + wrong + text.slice(place + wrong.length), `${text}${wrong}`]) expect(outcome(decodeBase64url, each)).toEqual(outcome(decodeByHand, each));
      }),
    );
  });

  it('RFC 4648 section 10 vectors, without padding', () => {
    for (const [text, encoded] of [
      ['', ''],
      ['f', 'Zg'],
      ['fo', 'Zm8'],
      ['foo', 'Zm9v'],
      ['foob', 'Zm9vYg'],
      ['fooba', 'Zm9vYmE'],
      ['foobar', 'Zm9vYmFy'],
    ] as const) {
      expect(encodeBase64url(encodeUtf8(text))).toBe(encoded);
      expect(decodeUtf8(decodeBase64url(encoded))).toBe(text);
    }
  });
  it('agrees with Node and reads back what it writes', () => {
    fc.assert(
      fc.property(bytes, (input) => {
        expect(encodeBase64url(input)).toBe(Buffer.from(input).toString('base64url'));
        expect(encodePortable(input)).toBe(encodeBase64url(input));
        expect(decodeBase64url(encodeBase64url(input))).toEqual(input);
      }),
    );
  });
  it('has one text per byte string: everything else is refused', () => {
    for (const bad of ['Zg==', 'Z', 'Zh', 'Zm9', 'Zm+/', 'Z g', 'Zg\n', 'Zgé', 'Zg\u0100', 'ZmF=']) expect(() => decodeBase64url(bad), bad).toThrow(badRequest);
    fc.assert(
      fc.property(fc.string({ maxLength: 12, unit: 'binary' }), (text) => {
        try {
          expect(encodeBase64url(decodeBase64url(text))).toBe(text);
        } catch (error) {
          expect(error).toEqual(badRequest);
        }
      }),
    );
  });
});

describe('hex', () => {
  it('writes lower case, reads either, refuses the rest', () => {
    expect(encodeHex(Uint8Array.from([0, 15, 255, 0xab]))).toBe('000fffab');
    expect(decodeHex('000FffAb')).toEqual(Uint8Array.from([0, 15, 255, 0xab]));
    for (const bad of ['0', '0g', 'zz', '0x00', ' 00', '\u0130\u0130']) expect(() => decodeHex(bad), bad).toThrow(badRequest);
    fc.assert(fc.property(bytes, (input) => void expect(decodeHex(encodeHex(input))).toEqual(input)));
  });
});

describe('UTF-8', () => {
  it('agrees with TextEncoder for every well-formed text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        expect(encodeUtf8(text)).toEqual(new TextEncoder().encode(text));
        expect(decodeUtf8(encodeUtf8(text))).toBe(text);
      }),
    );
    const long = 'aä€😀'.repeat(5_000);
    expect(decodeUtf8(encodeUtf8(long))).toBe(long);
  });
  it('takes exactly the bytes a strict TextDecoder takes', () => {
    const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const nearly = fc.array(fc.constantFrom(0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(nearly, (list) => {
        const input = Uint8Array.from(list);
        let expected: string | undefined;
        try {
          expected = strict.decode(input);
        } catch {
          expect(() => decodeUtf8(input)).toThrow(badRequest);
          return;
        }
        expect(decodeUtf8(input)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });
  it('refuses lone surrogates both ways', () => {
    for (const bad of ['\ud800', 'a\udc00b', '\ud800\ud800', '\udfff\ud800']) expect(() => encodeUtf8(bad)).toThrow(badRequest);
    expect(() => decodeUtf8(Uint8Array.from([0xed, 0xa0, 0x80]))).toThrow(badRequest);
  });
});

describe('concatBytes, equalBytes', () => {
  it('copies in order and compares by content', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 5 }), (parts) => {
        const joined = concatBytes(...parts);
        expect([...joined]).toEqual(parts.flatMap((part) => [...part]));
        expect(equalBytes(joined, concatBytes(joined))).toBe(true);
        if (joined.length > 0) {
          const other = joined.slice();
          other[other.length >> 1] = (other[other.length >> 1] as number) ^ 1;
          expect(equalBytes(joined, other)).toBe(false);
          expect(equalBytes(joined, joined.subarray(1))).toBe(false);
        }
      }),
    );
  });
});
