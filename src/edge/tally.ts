// SPDX-License-Identifier: Apache-2.0
/**
 * Counts requests locally; the edge hands the sums to the metrics about once a second.
 *
 * A labelled counter costs more than a cached segment's whole handling; a map look-up does not.
 * Invariant: labels are from closed sets (kinds, cache sources, statuses), so the map stays small.
 */
import type { Metrics } from '#ports';

/** Counters of answers. */
export type Tally = {
  /** One answer: what was asked for, how it ended, where the bytes came from. */
  answer(kind: string, status: number, source: string): void;
  /** Hands over what is counted since the last time. */
  flush(): void;
};

/** Counters that report to `metrics` when flushed. */
export const createTally = (metrics: Metrics): Tally => {
  const answers = new Map<string, { kind: string; status: string; source: string; count: number }>();
  return {
    answer: (kind, status, source) => {
      const id = `${kind} ${status} ${source}`;
      const row = answers.get(id);
      if (row === undefined) answers.set(id, { kind, status: String(status), source, count: 1 });
      else row.count += 1;
    },
    flush: () => {
      for (const row of answers.values()) {
        if (row.count === 0) continue;
        const { kind, status, source } = row;
        metrics.count('sealcast_edge_answers_total', 'Answers of the edge by kind of object, HTTP status and where the bytes came from.', { kind, status, source }, row.count);
        row.count = 0;
      }
    },
  };
};
