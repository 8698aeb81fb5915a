// SPDX-License-Identifier: Apache-2.0
/** CAVLC codes and levels against their definitions: prefix codes of the right size, and a writer of residual blocks. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PADDING } from './cabac-engine.ts';
import { CavlcBits } from './cavlc-bits.ts';
import { CavlcResidual, NC_CHROMA_DC } from './cavlc-residual.ts';
import { COEFF_TOKEN, COEFF_TOKEN_CHROMA_DC, RUN_BEFORE, TOTAL_ZEROS, TOTAL_ZEROS_CHROMA_DC } from './cavlc-tables.ts';
import type { CodeTable } from './cavlc-tables.ts';
import { LUMA_4X4, SignSites } from './sites.ts';

/** Value → code of a table, found by decoding every possible 16 bits. */
const codesOf = (table: CodeTable): ReadonlyMap<number, string> => {
  const codes = new Map<number, string>();
  const bytes = new Uint8Array(2 + PADDING);
  const bits = new CavlcBits();
  for (let word = 0; word < 65536; word++) {
    bytes[0] = word >> 8;
    bytes[1] = word & 255;
    bits.start(bytes, 0, 16);
    let value: number;
    try {
      value = bits.code(table);
    } catch {
      continue;
    }
    const code = word.toString(2).padStart(16, '0').slice(0, bits.position);
    if ((codes.get(value) ?? code) !== code) throw new Error(`value ${value} has the codes ${codes.get(value)} and ${code}`);
    codes.set(value, code);
  }
  return codes;
};
/** Share of all bit strings that a code uses: 1 for a full one. */
const kraft = (codes: ReadonlyMap<number, string>): number => [...codes.values()].reduce((sum, code) => sum + 2 ** -code.length, 0);

const tokens = COEFF_TOKEN.map(codesOf);
const tokensChromaDc = codesOf(COEFF_TOKEN_CHROMA_DC);
const zeros = TOTAL_ZEROS.map(codesOf);
const runs = RUN_BEFORE.map(codesOf);

describe('tables', () => {
  it('are prefix codes of all their values', () => {
    for (const codes of tokens) expect(codes.size).toBe(62);
    expect(tokensChromaDc.size).toBe(14);
    for (const [i, codes] of zeros.entries()) expect([...codes.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: 16 - i }, (_, value) => value));
    for (const [i, table] of TOTAL_ZEROS_CHROMA_DC.entries()) expect(codesOf(table).size).toBe(4 - i);
    for (const [i, codes] of runs.entries()) expect(codes.size).toBe(i < 6 ? i + 2 : 15);
    for (const codes of [...tokens, tokensChromaDc, ...zeros, ...runs]) {
      expect(kraft(codes)).toBeLessThanOrEqual(1);
      expect(kraft(codes)).toBeGreaterThan(0.99);
    }
  });
});

/** Bits of level_prefix and level_suffix for the levels after the trailing ones (the inverse of clause 9.2.2.1). */
const levelBits = (levels: readonly number[], trailing: number, total: number): string => {
  let out = '';
  let suffixLength = total > 10 && trailing < 3 ? 1 : 0;
  for (const [i, level] of levels.entries()) {
    let code = level > 0 ? 2 * level - 2 : -2 * level - 1;
    if (i === 0 && trailing < 3) code -= 2;
    let prefix = code >> suffixLength;
    let size = suffixLength;
    let suffix = code - (prefix << suffixLength);
    if (suffixLength === 0 && code >= 14) {
      prefix = code < 30 ? 14 : 15;
      size = prefix === 14 ? 4 : 12;
      suffix = code - (prefix === 14 ? 14 : 30);
    } else if (suffixLength > 0 && prefix >= 15) {
      prefix = 15;
      size = 12;
      suffix = code - (15 << suffixLength);
    }
    // Escapes of High profiles: each further prefix doubles what fits.
    while (suffix >= 2 ** size) {
      suffix -= 2 ** size;
      prefix++;
      size = prefix - 3;
    }
    out += `${'0'.repeat(prefix)}1${size === 0 ? '' : suffix.toString(2).padStart(size, '0')}`;
    if (suffixLength === 0) suffixLength = 1;
    if (Math.abs(level) > 3 << (suffixLength - 1) && suffixLength < 6) suffixLength++;
  }
  return out;
};

const level = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -2, max: 2 }) },
  { weight: 2, arbitrary: fc.integer({ min: -40, max: 40 }) },
  { weight: 1, arbitrary: fc.integer({ min: -9000, max: 9000 }) },
);

describe('residual blocks', () => {
  it('read back as written, with every sign where it was written', () => {
    fc.assert(
      fc.property(fc.array(level, { minLength: 16, maxLength: 16 }), fc.constantFrom(-1, 0, 1, 2, 3, 5, 9, 16), fc.constantFrom(15, 16), (values, nC, size) => {
        const most = nC === NC_CHROMA_DC ? 4 : size;
        const block = values.slice(0, most);
        // From the last coefficient to the first, as they are sent.
        const places = block.flatMap((value, i) => (value === 0 ? [] : [i])).reverse();
        const coefficients = places.map((place) => block[place] as number);
        const total = coefficients.length;
        let trailing = 0;
        while (trailing < 3 && Math.abs(coefficients[trailing] ?? 0) === 1) trailing++;
        const token = total * 4 + trailing;
        const tokenCode =
          nC === NC_CHROMA_DC ? tokensChromaDc.get(token) : nC >= 8 ? (total === 0 ? 3 : token - 4).toString(2).padStart(6, '0') : tokens[nC < 2 ? 0 : nC < 4 ? 1 : 2]?.get(token);
        if (tokenCode === undefined) throw new Error(`no code for ${total} coefficients with ${trailing} trailing ones`);
        let bits = tokenCode;
        for (let i = 0; i < trailing; i++) bits += (coefficients[i] as number) < 0 ? '1' : '0';
        bits += levelBits(coefficients.slice(trailing), trailing, total);
        let left = total === 0 ? 0 : (places[0] as number) + 1 - total;
        if (total > 0 && total < most)
          bits += (nC === NC_CHROMA_DC ? codesOf(TOTAL_ZEROS_CHROMA_DC[total - 1] as CodeTable) : (zeros[total - 1] as ReadonlyMap<number, string>)).get(left);
        for (let i = 0; i + 1 < total && left > 0; i++) {
          const run = (places[i] as number) - (places[i + 1] as number) - 1;
          bits += runs[Math.min(left, 7) - 1]?.get(run);
          left -= run;
        }
        const text = bits;
        const bytes = new Uint8Array(Math.ceil(text.length / 8) + PADDING);
        for (const [i, bit] of [...text].entries()) if (bit === '1') bytes[i >> 3] = (bytes[i >> 3] as number) | (128 >> (i & 7));
        const cursor = new CavlcBits();
        cursor.start(bytes, 0, text.length);
        const sites = new SignSites();
        expect(new CavlcResidual(cursor, sites).block(LUMA_4X4, nC, most, 0, 1)).toBe(total);
        expect(cursor.position).toBe(text.length);
        const found = new Map(Array.from({ length: sites.count }, (_, i) => [sites.index[i] as number, sites.level[i] as number]));
        for (const [place, value] of found) expect(value).toBe(block[place]);
        for (let i = 0; i < sites.count; i++) {
          expect(text[sites.bit[i] as number]).toBe((sites.level[i] as number) < 0 ? '1' : '0');
          if (i > 0) expect(sites.bit[i]).toBeGreaterThan(sites.bit[i - 1] as number);
        }
        // Only levels sent by prefix alone are missing.
        for (const place of places) if (!found.has(place)) expect(Math.abs(block[place] as number)).toBeLessThan(9);
        expect(sites.count).toBeGreaterThanOrEqual(trailing);
      }),
      { numRuns: 300 },
    );
  });
});
