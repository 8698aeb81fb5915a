// SPDX-License-Identifier: Apache-2.0
/**
 * Watches how busy this process is, and turns that into longer periods and, at worst, fewer new sessions.
 *
 * Recurring renewals, "Adaptability"; checklist B071. The rules are `#core/policy/overload.ts`; here they meet event-loop lag
 * and utilisation (perf_hooks) and CPU time. Invariant: one sample a second, no work in between.
 */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { cpuUsage } from 'node:process';
import { calm, loadFactor, type LoadSample, observeLoad, type Overload, OVERLOAD_DEFAULTS, type OverloadPolicy, shedsInitialRequests } from '#core/policy/overload.ts';
import type { Millis } from '#core/time.ts';
import type { Clock, EventSink, Metrics } from '#ports';

/** What the watch is made of. */
export type OverloadWatchOptions = {
  readonly policy?: Partial<OverloadPolicy>;
  /** Where other work shares the process: parts of a core that licensing asked for since the last call, `millis` ago. */
  readonly licensingShare?: (millis: number) => number;
  /** Measures since the last call; the process's own load unless told. */
  readonly sample?: () => LoadSample;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** How overloaded the process is now. */
export type OverloadWatch = { readonly load: () => { readonly factor: number; readonly sheds: boolean }; close(): void };

const EVERY = 1000 as Millis;

/** Lag (99th percentile) and CPU share of the thread that answers since the last call: no more than the process used, nor than that thread was busy. */
const processLoad = (clock: Clock, licensingShare: OverloadWatchOptions['licensingShare']): { sample: () => LoadSample; stop: () => void } => {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  let cpu = cpuUsage();
  let loop = performance.eventLoopUtilization();
  let at = clock.monotonic();
  return {
    sample() {
      const [now, used] = [clock.monotonic(), cpuUsage(cpu)];
      const millis = Math.max(1, now - at);
      const turned = performance.eventLoopUtilization();
      const cpuShare = Math.min((used.user + used.system) / 1000 / millis, performance.eventLoopUtilization(turned, loop).utilization);
      const lagMillis = Math.max(0, delay.percentile(99) / 1e6 - 10);
      delay.reset();
      [cpu, loop, at] = [cpuUsage(), turned, now];
      return { lagMillis, cpuShare, ...(licensingShare !== undefined && { licensingShare: licensingShare(millis) }) };
    },
    stop: () => void delay.disable(),
  };
};

/** Starts watching. */
export const createOverloadWatch = (options: OverloadWatchOptions): OverloadWatch => {
  const { clock, events, metrics } = options;
  const policy: OverloadPolicy = { ...OVERLOAD_DEFAULTS, ...options.policy };
  const own = options.sample === undefined ? processLoad(clock, options.licensingShare) : undefined;
  const sample = options.sample ?? own?.sample ?? (() => ({ lagMillis: 0, cpuShare: 0 }));
  let overload: Overload = calm(clock.now());
  let cancel = (): void => undefined;

  const tell = (before: Overload, measured: LoadSample): void => {
    const factor = loadFactor(overload, policy);
    metrics.gauge('sealcast_overload_factor', 'Factor on renewal periods because of load; 1 is normal.', factor);
    const rises = overload.step > before.step;
    events({
      at: clock.now(), kind: rises ? 'overload.raised' : 'overload.eased', severity: rises ? 'warning' : 'info',
      message: rises ? `This server is overloaded: clients are asked to renew ${factor} times less often.` : `The load has fallen: the factor on renewal periods is ${factor}.`,
      data: { factor, lagMillis: Math.round(measured.lagMillis), cpuPercent: Math.round(measured.cpuShare * 100) },
    });
  };
  const watch = (): void => {
    cancel = clock.after(EVERY, () => {
      const before = overload;
      const measured = sample();
      overload = observeLoad(before, policy, measured, clock.now());
      if (overload.step !== before.step) tell(before, measured);
      watch();
    });
  };
  watch();
  return {
    load: () => ({ factor: loadFactor(overload, policy), sheds: shedsInitialRequests(overload) }),
    close() {
      cancel();
      own?.stop();
    },
  };
};
