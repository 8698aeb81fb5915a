// SPDX-License-Identifier: Apache-2.0
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeViewerId, openViewerId } from '#core/token/viewer-id.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const key = new Uint8Array(32).fill(1);

describe('viewer id', () => {
  // tag = HMAC-SHA256(01 x 32, 0015 "sealcast/1/viewer-tag" 0008 u64 4711)[0:8]; the pad likewise over the tag.
  it('is one fixed text per viewer and key', () => {
    const field = (text: string | Buffer): Buffer => Buffer.concat([Buffer.from([0, text.length]), Buffer.from(text)]);
    const number = Buffer.from('0000000000001267', 'hex');
    const tag = createHmac('sha256', key).update(Buffer.concat([field('sealcast/1/viewer-tag'), field(number)])).digest().subarray(0, 8);
    const pad = createHmac('sha256', key).update(Buffer.concat([field('sealcast/1/viewer-pad'), field(tag)])).digest().subarray(0, 8);
    const sealed = Buffer.concat([tag, Buffer.from(number.map((byte, index) => byte ^ (pad[index] ?? 0)))]);
    expect(encodeViewerId(hmac, key, 4711)).toBe(sealed.toString('base64url'));
  });
  it('opens to the same viewer, and under no other key', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 44 }), (viewer) => {
        const id = encodeViewerId(hmac, key, viewer);
        expect(openViewerId(hmac, key, id)).toBe(viewer);
        expect(openViewerId(hmac, new Uint8Array(32), id)).toBeUndefined();
      }),
    );
  });
  it('opens for nothing that was changed', () => {
    const id = encodeViewerId(hmac, key, 16);
    fc.assert(fc.property(fc.nat(id.length - 1), fc.constantFrom(...'AB09_-x'), (at, character) => id[at] === character || openViewerId(hmac, key, id.slice(0, at) + character + id.slice(at + 1)) === undefined));
    for (const text of ['', 'A', 'AAAA', `${id}A`, '!'.repeat(22)]) expect(openViewerId(hmac, key, text)).toBeUndefined();
  });
  it('refuses numbers out of range', () => {
    for (const viewer of [-1, 1.5, 2 ** 45, Number.NaN]) expect(() => encodeViewerId(hmac, key, viewer)).toThrow(RangeError);
  });
});
