// SPDX-License-Identifier: Apache-2.0
/** The code books: stateless, the same everywhere, one interface; epochs that follow the population. */
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SealcastError } from '#core/errors.ts';
import {
  createAdaptiveBook,
  createAlignedBook,
  createBiasedBook,
  epochAt,
  epochLength,
  extendSchedule,
  formatWord,
  markKey,
  markKeys,
  MAX_VIEWER,
  position,
  requireSchedule,
  startSchedule,
  uniformWeights,
  viewerNumber,
  type CodeBook,
} from './index.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const secret = new Uint8Array(32).fill(0x5a);
const keys = markKeys(hmac, secret);
const schedule = startSchedule({ alphabet: 5, viewers: 1e9 });
const bad = expect.objectContaining({ code: 'bad-request' });

const books: readonly (readonly [string, () => CodeBook])[] = [
  ['adaptive', () => createAdaptiveBook({ alphabet: 5 })],
  ['aligned', () => createAlignedBook({ alphabet: 5, schedule, keys })],
  ['biased uniform', () => createBiasedBook({ alphabet: 5, bias: 'uniform', schedule, keys })],
  ['biased dirichlet', () => createBiasedBook({ alphabet: 5, bias: 'dirichlet', schedule, keys })],
  ['biased alternate', () => createBiasedBook({ alphabet: 5, bias: 'alternate', schedule, keys })],
];

describe.each(books)('%s', (_, create) => {
  it('answers the same after a restart and in any order of questions', () => {
    const one = create();
    const asked = fc.sample(fc.tuple(fc.nat(1_000_000), fc.nat(1_000_000)), { numRuns: 300, seed: 3 });
    const answers = asked.map(([viewer, at]) => one.symbol(viewerNumber(viewer), position(at)));
    const other = create();
    const again = asked.toReversed().map(([viewer, at]) => other.symbol(viewerNumber(viewer), position(at)));
    expect(again.toReversed()).toEqual(answers);
    for (const symbol of answers) expect(symbol).toBeLessThan(5);
  });
  it('fills as it answers one by one, from any first viewer', () => {
    const book = create();
    for (const [first, count, at] of [[0, 200, 7], [63, 66, 8], [1_000_001, 130, 40_000_000_000], [5, 1, 0]] as const) {
      const out = new Uint8Array(count);
      book.fill(position(at), viewerNumber(first), out);
      expect([...out]).toEqual(Array.from({ length: count }, (__, i) => book.symbol(viewerNumber(first + i), position(at))));
    }
  });
  it('serves the largest viewer number and position', () => {
    expect(create().symbol(viewerNumber(MAX_VIEWER), position(Number.MAX_SAFE_INTEGER))).toBeLessThan(5);
  });
});

describe('viewer numbers and positions', () => {
  it.each([-1, 0.5, Number.NaN, MAX_VIEWER + 1, Number.POSITIVE_INFINITY])('refuses viewer %s', (value) => expect(() => viewerNumber(value)).toThrow(bad));
  it.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses position %s', (value) => expect(() => position(value)).toThrow(bad));
});

describe('adaptive', () => {
  const book = createAdaptiveBook({ alphabet: 2 });
  it('reserves constants and words below length 4', () => {
    const words = Array.from({ length: 12 }, (_, viewer) => formatWord(book.word(viewerNumber(viewer))));
    expect(words.slice(0, 4)).toEqual(['0001', '0011', '0111', '00001']);
    for (const word of words) expect(new Set(word).size).toBeGreaterThan(1);
  });
  it('repeats the viewer word for ever and leads back to the viewer', () => {
    const word = book.word(viewerNumber(77));
    for (let at = 0; at < 3 * word.length; at++) expect(book.symbol(viewerNumber(77), position(at))).toBe(word[at % word.length]);
    expect(book.viewerOf(book.sequences.rank(word))).toBe(77n);
    expect(book.viewerOf(0n)).toBeUndefined();
    expect(book.longest(1)).toBe(4);
    expect(book.longest(3)).toBe(4);
    expect(book.longest(4)).toBe(5);
  });
  it('keeps constants out whatever is asked for', () => expect(() => createAdaptiveBook({ alphabet: 2, shortest: 1 })).toThrow(bad));
});

describe('aligned', () => {
  it('gives every viewer another codeword in a whole epoch, and unrelated ones in the next', () => {
    const book = createAlignedBook({ alphabet: 5, schedule: startSchedule({ alphabet: 5, viewers: 1e6 }), keys });
    const first = book.epochAt(position(0));
    const second = book.epochAt(position(first.length));
    expect([first.epoch, second.epoch, second.start]).toEqual([0, 1, first.length]);
    const words = new Set<string>();
    let same = 0;
    for (let viewer = 0; viewer < 20_000; viewer++) {
      const word = book.codeword(viewerNumber(viewer), first);
      words.add(formatWord(word));
      if (word[0] === book.codeword(viewerNumber(viewer), second)[0]) same++;
      if (viewer < 50) expect(book.symbol(viewerNumber(viewer), position(3))).toBe(word[3]);
    }
    expect(words.size).toBe(20_000);
    // 4000 expected, deviation 57.
    expect(same).toBeGreaterThan(3700);
    expect(same).toBeLessThan(4300);
  });
  it('serves viewers beyond the epoch length, with independent codewords', () => {
    const book = createAlignedBook({ alphabet: 5, schedule: [{ from: position(0), length: 4 }], keys });
    const epoch = book.epochAt(position(0));
    const page = (number: number): string[] => Array.from({ length: 625 }, (_, i) => formatWord(book.codeword(viewerNumber(number * 625 + i), epoch)));
    const [zero, one] = [page(0), page(1)];
    expect(new Set(zero).size).toBe(625);
    expect(new Set(one).size).toBe(625);
    expect(() => book.symbol(viewerNumber(MAX_VIEWER), position(0))).toThrow(bad);
    expect(zero.filter((word, i) => word === one[i]).length).toBeLessThan(10);
  });
  it('does not answer without the epoch key', () => {
    const only = (epoch: number): Uint8Array => {
      if (epoch !== 0) throw new SealcastError('key-unavailable', 'mark key of the epoch is not at hand');
      return markKey(hmac, secret, epoch);
    };
    const book = createAlignedBook({ alphabet: 5, schedule, keys: only });
    expect(book.symbol(viewerNumber(1), position(0))).toBeLessThan(5);
    expect(() => book.symbol(viewerNumber(1), position(13))).toThrow(expect.objectContaining({ code: 'key-unavailable' }));
  });
  it('differs under another secret', () => {
    const other = createAlignedBook({ alphabet: 5, schedule, keys: markKeys(hmac, new Uint8Array(32)) });
    const book = createAlignedBook({ alphabet: 5, schedule, keys });
    const word = (of: typeof book): string => formatWord(of.codeword(viewerNumber(4711), of.epochAt(position(0))));
    expect(word(other)).not.toBe(word(book));
  });
});

describe('biased', () => {
  it('splits 256 into weights of at least 1', () => {
    expect([...uniformWeights(5)]).toEqual([52, 51, 51, 51, 51]);
    for (let alphabet = 2; alphabet <= 8; alphabet++) {
      const book = createBiasedBook({ alphabet, bias: 'dirichlet', schedule: startSchedule({ alphabet, viewers: 1e6 }), keys });
      for (let at = 0; at < 200; at++) {
        const weights = [...book.weights(position(at))];
        expect(weights.reduce((a, b) => a + b)).toBe(256);
        expect(Math.min(...weights)).toBeGreaterThanOrEqual(1);
      }
    }
  });
  it('gives symbols their weights', () => {
    const book = createBiasedBook({ alphabet: 3, bias: 'dirichlet', schedule: startSchedule({ alphabet: 3, viewers: 1e6 }), keys });
    const out = new Uint8Array(65_536);
    for (const at of [0, 1, 2]) {
      book.fill(position(at), viewerNumber(0), out);
      book.weights(position(at)).forEach((weight, symbol) => {
        const share = out.filter((value) => value === symbol).length / out.length;
        // Five standard deviations at most.
        expect(Math.abs(share - weight / 256)).toBeLessThan(0.01);
      });
    }
  });
  it('has Dirichlet(1/2) biases: mean 1/m, variance 2 (m-1) / (m^2 (m+2))', () => {
    const alphabet = 4;
    const book = createBiasedBook({ alphabet, bias: 'dirichlet', schedule: startSchedule({ alphabet, viewers: 1e6 }), keys });
    const values = Array.from({ length: 6000 }, (_, at) => (book.weights(position(at))[0] as number) / 256);
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(1 / 4, 1);
    expect(variance).toBeGreaterThan(0.056);
    expect(variance).toBeLessThan(0.069);
  });
  it('alternates per epoch', () => {
    const book = createBiasedBook({ alphabet: 5, bias: 'alternate', schedule, keys });
    expect([...book.weights(position(0))]).toEqual([...uniformWeights(5)]);
    expect([...book.weights(position(13))]).not.toEqual([...uniformWeights(5)]);
  });
});

describe('epochs', () => {
  it('follow the population at epoch boundaries', () => {
    const start = startSchedule({ alphabet: 5, viewers: 1000, from: 100 });
    expect(start).toEqual([{ from: 100, length: 9 }]);
    expect(extendSchedule(start, { alphabet: 5, viewers: 1_900_000, notBefore: 500 })).toBe(start);
    const grown = extendSchedule(start, { alphabet: 5, viewers: 1e9, notBefore: 500 });
    expect(grown).toEqual([{ from: 100, length: 9 }, { from: 505, length: 13 }]);
    expect(epochAt(grown, 504)).toEqual({ epoch: 44, start: 496, length: 9 });
    expect(epochAt(grown, 505)).toEqual({ epoch: 45, start: 505, length: 13 });
    expect(epochAt(grown, 518)).toEqual({ epoch: 46, start: 518, length: 13 });
    expect(() => epochAt(grown, 99)).toThrow(bad);
    expect(extendSchedule(start, { alphabet: 5, viewers: 1e9, notBefore: 0 })).toEqual([{ from: 100, length: 13 }]);
  });
  it('cover every position exactly once', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 1e9 }), fc.nat(300)), { minLength: 1, maxLength: 5 }), (growth) => {
        let schedule = startSchedule({ alphabet: 3, viewers: 10 });
        let now = 0;
        for (const [viewers, wait] of growth) schedule = extendSchedule(schedule, { alphabet: 3, viewers, notBefore: (now += wait) });
        requireSchedule(schedule, 3);
        let epoch = 0;
        let left = epochAt(schedule, 0).length;
        for (let at = 0; at < now + 60; at++) {
          if (left === 0) {
            epoch++;
            left = epochAt(schedule, at).length;
            expect(epochAt(schedule, at).start).toBe(at);
          }
          expect(epochAt(schedule, at).epoch).toBe(epoch);
          left--;
        }
      }),
      { seed: 9, numRuns: 25 },
    );
  });
  it.each([
    [[]],
    [[{ from: 0, length: 1 }]],
    [[{ from: 0, length: 40 }]],
    [[{ from: 0, length: 9 }, { from: 10, length: 9 }]],
    [[{ from: 9, length: 9 }, { from: 0, length: 9 }]],
    [[{ from: -1, length: 9 }]],
  ])('refuse the schedule %j', (steps) => {
    expect(() => requireSchedule(steps.map(({ from, length }) => ({ from: from as ReturnType<typeof position>, length })), 5)).toThrow(bad);
  });
  it('have keys of the documented form', () => {
    // msg("mark", u64 epoch): u16 length + bytes per field, the label first.
    const message = Buffer.concat([Buffer.from([0, 15]), Buffer.from('sealcast/1/mark'), Buffer.from([0, 8, 0, 0, 0, 0, 0, 0, 0, 7])]);
    expect(Buffer.from(keys(7)).equals(createHmac('sha256', secret).update(message).digest())).toBe(true);
  });
  it('refuse a population that is none', () => expect(() => epochLength(5, 0)).toThrow(bad));
});
