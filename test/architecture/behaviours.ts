// SPDX-License-Identifier: Apache-2.0
/**
 * Which test covers which numbered behaviour, as a table of SPECS.md; `node scripts/build-behaviours.ts` writes it.
 *
 * A test covers a behaviour if its title carries the number. Invariant: `test/architecture/behaviours.test.ts` fails when
 * the table and the tests differ, or a number of the checklist has no test.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const SPECS: string = join(ROOT, 'SPECS.md');
const BEGIN = '<!-- behaviours: written by scripts/build-behaviours.ts -->';
const END = '<!-- behaviours: end -->';

/** First and last number of each part of the checklist that has landed. */
const PARTS: readonly (readonly [string, number, number])[] = [
  ['Initial licence and renewal', 1, 16],
  ['Counting', 20, 32],
  ['Concurrency modes', 40, 48],
  ['Enforcement levels', 50, 69],
  ['Dynamic periods', 70, 77],
  ['Stateless renewal servers', 80, 86],
  ['Failures', 90, 105],
  ['Subscriptions', 110, 128],
  ['Offline, downloads and metering', 130, 141],
  ['Secure stop and clocks', 150, 159],
  ['Timed release', 160, 180],
  ['One copy, marked on the way', 190, 198],
  ['Delivery and tracing of marked copies', 199, 204],
];
const named = (number: number): string => `B${String(number).padStart(3, '0')}`;

const testFiles = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /(?:\.test|-suite)\.ts$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));

/** Titles of suites and tests, with every number in them. */
const TITLE = /\b(?:describe|it|test)(?:\.concurrent)?(?:\.each\([^\n]*?\))?\(\s*(['"`])((?:(?!\1).)*)\1/g;
const TABLE_ROW = /\[[^\n\]]*'(B\d{3})'[^\n\]]*\]/g;

/** Lines of the list of faults (facts 4.9) that belong to renewals and concurrency, with what they are about. */
export const FAULTS: readonly (readonly [number, string])[] = [
  [1, 'kill -9 between request and answer'], [2, 'rolling restart of all nodes'], [3, 'the database is away'], [4, 'the concurrency record is away'], [5, 'regions lose each other'],
  [6, 'a server\'s clock steps'], [7, 'a client\'s clock steps or drifts'], [8, 'the same renewal again and again'], [9, 'an older state'], [10, 'a copied profile'], [11, 'a forged stop'],
  [12, 'messages twice and out of order'], [13, 'ten times too many viewers'], [14, '100,000 licences end in one second'], [15, 'all addresses but one dead'], [16, 'renewals suppressed, on each level'],
  [17, 'reloads at half'], [18, 'a week of decay'], [19, 'parallel starts on one place'], [20, 'master secrets rotate'], [21, 'a root is renewed for ten thousand leaves'], [22, 'an app or a server dies before a report is acknowledged'], [23, 'the disk is full'],
];
const FAULT_FILES = /(?:renewal|concurrency|enforcement|server-faults|client-clock|clock-watch|subscription|offline|usage|stop)/;

/** Test files by behaviour (`B001`) or fault (`fault 1`), sorted. */
export const behaviours = (): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, Set<string>>();
  const note = (number: string, file: string): void => void found.set(number, (found.get(number) ?? new Set()).add(file));
  for (const file of ['src', 'test'].flatMap(testFiles)) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    for (const [, , title = ''] of text.matchAll(TITLE)) {
      for (const [number] of title.matchAll(/\bB\d{3}\b/g)) note(number, file);
      // Other lists of faults have numbers, too.
      if (FAULT_FILES.test(file)) for (const [number] of title.matchAll(/\bfault \d{1,2}\b/g)) note(number, file);
    }
    for (const [, number = ''] of text.matchAll(TABLE_ROW)) note(number, file);
  }
  return new Map([...found].map(([number, files]) => [number, [...files].sort()]));
};

/** Numbers of the checklist. */
export const CHECKLIST: readonly string[] = PARTS.flatMap(([, from, to]) => Array.from({ length: to - from + 1 }, (_, index) => named(from + index)));

/** SPECS.md as it should be. */
export const withTable = (specs: string): string => {
  const covered = behaviours();
  const rows = PARTS.flatMap(([part, from, to]) => [
    `| **${part}** | |`,
    ...Array.from({ length: to - from + 1 }, (_, index) => named(from + index)).map((number) => `| ${number} | ${(covered.get(number) ?? []).map((file) => `\`${file}\``).join(', ') || 'none'} |`),
  ]);
  const files = (number: string): string => (covered.get(number) ?? []).map((file) => `\`${file}\``).join(', ') || 'none';
  const faults = FAULTS.map(([number, what]) => `| ${number} | ${what} | ${files(`fault ${number}`)} |`);
  const table = [BEGIN, '', '| behaviour | tests |', '|---|---|', ...rows, '', 'Faults that sessions outlive, by a test whose title carries `fault N`:', '', '| fault | what happens | tests |', '|---|---|---|', ...faults, '', END].join('\n');
  const begin = specs.indexOf(BEGIN);
  return begin < 0 ? `${specs.trimEnd()}\n\n${table}\n` : specs.slice(0, begin) + table + specs.slice(specs.indexOf(END) + END.length);
};
