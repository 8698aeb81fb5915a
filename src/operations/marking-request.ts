// SPDX-License-Identifier: Apache-2.0
/**
 * What an operator says of the variants of a new event or title: how many, which code book, which inner delivery.
 *
 * docs/guide/sequences.md. Invariant: a request that leaves here can be planned; what does not fit together is refused
 * with the rule, before keys or catalogue entries are made.
 */
import { SealcastError } from '#core/errors.ts';
import { type Body, type MemberRule, number, oneOf, text } from '#operations/answers.ts';

/** How segments are to be marked. */
export type MarkingRequest = {
  /** m, 2-8. */
  readonly variants: number;
  readonly book: 'aligned' | 'adaptive' | 'biased-uniform' | 'biased-dirichlet' | 'biased-alternate';
  readonly delivery: 'always-on' | 'prefix' | 'two-phase';
  /** Viewers it is planned for; more stay correct, but for prefix delivery. */
  readonly viewers: number;
  /** Edges with a block of their own (prefix): planned viewers of each. */
  readonly edges: readonly { readonly edge: string; readonly viewers: number }[];
};

const DEFAULT_VIEWERS = 1_000_000;
const EDGE = /^([a-z0-9-]{1,40})=([1-9][0-9]{0,9})$/;

/** Members of a request body. */
export const MARKING_RULES: {
  readonly variants: MemberRule<2 | 3 | 4 | 5 | 6 | 7 | 8>;
  readonly book: MemberRule<MarkingRequest['book']>;
  readonly delivery: MemberRule<MarkingRequest['delivery']>;
  readonly viewers: MemberRule<number>;
  readonly edges: MemberRule<string>;
} = {
  variants: oneOf([2, 3, 4, 5, 6, 7, 8]),
  book: oneOf(['aligned', 'adaptive', 'biased-uniform', 'biased-dirichlet', 'biased-alternate']),
  delivery: oneOf(['always-on', 'prefix', 'two-phase']),
  viewers: number(1, 1e10, 'viewers'),
  edges: text(1, 8000, false),
};

const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', rule);
};

const edgesOf = (list: string): MarkingRequest['edges'] =>
  list.split(',').map((item) => {
    const [, edge, viewers] = EDGE.exec(item.trim()) ?? refuse('edges must be NAME=VIEWERS, separated by commas');
    return { edge: edge as string, viewers: Number(viewers) };
  });

/** The marking a body asks for; undefined if it asks for none. Throws `bad-request`. */
export const markingRequest = (body: Body<typeof MARKING_RULES>): MarkingRequest | undefined => {
  const { variants, book, delivery = 'always-on', viewers = DEFAULT_VIEWERS, edges } = body;
  if (variants === undefined) {
    return book === undefined && body.delivery === undefined && body.viewers === undefined && edges === undefined ? undefined : refuse('book, delivery, viewers and edges need variants');
  }
  if (delivery === 'two-phase' && book !== undefined && !book.startsWith('biased')) refuse('two-phase delivery needs a biased book');
  if (delivery === 'prefix' && book !== undefined && book !== 'aligned') refuse('prefix delivery is a code of its own: leave book out');
  if ((delivery === 'prefix') !== (edges !== undefined)) refuse('prefix delivery and edges belong together');
  const listed = edges === undefined ? [] : edgesOf(edges);
  if (new Set(listed.map(({ edge }) => edge)).size < listed.length) refuse('edges must be different');
  return { variants, book: book ?? (delivery === 'two-phase' ? 'biased-uniform' : 'aligned'), delivery, viewers, edges: listed };
};
