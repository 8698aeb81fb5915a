// SPDX-License-Identifier: Apache-2.0
/** Timed releases: how punctual, how fair, how far ahead; per event, live. */
import { useEffect, useState } from 'preact/hooks';
import type { Figures, ReleaseEventView, ReleasesView } from '../../../../src/operations/api.ts';
import { figure, span } from '../../ui/format.ts';
import { type Cell, useEndpoint } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Chart, type Series } from '../parts/chart.tsx';
import { Instants } from '../parts/instants.tsx';
import { Await, Empty } from '../parts/states.tsx';
import { Tile } from '../parts/tile.tsx';
import { HELD_GOAL, HORIZON_ALARM, advantageOf, createReleaseHistory } from '../releases.ts';

export const id = 'releases';
export const title = 'Releases';
export const order = 25;

const EVERY = 1000;
const level = (name: string) => (sample: Figures): number | undefined => sample.levels[name];
const line = (label: string, name: string, colour: string): Series => ({ label, colour, value: level(name) });

const LATENESS: readonly Series[] = [line('p50', 'latenessP50', '--accent'), line('p99', 'latenessP99', '--bad')];
const SPREAD: readonly Series[] = [line('p50', 'spreadP50', '--accent'), line('p95', 'spreadP95', '--second')];
const SHARES: readonly Series[] = [line('On time', 'onTime', '--accent'), line('Bytes held at T', 'held', '--second')];
const ADVANTAGE: readonly Series[] = [line('First frame', 'advantageFirst', '--accent'), line('Mean', 'advantageMean', '--second'), line('Last frame', 'advantageMax', '--bad')];
const DISPLAY: readonly Series[] = [line('p50', 'displayP50', '--accent'), line('p95', 'displayP95', '--second'), line('Key p99', 'arrivalP99', '--bad')];
const SURETY: readonly Series[] = [line('Clock ± ms', 'clockError', '--bad'), line('Horizon s', 'horizon', '--second')];

const HELD: Readonly<Record<NonNullable<ReleaseEventView['held']>, string>> = { clock: 'the clock is not sure', horizon: 'no secrets are left', 'key-server': 'no key server answers', stopped: 'the edge stops' };
const CLOCK: Readonly<Record<ReleasesView['clock']['status'], readonly [tone: string, text: string]>> = { sync: ['good', 'In sync'], 'single-host': ['warn', 'Single host'], starting: ['warn', 'Starting'], fault: ['bad', 'Fault'] };

const range = ([low, high]: readonly [number, number]): string => (high - low < 0.5 ? `${high.toFixed(0)} ms` : `${low.toFixed(0)}-${high.toFixed(0)} ms`);

const Alarms = (props: { event: ReleaseEventView }) => {
  const { figures, horizon, held } = props.event;
  const alarms = [
    ...(held === null ? [] : [`Releases are suspended: ${HELD[held]}.`]),
    ...(figures.early > 0 ? [`${figures.early} releases left before their instant.`] : []),
    ...(horizon / 1e6 < HORIZON_ALARM && held === null ? [`Secrets reach only ${(horizon / 1e6).toFixed(1)} s ahead.`] : []),
    ...(figures.held !== undefined && figures.held < HELD_GOAL ? [`Only ${(100 * figures.held).toFixed(1)} % of what is released is with the clients in time.`] : []),
  ];
  return <>{alarms.map((text) => <p key={text} class="notice bad" role="alert"><span>{text}</span></p>)}</>;
};

const EventCard = (props: { event: ReleaseEventView; view: ReleasesView; samples: Cell<readonly Figures[]> }) => {
  const { event, view, samples } = props;
  const { figures } = event;
  const advantage = advantageOf(event, view.clock.error);
  const trace = (name: string) => samples.get().slice(-120).map(level(name));
  return (
    <section class="stack" aria-label={event.event}>
      <section class="card list" aria-label={`Release of ${event.event}`}>
        <header>
          <h2>{event.event}</h2>
          <span class="muted small">{event.mode}: a release every {event.period / 1000} ms, shown {event.delta / 1000} ms after it, {figure(event.connections)} connections, {figure(figures.releases)} releases</span>
        </header>
        <p class="muted small">A client that breaks every rule is ahead of an honest one by {range(advantage.first)} at the first frame of a period, {range(advantage.mean)} on average, {range(advantage.max)} at the last: δ and period, less what releases were late, within the clock's bound.</p>
        {figures.advice === undefined ? null : <p class="muted small">Reports of the last hour speak for δ = {figures.advice.delta / 1000} ms in the next event: 95 % of keys within {figures.advice.q95.toFixed(0)} ms, 99 % within {figures.advice.q99.toFixed(0)} ms, {figure(figures.advice.viewers)} reports.</p>}
        <Alarms event={event} />
      </section>
      <div class="tiles">
        <Tile label="Lateness p99" value={figures.latenessP99 === undefined ? undefined : figures.latenessP99 / 1000} unit="ms" trace={trace('latenessP99')} />
        <Tile label="Spread p95" value={figures.spreadP95 === undefined ? undefined : figures.spreadP95 / 1000} unit="ms" trace={trace('spreadP95')} />
        <Tile label="On time" value={figures.onTime === undefined ? undefined : 100 * figures.onTime} unit="%" trace={trace('onTime')} />
        <Tile label="Bytes held at T" value={figures.held === undefined ? undefined : 100 * figures.held} unit="%" trace={trace('held')} />
        <Tile label="Early releases" value={figures.early} />
        <Tile label="Horizon" value={event.horizon / 1e6} unit="s" trace={trace('horizon')} />
      </div>
      <div class="charts">
        <Chart title="Release after its instant" unit="ms" figures={samples} series={LATENESS} />
        <Chart title="First to last client, this edge" unit="ms" figures={samples} series={SPREAD} />
        <Chart title="Clients" unit="%" figures={samples} series={SHARES} least={100} />
        <Chart title="Unfair advantage, at most" unit="ms" figures={samples} series={ADVANTAGE} least={50} />
        <Chart title="Pictures off their instant, keys after theirs" unit="ms" figures={samples} series={DISPLAY} />
        <Chart title="Clock bound and secrets ahead" unit="" figures={samples} series={SURETY} least={10} />
      </div>
      <section class="card list" aria-label="Segments">
        <header><h2>From camera to key</h2><span class="muted small">newest segments, seconds after capture; a wrong order is red</span></header>
        {event.segments.length === 0 ? <p class="muted">No segment has been released yet.</p> : <Instants segments={event.segments} />}
      </section>
    </section>
  );
};

export const Panel = (_: PanelProps) => {
  const loaded = useEndpoint<{ releases: ReleasesView | null }>('/v1/operations/releases', EVERY);
  const [history] = useState(createReleaseHistory);
  const view = loaded.data?.releases ?? undefined;
  useEffect(() => {
    if (view !== undefined) history.add(view, Date.now() * 1000);
  }, [view]);
  return (
    <div class="stack">
      <Await of={loaded}>
        {({ releases }) =>
          releases === null || releases.events.length === 0 ? (
            <Empty title="Nothing is released at set times">Events created with <code>--timed standard</code> or <code>--timed strict</code> appear here.</Empty>
          ) : (
            <>
              <section class="card readiness" aria-label="Clock">
                <h2>{releases.edge}</h2>
                <ul><li><span class={`badge ${CLOCK[releases.clock.status][0]}`}>{CLOCK[releases.clock.status][1]}</span></li></ul>
                <span class="muted small">
                  UTC {releases.clock.error === undefined ? 'unknown' : `± ${(releases.clock.error / 1000).toFixed(2)} ms`} from {releases.clock.sources.join(', ') || 'nobody'}
                  {releases.clock.cause === '' ? '' : `; ${releases.clock.cause}`}
                  {releases.events[0]?.releasedAt === undefined ? '' : `; last release ${span(Date.now() * 1000 - releases.events[0].releasedAt)} ago`}
                </span>
              </section>
              {releases.events.map((event) => <EventCard key={event.event} event={event} view={releases} samples={history.of(event.event)} />)}
            </>
          )
        }
      </Await>
    </div>
  );
};
