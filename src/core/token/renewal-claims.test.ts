// SPDX-License-Identifier: Apache-2.0
/** Renewal claims: whatever a signed token holds, nothing that ends a header field leaves the reader. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readRenewalClaims } from '#core/token/renewal-claims.ts';

const read = (claims: Record<string, unknown>) => readRenewalClaims((name) => claims[name]);

describe('renewal claims', () => {
  it('are read in both forms', () => {
    expect(read({})).toBe('none');
    expect(read({ cdniets: 60 })).toBe('none');
    expect(read({ cdniets: 60, cdnistt: 2 })).toBe('none');
    expect(read({ cdniets: 60, cdnistt: 1 })).toMatchObject({ lifetime: 60, window: 30, by: 'cookie', cookieName: 'URISigningPackage', pathDepth: 0 });
    expect(read({ catr: new Map<number, unknown>([[0, 1], [1, 60], [2, 5], [3, 'pass'], [5, ['Secure']]]) })).toMatchObject({ lifetime: 60, window: 5, by: 'cookie', cookieName: 'pass', cookieAttributes: ['Secure'] });
    expect(read({ catr: new Map([[0, 3], [1, 60]]) })).toBe('none');
  });
  it.each<[string, Record<string, unknown>]>([
    ['a lifetime of 0', { cdniets: 0, cdnistt: 1 }],
    ['a lifetime beyond 2^31', { cdniets: 2 ** 31 + 1, cdnistt: 1 }],
    ['a transport of 0', { cdniets: 1, cdnistt: 0 }],
    ['a depth of text', { cdniets: 1, cdnistt: 1, cdnistd: '1' }],
    ['a map that is an object', { catr: { 0: 1, 1: 60 } }],
    ['no type', { catr: new Map([[1, 60]]) }],
    ['a field of ours', { catr: new Map<number, unknown>([[0, 2], [1, 60], [4, 'Set-Cookie']]) }],
    ['a line break in a name', { catr: new Map<number, unknown>([[0, 2], [1, 60], [4, 'x-a\r\nb']]) }],
  ])('with %s make the token invalid', (_name, claims) => expect(read(claims)).toBeUndefined());
  it('of any shape give typed answers without characters that end a field', () => {
    const value = fc.oneof(fc.integer(), fc.string(), fc.constantFrom(0, 1, 2, 3, 300), fc.array(fc.string(), { maxLength: 3 }), fc.constant(undefined));
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 8 }), value), { maxLength: 9 }), value, value, value, (members, cdniets, cdnistt, cdnistd) => {
        const found = read({ catr: new Map(members), cdniets, cdnistt, cdnistd });
        if (found === undefined || found === 'none') return;
        expect(found.lifetime).toBeGreaterThan(0);
        expect([found.cookieName, found.headerName, ...(found.cookieAttributes ?? [])].join('')).toMatch(/^[\x21-\x3a\x3c-\x7e]*$/);
      }),
      { numRuns: 500 },
    );
  });
});
