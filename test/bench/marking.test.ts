// SPDX-License-Identifier: Apache-2.0
/** Short forms of the benchmarks of marks inside the bitstream. */
import { expect, test } from 'vitest';
import { shortForm } from './short-forms.ts';

test('B198 bench edge-marking reports what marking a segment takes and what it adds to an answer', async () => {
  const { figures } = await shortForm('edge-marking');
  const of = (name: string): { readonly value: number; readonly unit: string; readonly goal: string } | undefined => figures.find((figure) => figure.name === name);
  expect(of('marking-259k')).toMatchObject({ unit: 'µs a segment', goal: '<= 50' });
  expect(of('node-259k-p99')).toMatchObject({ unit: 'ms', goal: '<= 5' });
  // What does not depend on how busy the machine is.
  expect(of('storage')?.value).toBeLessThanOrEqual(1.01);
  expect(of('origin-bytes')?.value).toBeLessThanOrEqual(1.01);
  expect(of('storage-ab')?.value).toBeCloseTo(2, 3);
  expect(of('hit-ratio')?.value).toBe(0);
}, 180_000);

test('bench marking: the picture keeps its quality, and turned signs change nothing else', async () => {
  const { figures } = await shortForm('marking');
  expect(figures.filter(({ name }) => /PSNR|SSIM|strict|slices changed|mark boxes/.test(name)).length).toBeGreaterThan(4);
  // Pictures and bytes are the same on a busy machine.
  for (const figure of figures) expect(figure.ok, figure.name).toBe(true);
}, 180_000);
