// SPDX-License-Identifier: Apache-2.0
/** Every numbered behaviour has a test that carries its number, and SPECS.md says which. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { behaviours, CHECKLIST, FAULTS, SPECS, withTable } from './behaviours.ts';

describe('the checklist of renewals and concurrency', () => {
  it('has a test for every number', () => {
    const covered = behaviours();
    expect(CHECKLIST.filter((number) => !covered.has(number))).toEqual([]);
  });

  it('has a test for every fault', () => {
    const covered = behaviours();
    expect(FAULTS.filter(([number]) => !covered.has(`fault ${number}`))).toEqual([]);
  });

  it('is in SPECS.md as the tests are; `node scripts/build-behaviours.ts` writes it', () => {
    const specs = readFileSync(SPECS, 'utf8');
    expect(withTable(specs) === specs).toBe(true);
  });
});
