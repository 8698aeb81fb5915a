// SPDX-License-Identifier: Apache-2.0
/**
 * The order of test files: those that take longest begin first, so that the last minute of a run is not one file on one core.
 *
 * A fresh clone has no record of earlier runs to sort by, so the slow ones are named. Neighbours in the list run beside each
 * other: one that computes stands next to one that waits. A name that matches nothing is left out, a file that is not named
 * comes later.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Path prefixes below the root, slowest first. */
const SLOW = [
  'test/e2e/chapters',
  'test/bench/media',
  'test/e2e/watch-page',
  'test/bench/serving',
  'test/bench/cut-off',
  'test/e2e/package',
  'test/bench/',
  'test/interop/tracer-',
  'test/e2e/',
  'test/interop/player-browser',
  'test/interop/slice-',
  'test/interop/',
  'test/adversary/',
  'test/release/',
  'test/trace/',
  'test/',
  'src/core/trace/',
] as const;

const rank = (path: string): number => {
  const found = SLOW.findIndex((prefix) => path.includes(`/${prefix}`));
  return found < 0 ? SLOW.length : found;
};

/** Sorts the files of a run by the list above; alphabetically where it says nothing. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => rank(a.moduleId) - rank(b.moduleId) || a.moduleId.localeCompare(b.moduleId));
  }
}
