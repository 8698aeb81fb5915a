// SPDX-License-Identifier: Apache-2.0
/** The room at a glance: tiles, charts of the last five minutes, live events. */
import type { Figures } from '../../../../src/operations/api.ts';
import { megabits, percent, span } from '../../ui/format.ts';
import { useCell, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Chart, type Series } from '../parts/chart.tsx';
import { Feed } from '../parts/feed.tsx';
import { StateCard } from '../parts/state-card.tsx';
import { Tile } from '../parts/tile.tsx';

export const id = 'overview';
export const title = 'Overview';
export const order = 10;

const rate = (name: string) => (sample: Figures): number | undefined => sample.rates[name];
const level = (name: string) => (sample: Figures): number | undefined => sample.levels[name];
const traffic = (sample: Figures): number | undefined => (sample.rates['edgeBytes'] === undefined ? undefined : megabits(sample.rates['edgeBytes']));
const hitRatio = (sample: Figures): number | undefined => {
  const { edgeHits, edgeMisses } = sample.rates;
  return edgeHits === undefined || edgeMisses === undefined || edgeHits + edgeMisses === 0 ? undefined : edgeHits / (edgeHits + edgeMisses);
};
/** Over ten seconds: at a few requests per second the ratio of one second says nothing. */
const recentHitRatio = (samples: readonly Figures[]): number | undefined => {
  const sum = (name: string) => samples.slice(-10).reduce((total, sample) => total + (sample.rates[name] ?? 0), 0);
  const requests = sum('edgeHits') + sum('edgeMisses');
  return requests === 0 ? undefined : sum('edgeHits') / requests;
};

const LICENSING: readonly Series[] = [
  { label: 'Renewals', colour: '--accent', value: rate('renewals') },
  { label: 'Licences', colour: '--second', value: rate('licenses') },
  { label: 'Denials', colour: '--bad', value: rate('denials') },
];
const REQUESTS: readonly Series[] = [{ label: 'Requests', colour: '--accent', value: rate('edgeRequests') }];
const TRAFFIC: readonly Series[] = [{ label: 'Sent', colour: '--second', value: traffic }];
const SESSIONS: readonly Series[] = [{ label: 'Live sessions', colour: '--accent', value: level('liveSessions') }];

const Readiness = (props: { sample: Figures | undefined; startedAt: number }) => {
  const checks = Object.entries(props.sample?.ready ?? {});
  const failing = checks.filter(([, ready]) => !ready);
  return (
    <section class="card readiness" aria-label="Readiness">
      <h2>{checks.length === 0 ? 'Checking…' : failing.length === 0 ? 'All systems ready' : `${failing.length} not ready`}</h2>
      <ul>
        {checks.map(([name, ready]) => <li key={name}><span class={`badge ${ready ? 'good' : 'bad'}`}>{name}<span class="visually-hidden">{ready ? ' ready' : ' not ready'}</span></span></li>)}
      </ul>
      <span class="muted small">Up {span((props.sample?.at ?? props.startedAt) - props.startedAt)}</span>
    </section>
  );
};

export const Panel = (_: PanelProps) => {
  const { live, summary } = useRoom();
  const samples = useCell(live.figures);
  const latest = samples.at(-1);
  const of = (value: (sample: Figures) => number | undefined) => (latest === undefined ? undefined : value(latest));
  const trace = (value: (sample: Figures) => number | undefined) => samples.slice(-120).map(value);
  return (
    <div class="overview">
      <Readiness sample={latest} startedAt={summary.startedAt} />
      <StateCard />
      <div class="tiles">
        <Tile label="Live sessions" value={of(level('liveSessions'))} trace={trace(level('liveSessions'))} />
        <Tile label="Licences" value={of(rate('licenses'))} unit="/s" trace={trace(rate('licenses'))} />
        <Tile label="Renewals" value={of(rate('renewals'))} unit="/s" trace={trace(rate('renewals'))} />
        <Tile label="Edge requests" value={of(rate('edgeRequests'))} unit="/s" trace={trace(rate('edgeRequests'))} />
        <Tile label="Edge traffic" value={of(traffic)} unit="Mb/s" trace={trace(traffic)} />
        <Tile label="Cache hits" value={recentHitRatio(samples)} format={percent} trace={trace(hitRatio)} />
      </div>
      <div class="charts">
        <Chart title="Licensing" unit="/s" figures={live.figures} series={LICENSING} />
        <Chart title="Edge traffic" unit="Mb/s" figures={live.figures} series={TRAFFIC} />
        <Chart title="Edge requests" unit="/s" figures={live.figures} series={REQUESTS} />
        <Chart title="Sessions" unit="" figures={live.figures} series={SESSIONS} least={4} />
      </div>
      <Feed />
    </div>
  );
};
