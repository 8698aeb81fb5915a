// SPDX-License-Identifier: Apache-2.0
/**
 * The strings of one epoch in order of falling score, one at a time: best-first over deviations from the best string.
 *
 * Places are sorted by the cost of their first deviation. A node of the heap is a set of deviations, of which the last
 * can deepen (next worse symbol), shift (to the next place) or gain a companion (at the next place): every string is
 * reached exactly once, and never before a better one. Unread places cost nothing, in all m ways.
 * Invariant: `next` answers each of the m^K strings once, with costs that never fall.
 */

type Node = { readonly cost: number; readonly place: number; readonly rank: number; readonly parent: Node | undefined };

/** The strings of one epoch, best first; create one per search. */
export type StringsByScore = {
  /** Score lost against the best string, for the string that `next` would write; Infinity at the end. */
  frontier(): number;
  /** Writes the next string into `digits`; false at the end. */
  next(digits: Uint8Array): boolean;
};

/** `scores[j]` are the symbols' scores at place j of the epoch, undefined where nothing was read. */
export const stringsByScore = (scores: readonly (Float64Array | undefined)[], alphabet: number): StringsByScore => {
  const orders = scores.map((row) => {
    const order = Array.from({ length: alphabet }, (_, symbol) => symbol);
    return row === undefined ? order : order.sort((a, b) => (row[b] as number) - (row[a] as number));
  });
  const costAt = (j: number, rank: number): number => {
    const row = scores[j];
    const order = orders[j] as number[];
    return row === undefined ? 0 : (row[order[0] as number] as number) - (row[order[rank] as number] as number);
  };
  const places = scores.map((_, j) => j).sort((a, b) => costAt(a, 1) - costAt(b, 1));
  const costs = places.map((j) => Float64Array.from({ length: alphabet }, (_, rank) => costAt(j, rank)));
  const cost = (place: number, rank: number): number => (costs[place] as Float64Array)[rank] as number;

  const heap: Node[] = [];
  const push = (node: Node): void => {
    let i = heap.length;
    heap.push(node);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const above = heap[up] as Node;
      if (above.cost <= node.cost) break;
      heap[i] = above;
      i = up;
    }
    heap[i] = node;
  };
  const pop = (): Node => {
    const top = heap[0] as Node;
    const last = heap.pop() as Node;
    const size = heap.length;
    if (size === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && (heap[child + 1] as Node).cost < (heap[child] as Node).cost) child++;
      if ((heap[child] as Node).cost >= last.cost) break;
      heap[i] = heap[child] as Node;
      i = child;
    }
    heap[i] = last;
    return top;
  };

  let started = false;
  return {
    frontier: () => (started ? (heap[0]?.cost ?? Number.POSITIVE_INFINITY) : 0),
    next(digits) {
      for (let j = 0; j < scores.length; j++) digits[j] = (orders[j] as number[])[0] as number;
      if (!started) {
        started = true;
        if (places.length > 0) push({ cost: cost(0, 1), place: 0, rank: 1, parent: undefined });
        return true;
      }
      if (heap.length === 0) return false;
      const node = pop();
      for (let n: Node | undefined = node; n !== undefined; n = n.parent) {
        const j = places[n.place] as number;
        digits[j] = (orders[j] as number[])[n.rank] as number;
      }
      const { place, rank, parent } = node;
      if (rank + 1 < alphabet) push({ cost: node.cost + cost(place, rank + 1) - cost(place, rank), place, rank: rank + 1, parent });
      if (place + 1 < places.length) {
        push({ cost: node.cost + cost(place + 1, 1), place: place + 1, rank: 1, parent: node });
        if (rank === 1) push({ cost: node.cost - cost(place, 1) + cost(place + 1, 1), place: place + 1, rank: 1, parent });
      }
      return true;
    },
  };
};
