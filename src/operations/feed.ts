// SPDX-License-Identifier: Apache-2.0
/**
 * What the control room watches live: a bounded ring of operational events and one sample of figures per second.
 *
 * Rates come from running totals, so a missed tick widens the interval instead of losing a count.
 * Invariant: memory is bounded by the two rings; a subscriber that throws is dropped, never the producer.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, EventSink, Log, OperationalEvent } from '#ports';
import type { FeedLine, Figures } from '#operations/api.ts';

const RING = 500;
const HISTORY_SECONDS = 300;
const TICK = 1000 as Millis;
/** Rates are over this many ticks: requests come once per segment, and one second's count would jump between none and many. */
const RATE_TICKS = 10;

/**
 * Where figures come from: ever-growing totals, which become rates, and levels of this moment. Cheap: called each second.
 * The overview shows the totals `licenses`, `renewals`, `denials`, `edgeRequests`, `edgeBytes`, `edgeHits` and `edgeMisses`;
 * a panel may show any other. The role adds the levels `liveSessions` and `accountsLevel1` to `3` itself.
 */
export type FigureSource = () => { readonly totals: Readonly<Record<string, number>>; readonly levels: Readonly<Record<string, number>> };

/** What subscribers get, one at a time. */
export type FeedMessage = { readonly type: 'operational'; readonly line: FeedLine } | { readonly type: 'figures'; readonly figures: Figures };

/** The live feed of one process. */
export type Feed = {
  /** Takes an operational event; never throws and never waits. */
  readonly events: EventSink;
  /** Lines with an id above `afterId`, oldest first, at most the ring. */
  readonly lines: (afterId: number) => readonly FeedLine[];
  readonly history: () => readonly Figures[];
  readonly latest: () => Figures;
  /** Calls `listener` for each message from now on; answers the unsubscribe function. */
  readonly subscribe: (listener: (message: FeedMessage) => void) => () => void;
  readonly close: () => void;
};

const lineOf = (id: number, event: OperationalEvent): FeedLine => ({ ...event, id });

/** Starts sampling at once; `close` stops it. `slow` adds levels that cost a store read, refreshed every fifth tick. */
export const createFeed = (options: {
  clock: Clock;
  log: Log;
  figures: FigureSource;
  slow: () => Promise<{ levels: Readonly<Record<string, number>>; ready: Readonly<Record<string, boolean>> }>;
}): Feed => {
  const { clock, log, figures, slow } = options;
  const ring: FeedLine[] = [];
  const history: Figures[] = [];
  const listeners = new Set<(message: FeedMessage) => void>();
  // Ids keep growing over a restart, so that a reader's last id never hides new lines.
  let nextId = Math.floor(clock.now() / 1000);
  let ticks = 0;
  let slowly: Awaited<ReturnType<typeof slow>> = { levels: {}, ready: {} };
  const past: { at: number; totals: Readonly<Record<string, number>> }[] = [{ at: clock.monotonic(), totals: figures().totals }];

  const publish = (message: FeedMessage): void => {
    for (const listener of listeners) {
      try {
        listener(message);
      } catch (error) {
        listeners.delete(listener);
        log.warn('operations feed dropped a listener', { error: error instanceof Error ? error.name : typeof error });
      }
    }
  };

  const sample = (): Figures => {
    const { totals, levels } = figures();
    const at: number = clock.monotonic();
    const since = past[0] ?? { at, totals };
    const seconds = Math.max((at - since.at) / 1000, 0.001);
    const rates: Record<string, number> = {};
    for (const [name, total] of Object.entries(totals)) rates[name] = Math.max(0, (total - (since.totals[name] ?? 0)) / seconds);
    past.push({ at, totals });
    if (past.length > RATE_TICKS) past.shift();
    return { at: clock.now(), rates, levels: { ...levels, ...slowly.levels }, ready: slowly.ready };
  };

  const refresh = (): Promise<void> =>
    slow().then(
      (answer) => void (slowly = answer),
      (error: unknown) => log.warn('figures from the stores are not available', { error: error instanceof Error ? error.message : typeof error }),
    );

  let cancel: () => void = () => undefined;
  let closed = false;
  const tick = (): void => {
    if (closed) return;
    if (ticks++ % 5 === 0) void refresh();
    const now = sample();
    history.push(now);
    if (history.length > HISTORY_SECONDS) history.shift();
    publish({ type: 'figures', figures: now });
    cancel = clock.after(TICK, tick);
  };
  void refresh();
  cancel = clock.after(TICK, tick);

  return {
    events(event) {
      const line = lineOf(nextId++, event);
      ring.push(line);
      if (ring.length > RING) ring.shift();
      publish({ type: 'operational', line });
    },
    lines: (afterId) => ring.filter((line) => line.id > afterId),
    history: () => [...history],
    latest: () => history.at(-1) ?? { at: clock.now() as Micros, rates: {}, levels: slowly.levels, ready: slowly.ready },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      closed = true;
      cancel();
      listeners.clear();
    },
  };
};
