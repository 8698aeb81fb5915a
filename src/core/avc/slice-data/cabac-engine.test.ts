// SPDX-License-Identifier: Apache-2.0
/** The arithmetic decoder against its definition: the model behind the tables, a bit-serial second engine, and turned signs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import { SerialCabac } from '../../../../test/vectors/serial-cabac.ts';
import { CONTEXTS, startContexts } from './cabac-contexts.ts';
import { CabacEngine, PADDING } from './cabac-engine.ts';
import { LPS_RANGE, NEXT_LPS, NEXT_MPS } from './cabac-states.ts';

/** Probability of the least probable symbol in state s is 0.5 * ALPHA^s (clause 9.3.1.1's design: 0.5 down to 0.01875 in 63 steps). */
const ALPHA = (0.01875 / 0.5) ** (1 / 63);

describe('states', () => {
  it('have the ranges of their probabilities', () => {
    for (let state = 0; state < 63; state++) {
      for (let quarter = 0; quarter < 4; quarter++) {
        const middle = 0.5 * ALPHA ** state * (256 + 64 * quarter + 32);
        // The least probable symbol never gets more than half of the smallest range, nor less than 6.
        const expected = Math.max(6, quarter === 0 ? Math.min(128, middle) : middle);
        for (const mps of [0, 1]) expect(Math.abs((LPS_RANGE[(state * 2 + mps) * 4 + quarter] as number) - expected)).toBeLessThan(1);
      }
    }
  });

  it('move to the state of the new probability', () => {
    for (let state = 0; state < 63; state++) {
      const after = ALPHA * 0.5 * ALPHA ** state + 1 - ALPHA;
      const ideal = Math.log(Math.min(after, 1 - after) / 0.5) / Math.log(ALPHA);
      for (const mps of [0, 1]) {
        const next = NEXT_LPS[state * 2 + mps] as number;
        expect(Math.abs((next >> 1) - ideal)).toBeLessThan(1.01);
        expect(next & 1).toBe(state === 0 ? 1 - mps : mps);
        expect(NEXT_MPS[state * 2 + mps]).toBe(Math.min(state + 1, 62) * 2 + mps);
      }
    }
  });

  it('start between 0 and 62 in every context that is read, for every slice type and QP', () => {
    const wrong: string[] = [];
    for (const idc of [undefined, 0, 1, 2]) {
      for (let qp = -6; qp <= 51; qp++) {
        const states = new Uint8Array(CONTEXTS).fill(255);
        startContexts(states, idc, qp);
        for (const [context, state] of states.entries()) {
          // 276 is the terminating bin's, 277-398 belong to field macroblocks; I slices read no inter syntax.
          const unused = (context >= 276 && context < 399) || (idc === undefined && context >= 11 && context < 60);
          if (unused ? state !== 255 : state > 125) wrong.push(`context ${context}, QP ${qp}, idc ${idc}: ${state}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it('start at the values of clause 9.3.1.1', () => {
    const states = new Uint8Array(CONTEXTS);
    // Worked by hand: ctxIdx 0 has m = 20, n = -15: 20 * 26 / 16 - 15 = 17, so state 63 - 17 with most probable symbol 0.
    startContexts(states, undefined, 26);
    expect(states[0]).toBe((63 - 17) * 2);
    // ctxIdx 11 with cabac_init_idc 0 has m = 23, n = 33: 23 * 26 / 16 + 33 = 70, so state 6 with most probable symbol 1.
    startContexts(states, 0, 26);
    expect(states[11]).toBe((70 - 64) * 2 + 1);
    startContexts(states, 1, 26);
    // m = 22, n = 25: 35 + 25 = 60.
    expect(states[11]).toBe((63 - 60) * 2);
  });
});

type Step = { readonly what: 'decision' | 'bypass' | 'sign' | 'terminate'; readonly context: number };
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({ what: fc.constantFrom<Step['what']>('decision', 'decision', 'decision', 'bypass', 'sign', 'terminate'), context: fc.integer({ min: 60, max: 275 }) }),
  { minLength: 1, maxLength: 400 },
);
const slice = fc.record({ bytes: fc.uint8Array({ minLength: 60, maxLength: 60 }), qp: fc.integer({ min: 0, max: 51 }), idc: fc.constantFrom(undefined, 0, 1, 2) });

/** Runs the steps; answers bins with position and range after each, up to a terminating bin or the end of the data. */
const run = (engine: CabacEngine, data: { bytes: Uint8Array; qp: number; idc: number | undefined }, list: readonly Step[]): readonly number[][] => {
  const padded = new Uint8Array(data.bytes.length + PADDING);
  padded.set(data.bytes);
  const out: number[][] = [];
  engine.startSlice(padded, 0, data.bytes.length, data.idc, data.qp);
  for (const { what, context } of list) {
    if (engine.position > data.bytes.length * 8 - 16) break;
    const bin = what === 'decision' ? engine.decision(context) : engine[what]();
    out.push([bin, engine.position, engine.range]);
    if (what === 'terminate' && bin === 1) break;
  }
  return out;
};
/** The two offsets that no encoder writes are refused at once. */
const possible = (bytes: Uint8Array): boolean => !((bytes[0] as number) === 255);

describe('the engine', () => {
  it('agrees with the bit-serial one in every bin, position and range', () => {
    fc.assert(
      fc.property(slice, steps, (data, list) => {
        fc.pre(possible(data.bytes));
        expect(run(new CabacEngine(), data, list)).toEqual(run(new SerialCabac(), data, list));
      }),
      { numRuns: 500 },
    );
  });

  it('turns one sign and no other bin when the range is added at its bit, or taken away', () => {
    let turned = 0;
    fc.assert(
      fc.property(slice, steps, fc.nat(), (data, list, choice) => {
        fc.pre(possible(data.bytes));
        const before = run(new CabacEngine(), data, list);
        const signs = before.flatMap((_, i) => ((list[i] as Step).what === 'sign' ? [i] : []));
        fc.pre(signs.length > 0);
        const index = signs[choice % signs.length] as number;
        const [bin, position, range] = before[index] as [number, number, number];
        const weight = BigInt(data.bytes.length * 8 - position);
        const whole = data.bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) + (BigInt(range) << weight) * (bin === 1 ? -1n : 1n);
        expect(whole >= 0n && whole < 1n << BigInt(data.bytes.length * 8)).toBe(true);
        const bytes = Uint8Array.from({ length: data.bytes.length }, (_, i) => Number((whole >> BigInt((data.bytes.length - 1 - i) * 8)) & 255n));
        const after = run(new CabacEngine(), { ...data, bytes }, list);
        expect(after).toEqual(before.map((row, i) => (i === index ? [1 - (row[0] as number), row[1], row[2]] : row)));
        turned++;
      }),
      { numRuns: 500 },
    );
    expect(turned).toBeGreaterThan(300);
  });

  it('refuses to run far past the end, and to start there', () => {
    const engine = new CabacEngine();
    engine.startSlice(new Uint8Array(4 + PADDING), 0, 4, undefined, 26);
    const code = (work: () => void): string | undefined => {
      try {
        work();
      } catch (error) {
        return isSealcastError(error) ? error.code : String(error);
      }
      return undefined;
    };
    expect(
      code(() => {
        for (let i = 0; i < 200; i++) engine.bypass();
      }),
    ).toBe('media-truncated');
    expect(code(() => engine.start(3))).toBe('media-truncated');
    expect(code(() => engine.startSlice(new Uint8Array(4 + PADDING).fill(255), 0, 4, undefined, 26))).toBe('media-malformed');
  });
});
