// SPDX-License-Identifier: Apache-2.0
/** Metrics: the exposition is what Prometheus reads, and totals agree with it. */
import { describe, expect, it } from 'vitest';
import { createMetrics } from './metrics.ts';

describe('metrics', () => {
  it('renders counters, gauges and histograms with help and type', async () => {
    const metrics = createMetrics({ process: false });
    metrics.count('sealcast_renewal_answers_total', 'Renewals answered', { act: 'extend' });
    metrics.count('sealcast_renewal_answers_total', 'Renewals answered', { act: 'extend' }, 2);
    metrics.count('sealcast_renewal_answers_total', 'Renewals answered', { act: 'end' });
    metrics.gauge('sealcast_edge_cache_bytes', 'Bytes in the memory cache', 4096);
    metrics.observe('sealcast_edge_request_seconds', 'Time to first byte', 0.003, { kind: 'segment' });
    const { contentType, body } = await metrics.render();
    expect(contentType).toContain('text/plain; version=0.0.4');
    expect(body).toContain('# HELP sealcast_renewal_answers_total Renewals answered\n# TYPE sealcast_renewal_answers_total counter\n');
    expect(body).toContain('sealcast_renewal_answers_total{act="extend"} 3\n');
    expect(body).toContain('sealcast_edge_cache_bytes 4096\n');
    expect(body).toContain('sealcast_edge_request_seconds_bucket{le="0.0025",kind="segment"} 0\n');
    expect(body).toContain('sealcast_edge_request_seconds_bucket{le="0.005",kind="segment"} 1\n');
    expect(body).toContain('sealcast_edge_request_seconds_count{kind="segment"} 1\n');
  });

  it('sums series by label', () => {
    const metrics = createMetrics({ process: false });
    for (const act of ['extend', 'extend', 'end']) metrics.count('sealcast_renewal_answers_total', 'h', { act, zone: 'a' });
    expect(metrics.total('sealcast_renewal_answers_total')).toBe(3);
    expect(metrics.total('sealcast_renewal_answers_total', { act: 'extend' })).toBe(2);
    expect(metrics.total('sealcast_renewal_answers_total', { act: 'extend', zone: 'b' })).toBe(0);
    expect(metrics.total('sealcast_unknown_total')).toBe(0);
  });

  it('refuses a second meaning of a name', () => {
    const metrics = createMetrics({ process: false });
    metrics.count('sealcast_a_total', 'h', { act: 'extend' });
    expect(() => metrics.gauge('sealcast_a_total', 'h', 1, { act: 'x' })).toThrow(/counter/);
    expect(() => metrics.count('sealcast_a_total', 'h', { other: 'x' })).toThrow(/act/);
    expect(() => metrics.count('requests', 'h')).toThrow(/sealcast_/);
  });

  it('keeps registries apart and can describe the process', async () => {
    const [one, two] = [createMetrics({ process: false }), createMetrics()];
    one.count('sealcast_a_total', 'h');
    expect((await two.render()).body).not.toContain('sealcast_a_total');
    expect((await two.render()).body).toContain('process_cpu_seconds_total');
  });
});
