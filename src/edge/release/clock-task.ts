// SPDX-License-Identifier: Apache-2.0
/**
 * The edge's clock: asks key servers and peer edges for the time, watches its own clocks, and says what it is sure of.
 *
 * docs/wire/release.md, "Clock exchange"; the rules are `core/release/clock-bound.ts`. Release workers keep a clock of their
 * own from the same samples (`onSample`), and each looks at its local clocks itself.
 * Invariant: nothing a client says reaches it; without two sources that agree it is not sure, unless everything runs on one
 * host and no second host is enrolled.
 */
import { boundAt, type ClockBound, type ClockSample, type ClockState, MAX_TICK_GAP, observe, startClock, tick, trustHost } from '#core/release/clock-bound.ts';
import { MAX_ERROR } from '#core/release/gate.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch, Log, Metrics, PreciseTime } from '#ports';

/** Somebody who knows the time: a key server or a peer edge. `chrony` is asked by `local`. */
export type TimeSource = { readonly name: string; readonly url: string; readonly fetch: Fetch };

/** The clock as releases use it. */
export type EdgeClock = {
  /** The interval that holds UTC now. */
  bound(): ClockBound;
  /** The middle of the interval, for stamps; the system clock while there is none. */
  utc(): Micros;
  /** Takes a sample in, from here or from the main thread. */
  sample(sample: ClockSample): void;
  /** A look at the local clocks; called on a timer and before each release. */
  look(): void;
  /** Single-host mode: the host's clock is right by definition. */
  trust(): void;
  /** The end of single-host mode: nothing is sure until sources agree. */
  distrust(): void;
  /** Why releases are suspended, if they are. */
  readonly cause: string;
  readonly state: ClockState;
};

/** A clock without sources. `floor`: the highest instant this host persisted before a restart; `maxGap` as in `tick`. */
export const createEdgeClock = (options: { time: PreciseTime; floor: Micros; maxGap?: Millis; onFault?: (cause: string) => void }): EdgeClock => {
  const { time, maxGap = MAX_TICK_GAP } = options;
  let state = startClock(time.monotonic(), options.floor);
  const replace = (next: ClockState): void => {
    const failed = next.status === 'fault' && state.status !== 'fault';
    state = next;
    if (failed) options.onFault?.(next.cause);
  };
  return {
    bound: () => boundAt(state, time.monotonic()),
    // Before the first sample there is only the system clock; nothing is released by it.
    utc: () => (Number.isFinite(state.error) ? (Math.round(time.monotonic() * 1000 + state.offset) as Micros) : time.system().utc),
    sample: (sample) => replace(observe(state, sample)),
    look() {
      const { at, utc, within } = time.system();
      // Reads that lie too far apart cannot tell a step; the next look will.
      const unclear = within > CLEAR && state.lastSystemOffset !== undefined;
      replace(tick(state, at, unclear ? ((at * 1000 + (state.lastSystemOffset ?? 0)) as Micros) : utc, maxGap));
    },
    trust() {
      const { at, utc } = time.system();
      // The highest release persisted is a lower bound of time in this mode too.
      if (utc < state.floor) {
        if (state.status !== 'fault') replace({ ...state, status: 'fault', cause: 'time is before a persisted release' });
        return;
      }
      replace(trustHost(state, at, utc));
    },
    distrust: () => replace({ ...startClock(time.monotonic(), state.floor), cause: 'a second host is enrolled' }),
    get cause() {
      return state.cause;
    },
    get state() {
      return state;
    },
  };
};

/** Reads of the two clocks further apart than twice this, in milliseconds, are not compared. */
const CLEAR = 0.5;

/** What keeps an edge's clock. */
export type ClockTask = {
  start(): void;
  stop(): void;
  /** Asks fast for a while: a release worker lost its trust. */
  hurry(): void;
  /** Hosts that have an edge, as a key server lists them. */
  hosts(names: readonly string[]): void;
  /** Whether the host's clock alone is relied on. */
  readonly singleHost: boolean;
};

const LOOK_EVERY = 50;
const ASK_EVERY = 2000;
/** After a start or a fault, so that trust is back within about a second. */
const ASK_FAST = 100;
const HURRY = 3000;
/** In single-host mode: looks without a fault before the host's clock is trusted (again). */
const STEADY_LOOKS = 8;

/** `host`: this host's id; `local`: chrony's own sample, where it runs; `alone`: single-host mode is allowed by configuration. */
export const createClockTask = (options: {
  clock: EdgeClock;
  host: string;
  sources: readonly TimeSource[];
  local?: () => Promise<ClockSample | undefined>;
  alone: boolean;
  timers: Clock;
  time: PreciseTime;
  log: Log;
  metrics: Metrics;
  onSample?: (sample: ClockSample) => void;
  onMode?: (singleHost: boolean) => void;
}): ClockTask => {
  const { clock, host, sources, alone, timers, time, log, metrics } = options;
  let foreign = false;
  let running = false;
  let steady = 0;
  let hurryUntil = 0;
  const cancels = new Set<() => void>();
  const single = (): boolean => alone && !foreign;

  const take = (sample: ClockSample): void => {
    clock.sample(sample);
    options.onSample?.(sample);
  };

  const ask = async (source: TimeSource): Promise<void> => {
    const t1 = time.monotonic();
    const response = await source.fetch(new Request(`${source.url}/v1/time?t1=${Math.round(t1 * 1000)}`, { signal: AbortSignal.timeout(1500) }));
    const t4 = time.monotonic();
    const body = response.status === 200 ? ((await response.json()) as Record<string, unknown>) : undefined;
    if (body === undefined) return void (await response.body?.cancel());
    const sample = sampleOf(source.name, t1, t4, body, host);
    if (sample !== undefined) take(sample);
  };

  const askOnce = (source: TimeSource): Promise<void> =>
    ask(source).then(
      () => metrics.count('sealcast_release_clock_samples_total', 'Answers of time sources.', { source: source.name, outcome: 'ok' }),
      (error: unknown) => {
        metrics.count('sealcast_release_clock_samples_total', 'Answers of time sources.', { source: source.name, outcome: 'failed' });
        log.debug('time source not reached', { source: source.name, reason: error instanceof Error ? error.message : String(error) });
      },
    );

  const repeat = (every: () => number, run: () => void): void => {
    const arm = (): void => {
      const cancel = timers.after(every() as Millis, () => {
        cancels.delete(cancel);
        if (!running) return;
        run();
        arm();
      });
      cancels.add(cancel);
    };
    arm();
  };

  const look = (): void => {
    const before = clock.state.status;
    clock.look();
    const { status } = clock.state;
    if (single() && status !== 'single-host') {
      steady = status === 'fault' && before !== 'fault' ? 0 : steady + 1;
      if (steady >= STEADY_LOOKS) {
        steady = 0;
        clock.trust();
      }
    }
    const { earliest, latest } = clock.bound();
    metrics.gauge('sealcast_release_clock_error_seconds', 'Half width of the interval that holds UTC.', latest === Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : (latest - earliest) / 2e6);
  };

  return {
    start() {
      if (running) return;
      running = true;
      if (single()) clock.trust();
      repeat(() => LOOK_EVERY, look);
      const settled = (): boolean => {
        const { earliest, latest, status } = clock.bound();
        // Too wide to release by: on a crowded path the quickest of many answers is wanted soon.
        return (status === 'single-host' || (status === 'sync' && (latest - earliest) / 2 <= MAX_ERROR)) && time.monotonic() > hurryUntil;
      };
      for (const source of sources) repeat(() => (settled() ? ASK_EVERY : ASK_FAST), () => void askOnce(source));
      const { local } = options;
      if (local !== undefined) repeat(() => (settled() ? ASK_EVERY : 500), () => void local().then((sample) => sample && take(sample), () => undefined));
    },
    stop() {
      running = false;
      for (const cancel of cancels) cancel();
      cancels.clear();
    },
    hurry() {
      hurryUntil = time.monotonic() + HURRY;
    },
    hosts(names) {
      const second = names.some((name) => name !== host);
      if (second === foreign) return;
      const before = single();
      foreign = second;
      // The host's clock was right by definition; with a second host it is one opinion among others, and none by itself.
      if (before && !single()) {
        clock.distrust();
        log.warn('an edge on a second host is enrolled: single-host time is over', { hosts: names.length });
      }
      options.onMode?.(single());
    },
    get singleHost() {
      return single();
    },
  };
};

const number = (value: unknown): number | undefined => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);

/** One exchange as a sample; undefined if the source does not know the time itself or is this host. Exported for its tests. */
export const sampleOf = (source: string, t1: number, t4: number, body: Readonly<Record<string, unknown>>, host: string): ClockSample | undefined => {
  const [t2, t3] = [number(body['t2']), number(body['t3'])];
  const { status } = body;
  if (t2 === undefined || t3 === undefined || t3 < t2 || t4 < t1) return undefined;
  if (status !== 'sync' && status !== 'host' && status !== 'single-host') return undefined;
  // This host again, under another name, would count as a second opinion.
  if (body['host'] === host) return undefined;
  const earliest = number(body['earliest']) ?? t3;
  const latest = number(body['latest']) ?? t3;
  const own = Math.max(0, t3 - earliest, latest - t3);
  const rtt = (t4 - t1) * 1000 - (t3 - t2);
  return { source, at: t4 as Millis, offset: (t2 - t1 * 1000 + (t3 - t4 * 1000)) / 2, error: Math.ceil(Math.max(0, rtt) / 2 + own) as Micros };
};
