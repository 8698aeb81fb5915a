// SPDX-License-Identifier: Apache-2.0
/**
 * Building blocks of the configuration schema: a value, a section, a list, each with its documentation.
 *
 * Invariant: an option cannot be declared without saying what it does; the type of a schema follows from the type of
 * the configuration, so an option without a schema entry does not compile.
 */

/** One option. `read` answers the value or, as `{ problem }`, the rule it broke with the shape received. */
export type ValueOption<T> = {
  readonly is: 'value';
  /** What it does, one or two sentences. */
  readonly doc: string;
  /** What changes for the better and the worse when it is raised, lowered or switched. */
  readonly tradeOff?: string;
  /** Human form of the type and range, e.g. `integer, 1-65535`. */
  readonly type: string;
  readonly unit?: string;
  /** Absent for options that may be left out without a value. */
  readonly default?: T;
  /** Shown where there is no default. */
  readonly example?: T;
  readonly read: (raw: unknown) => { readonly value: T } | { readonly problem: string };
};

/** Named options under one key. `optional` sections stay absent unless given. */
export type Section<T> = {
  readonly is: 'section';
  readonly doc: string;
  readonly optional?: boolean;
  /** Names of options that must be given when the section is. */
  readonly required?: readonly (keyof T & string)[];
  readonly options: { readonly [K in keyof T]-?: OptionOf<NonNullable<T[K]>> };
};

/** A list of sections. */
export type SectionList<T> = { readonly is: 'list'; readonly doc: string; readonly item: Section<T>; readonly example: readonly T[] };

/** The schema that fits a configuration type. */
export type OptionOf<T> = [T] extends [readonly (infer Item)[]]
  ? [Item] extends [object]
    ? SectionList<Item>
    : ValueOption<T>
  : [T] extends [object]
    ? Section<T> | ValueOption<T>
    : ValueOption<T>;

/** Any section: the same shape without its value types, for code that walks a schema. */
export type AnySection = {
  readonly is: 'section';
  readonly doc: string;
  readonly optional?: boolean;
  readonly required?: readonly string[];
  readonly options: { readonly [name: string]: AnyOption };
};
/** Any list of sections. */
export type AnyList = { readonly is: 'list'; readonly doc: string; readonly item: AnySection; readonly example: readonly unknown[] };
/** Anything that can stand in a schema. */
export type AnyOption = ValueOption<unknown> | AnySection | AnyList;

/** Names the shape of a refused value, never the value: it may be a secret in the wrong place. */
export const shapeOf = (raw: unknown): string => {
  if (raw === null || raw === undefined) return 'nothing';
  if (Array.isArray(raw)) return `a list of ${raw.length}`;
  if (typeof raw === 'number') return `the number ${raw}`;
  if (typeof raw === 'string') return `a text of ${raw.length} ${raw.length === 1 ? 'character' : 'characters'}`;
  return typeof raw === 'object' ? 'a section' : `${typeof raw}`;
};

type Common<T> = { readonly doc: string; readonly tradeOff?: string; readonly unit?: string; readonly default?: T; readonly example?: T };

const valueOption = <T>(common: Common<T>, type: string, accept: (raw: unknown) => raw is T): ValueOption<T> => ({
  is: 'value',
  ...common,
  type,
  read: (raw) => (accept(raw) ? { value: raw } : { problem: `must be ${type}; got ${shapeOf(raw)}` }),
});

/** A number within [min, max]; whole unless `fraction` names its smallest step in the unit. */
export const numeric = (given: Common<number> & { readonly min: number; readonly max: number; readonly fraction?: 0.001 }): ValueOption<number> => {
  const { min, max, fraction, ...common } = given;
  const type = `${fraction === undefined ? 'an integer' : 'a number'} from ${min} to ${max}`;
  return valueOption(common, type, (raw): raw is number => {
    if (typeof raw !== 'number' || raw < min || raw > max) return false;
    return fraction === undefined ? Number.isInteger(raw) : Math.abs(raw / fraction - Math.round(raw / fraction)) < 1e-6;
  });
};

/** `true` or `false`. */
export const flag = (common: Common<boolean>): ValueOption<boolean> => valueOption(common, '`true` or `false`', (raw): raw is boolean => typeof raw === 'boolean');

/** One of a few words. */
export const oneOf = <const W extends string>(words: readonly W[], common: Common<W>): ValueOption<W> =>
  valueOption(common, `one of ${words.map((word) => `\`${word}\``).join(', ')}`, (raw): raw is W => words.includes(raw as W));

/** One or more of a few words, each at most once. */
export const someOf = <const W extends string>(words: readonly W[], common: Common<readonly W[]>): ValueOption<readonly W[]> =>
  valueOption(
    common,
    `a list of one or more of ${words.map((word) => `\`${word}\``).join(', ')}`,
    (raw): raw is readonly W[] => Array.isArray(raw) && raw.length > 0 && raw.every((word) => words.includes(word)) && new Set(raw).size === raw.length,
  );

/** A non-empty text that matches a pattern, described as `type`. */
export const text = (common: Common<string> & { readonly type: string; readonly pattern: RegExp }): ValueOption<string> => {
  const { type, pattern, ...rest } = common;
  return valueOption(rest, type, (raw): raw is string => typeof raw === 'string' && pattern.test(raw));
};

/** A file or folder name; relative ones start at the working directory. */
export const path = (common: Common<string>): ValueOption<string> =>
  valueOption(common, 'a path', (raw): raw is string => typeof raw === 'string' && raw.trim() !== '' && !raw.includes('\0'));

const isHttpUrl = (raw: unknown): raw is string => {
  if (typeof raw !== 'string' || !URL.canParse(raw)) return false;
  const { protocol, username, password } = new URL(raw);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
};

/** An absolute http or https URL without credentials. */
export const url = (common: Common<string>): ValueOption<string> => valueOption(common, 'an http or https URL without credentials', isHttpUrl);

/** A list of absolute URLs, possibly empty. */
export const urls = (common: Common<readonly string[]>): ValueOption<readonly string[]> =>
  valueOption(common, 'a list of http or https URLs without credentials', (raw): raw is readonly string[] => Array.isArray(raw) && raw.every(isHttpUrl));

/** A list of texts that each match a pattern, possibly empty. */
export const texts = (common: Common<readonly string[]> & { readonly type: string; readonly pattern: RegExp }): ValueOption<readonly string[]> => {
  const { type, pattern, ...rest } = common;
  return valueOption(rest, type, (raw): raw is readonly string[] => Array.isArray(raw) && raw.every((item) => typeof item === 'string' && pattern.test(item)));
};

/** A public JSON Web Key; one with private members is refused without being repeated. */
export const publicJwk = (common: Common<Readonly<Record<string, string>>>): ValueOption<Readonly<Record<string, string>>> => ({
  is: 'value',
  ...common,
  type: 'a public JSON Web Key',
  read: (raw) => {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return { problem: `must be a public JSON Web Key; got ${shapeOf(raw)}` };
    const members = Object.entries(raw);
    if ('d' in raw || 'k' in raw) return { problem: 'holds a private or symmetric key: put that into a file and name it with jwkFile or secretFile' };
    if (!members.every(([, value]) => typeof value === 'string')) return { problem: 'must hold texts only' };
    if (!('kty' in raw)) return { problem: 'lacks `kty`' };
    return { value: Object.fromEntries(members) as Record<string, string> };
  },
});
