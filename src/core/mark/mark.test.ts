// SPDX-License-Identifier: Apache-2.0
/** Profiles, boxes and switching as bytes: round trips, limits, and that nothing outside a mask ever changes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import { applyGroup, applySwitches, applySymbols, boxEpochOf, decodeProfile, encodeProfile, joinSites, MARK_BOX_OVERHEAD, markBoxHead, type MarkProfile, type MarkSite, marksOf, NO_SITES, NO_SITES_REASONS, parseMarkBox, shiftSites, slotsOf, switchesOf } from './index.ts';

const SLOTS = 5;
/** Places in 2,000 bytes, in any order. */
const places: fc.Arbitrary<readonly MarkSite[]> = fc
  .array(fc.record({ gap: fc.integer({ min: 0, max: 30 }), slot: fc.nat(SLOTS - 1), group: fc.constantFrom(0 as const, 1 as const), mask: fc.uint8Array({ minLength: 1, maxLength: 4 }) }), { maxLength: 50 })
  .map((list) => {
    let end = 0;
    return list.map(({ gap, slot, group, mask }) => {
      const offset = end + gap;
      end = offset + mask.length;
      return { offset, slot, group, mask: mask.map((byte) => byte | 1) };
    });
  });
const SIZE = 2000;
const profileOf = (list: readonly MarkSite[]): MarkProfile => (list.length === 0 ? { slots: SLOTS, size: SIZE, sites: NO_SITES, because: 'no-places' } : { slots: SLOTS, size: SIZE, sites: marksOf(list) });
/** The same by one site at a time. */
const slowly = (bytes: Uint8Array, list: readonly MarkSite[], symbols: readonly number[]): Uint8Array => {
  const out = bytes.slice();
  for (const { offset, slot, group, mask } of list) if (symbols[slot] !== group) mask.forEach((byte, i) => (out[offset + i] = (out[offset + i] as number) ^ byte));
  return out;
};
const media = Uint8Array.from({ length: SIZE }, (_, i) => (i * 37) & 255);

describe('profiles', () => {
  it('round-trip, whatever their places', () => {
    fc.assert(
      fc.property(places, (list) => {
        expect(decodeProfile(encodeProfile(profileOf(list)))).toEqual(profileOf(list));
      }),
    );
  });
  it('round-trip, whatever their reason', () => {
    for (const because of NO_SITES_REASONS) expect(decodeProfile(encodeProfile({ slots: 1, size: 7, sites: NO_SITES, because }))).toEqual({ slots: 1, size: 7, sites: NO_SITES, because });
  });
  it('any bytes are a valid profile or a typed error', () => {
    const read = (bytes: Uint8Array): void => {
      try {
        const { slots, size, sites } = decodeProfile(bytes);
        let end = 0;
        for (let row = 0; row < sites.count; row++) {
          expect(sites.offset[row]).toBeGreaterThanOrEqual(end);
          end = (sites.offset[row] as number) + (sites.maskStart[row + 1] as number) - (sites.maskStart[row] as number);
          expect(sites.switchOf[row]).toBeLessThanOrEqual(slots * 2);
        }
        expect(end).toBeLessThanOrEqual(size);
      } catch (error) {
        if (!isSealcastError(error, 'media-malformed') && !isSealcastError(error, 'media-truncated')) throw error;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => read(bytes)));
    fc.assert(
      fc.property(places, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(), (list, at, flip, cut) => {
        const bytes = encodeProfile(profileOf(list));
        bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ flip;
        read(bytes);
        read(bytes.subarray(0, cut % bytes.length));
      }),
    );
  });
  it('two places on one byte are refused', () => {
    const mask = Uint8Array.of(1, 1);
    expect(() => marksOf([{ offset: 4, slot: 0, group: 0, mask }, { offset: 5, slot: 1, group: 1, mask }])).toThrow(/overlap/);
    for (const wrong of [{ slot: 128 }, { slot: -1 }, { mask: new Uint8Array(5) }, { mask: new Uint8Array(0) }]) expect(() => marksOf([{ offset: 4, slot: 0, group: 0, mask, ...wrong }])).toThrow(/places/);
  });
  it('a segment of any length has 8 slots a second, within limits', () => {
    expect([2e6, 4e6, 500_000, 10_000, 60e6].map(slotsOf)).toEqual([16, 32, 4, 1, 127]);
  });
});

describe('switching', () => {
  it('B197: turns the places whose group differs from the symbol, several symbols in one segment', () => {
    fc.assert(
      fc.property(places, fc.array(fc.nat(1), { minLength: SLOTS, maxLength: SLOTS }), (list, symbols) => {
        const copy = media.slice();
        applySymbols(copy, profileOf(list), (slot) => symbols[slot] as number);
        expect(copy).toEqual(slowly(media, list, symbols));
        applySymbols(copy, profileOf(list), (slot) => symbols[slot] as number);
        expect(copy).toEqual(media);
      }),
    );
  });
  it('covers are on for everybody, and for no group alone', () => {
    const covered = { slots: SLOTS, sites: marksOf([{ offset: 3, slot: SLOTS, group: 0, mask: Uint8Array.of(5, 6) }]) };
    for (const symbol of [0, 1]) {
      const copy = new Uint8Array(8);
      applySymbols(copy, covered, () => symbol);
      expect([...copy]).toEqual([0, 0, 0, 5, 6, 0, 0, 0]);
    }
    const alone = new Uint8Array(8);
    for (let slot = 0; slot < SLOTS; slot++) for (const group of [0, 1] as const) applyGroup(alone, covered, slot, group);
    expect([...alone]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(decodeProfile(encodeProfile({ ...covered, size: 8 }))).toEqual({ ...covered, size: 8 });
  });
  it('of a byte range gives that range of the whole', () => {
    fc.assert(
      fc.property(places, fc.nat(SIZE), fc.nat(SIZE), fc.array(fc.nat(1), { minLength: SLOTS, maxLength: SLOTS }), (list, a, b, symbols) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const part = media.slice(from, to);
        applySwitches(part, profileOf(list).sites, switchesOf(SLOTS, (slot) => symbols[slot] as number), from);
        expect(part).toEqual(slowly(media, list, symbols).slice(from, to));
      }),
    );
  });
  it('of chunks gives the whole, when their places are joined', () => {
    fc.assert(
      fc.property(places, places, (first, second) => {
        const joined = joinSites([marksOf(first), shiftSites(marksOf(second), SIZE)]);
        const whole = new Uint8Array(2 * SIZE);
        applySymbols(whole, { slots: SLOTS, sites: joined }, () => 1);
        const halves = new Uint8Array(2 * SIZE);
        applySymbols(halves.subarray(0, SIZE), profileOf(first), () => 1);
        applySymbols(halves.subarray(SIZE), profileOf(second), () => 1);
        expect(whole).toEqual(halves);
      }),
    );
  });
  it('one group of one slot at a time covers everything, once', () => {
    fc.assert(
      fc.property(places, (list) => {
        const all = media.slice();
        for (let slot = 0; slot < SLOTS; slot++) for (const group of [0, 1] as const) applyGroup(all, profileOf(list), slot, group);
        const once = media.slice();
        for (const { offset, mask } of list) mask.forEach((byte, i) => (once[offset + i] = (once[offset + i] as number) ^ byte));
        expect(all).toEqual(once);
      }),
    );
  });
});

describe('boxes as bytes', () => {
  const head = { epoch: 3, packagerStart: 0xfffffffe, nonce: Uint8Array.from({ length: 12 }, (_, i) => i) };
  it('take apart what was put together', () => {
    const bytes = Uint8Array.from([...markBoxHead(head, 40), ...new Uint8Array(40).fill(7)]);
    expect(bytes.length).toBe(MARK_BOX_OVERHEAD - 16 + 40);
    expect(parseMarkBox(bytes)).toMatchObject({ ...head, sealed: new Uint8Array(40).fill(7) });
  });
  it('of any other shape are a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        expect(() => parseMarkBox(bytes)).toThrow(expect.objectContaining({ code: 'media-malformed' }));
      }),
    );
    expect(() => parseMarkBox(Uint8Array.from([...markBoxHead(head, 15), ...new Uint8Array(15)]))).toThrow(/tag/);
  });
  it('share a key epoch for 512 segments', () => {
    expect([0, 511, 512, 900_000_000].map(boxEpochOf)).toEqual([0, 0, 1, 1_757_812]);
  });
});
