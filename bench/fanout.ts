// SPDX-License-Identifier: Apache-2.0
/**
 * What it costs to give one secret to everybody: CPU per connection against a C epoll server in the same run, and the spread at P = 100 ms.
 *
 * Loopback, one client process in C (bench/fanout/reference.c) for both servers; loopback charges the receiver's TCP work to the sender, so absolute
 * figures are those of this machine. Full: 1,000, 5,000 and 10,000 clients, plain and TLS, rounds interleaved; short: 300.
 */
import { type Figure, figure, median } from './figures/timing.ts';
import { type Cell, mayRealTime, measure, openWorkshop, type Workshop } from './fanout/harness.ts';

const run = async ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[]; appendix?: string }> => {
  const shop: Workshop = await openWorkshop();
  const figures: Figure[] = [];
  const rows: string[] = [];
  const micros = (value: number): string => (value / 1000).toFixed(1);
  const row = (what: string, cell: Cell): void => {
    rows.push(`| ${what} | ${cell.connections} | ${cell.cpu.toFixed(1)} µs | ${micros(cell.loop.p50)} / ${micros(cell.loop.p95)} ms | ${cell.spread === null ? '' : `${micros(cell.spread.p50)} / ${micros(cell.spread.p95)} / ${micros(cell.spread.max)} ms`} | ${micros(cell.lateness.p50)} / ${micros(cell.lateness.p99)} ms | ${cell.skipped} |`);
    log(rows.at(-1) ?? '');
  };
  try {
    log(`reference: ${shop.why}`);
    if (shop.reference === undefined) {
      return { figures: [{ name: 'fan-out', value: 0, unit: 'cells', baseline: 'C epoll server', goal: '>= 1', ok: false, reason: `${shop.why}: neither the reference nor its client harness can be built` }] };
    }
    const counts = full ? [1000, 5000, 10_000] : [300];
    const pairs = full ? 3 : 1;
    const rounds = full ? 10 : 8;
    for (const tls of [false, true]) {
      const name = tls ? 'TLS' : 'plain';
      for (const count of counts) {
        // Longer rounds for more clients, so that a round is over before the next begins.
        const period = full ? 1_000_000 : 250_000;
        const steadyMillis = full ? 3000 : 1000;
        const ours: Cell[] = [];
        const theirs: Cell[] = [];
        const plain: Cell[] = [];
        for (let pair = 0; pair < pairs; pair++) {
          ours.push(await measure(shop, { who: 'ours', count, period, rounds, tls, steadyMillis }));
          if (!tls || shop.tls) theirs.push(await measure(shop, { who: 'reference', count, period, rounds, tls, steadyMillis }));
          else plain.push(await measure(shop, { who: 'ours', count, period, rounds, tls: false, steadyMillis }));
        }
        for (const cell of ours) row(`sealcast ${name}`, cell);
        for (const cell of theirs) row(`C ${name}`, cell);
        const cpu = median(ours.map((cell) => cell.cpu));
        const against = theirs.length > 0 ? theirs : plain;
        const other = median(against.map((cell) => cell.cpu));
        const limit = tls ? (shop.tls ? 1.35 : 2.8) : 1.5;
        const beside = theirs.length > 0 ? `C epoll${tls ? ' with OpenSSL' : ''}` : 'the plain one of ours';
        figures.push(figure(`CPU per connection and release, ${name}, ${count} clients`, cpu / other, 'ratio', `${beside}: ${other.toFixed(1)} µs (ours ${cpu.toFixed(1)} µs)`, '<=', limit));
        figures.push(figure(`early releases, ${name}, ${count} clients`, ours.reduce((sum, cell) => sum + cell.early, 0), 'releases', 'never before T', '<=', 0));
      }
    }
    const sustained = full ? 2500 : 250;
    const realTime = mayRealTime();
    for (const priority of [false, ...(realTime && full ? [true] : [])]) {
      const cell = await measure(shop, { who: 'ours', count: sustained, period: 100_000, rounds: full ? 97 : 30, tls: true, realTime: priority, steadyMillis: full ? 4000 : 1000 });
      row(`sealcast TLS, P = 100 ms${priority ? ', real-time' : ''}`, cell);
      figures.push(figure(`spread p95, ${sustained} TLS clients at P = 100 ms, ${priority ? 'real-time priority' : 'shared'}`, (cell.spread?.p95 ?? Number.NaN) / 1000, 'ms', `first send to last receipt, ${cell.rounds} releases, ${cell.incomplete} incomplete rounds, ${cell.cpu.toFixed(1)} µs CPU per connection`, '<=', priority ? 70 : 110, 'ms'));
    }
    if (!realTime) log('real-time priority is not permitted here: measured without');
    for (const each of figures) if (!Number.isFinite(each.value)) Object.assign(each, { value: -1, ok: false, reason: 'no round reached every client' });
    return { figures, appendix: [`Reference: ${shop.why}. ${realTime ? 'Real-time priority is permitted here.' : 'Real-time priority is not permitted here.'}`, '', '| server | clients | CPU per connection | send loop p50 / p95 | first send to last receipt p50 / p95 / max | lateness p50 / p99 | skipped |', '|---|---|---|---|---|---|---|', ...rows].join('\n') };
  } finally {
    shop.close();
  }
};

export const bench: { name: 'fanout'; run: typeof run } = { name: 'fanout', run };
