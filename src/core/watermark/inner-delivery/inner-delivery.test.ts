// SPDX-License-Identifier: Apache-2.0
/** Inner delivery: fewer variants per edge, every viewer still separable, the same symbols on every edge and after a restart. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { testKeys } from '../../../../test/trace/pirate.ts';
import {
  addBlock,
  createBiasedBook,
  createDeliveryCounter,
  createPrefixBook,
  edgeCopy,
  everyVariant,
  expectedVariants,
  planBlocks,
  position,
  prefixDelivery,
  startSchedule,
  twoPhaseDelivery,
  variantsNeeded,
  viewerNumber,
  type PrefixPlan,
  type ViewerNumber,
} from '../index.ts';

const bad = expect.objectContaining({ code: 'bad-request' });
const biased = (event: number) => createBiasedBook({ alphabet: 5, bias: 'uniform', schedule: startSchedule({ alphabet: 5, viewers: 1e6 }), keys: testKeys(event) });
const viewersOf = (plan: PrefixPlan): ViewerNumber[] => plan.blocks.flatMap(({ first, digits }) => Array.from({ length: plan.alphabet ** digits }, (_, i) => viewerNumber(first + i)));
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });

describe('the prefix code', () => {
  it('gives every viewer of a plan its own codeword in every epoch, and shares all digits but the own ones within a block', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), sizes, fc.integer({ min: 0, max: 1000 }), fc.nat(40), (alphabet, counts, event, epoch) => {
        const plan = planBlocks({ alphabet, edges: counts.map((viewers, edge) => ({ edge, viewers })), from: 3 });
        const book = createPrefixBook(plan, testKeys(event));
        const words = new Map<string, number>();
        const shared = new Map<number, string>();
        for (const viewer of viewersOf(plan)) {
          const { edge, digits } = book.block(viewer);
          const word = Array.from({ length: plan.length }, (_, i) => book.symbol(viewer, position(3 + epoch * plan.length + i)));
          expect(words.has(word.join(''))).toBe(false);
          words.set(word.join(''), viewer);
          const prefix = word.slice(0, plan.length - digits).join('');
          expect(shared.get(edge) ?? prefix).toBe(prefix);
          shared.set(edge, prefix);
          for (let i = 0; i < plan.length; i++) expect(book.ownDigit(viewer, position(3 + epoch * plan.length + i))).toBe(i >= plan.length - digits);
        }
        // A block is at least as large as its edge, and no block could be smaller by a digit.
        for (const { edge, digits } of plan.blocks) expect(alphabet ** digits).toSatisfy((size: number) => size >= (counts[edge] as number) && (digits === 1 || size / alphabet < (counts[edge] as number)));
      }),
      { seed: 2, numRuns: 60 },
    );
  });

  it('answers the same in any order, from any instance', () => {
    const plan = planBlocks({ alphabet: 5, edges: [{ edge: 4, viewers: 1e6 }, { edge: 9, viewers: 2000 }, { edge: 1, viewers: 3 }] });
    const total = viewersOf(planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 3000 }] })).length;
    const asked = fc.sample(fc.tuple(fc.nat(total), fc.nat(1_000_000)), { numRuns: 300, seed: 3 });
    const one = createPrefixBook(plan, testKeys(1));
    const answers = asked.map(([viewer, at]) => one.symbol(viewerNumber(viewer), position(at)));
    const other = createPrefixBook(plan, testKeys(1));
    expect(asked.toReversed().map(([viewer, at]) => other.symbol(viewerNumber(viewer), position(at))).toReversed()).toEqual(answers);
    expect(asked.map(([viewer, at]) => createPrefixBook(plan, testKeys(2)).symbol(viewerNumber(viewer), position(at)))).not.toEqual(answers);
  });

  it('makes own digits of different viewers look independent: each pair of symbols equally often', () => {
    const plan = planBlocks({ alphabet: 3, edges: [{ edge: 0, viewers: 700 }, { edge: 1, viewers: 700 }] });
    const book = createPrefixBook(plan, testKeys(5));
    const first = plan.blocks[1]?.first as number;
    for (const [a, b] of [[0, 1], [5, 600], [0, first], [17, first + 17]] as const) {
      const counts = new Float64Array(9);
      let seen = 0;
      for (let at = 0; at < 700 * plan.length; at++) {
        if (!book.ownDigit(viewerNumber(a), position(at))) continue;
        const pair = 3 * book.symbol(viewerNumber(a), position(at)) + book.symbol(viewerNumber(b), position(at));
        counts[pair] = (counts[pair] as number) + 1;
        seen++;
      }
      const expected = seen / 9;
      // Chi-square with 8 degrees of freedom: above 30 once in 5000.
      expect(counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(30);
    }
  });

  it('makes room for new edges without moving anybody, until it is full', () => {
    const plan = planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 100 }, { edge: 1, viewers: 20 }] });
    let grown = plan;
    for (let edge = 2; edge < 10; edge++) grown = addBlock(grown, edge, 24);
    expect(grown.blocks.slice(0, 2)).toEqual(plan.blocks);
    const viewers = viewersOf(grown);
    expect(new Set(viewers).size).toBe(viewers.length);
    expect(() => {
      for (let edge = 10; edge < 40; edge++) grown = addBlock(grown, edge, 24);
    }).toThrow(bad);
    const [before, after] = [createPrefixBook(plan, testKeys(6)), createPrefixBook(grown, testKeys(6))];
    for (let at = 0; at < 40; at++) for (const viewer of [0, 99, 124, 130]) expect(after.symbol(viewerNumber(viewer), position(at))).toBe(before.symbol(viewerNumber(viewer), position(at)));
  });

  it('needs one variant at shared digits', () => {
    const plan = planBlocks({ alphabet: 5, edges: Array.from({ length: 30 }, (_, edge) => ({ edge, viewers: 120 })) });
    const book = createPrefixBook(plan, testKeys(7));
    const delivery = prefixDelivery(book);
    const own = viewersOf({ ...plan, blocks: [plan.blocks[11] as (typeof plan.blocks)[number]] });
    for (let at = 0; at < 5 * plan.length; at++) {
      const needed = variantsNeeded(delivery, 11, own, position(at)).length;
      if (at % plan.length < plan.length - 3) expect(needed).toBe(1);
      else expect(needed).toBe(5);
    }
  });

  it('refuses what has no place', () => {
    const plan = planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 100 }], from: 10 });
    const book = createPrefixBook(plan, testKeys(1));
    expect(() => book.symbol(viewerNumber(125), position(20))).toThrow(bad);
    expect(() => book.symbol(viewerNumber(1), position(9))).toThrow(bad);
    expect(() => planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 0 }] })).toThrow(bad);
    expect(() => planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 1e16 }] })).toThrow(bad);
    expect(() => planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 1 }], leastDigits: 0 })).toThrow(bad);
    expect(() => planBlocks({ alphabet: 5, edges: [{ edge: 0, viewers: 1 }], leastDigits: 30 })).toThrow(bad);
  });
});

describe('two-phase delivery', () => {
  const book = biased(3);
  const delivery = twoPhaseDelivery(book, [{ edge: 2, from: position(50) }, { edge: 3, from: position(10), until: position(20) }]);
  const viewers = Array.from({ length: 60 }, (_, i) => viewerNumber(16 + i));
  it('gives an edge one copy of its own until it is switched, and every viewer its own copy from then on', () => {
    for (let at = 0; at < 100; at++) {
      expect(variantsNeeded(delivery, 1, viewers, position(at))).toEqual([book.symbol(edgeCopy(1), position(at))]);
      expect(variantsNeeded(delivery, 2, viewers, position(at)).length > 1).toBe(at >= 50);
      expect(variantsNeeded(delivery, 3, viewers, position(at)).length > 1).toBe(at >= 10 && at < 20);
    }
  });
  it('separates every two edges, and every two viewers of a switched edge', () => {
    const word = (viewer: number, edge: number, from: number): string => Array.from({ length: 40 }, (_, i) => delivery.symbol(viewerNumber(viewer), edge, position(from + i))).join('');
    expect(new Set(Array.from({ length: 400 }, (_, edge) => word(16, edge + 10, 0))).size).toBe(400);
    expect(new Set(viewers.map((viewer) => word(viewer, 2, 50))).size).toBe(viewers.length);
  });
  it('is a function of its arguments: another instance with a plan that has grown answers the same for what was served', () => {
    const grown = twoPhaseDelivery(biased(3), [{ edge: 9, from: position(200) }, { edge: 2, from: position(50) }, { edge: 3, from: position(10), until: position(20) }]);
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(30), fc.nat(199), (viewer, edge, at) => {
        expect(grown.symbol(viewerNumber(viewer), edge, position(at))).toBe(delivery.symbol(viewerNumber(viewer), edge, position(at)));
      }),
      { seed: 1, numRuns: 300 },
    );
  });
  it.each([-1, 0.5, 2 ** 20 + 1, Number.NaN])('refuses the edge %s', (edge) => {
    expect(() => edgeCopy(edge)).toThrow(bad);
    expect(() => twoPhaseDelivery(book, [{ edge, from: position(1) }])).toThrow(bad);
  });
});

describe('traffic', () => {
  it('of every variant follows the formula', () => {
    const delivery = everyVariant(biased(4));
    for (const served of [1, 2, 5, 20]) {
      let total = 0;
      for (let group = 0; group < 100; group++) {
        for (let at = 0; at < 40; at++) total += variantsNeeded(delivery, 0, Array.from({ length: served }, (_, i) => viewerNumber(group * served + i)), position(at)).length;
      }
      expect(total / 4000).toBeCloseTo(expectedVariants(5, served), 1);
    }
    expect(expectedVariants(5, 1)).toBeCloseTo(1, 12);
    expect(expectedVariants(5, 2)).toBeCloseTo(1.8, 12);
    expect(expectedVariants(5, 1e9)).toBeCloseTo(5, 12);
    expect(expectedVariants(5, 0)).toBe(0);
  });
  it('is counted once per variant, per event, however often it is fetched', () => {
    const counter = createDeliveryCounter();
    const fetch = (event: string, at: number, symbol: number, representation = 'v1', bytes = 100): void => counter.fetched({ event, representation, position: position(at), symbol, bytes });
    fetch('a', 1, 0);
    fetch('a', 1, 0);
    fetch('a', 1, 3, 'v1', 110);
    fetch('a', 2, 3);
    fetch('a', 2, 3, 'v2', 50);
    fetch('b', 2, 0);
    expect(counter.totals('a')).toEqual({ segments: 3, variants: 4, bytes: 360, plainBytes: 250 });
    expect(counter.totals('b')).toEqual({ segments: 1, variants: 1, bytes: 100, plainBytes: 100 });
    expect(counter.totals('c')).toEqual({ segments: 0, variants: 0, bytes: 0, plainBytes: 0 });
    expect(counter.events()).toEqual(['a', 'b']);
    counter.forget('a');
    expect(counter.events()).toEqual(['b']);
    expect(() => fetch('a', 1, 8)).toThrow(bad);
    expect(() => fetch('a', 1, -1)).toThrow(bad);
    expect(() => fetch('a', 1, 1, 'v1', Number.NaN)).toThrow(bad);
  });
  it('forgets old positions, so that memory stays bounded', () => {
    const counter = createDeliveryCounter({ remembered: 4 });
    const fetch = (at: number, symbol: number): void => counter.fetched({ event: 'e', representation: 'v', position: position(at), symbol, bytes: 1 });
    for (let at = 0; at < 10; at++) fetch(at, 0);
    fetch(9, 1);
    expect(counter.totals('e')).toMatchObject({ segments: 10, variants: 11 });
    fetch(1, 1);
    expect(counter.totals('e')).toMatchObject({ segments: 11, variants: 12 });
    expect(() => createDeliveryCounter({ remembered: 0 })).toThrow(bad);
  });
});
