// SPDX-License-Identifier: Apache-2.0
/** The paper's sequences decoded: its window bound is tight, no clean window ever names another, errors only cost time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAdaptiveBook, createSequences, formatWord, leastRotation, parseWord, position, viewerNumber } from '#core/watermark/index.ts';
import { readAt, readings, seeded } from '../../../test/trace/pirate.ts';
import { createAdaptiveTracer, decodeWindow, hardReading, MAX_READINGS } from './index.ts';

const windowOf = (word: Uint8Array, phase: number, size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => word[(phase + i) % word.length] as number);

describe('the window of the paper', () => {
  it.each([[2, 10], [3, 6], [4, 4], [5, 4]])('m=%i: max(1, 2(L-1)) always suffices and 2L-3 does not, for L up to %i', (m, longest) => {
    const sequences = createSequences(m);
    for (let L = 1; L <= longest; L++) {
      const k = Math.max(1, 2 * (L - 1));
      const short = new Map<string, string>();
      let collisions = 0;
      for (let index = 0n; index < (sequences.cumulative[L] as bigint); index++) {
        const word = sequences.unrank(index);
        for (let phase = 0; phase < word.length; phase++) {
          const found = decodeWindow(windowOf(word, phase, k), L);
          expect(found === undefined ? 'undecided' : formatWord(leastRotation(found))).toBe(formatWord(word));
          const window = formatWord(windowOf(word, phase, k - 1));
          if ((short.get(window) ?? formatWord(word)) !== formatWord(word)) collisions++;
          short.set(window, formatWord(word));
        }
      }
      // Of the form a^(L-2) b a^(L-2).
      if (L >= 3) expect(collisions).toBe(m * (m - 1));
    }
  });
  it('resists the decoders that pass naive tests', () => {
    // 001100 holds the square 00, and 00100 is both 001 and 0001.
    expect(formatWord(decodeWindow(parseWord('001100', 2), 4) ?? new Uint8Array())).toBe('0011');
    expect(decodeWindow(parseWord('00100', 2), 4)).toBeUndefined();
    expect(decodeWindow(parseWord('001', 2), 4)).toBeUndefined();
  });
  it('decides after L+2 segments on average without errors, and never wrongly', () => {
    const random = seeded(4);
    for (const [m, users] of [[2, 8795], [5, 1e9], [3, 1e6]] as const) {
      const book = createAdaptiveBook({ alphabet: m });
      const L = book.longest(users);
      let total = 0;
      for (let trial = 0; trial < 300; trial++) {
        const word = book.word(viewerNumber(Math.floor(random() * users)));
        const phase = Math.floor(random() * word.length);
        for (let size = 1; ; size++) {
          const found = decodeWindow(windowOf(word, phase, size), L);
          if (found === undefined) continue;
          expect(formatWord(leastRotation(found))).toBe(formatWord(word));
          total += size;
          break;
        }
      }
      expect(total / 300).toBeLessThanOrEqual(L + 2);
    }
  });
});

describe('the posterior', () => {
  it('equals enumeration of every word and phase', () => {
    const book = createAdaptiveBook({ alphabet: 2, shortest: 2 });
    const viewers = 20;
    const L = book.longest(viewers);
    const random = seeded(21);
    for (let trial = 0; trial < 20; trial++) {
      const tracer = createAdaptiveTracer({ book, viewers, eps: 0.01 });
      const observed = Array.from({ length: 6 + trial }, (_, i) => ({ position: position(40 + i), likelihoods: [0.05 + random(), 0.05 + random()] }));
      for (const reading of observed) tracer.observe(reading);
      let total = 0;
      let best = 0;
      for (let l = 1; l <= L; l++) {
        for (let code = 0; code < 2 ** l; code++) {
          const word = Uint8Array.from({ length: l }, (_, i) => (code >> i) & 1);
          if (Array.from({ length: l - 1 }, (_, d) => d + 1).some((d) => l % d === 0 && word.every((symbol, i) => symbol === word[i % d]))) continue;
          const weight = observed.reduce((product, { position: at, likelihoods }) => {
            const [zero = 0, one = 0] = likelihoods;
            return product * ((1 - 2e-4) * ((word[at % l] === 0 ? zero : one) / (zero + one)) + 1e-4);
          }, 1);
          total += weight;
          const viewer = book.viewerOf(book.sequences.rank(word));
          if (viewer !== undefined && viewer < BigInt(viewers)) best = Math.max(best, weight);
        }
      }
      expect(tracer.report().evidence).toBeCloseTo(Math.log(best / (total - best)), 6);
    }
  });
  it('never names another viewer on clean windows of any length', () => {
    const book = createAdaptiveBook({ alphabet: 3 });
    fc.assert(
      fc.property(fc.nat(999_999), fc.nat(500), fc.integer({ min: 1, max: 60 }), (viewer, from, size) => {
        const tracer = createAdaptiveTracer({ book, viewers: 1e6, eps: 1e-3 });
        for (const reading of readings({ book, viewers: [viewer], random: seeded(1) }, from, size)) tracer.observe(reading);
        const report = tracer.report();
        expect([viewer, null]).toContain(report.viewer);
        expect(report.verdict === 'none').toBe(false);
      }),
      { seed: 12, numRuns: 60 },
    );
  }, 60_000);
  it('accuses among a billion viewers through 1 % errors', () => {
    const book = createAdaptiveBook({ alphabet: 5 });
    const random = seeded(13);
    for (let trial = 0; trial < 6; trial++) {
      const leak = Math.floor(random() * 1e9);
      const tracer = createAdaptiveTracer({ book, viewers: 1e9, eps: 1e-6 });
      let report = tracer.report();
      for (let i = 0; i < 200 && report.verdict !== 'accuse'; i++) {
        tracer.observe(readAt({ book, viewers: [leak], errors: 0.01, random }, 1000 + i));
        report = tracer.report();
      }
      expect(report).toMatchObject({ book: 'adaptive', verdict: 'accuse', viewer: leak });
      expect(report.falseAccusation).toBeLessThanOrEqual(1e-6);
    }
  }, 60_000);
  it('ends in `none` for a word nobody has', () => {
    const book = createAdaptiveBook({ alphabet: 5 });
    const outsider = { alphabet: 5, word: book.word(viewerNumber(900)) };
    const tracer = createAdaptiveTracer({ book, viewers: 800, eps: 1e-3 });
    for (let i = 0; i < 40; i++) tracer.observe({ position: position(i), likelihoods: hardReading(5, outsider.word[i % outsider.word.length] as number, 1e-3) });
    expect(tracer.report()).toMatchObject({ verdict: 'none', viewer: null });
  });
  it('does not mistake a constant copy for a viewer', () => {
    const book = createAdaptiveBook({ alphabet: 5 });
    const tracer = createAdaptiveTracer({ book, viewers: 1e6, eps: 1e-3 });
    for (let i = 0; i < 40; i++) tracer.observe({ position: position(i), likelihoods: hardReading(5, 0, 1e-3) });
    const report = tracer.report();
    expect(report.verdict).toBe('none');
    expect(report.viewer).toBeNull();
  });
  it('takes as many readings as a file may hold, and no more', () => {
    const tracer = createAdaptiveTracer({ book: createAdaptiveBook({ alphabet: 2 }), viewers: 10, eps: 0.1 });
    for (let i = 0; i < MAX_READINGS; i++) tracer.observe({ position: position(i) });
    expect(() => tracer.observe({ position: position(MAX_READINGS) })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(tracer.report().erased).toBe(MAX_READINGS);
  });
  it('refuses repeated positions and readings that are none', () => {
    const tracer = createAdaptiveTracer({ book: createAdaptiveBook({ alphabet: 2 }), viewers: 10, eps: 0.1 });
    tracer.observe({ position: position(1) });
    expect(() => tracer.observe({ position: position(1) })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(() => tracer.observe({ position: position(2), likelihoods: [Number.NaN, 1] })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(tracer.report()).toMatchObject({ verdict: 'more', viewer: null, evidence: -Infinity, erased: 1 });
  });
});
