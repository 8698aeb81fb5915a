// SPDX-License-Identifier: Apache-2.0
/** Short forms of the benchmarks of the area `releases`. What must hold on any machine is asserted: nothing leaves early. */
import { expect, test } from 'vitest';
import { AREAS, shortForm } from './short-forms.ts';

test.each(AREAS.releases)('bench %s: measured, and not one release before its instant', async (name) => {
  const { figures } = await shortForm(name);
  const early = figures.filter((figure) => /early|before T/.test(figure.name));
  expect(early.length).toBeGreaterThan(0);
  expect(early.map(({ name: what, value }) => [what, value])).toEqual(early.map(({ name: what }) => [what, 0]));
}, 180_000);
