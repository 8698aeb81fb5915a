// SPDX-License-Identifier: Apache-2.0
/**
 * Running scores of a whole population under two models, and who leads each of them.
 *
 * A score is restarted when it falls below zero, so that a viewer who joins the leak later shows up too. One pass per
 * reading updates all scores and gathers the viewers above a cut on the way; the cut follows the scores so that some
 * hundreds are gathered, and a pass that misjudged it is repeated. Screening only proposes: who is left out is not judged.
 * Invariant: leaders depend on nothing but the readings so far; whoever scores highest is among them.
 */

type Two<T> = readonly [T, T];
/** Symbols' gains of one screen at one reading, in nats. */
export type Gains = ArrayLike<number>;
/** Two screens over viewers 0..N-1. */
export type Screens = {
  /** score = max(0, score + gain[symbol]) for every viewer, in each screen. */
  add(symbols: Uint8Array, gains: Two<Gains>): void;
  /** Viewers with the highest scores above zero of a screen, best first; some hundreds at most. */
  leaders(screen: 0 | 1): readonly number[];
};

/** Fixed-point nats: integers clamp at zero without a branch, and mispredicted branches cost most of the time. */
const UNIT = 65_536;
/** Score and viewer in one exact double, sorted natively. Viewers below 2^24; a score of 2^29 is 8192 nats. */
const OWNER = 2 ** 24;
/** Viewers that one look for a beaten cut covers. */
const BLOCK = 32;
/** Viewers a screen gathers at most; those it aims at; those that are enough; those it answers. */
const CAPACITY = 8192;
const AIM = 320;
const ENOUGH = 96;
const ANSWERED = 256;
/** Passes that may be repeated with a better cut. */
const RETRIES = 3;

type Gathered = { readonly keys: Float64Array; count: number; cut: number };

/**
 * One pass over everybody: the loop that takes the time, so it is flat and free of branches. A block in which some score
 * beats its cut is gone through again.
 */
const pass = (scores: Two<Int32Array>, symbols: Uint8Array, gains: Two<Int32Array>, gathered: Two<Gathered>): void => {
  const [first, second] = scores;
  const [firstGains, secondGains] = gains;
  const [firstCut, secondCut] = [gathered[0].cut, gathered[1].cut];
  for (const own of gathered) own.count = 0;
  const size = symbols.length;
  for (let from = 0; from < size; from += BLOCK) {
    const to = Math.min(size, from + BLOCK);
    let beaten = 0;
    for (let viewer = from; viewer < to; viewer++) {
      const x = (symbols[viewer] as number) & 7;
      const a = ((first[viewer] as number) + (firstGains[x] as number)) | 0;
      const one = a & ~(a >> 31);
      first[viewer] = one;
      const b = ((second[viewer] as number) + (secondGains[x] as number)) | 0;
      const two = b & ~(b >> 31);
      second[viewer] = two;
      beaten |= (firstCut - one) | (secondCut - two);
    }
    if (beaten < 0) for (let screen = 0; screen < 2; screen++) gather(scores[screen] as Int32Array, gathered[screen] as Gathered, from, to);
  }
};

/** Adds the viewers of a range whose score is above the cut, while there is room. */
const gather = (scores: Int32Array, into: Gathered, from: number, to: number): void => {
  const { keys, cut } = into;
  for (let viewer = from; viewer < to && into.count < CAPACITY; viewer++) {
    if ((scores[viewer] as number) > cut) keys[into.count++] = (scores[viewer] as number) * OWNER + viewer;
  }
};
const gatherAll = (scores: Int32Array, into: Gathered): void => {
  into.count = 0;
  gather(scores, into, 0, scores.length);
};

/** Sorted keys, lowest first, as a view of the gathered ones. */
const sorted = (gathered: Gathered): Float64Array => gathered.keys.subarray(0, gathered.count).sort();
const scoreOf = (key: number): number => Math.floor(key / OWNER);

/** Screens of `viewers` viewers, at most 2^24; 8 bytes of memory each. */
export const createScreens = (viewers: number): Screens => {
  const scores = [new Int32Array(viewers), new Int32Array(viewers)] as const;
  const gathered = [0, 1].map((): Gathered => ({ keys: new Float64Array(CAPACITY), count: 0, cut: 0 })) as unknown as Two<Gathered>;
  const lists: (readonly number[])[] = [[], []];

  /** Repeats the gathering with another cut while too many or too few were found, then moves the cut for the next reading. */
  const settle = (screen: number): void => {
    const own = gathered[screen] as Gathered;
    const all = scores[screen] as Int32Array;
    /** The highest cut known to let too many through; -1 while there is none. */
    let crowded = -1;
    for (let retry = 0; retry < RETRIES; retry++) {
      if (own.count === CAPACITY) {
        crowded = own.cut;
        // Those gathered have the lowest numbers: a fair sample of everybody up to the last of them.
        const share = ((own.keys[CAPACITY - 1] as number) % OWNER) / viewers;
        own.cut = scoreOf(sorted(own)[CAPACITY - 1 - Math.floor(AIM * share)] as number);
      } else {
        const lower = Math.max(0, own.cut - 2 * UNIT);
        if (own.count >= ENOUGH || own.cut === 0 || lower <= crowded) break;
        own.cut = lower;
      }
      gatherAll(all, own);
    }
    if ((own.count === CAPACITY && viewers > CAPACITY) || (own.count === 0 && own.cut > 0)) {
      // Crowds of equal scores, or a fall of all: look for the highest; some of those who share it are as good as others.
      let top = 0;
      for (const score of all) if (score > top) top = score;
      own.cut = Math.max(0, top - 1);
      gatherAll(all, own);
    }
    const keys = sorted(own);
    lists[screen] = Array.from(keys.subarray(Math.max(0, keys.length - ANSWERED)), (key) => key % OWNER).reverse();
    own.cut = keys.length >= AIM ? scoreOf(keys[keys.length - AIM] as number) : Math.max(0, own.cut - UNIT);
  };

  return {
    add(symbols, gains) {
      const fixed = gains.map((nats) => {
        const table = new Int32Array(8);
        for (let x = 0; x < nats.length; x++) table[x] = Math.round((nats[x] as number) * UNIT);
        return table;
      }) as unknown as Two<Int32Array>;
      pass(scores, symbols, fixed, gathered);
      for (let screen = 0; screen < 2; screen++) settle(screen);
    },
    leaders: (screen) => lists[screen] as readonly number[],
  };
};
