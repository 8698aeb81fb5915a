// SPDX-License-Identifier: Apache-2.0
/**
 * Prefix code: viewers of an edge have a block of m^k numbers, so their codewords share all but the last k digits.
 *
 * Kraft: the blocks fit while sum m^k <= m^K. Per epoch the numbers of a block are permuted within it, and every node of
 * the m-ary tree has its children relabelled by a keyed permutation. Sharing survives both, but a digit in which two
 * viewers differ, and all digits after it, look random to one who knows the other's. At a shared digit an edge needs one
 * variant; at the last k it may need all.
 * Evidence against a viewer must count its own k digits alone (`ownDigits`): the others accuse the whole edge.
 * Invariant: in every epoch no two viewers of a plan have the same codeword.
 */
import { SealcastError } from '#core/errors.ts';
import { position, type EpochKeys, type Position, type ViewerNumber } from '../book.ts';
import { requireAlphabet } from '../counts.ts';
import { epochAt } from '../epochs.ts';
import { createPermutation, type Permutation } from '../permutation.ts';
import { sipHash, sipKey, type SipKey } from '../siphash.ts';

/** Dense number of an edge of one event, 0..2^20. */
export type EdgeNumber = number;
/** Viewer numbers `first` .. `first` + m^digits - 1 belong to an edge. */
export type Block = { readonly edge: EdgeNumber; readonly first: number; readonly digits: number };
/** Blocks by increasing `first`, over epochs of `length` digits from position `from` on. */
export type PrefixPlan = { readonly alphabet: number; readonly length: number; readonly from: Position; readonly blocks: readonly Block[] };

/** A live edge needs two epochs, a tracer as many as its window spans. */
const KEPT_EPOCHS = 64;
/** Codewords stay exact doubles with room for products. */
const MAX_DOMAIN = 2 ** 52;

const digitsFor = (alphabet: number, viewers: number, least: number): number => {
  if (!Number.isSafeInteger(viewers) || viewers < 1) throw new SealcastError('bad-request', 'viewers of an edge must be an integer of at least 1');
  let digits = least;
  while (alphabet ** digits < viewers) digits++;
  return digits;
};

/**
 * The shortest plan for edges with so many viewers. `leastDigits` (1 by default) is k of the smallest edges: their
 * viewers are certified by k digits per epoch, so more of them find a leak there sooner and let more variants travel.
 * Throws `bad-request` if it would take more than 2^52 codewords.
 */
export const planBlocks = (options: { alphabet: number; edges: readonly { edge: EdgeNumber; viewers: number }[]; from?: number; leastDigits?: number }): PrefixPlan => {
  const alphabet = requireAlphabet(options.alphabet);
  const least = options.leastDigits ?? 1;
  if (!Number.isInteger(least) || least < 1) throw new SealcastError('bad-request', 'leastDigits must be an integer of at least 1');
  const sized = options.edges.map(({ edge, viewers }) => ({ edge, digits: digitsFor(alphabet, viewers, least) }));
  // Largest first: every block then begins at a multiple of its size without a gap.
  sized.sort((a, b) => b.digits - a.digits || a.edge - b.edge);
  let next = 0;
  const blocks = sized.map(({ edge, digits }): Block => {
    const first = next;
    next += alphabet ** digits;
    return { edge, first, digits };
  });
  let length = 2;
  while (alphabet ** length < next) length++;
  if (alphabet ** length > MAX_DOMAIN) throw new SealcastError('bad-request', 'edges need more than 2^52 viewer numbers');
  return { alphabet, length, from: position(options.from ?? 0), blocks };
};

/** The plan with another block, for a new edge or one that is full; throws `bad-request` when no codeword is left. */
export const addBlock = (plan: PrefixPlan, edge: EdgeNumber, viewers: number): PrefixPlan => {
  const { alphabet, length, blocks } = plan;
  const last = blocks[blocks.length - 1];
  const digits = digitsFor(alphabet, viewers, 1);
  const size = alphabet ** digits;
  const first = last === undefined ? 0 : Math.ceil((last.first + alphabet ** last.digits) / size) * size;
  if (first + size > alphabet ** length) throw new SealcastError('bad-request', 'the plan has no room for another block: start one with longer epochs');
  return { ...plan, blocks: [...blocks, { edge, first, digits }] };
};

/** The code of a plan. */
export interface PrefixBook {
  readonly alphabet: number;
  readonly plan: PrefixPlan;
  /** Throws `bad-request` for viewers of no block and positions before the plan, `key-unavailable` without the epoch's key. */
  symbol(viewer: ViewerNumber, at: Position): number;
  /** Whether a viewer's symbol at a position is its own, not its edge's: only those are evidence against it. */
  ownDigit(viewer: ViewerNumber, at: Position): boolean;
  /** The block a viewer belongs to. */
  block(viewer: ViewerNumber): Block;
  /**
   * Viewers of a block by falling score of their own digits in one epoch, at most `most` of them. `scores[i]` is what each
   * symbol is worth at the i-th own digit, undefined where nothing was read. `all`: whether nobody was left out.
   */
  best(block: Block, epoch: number, scores: readonly (ArrayLike<number> | undefined)[], most: number): { readonly viewers: readonly { readonly viewer: ViewerNumber; readonly score: number }[]; readonly all: boolean };
}

type EpochState = {
  readonly epoch: number;
  readonly tree: SipKey;
  readonly blocks: SipKey;
  /** By the first number of a block. */
  readonly permutations: Map<number, Permutation>;
};

/** `keys` gives 32 bytes per epoch: the tree's key and the blocks'. */
export const createPrefixBook = (plan: PrefixPlan, keys: EpochKeys): PrefixBook => {
  const { alphabet, length, blocks } = plan;
  const schedule = [{ from: plan.from, length }];
  const digits = new Uint8Array(64);
  const tag = new Int32Array(2);
  const order = new Uint8Array(alphabet);
  let orders = 1;
  for (let i = 2; i <= alphabet; i++) orders *= i;
  const states = new Map<number, EpochState>();
  let state: EpochState | undefined;

  const stateOf = (epoch: number): EpochState => {
    if (state?.epoch === epoch) return state;
    state = states.get(epoch);
    if (state === undefined) {
      const secret = keys(epoch);
      state = { epoch, tree: sipKey(secret), blocks: sipKey(secret, 16), permutations: new Map() };
      if (states.size >= KEPT_EPOCHS) states.delete(states.keys().next().value as number);
      states.set(epoch, state);
    }
    return state;
  };

  const permutationOf = ({ permutations, blocks: key }: EpochState, { first, digits: own }: Block): Permutation => {
    let found = permutations.get(first);
    if (found === undefined) {
      const derived = [0, 1].flatMap((half) => {
        sipHash(key, first | 0, Math.floor(first / 4294967296) | (half << 24), tag);
        return [tag[0] as number, tag[1] as number];
      }) as unknown as SipKey;
      found = createPermutation(derived, alphabet, own);
      permutations.set(first, found);
    }
    return found;
  };

  const block = (viewer: ViewerNumber): Block => {
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((blocks[middle] as Block).first <= viewer) low = middle + 1;
      else high = middle;
    }
    const found = blocks[low - 1];
    if (found === undefined || viewer >= found.first + alphabet ** found.digits) throw new SealcastError('bad-request', 'viewer must be a number of one of the blocks of the plan');
    return found;
  };

  /** The label of child `digit` of the node that `prefix` (of `depth` digits) leads to. */
  const relabel = (tree: SipKey, prefix: number, depth: number, digit: number): number => {
    sipHash(tree, prefix | 0, Math.floor(prefix / 4294967296) | (depth << 24), tag);
    let code = (((tag[1] as number) >>> 11) * 4294967296 + ((tag[0] as number) >>> 0)) % orders;
    for (let i = 0; i < alphabet; i++) order[i] = i;
    for (let left = alphabet; ; left--) {
      const pick = code % left;
      code = Math.floor(code / left);
      const label = order[pick] as number;
      if (left === alphabet - digit) return label;
      order[pick] = order[left - 1] as number;
    }
  };

  const best: PrefixBook['best'] = (mine, epoch, scores, most) => {
    const current = stateOf(epoch);
    const shared = length - mine.digits;
    let kept = [{ prefix: mine.first / alphabet ** mine.digits, score: 0 }];
    let all = true;
    for (let level = 0; level < mine.digits; level++) {
      const row = scores[level];
      const next: typeof kept = [];
      for (const { prefix, score } of kept) {
        for (let digit = 0; digit < alphabet; digit++) next.push({ prefix: prefix * alphabet + digit, score: score + (row === undefined ? 0 : (row[relabel(current.tree, prefix, shared + level, digit)] as number)) });
      }
      next.sort((a, b) => b.score - a.score);
      if (next.length > most) all = false;
      kept = next.slice(0, most);
    }
    const permutation = permutationOf(current, mine);
    const own = new Uint8Array(mine.digits);
    return {
      all,
      viewers: kept.map(({ prefix, score }) => {
        let rest = prefix;
        for (let i = mine.digits - 1; i >= 0; i--) {
          own[i] = rest % alphabet;
          rest = Math.floor(rest / alphabet);
        }
        return { viewer: (mine.first + permutation.decode(own, 0)) as ViewerNumber, score };
      }),
    };
  };

  return {
    alphabet,
    plan,
    block,
    best,
    ownDigit: (viewer, at) => at - epochAt(schedule, at).start >= length - block(viewer).digits,
    symbol(viewer, at) {
      const mine = block(viewer);
      const { epoch, start } = epochAt(schedule, at);
      const current = stateOf(epoch);
      const index = at - start;
      const shared = length - mine.digits;
      let rest = mine.first / alphabet ** mine.digits;
      for (let i = shared - 1; i >= 0; i--) {
        digits[i] = rest % alphabet;
        rest = Math.floor(rest / alphabet);
      }
      if (index >= shared) permutationOf(current, mine).encode(viewer - mine.first, digits.subarray(shared, length));
      let prefix = 0;
      for (let i = 0; i < index; i++) prefix = prefix * alphabet + (digits[i] as number);
      return relabel(current.tree, prefix, index, digits[index] as number);
    },
  };
};
