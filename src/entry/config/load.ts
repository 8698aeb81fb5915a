// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a configuration file (YAML 1.2, of which JSON is a subset), lays command-line overrides over it, validates.
 *
 * Invariant: a process starts with a valid configuration or not at all; the error names every problem with its line.
 */
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { SealcastError } from '#core/errors.ts';
import type { Config, ConfigOverrides } from './config.ts';
import { type ConfigProblem, validateConfig } from './validate.ts';

/** A problem with the line of the file it stands on, where there is one. */
export type LocatedProblem = ConfigProblem & { readonly line?: number };

const LARGEST_FILE_BYTES = 1_000_000;

const isPlain = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const overlay = (below: unknown, above: unknown): unknown => {
  if (above === undefined) return below;
  if (!isPlain(above)) return above;
  // A section that the file got wrong stays as it is, so that the problem is reported and not covered up.
  if (below !== undefined && below !== null && !isPlain(below)) return below;
  const result: Record<string, unknown> = { ...(below as Record<string, unknown> | null | undefined) };
  for (const [name, value] of Object.entries(above)) result[name] = overlay(result[name], value);
  return result;
};

const pathOf = (at: string): (string | number)[] => (at.match(/[^.[\]]+/g) ?? []).map((part) => (/^\d+$/.test(part) ? Number(part) : part));

/** Checks configuration text; all problems at once, with lines. */
export const checkConfig = (text: string, overrides: ConfigOverrides = {}): { readonly config: Config } | { readonly problems: readonly LocatedProblem[] } => {
  if (text.length > LARGEST_FILE_BYTES) return { problems: [{ at: '', problem: `is larger than ${LARGEST_FILE_BYTES} characters` }] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  if (document.errors.length > 0) {
    // The parser's messages quote the file; its codes do not.
    return { problems: document.errors.map((error) => ({ at: '', problem: `is not valid YAML (${error.code})`, line: lines.linePos(error.pos[0]).line })) };
  }
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 100 });
  } catch {
    return { problems: [{ at: '', problem: 'has too many aliases' }] };
  }
  const checked = validateConfig(overlay(raw, overrides));
  if ('config' in checked) return checked;
  const lineOf = (at: string): number | undefined => {
    for (let path = pathOf(at); path.length > 0; path = path.slice(0, -1)) {
      const node: unknown = document.getIn(path, true);
      const range = typeof node === 'object' && node !== null && 'range' in node ? (node.range as readonly number[] | null | undefined) : undefined;
      if (range?.[0] !== undefined) return lines.linePos(range[0]).line;
    }
    return undefined;
  };
  return {
    problems: checked.problems.map((problem) => {
      const line = lineOf(problem.at);
      return line === undefined ? problem : { ...problem, line };
    }),
  };
};

/** One problem as a person reads it. */
export const problemLine = ({ at, problem, line }: LocatedProblem): string => `${line === undefined ? '' : `line ${line}: `}${at === '' ? 'the file' : at} ${problem}`;

/** Reads a file's text; throws `config-invalid` naming it. */
export const readConfigText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SealcastError('config-invalid', `configuration file ${path} cannot be read: ${error instanceof Error && 'code' in error ? String(error.code) : 'unknown fault'}`, {
      cause: error,
    });
  }
};

/**
 * The configuration of this process: the file's options, overridden by flags, the rest by default. Without a file the
 * defaults stand. Throws `config-invalid` with every problem on its own line.
 */
export const loadConfig = (path: string | undefined, overrides: ConfigOverrides = {}): Config => {
  const checked = checkConfig(path === undefined ? '' : readConfigText(path), overrides);
  if ('config' in checked) return checked.config;
  const { problems } = checked;
  throw new SealcastError(
    'config-invalid',
    [`configuration${path === undefined ? '' : ` ${path}`} is not valid:`, ...problems.map((problem) => `  ${problemLine(problem)}`)].join('\n'),
    {
      extra: { problems: problems.map(({ at, problem, line }) => ({ at, problem, ...(line === undefined ? {} : { line }) })) },
    },
  );
};
