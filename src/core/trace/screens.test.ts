// SPDX-License-Identifier: Apache-2.0
/** Screens: the leaders are those that sorting everybody finds, for any population and with many equal scores. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded } from '../../../test/trace/pirate.ts';
import { createScreens } from './screens.ts';

/** The same scores, kept plainly: fixed point with 16 fractional bits, restarted at zero. */
const plain = (viewers: number) => {
  const scores = [0, 1].map(() => new Float64Array(viewers));
  return {
    add(symbols: Uint8Array, gains: readonly (readonly number[])[]): void {
      scores.forEach((own, screen) => {
        for (let viewer = 0; viewer < viewers; viewer++) own[viewer] = Math.max(0, (own[viewer] as number) + Math.round((gains[screen]?.[symbols[viewer] as number] as number) * 65_536));
      });
    },
    scores,
  };
};

const gainsOf = (symbol: number, hit: number, miss: number): number[] => Array.from({ length: 5 }, (_, x) => (x === symbol ? hit : miss));

describe('screens', () => {
  it.each([[1], [40], [5000], [15_000]])('of %i viewers list the highest scores first', (viewers) => {
    const random = seeded(viewers);
    const screens = createScreens(viewers);
    const reference = plain(viewers);
    for (let i = 0; i < 30; i++) {
      const symbols = Uint8Array.from({ length: viewers }, () => Math.floor(random() * 5));
      const read = Math.floor(random() * 5);
      const gains = [gainsOf(read, 1.609, i < 20 ? -7.6 : -0.6931), gainsOf(read, random(), -random())] as const;
      screens.add(symbols, gains);
      reference.add(symbols, gains);
      for (const screen of [0, 1] as const) {
        const own = reference.scores[screen] as Float64Array;
        const listed = screens.leaders(screen);
        expect(new Set(listed).size).toBe(listed.length);
        const best = own.filter((score) => score > 0).sort().reverse();
        // As many as a report asks for are there if anybody scores, and they are the best.
        const count = Math.min(16, best.length);
        expect(listed.length).toBeGreaterThanOrEqual(count);
        expect(listed.slice(0, count).map((viewer) => own[viewer])).toEqual([...best.slice(0, count)]);
      }
    }
  }, 60_000);

  it('fill up with any of them when more share the highest score than fit', () => {
    const screens = createScreens(20_000);
    const gains = gainsOf(2, 1, -1);
    screens.add(new Uint8Array(20_000).fill(2), [gains, gains]);
    expect(screens.leaders(0).length).toBeGreaterThan(100);
    screens.add(new Uint8Array(20_000).fill(3), [gains, gains]);
    expect(screens.leaders(0)).toEqual([]);
  });

  it('still find the highest when all scores fall far', () => {
    const viewers = 10_000;
    const screens = createScreens(viewers);
    const symbols = Uint8Array.from({ length: viewers }, (_, viewer) => (viewer % 10 === 0 ? 1 : 0));
    for (let i = 0; i < 20; i++) screens.add(symbols, [gainsOf(1, 2, -1), gainsOf(1, 2, -1)]);
    symbols[4000] = 2;
    screens.add(symbols, [gainsOf(2, 0, -30), gainsOf(2, 0, -30)]);
    expect(screens.leaders(0)[0]).toBe(4000);
  });

  it('follow a sudden change of everything', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 4 }), fc.double({ min: -9, max: 9, noNaN: true })), { minLength: 1, maxLength: 25 }), fc.integer(), (steps, seed) => {
        const viewers = 12_000;
        const random = seeded(seed);
        const screens = createScreens(viewers);
        const reference = plain(viewers);
        const symbols = Uint8Array.from({ length: viewers }, () => Math.floor(random() ** 3 * 5));
        for (const [i, [symbol, gain]] of steps.entries()) {
          symbols[Math.floor(random() * viewers)] = symbol;
          const gains = [gainsOf(symbol, gain, -gain), i % 2 === 0 ? gainsOf(symbol, 1, gain) : gainsOf(symbol, -1, 0.5)] as const;
          screens.add(symbols, gains);
          reference.add(symbols, gains);
          for (const screen of [0, 1] as const) {
            const own = reference.scores[screen] as Float64Array;
            const top = Math.max(...own);
            if (top > 0) expect(own[screens.leaders(screen)[0] as number]).toBe(top);
            else expect(screens.leaders(screen)).toEqual([]);
          }
        }
      }),
      { seed: 8, numRuns: 20 },
    );
  }, 60_000);
});
