// SPDX-License-Identifier: Apache-2.0
/** Options of `event create` and `title add` that say how copies are told apart (docs/guide/sequences.md). */
import { numberOption, usageError } from './command.ts';

/** The options beside `--variants`. */
export const markingArgs = {
  book: { type: 'string', description: 'code book: aligned (default), adaptive, biased-uniform (default of two-phase delivery), biased-dirichlet or biased-alternate', valueHint: 'BOOK' },
  delivery: { type: 'string', description: 'inner delivery: always-on (default: every edge fetches every variant), prefix, or two-phase (events only)', valueHint: 'STRATEGY' },
  viewers: { type: 'string', description: 'viewers to plan for (default 1000000)', valueHint: 'N' },
  edges: { type: 'string', description: 'with --delivery prefix: edges and their planned viewers, NAME=VIEWERS separated by commas', valueHint: 'LIST' },
} as const;

const BOOKS: readonly string[] = ['aligned', 'adaptive', 'biased-uniform', 'biased-dirichlet', 'biased-alternate'];

type MarkingFlags = { readonly book?: string | undefined; readonly delivery?: string | undefined; readonly viewers?: string | undefined; readonly edges?: string | undefined };

/** The members of the request; the service checks how they fit together. Throws a usage error. */
export const markingMembers = (flags: MarkingFlags, variants: number | undefined, deliveries: readonly string[]): Record<string, unknown> => {
  const { book, delivery, edges } = flags;
  const viewers = numberOption('viewers', flags.viewers, { min: 1, max: 1e10 });
  if (viewers !== undefined && !Number.isInteger(viewers)) throw usageError('--viewers must be a whole number');
  if (variants === undefined && (book ?? delivery ?? edges ?? viewers) !== undefined) throw usageError('--book, --delivery, --viewers and --edges need --variants');
  if (book !== undefined && !BOOKS.includes(book)) throw usageError(`--book must be one of ${BOOKS.join(', ')}`);
  if (delivery !== undefined && !deliveries.includes(delivery)) throw usageError(`--delivery must be ${deliveries.join(' or ')}`);
  if ((delivery === 'prefix') !== (edges !== undefined)) throw usageError('--delivery prefix and --edges belong together');
  return { ...(book !== undefined && { book }), ...(delivery !== undefined && { delivery }), ...(viewers !== undefined && { viewers }), ...(edges !== undefined && { edges }) };
};
