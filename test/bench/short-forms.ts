// SPDX-License-Identifier: Apache-2.0
/**
 * The short form of every benchmark runs and says what it measured against what.
 *
 * Goals are not asserted here: this machine is shared, and a timed unit test is a coin. `sealcast bench NAME --full` judges
 * them and writes BENCHMARKS.md; a figure that misses its goal must carry the reason, here as there.
 * Areas are files of their own, so that they run beside each other.
 */
import { expect, test } from 'vitest';
import { type BenchReport, runBench, writeSection } from '#cli/commands/bench.ts';

/** Which benchmarks belong to which test file; `areas.test.ts` checks that none is left out. */
export const AREAS: { readonly serving: readonly string[]; readonly media: readonly string[]; readonly marking: readonly string[]; readonly sequences: readonly string[]; readonly releases: readonly string[] } = {
  serving: ['cut-off', 'edge', 'license', 'live', 'release-screens', 'switching', 'subscription'],
  media: ['cenc', 'pack', 'profiler', 'trace-video'],
  marking: ['detection', 'edge-marking', 'marking'],
  sequences: ['inner-delivery', 'release-sim', 'sequences', 'tracing'],
  releases: ['fanout', 'release'],
};

/** Runs a short form and checks that it says what it measured; answers what it said. */
export const shortForm = async (name: string): Promise<BenchReport> => {
  const report: BenchReport = await runBench(name, { full: false, log: () => undefined });
  expect(report.figures.length).toBeGreaterThan(0);
  expect(report.conditions).toMatchObject({ form: 'short' });
  for (const figure of report.figures) {
    expect(figure, figure.name).toMatchObject({ name: expect.stringMatching(/\S/), baseline: expect.stringMatching(/\S/), goal: expect.stringMatching(/\S/) });
    expect(Number.isFinite(figure.value), figure.name).toBe(true);
    expect(figure.ok || figure.reason !== undefined || /^(?:<|>|=|0)/.test(figure.goal), `${figure.name} says why it missed its goal, or has a plain goal`).toBe(true);
  }
  const page = writeSection(writeSection('', report), report);
  expect(page.match(new RegExp(`^## ${name}$`, 'gm'))).toHaveLength(1);
  return report;
};

/** Declares one test per benchmark of an area. */
export const testShortForms = (names: readonly string[]): void => {
  test.each(names)('bench %s', async (name) => {
    await shortForm(name);
  }, 180_000);
};
