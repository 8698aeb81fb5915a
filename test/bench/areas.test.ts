// SPDX-License-Identifier: Apache-2.0
/** Every benchmark belongs to one area, so that its short form is run. */
import { expect, test } from 'vitest';
import { benchNames } from '#cli/commands/bench.ts';
import { AREAS } from './short-forms.ts';

test('areas cover all benchmarks', () => {
  expect(Object.values(AREAS).flat().toSorted()).toEqual(benchNames());
});
