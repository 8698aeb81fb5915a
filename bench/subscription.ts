// SPDX-License-Identifier: Apache-2.0
/**
 * Subscriptions in figures: leaves made in one batch, a root renewed for ten thousand titles, usage reports taken in.
 *
 * Issue 5, "Figures". Stores are SQLite in a folder of their own; requests go through the roles' handlers with their real
 * signatures. The baseline of metering is bare inserts of the same rows, in batches of the same size, in the same run.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { figure, type Figure, median } from './figures/timing.ts';
import { lookups, prebuffer } from './licensing/offline-work.ts';
import { accounts, leafBatch, meteringRun, renewal, TITLES } from './licensing/subscription-work.ts';

const LEAVES_ROUNDS = 5;

export const bench = {
  name: 'subscription',
  async run({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> {
    const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-subscription-'));
    const figures: Figure[] = [];
    try {
      const batch = await leafBatch(join(folder, 'leaves.sqlite'), log);
      const times: number[] = [];
      for (let round = 0; round < LEAVES_ROUNDS; round++) times.push(await batch.run(round));
      figures.push(figure(`${TITLES} leaves of one account made in one batch`, Math.min(...times), 'ms', `first batch, every title key still sealed: ${batch.cold.toFixed(0)} ms; median ${median(times).toFixed(0)} ms`, '<=', 200, 'ms'));
      const answer = await batch.request();
      figures.push(figure(`POST /v1/leaves for ${TITLES} titles: catalogue, collections, leaves and JSON`, answer, 'ms', 'the leaves alone are the figure above', '<=', 1000, 'ms'));
      const renewed = await renewal(batch);
      figures.push(
        figure(`root renewed for ${TITLES} leaves: requests`, renewed.requests, 'requests', 'one per title without chained licences', '<=', 1),
        figure('root renewed: bytes of the answer', renewed.bytes, 'bytes', 'one plan', '<=', 4096, 'bytes'),
        figure('root renewed: leaves whose bytes changed', renewed.changed, 'leaves', `${TITLES} leaves compared`, '<=', 0),
      );
      const found = await lookups(await batch.texts(), full ? 20_000 : 2000);
      figures.push(figure(`a leaf looked up among ${TITLES} on the device, p99 (median ${found.median.toFixed(3)} ms)`, found.p99, 'ms', `after opening the catalogue, which took ${found.opened.toFixed(0)} ms`, '<', 5, 'ms'));
      const line = prebuffer(100);
      figures.push(
        figure('stalls with the computed prebuffer, the source\'s line and 100 random ones', line.stalls, 'stalls', 'play as if the forecast were exact', '<=', 0),
        figure('waiting beyond the smallest that would have done, worst line', line.excess, '%', `the source's line: ${line.source.toFixed(0)} s of wait for a film of ${line.minutes} min`, '<=', 20, '%'),
      );
      batch.close();
      const records = full ? 1_000_000 : 50_000;
      const metering = await meteringRun(folder, records, log);
      figures.push(
        figure(`${records} usage records taken in, times bare inserts (${Math.round(metering.perSecond)} records/s)`, metering.ratio, 'x', `bare inserts in transactions of the same size: ${Math.round(metering.barePerSecond)} records/s`, '>=', 0.5),
        figure('reports sent again: records counted twice', metering.countedTwice, 'records', `${accounts(records)} devices, every report sent twice`, '<=', 0),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    return { figures };
  },
};
