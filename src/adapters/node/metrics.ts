// SPDX-License-Identifier: Apache-2.0
/**
 * The Metrics port on prom-client: Prometheus text exposition (format 0.0.4), a registry of its own per call.
 *
 * Totals are kept beside prom-client, whose getters are asynchronous: the control room reads them once per second.
 * Invariant: a metric keeps the kind and label names of its first use; anything else is a programming error and throws.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { SealcastError } from '#core/errors.ts';
import type { Metrics } from '#ports';

const NAME = /^sealcast_[a-z][a-z0-9_]*$/;
/** Seconds: from a memory hit at the edge to a stalled upstream. */
const BUCKETS: readonly number[] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Labels = Readonly<Record<string, string>>;
type Series = { readonly labels: Labels; value: number };
type Instrument = { readonly kind: 'counter' | 'gauge' | 'histogram'; readonly labelNames: string; readonly series: Map<string, Series>; readonly known: WeakMap<Labels, Series> } & (
  | { readonly kind: 'counter'; readonly native: Counter }
  | { readonly kind: 'gauge'; readonly native: Gauge }
  | { readonly kind: 'histogram'; readonly native: Histogram }
);

/** The port, plus what the process that owns the registry needs. */
export type NodeMetrics = Metrics & {
  /** The text of `/metrics`. */
  readonly render: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** Sum of a counter's or gauge's series whose labels include `labels`; 0 before its first use. Histograms: the number of observations. */
  readonly total: (name: string, labels?: Labels) => number;
};

/** `process` adds CPU, memory and event-loop figures of this process (default true). */
export const createMetrics = (options: { process?: boolean } = {}): NodeMetrics => {
  const registry = new Registry();
  if (options.process ?? true) collectDefaultMetrics({ register: registry });
  const instruments = new Map<string, Instrument>();

  const instrument = (kind: Instrument['kind'], name: string, help: string, labels: Labels): Instrument => {
    const known = instruments.get(name);
    if (known?.kind === kind && known.known.has(labels)) return known;
    const names = Object.keys(labels);
    const labelNames = names.length < 2 ? (names[0] ?? '') : names.toSorted().join(',');
    if (known !== undefined) {
      if (known.kind !== kind || known.labelNames !== labelNames) {
        throw new SealcastError('internal', `metric ${name} is a ${known.kind} with labels [${known.labelNames}]; used as a ${kind} with [${labelNames}]`);
      }
      return known;
    }
    if (!NAME.test(name) || help === '') throw new SealcastError('internal', 'a metric needs a name sealcast_<part>_<what> and a help text');
    const configuration = { name, help, labelNames: names, registers: [registry] };
    const made: Instrument =
      kind === 'counter'
        ? { kind, labelNames, series: new Map(), known: new WeakMap(), native: new Counter(configuration) }
        : kind === 'gauge'
          ? { kind, labelNames, series: new Map(), known: new WeakMap(), native: new Gauge(configuration) }
          : { kind, labelNames, series: new Map(), known: new WeakMap(), native: new Histogram({ ...configuration, buckets: [...BUCKETS] }) };
    instruments.set(name, made);
    return made;
  };

  const seriesOf = (of: Instrument, labels: Labels): Series => {
    const known = of.known.get(labels);
    if (known !== undefined) return known;
    const found = findSeries(of, labels);
    // Labels that cannot change are looked up once: hot paths keep such objects.
    if (Object.isFrozen(labels)) of.known.set(labels, found);
    return found;
  };
  const findSeries = (of: Instrument, labels: Labels): Series => {
    const key = of.labelNames === '' ? '' : JSON.stringify(of.labelNames.split(',').map((name) => labels[name]));
    let series = of.series.get(key);
    if (series === undefined) of.series.set(key, (series = { labels, value: 0 }));
    return series;
  };

  return {
    count(name, help, labels = {}, by = 1) {
      if (by < 0) throw new SealcastError('internal', `counter ${name} cannot fall`);
      seriesOf(instrument('counter', name, help, labels), labels).value += by;
    },
    gauge(name, help, value, labels = {}) {
      const gauge = instrument('gauge', name, help, labels);
      seriesOf(gauge, labels).value = value;
      if (gauge.kind === 'gauge') gauge.native.set(labels, value);
    },
    observe(name, help, seconds, labels = {}) {
      const histogram = instrument('histogram', name, help, labels);
      seriesOf(histogram, labels).value++;
      if (histogram.kind === 'histogram') histogram.native.observe(labels, seconds);
    },
    render: async () => {
      // Counting is hot and being read is not: prom-client learns the counters' values when somebody asks.
      for (const counter of instruments.values()) {
        if (counter.kind !== 'counter') continue;
        counter.native.reset();
        for (const { labels, value } of counter.series.values()) counter.native.inc(labels, value);
      }
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
    total(name, labels = {}) {
      let sum = 0;
      for (const series of instruments.get(name)?.series.values() ?? []) {
        if (Object.entries(labels).every(([label, value]) => series.labels[label] === value)) sum += series.value;
      }
      return sum;
    },
  };
};
