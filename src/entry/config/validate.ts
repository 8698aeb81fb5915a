// SPDX-License-Identifier: Apache-2.0
/**
 * Turns parsed YAML or JSON into a `Config`, or into the list of everything that is wrong with it.
 *
 * Invariant: unknown keys are refused, every problem is found in one pass, and no problem repeats a value.
 */
import type { Config } from './config.ts';
import { type AnyOption, type AnySection, shapeOf } from './option.ts';
import { RULES, SCHEMA } from './schema.ts';

/** What is wrong, and where: `licensing.intervalSeconds`, `zones[1].name`; empty for the whole file. */
export type ConfigProblem = { readonly at: string; readonly problem: string };

/** Edit distance (Damerau, adjacent swaps) up to `limit`; anything further answers `limit + 1`. */
const distance = (a: string, b: string, limit: number): number => {
  let twoBack: number[] = [];
  let back = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let best = Math.min((line[column - 1] ?? 0) + 1, (back[column] ?? 0) + 1, (back[column - 1] ?? 0) + same);
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) best = Math.min(best, (twoBack[column - 2] ?? 0) + 1);
      line.push(best);
    }
    [twoBack, back] = [back, line];
  }
  return Math.min(back[b.length] ?? 0, limit + 1);
};

/** The known name most like `name`, if any is close enough to be what was meant. */
export const nearestName = (name: string, known: readonly string[]): string | undefined => {
  const limit = Math.max(2, Math.floor(name.length / 3));
  const ranked = known.map((candidate) => ({ candidate, away: distance(name.toLowerCase(), candidate.toLowerCase(), limit) })).sort((a, b) => a.away - b.away);
  const best = ranked[0];
  if (best !== undefined && best.away <= limit) return best.candidate;
  // A forgotten unit: `segment` for `segmentSeconds`.
  return known.find((candidate) => name.length >= 3 && candidate.toLowerCase().startsWith(name.toLowerCase()));
};

const under = (at: string, name: string): string => (at === '' ? name : `${at}.${name}`);

/** Where else in the schema an option of this name exists, for keys put at the wrong level. */
const elsewhere = (name: string, option: AnyOption = SCHEMA, at = ''): string | undefined => {
  if (option.is !== 'section') return undefined;
  for (const [key, child] of Object.entries(option.options)) {
    const here = under(at, key);
    if (key === name) return here;
    const deeper = elsewhere(name, child, here);
    if (deeper !== undefined) return deeper;
  }
  return undefined;
};

const readSection = (section: AnySection, raw: unknown, at: string, problems: ConfigProblem[]): Record<string, unknown> => {
  if (raw !== undefined && raw !== null && (typeof raw !== 'object' || Array.isArray(raw))) {
    problems.push({ at, problem: `must be a section; got ${shapeOf(raw)}` });
    return {};
  }
  const given = (raw ?? {}) as Record<string, unknown>;
  const known = Object.keys(section.options);
  for (const name of Object.keys(given).filter((each) => !known.includes(each))) {
    const meant = nearestName(name, known) ?? elsewhere(name);
    problems.push({ at: under(at, name), problem: meant === undefined ? `is not an option; known here: ${known.join(', ')}` : `is not an option; did you mean \`${meant}\`?` });
  }
  for (const name of section.required ?? []) if (given[name] === undefined) problems.push({ at: under(at, name), problem: 'is required' });
  const result: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(section.options)) {
    const value = readOption(option, Object.hasOwn(given, name) ? given[name] : undefined, under(at, name), problems);
    if (value !== undefined) result[name] = value;
  }
  return result;
};

/** A YAML key without a value (`null`) counts as left out. */
const readOption = (option: AnyOption, raw: unknown, at: string, problems: ConfigProblem[]): unknown => {
  if (option.is === 'section') return option.optional === true && (raw === undefined || raw === null) ? undefined : readSection(option, raw, at, problems);
  if (option.is === 'list') {
    if (raw === undefined || raw === null) return [];
    if (Array.isArray(raw)) return raw.map((item, position) => readSection(option.item, item, `${at}[${position}]`, problems));
    problems.push({ at, problem: `must be a list; got ${shapeOf(raw)}` });
    return [];
  }
  if (raw === undefined || raw === null) return option.default;
  const read = option.read(raw);
  if ('value' in read) return read.value;
  problems.push({ at, problem: read.problem });
  return option.default;
};

/** Validates everything at once; options left out have their defaults. */
export const validateConfig = (raw: unknown): { readonly config: Config } | { readonly problems: readonly ConfigProblem[] } => {
  const problems: ConfigProblem[] = [];
  const config = readSection(SCHEMA, raw, '', problems) as unknown as Config;
  // Rules between options would only repeat what is wrong with one of them.
  if (problems.length === 0) for (const rule of RULES) problems.push(...rule(config));
  return problems.length === 0 ? { config } : { problems };
};
