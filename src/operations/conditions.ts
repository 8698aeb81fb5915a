// SPDX-License-Identifier: Apache-2.0
/**
 * What is not normal, and what moved, gathered from the live feed: overload with its cause, the newest alert, level moves.
 *
 * Checklist B065, B071. Moves from before this process come from the accounts' own histories, once. Invariant: bounded by the hours
 * of a day and a list of 50; nothing is read from a store afterwards.
 */
import type { Feed } from '#operations/feed.ts';
import type { FeedLine, LevelView } from '#operations/api.ts';

/** Kept for the control room. */
export type Conditions = {
  /** Set while the factor on periods is above 1. */
  readonly overload: () => { readonly since: number; readonly cause: string } | undefined;
  readonly lastAlert: () => FeedLine | undefined;
  /** Moves between levels of the last 24 hours, by direction. */
  readonly flows: (now: number) => readonly { readonly from: LevelView; readonly to: LevelView; readonly count: number }[];
  /** Newest first; `account` is the hash. */
  readonly latest: () => readonly { readonly at: number; readonly account: string; readonly from: LevelView; readonly to: LevelView; readonly cause: string }[];
};

const HOUR = 3_600_000_000;
const HOURS = 24;
const LATEST = 50;

const levelOf = (value: unknown): LevelView | undefined => (value === 1 || value === 2 || value === 3 ? value : undefined);

/** A move as the accounts' histories have it. */
export type RecordedMove = { readonly at: number; readonly account: string; readonly from: LevelView; readonly to: LevelView; readonly cause: string };

/** Listens to the feed for as long as the feed lives. `earlier`: moves from before `startedAt`, oldest first; none if that rejects. */
export const createConditions = (feed: Pick<Feed, 'subscribe'>, startedAt: number, earlier: Promise<readonly RecordedMove[]>): Conditions => {
  let overload: { since: number; cause: string } | undefined;
  let lastAlert: FeedLine | undefined;
  let latest: { at: number; account: string; from: LevelView; to: LevelView; cause: string }[] = [];
  const hours = new Map<number, Map<string, number>>();

  const onOverload = ({ kind, at, data }: FeedLine): void => {
    const factor = Number(data?.['factor'] ?? 1);
    if (factor <= 1) overload = undefined;
    else overload = { since: overload?.since ?? at, cause: kind === 'overload.raised' ? `event-loop lag ${data?.['lagMillis'] ?? '?'} ms, CPU ${data?.['cpuPercent'] ?? '?'} %` : (overload?.cause ?? 'load') };
  };
  const onLevel = ({ at, account = '', data }: FeedLine): void => {
    const [from, to] = [levelOf(data?.['from']), levelOf(data?.['to'])];
    if (from === undefined || to === undefined) return;
    take({ at, account, from, to, cause: String(data?.['cause'] ?? '') });
  };
  const take = ({ at, account, from, to, cause }: RecordedMove): void => {
    latest = [{ at, account, from, to, cause }, ...latest].sort((a, b) => b.at - a.at).slice(0, LATEST);
    const hour = Math.floor(at / HOUR);
    const counts = hours.get(hour) ?? new Map<string, number>();
    counts.set(`${from}${to}`, (counts.get(`${from}${to}`) ?? 0) + 1);
    hours.set(hour, counts);
    const newest = Math.max(...hours.keys());
    for (const past of hours.keys()) if (past <= newest - HOURS) hours.delete(past);
  };
  earlier.then((moves) => moves.filter(({ at }) => at < startedAt).forEach(take), () => undefined);
  feed.subscribe((message) => {
    if (message.type !== 'operational') return;
    const { line } = message;
    if (line.severity === 'alert') lastAlert = line;
    if (line.kind === 'overload.raised' || line.kind === 'overload.eased') onOverload(line);
    if (line.kind === 'account.level') onLevel(line);
  });

  return {
    overload: () => overload,
    lastAlert: () => lastAlert,
    latest: () => latest,
    flows(now) {
      const sums = new Map<string, number>();
      for (const [hour, counts] of hours) {
        if (hour <= Math.floor(now / HOUR) - HOURS) continue;
        for (const [move, count] of counts) sums.set(move, (sums.get(move) ?? 0) + count);
      }
      return [...sums].map(([move, count]) => ({ from: levelOf(Number(move[0])) ?? 1, to: levelOf(Number(move[1])) ?? 1, count }));
    },
  };
};
