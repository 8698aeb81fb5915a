// SPDX-License-Identifier: Apache-2.0
/** Pair bets: fair to innocents exactly, whoever leads; worth more than single judgement once the partner is known. */
import { describe, expect, it } from 'vitest';
import { seeded } from '../../../test/trace/pirate.ts';
import { COALITION_PRIOR, evidenceOf } from './evidence.ts';
import { hardReading, symbolProbabilities } from './likelihood.ts';
import { logRatios, MODELS, modelTables } from './models.ts';
import { createPairBets } from './pairs.ts';

const PAIR = MODELS.findIndex(({ colluders, attack }) => colluders === 2 && attack === 'interleaving');

/** ln of a viewer's pair e-value: the pair model's ratios and the gain over them. */
const played = (options: { copies: readonly Uint8Array[]; q: readonly Float64Array[]; p: Float64Array; viewers: number; leaders: (reading: number, own: Uint8Array) => number[] }) => {
  const { copies, q, p, viewers, leaders } = options;
  const m = p.length;
  const tables = modelTables(p);
  const bets = createPairBets(m, viewers);
  let plain = 0;
  q.forEach((read, i) => {
    bets.observe(read, p, Uint8Array.from(copies, (copy) => copy[i] as number));
    plain += logRatios(tables, read)[PAIR * m + ((copies[0] as Uint8Array)[i] as number)] as number;
    bets.lead(leaders(i, (copies[0] as Uint8Array).subarray(0, i + 1)), (listed) => listed.map((viewer) => (copies[viewer] as Uint8Array).subarray(0, i + 1)));
  });
  return plain + bets.gain(0);
};

describe('pair bets', () => {
  const m = 3;
  const p = Float64Array.from([0.5, 0.3, 0.2]);
  const readings = 6;
  const random = seeded(12);
  const others = Array.from({ length: 5 }, () => Uint8Array.from({ length: readings }, () => Math.floor(random() * m)));
  // What is published is what one of the others holds: the readings that would frame his look-alikes.
  const q = Array.from({ length: readings }, (_, i) => symbolProbabilities(Array.from({ length: m }, (__, s) => (s === others[i % 2]?.[i] ? 0.95 : 0.05 * random())), m));

  it.each<[string, (reading: number, own: Uint8Array) => number[]]>([
    ['always lead', () => [0, 1, 2, 3, 4, 5]],
    ['come and go', (i) => (i % 2 === 0 ? [0, 1, 2] : [3, 0, 4])],
    ['are chosen by the own past', (_, own) => (own[own.length - 1] === 0 ? [1, 0, 5] : [4, 2])],
  ])('have mean exactly 1 over all symbols of an innocent, when leaders %s', (_, leaders) => {
    let mean = 0;
    let highest = 0;
    for (let code = 0; code < m ** readings; code++) {
      const own = Uint8Array.from({ length: readings }, (__, i) => Math.floor(code / m ** i) % m);
      const weight = own.reduce((product, symbol) => product * (p[symbol] as number), 1);
      // Few viewers make partners likely from the start, so that the bets are high.
      const value = Math.exp(played({ copies: [own, ...others], q, p, viewers: 6, leaders }));
      mean += weight * value;
      highest = Math.max(highest, value);
    }
    expect(mean).toBeCloseTo(1, 9);
    expect(highest).toBeGreaterThan(3);
  });

  it('keep the mean of the whole e-value at 1', () => {
    const tables = modelTables(p);
    const ratios = q.map((read) => logRatios(tables, read));
    let mean = 0;
    for (let code = 0; code < m ** readings; code++) {
      const own = Uint8Array.from({ length: readings }, (_, i) => Math.floor(code / m ** i) % m);
      const total = played({ copies: [own, ...others], q, p, viewers: 6, leaders: () => [0, 1, 2, 3, 4, 5] });
      const plain = ratios.reduce((sum, ratio, i) => sum + (ratio[PAIR * m + (own[i] as number)] as number), 0);
      mean += own.reduce((product, symbol) => product * (p[symbol] as number), 1) * Math.exp(evidenceOf(ratios, own, m, COALITION_PRIOR, total - plain).nats);
    }
    expect(mean).toBeCloseTo(1, 9);
  });

  it('win two thirds of a nat per reading for either colluder once they know each other, and nothing for bystanders', () => {
    const even = new Float64Array(5).fill(0.2);
    const copies = Array.from({ length: 40 }, () => Uint8Array.from({ length: 120 }, () => Math.floor(random() * 5)));
    const read = Array.from({ length: 120 }, (_, i) => symbolProbabilities(hardReading(5, copies[random() < 0.5 ? 7 : 23]?.[i] as number, 0), 5));
    const order = [7, ...Array.from({ length: 40 }, (_, viewer) => viewer).filter((viewer) => viewer !== 7)];
    const bets = createPairBets(5, 1e6);
    const tables = modelTables(even);
    const totals = copies.map(() => 0);
    read.forEach((output, i) => {
      bets.observe(output, even, Uint8Array.from(copies, (copy) => copy[i] as number));
      const ratios = logRatios(tables, output);
      for (const [viewer, copy] of copies.entries()) totals[viewer] = (totals[viewer] as number) + (ratios[PAIR * 5 + (copy[i] as number)] as number);
      bets.lead(order, (listed) => listed.map((viewer) => (copies[viewer] as Uint8Array).subarray(0, i + 1)));
    });
    const evidence = totals.map((total, viewer) => total + bets.gain(viewer));
    // The first 13.8 nats of a partner's case are spent on picking him among a million, at the single model's pace.
    for (const guilty of [7, 23]) expect((evidence[guilty] as number) / 120).toBeGreaterThan(0.5);
    evidence.forEach((nats, viewer) => {
      if (viewer !== 7 && viewer !== 23) expect(nats).toBeLessThan(5);
    });
  });

  it('are not placed on viewers who never led', () => {
    const bets = createPairBets(m, 100);
    bets.observe(q[0] as Float64Array, p, new Uint8Array(100));
    bets.lead([3, 4], (listed) => listed.map(() => new Uint8Array(1)));
    bets.observe(q[1] as Float64Array, p, new Uint8Array(100));
    expect(bets.gain(5)).toBe(0);
    expect(bets.gain(3)).not.toBe(0);
  });
});
