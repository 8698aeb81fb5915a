// SPDX-License-Identifier: Apache-2.0
/**
 * Whole objects in memory, at most so many bytes, those unused for longest out first (to within a thousand uses).
 *
 * Invariant: `bytes` never exceeds the budget; an object larger than an eighth of it is not kept, so that one cannot push out all.
 */
import type { MarkSites } from '#core/mark/index.ts';
import type { Micros } from '#core/time.ts';
import type { OriginHead } from '#edge/origin.ts';

/** A whole object with what is needed to answer it. `body` must not be changed. */
export type StoredObject = {
  readonly head: OriginHead;
  readonly body: Uint8Array;
  readonly freshUntil: Micros;
  /** When it was made at the origin, for the Age header. */
  readonly bornAt: Micros;
  /** Places of marks in `body`, whose boxes were taken out; absent where there were none to take out. */
  readonly marks?: readonly MarkSites[];
  /** Filled by the first answer: the header list that every whole answer of this object has. */
  headerList?: [string, string][];
  /** The same for viewers of a variant, without their entity tag; and what that tag is made from. */
  hiddenHeaderList?: [string, string][];
  digest?: readonly [low: number, high: number];
  /** Turn of the memory tier in which it was last moved to the young end. */
  turn?: number;
};

/** The first level of the cache. */
export type MemoryTier = {
  /** Counts as a use. Stale objects are answered too: they may be revalidated. */
  get(key: string): StoredObject | undefined;
  put(key: string, object: StoredObject): void;
  remove(key: string): void;
  readonly bytes: number;
  readonly count: number;
};

/** Uses that may pass before the order of use is brought up to date: moving an entry at each use costs more than it tells. */
const TURN = 1024;
/** Bookkeeping of one object beside its body: key, head, headers, map entry. */
const OVERHEAD = 1024;

const marksBytes = (marks: readonly MarkSites[]): number => marks.reduce((sum, { count, masks }) => sum + 9 * count + masks.length, 0);

/** `budget` in bytes; 0 keeps nothing. */
export const createMemoryTier = (budget: number): MemoryTier => {
  const objects = new Map<string, StoredObject>();
  let bytes = 0;
  let uses = 0;
  const cost = (object: StoredObject): number => object.body.length + OVERHEAD + (object.marks === undefined ? 0 : marksBytes(object.marks));
  const remove = (key: string): void => {
    const object = objects.get(key);
    if (object === undefined) return;
    objects.delete(key);
    bytes -= cost(object);
  };
  return {
    get bytes() {
      return bytes;
    },
    get count() {
      return objects.size;
    },
    get: (key) => {
      const object = objects.get(key);
      if (object === undefined) return undefined;
      uses += 1;
      const turn = Math.floor(uses / TURN);
      if (object.turn !== turn) {
        object.turn = turn;
        objects.delete(key);
        objects.set(key, object);
      }
      return object;
    },
    put: (key, object) => {
      remove(key);
      if (cost(object) > budget / 8) return;
      bytes += cost(object);
      objects.set(key, object);
      for (const oldest of objects.keys()) {
        if (bytes <= budget) break;
        remove(oldest);
      }
    },
    remove,
  };
};
