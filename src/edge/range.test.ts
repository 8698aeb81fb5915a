// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isNotModified, isRangeCurrent, resolveRange } from '#edge/range.ts';

const object = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index & 0xff);

describe('resolveRange', () => {
  it('first-last is slice(first, last + 1)', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(600), fc.nat(600), (length, a, b) => {
        const [first, last] = a <= b ? [a, b] : [b, a];
        const verdict = resolveRange(`bytes=${first}-${last}`, length);
        const wanted = object(length).slice(first, last + 1);
        expect(verdict.kind).toBe(wanted.length === 0 ? 'unsatisfiable' : 'part');
        if (verdict.kind === 'part') expect(object(length).slice(verdict.start, verdict.end)).toEqual(wanted);
      }),
    );
  });
  it('first- is slice(first), -suffix is slice(-suffix)', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(600), fc.boolean(), (length, at, suffix) => {
        const verdict = resolveRange(suffix ? `bytes=-${at}` : `bytes=${at}-`, length);
        const wanted = suffix ? object(length).slice(Math.max(0, length - at)) : object(length).slice(at);
        expect(verdict.kind).toBe(wanted.length === 0 ? 'unsatisfiable' : 'part');
        if (verdict.kind === 'part') expect(object(length).slice(verdict.start, verdict.end)).toEqual(wanted);
      }),
    );
  });
  it('any header gives the whole, a part inside the object, or nothing', () => {
    const header = fc.oneof(fc.string(), fc.stringMatching(/^bytes=[0-9,\- ]{0,40}$/), fc.constant(`bytes=0-${'9'.repeat(400)}`));
    fc.assert(
      fc.property(header, fc.nat(1000), (text, length) => {
        const verdict = resolveRange(text, length);
        return verdict.kind !== 'part' || (verdict.start >= 0 && verdict.start < verdict.end && verdict.end <= length);
      }),
      { numRuns: 500 },
    );
  });
});

describe('validators', () => {
  it('If-None-Match compares weakly and knows lists and *', () => {
    expect(isNotModified('W/"a"', '"a"')).toBe(true);
    expect(isNotModified('"b", W/"a"', 'W/"a"')).toBe(true);
    expect(isNotModified('*', '"a"')).toBe(true);
    expect(isNotModified('"b"', '"a"')).toBe(false);
    expect(isNotModified('"a"', null)).toBe(false);
    expect(isNotModified(null, '"a"')).toBe(false);
  });
  it('If-Range compares strongly', () => {
    const head = { etag: '"a"', lastModified: 'Wed, 21 Oct 2015 07:28:00 GMT' };
    expect(isRangeCurrent(null, head)).toBe(true);
    expect(isRangeCurrent('"a"', head)).toBe(true);
    expect(isRangeCurrent('"b"', head)).toBe(false);
    expect(isRangeCurrent('W/"a"', head)).toBe(false);
    expect(isRangeCurrent('W/"a"', { ...head, etag: 'W/"a"' })).toBe(false);
    expect(isRangeCurrent('Wed, 21 Oct 2015 07:28:00 GMT', head)).toBe(true);
    expect(isRangeCurrent('Wed, 21 Oct 2015 07:28:01 GMT', head)).toBe(false);
  });
});
