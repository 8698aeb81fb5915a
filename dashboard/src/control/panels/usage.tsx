// SPDX-License-Identifier: Apache-2.0
/** What was played, summed for payouts and invoices, and the stops that viewers' devices signed. */
import { useState } from 'preact/hooks';
import type { StopsView, UsageReportView } from '../../../../src/operations/api.ts';
import { instant, shortId, span, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'usage';
export const title = 'Usage';
export const order = 32;

const KEYS = ['owner', 'title', 'account'] as const;
const HEAD: Readonly<Record<UsageReportView['by'], string>> = { owner: 'Owner', title: 'Title', account: 'Account' };
/** First days of this month and the next, UTC. */
const month = (): readonly [string, string] => {
  const now = new Date();
  const first = (ahead: number): string => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead, 1)).toISOString().slice(0, 10);
  return [first(0), first(1)];
};

const Key = ({ by, name }: { by: UsageReportView['by']; name: string }) => {
  if (name === '') return <span class="muted">nobody</span>;
  if (by === 'account') return <a class="mono clip" title={name} href={`#/subscriptions/account/${encodeURIComponent(name)}`}>{name}</a>;
  return <span class={by === 'title' ? 'mono' : ''}>{name}</span>;
};

const Report = () => {
  const { client } = useRoom();
  const [by, setBy] = useState<UsageReportView['by']>('owner');
  const [[from, to], setRange] = useState(month);
  const path = `/v1/usage/report?by=${by}&from=${from}&to=${to}`;
  const loaded = useEndpoint<UsageReportView>(path, 5000);
  const save = async (): Promise<void> => {
    const address = URL.createObjectURL(await client.file(`${path}&format=csv`));
    const link = document.createElement('a');
    link.href = address;
    link.download = `usage-by-${by}-${from}.csv`;
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <section class="card list" aria-label="Usage">
      <header>
        <h2>Plays that count</h2>
        <div class="decide">
          <label class="field"><span>Sum by</span><select class="input" value={by} onChange={(event) => setBy(event.currentTarget.value as UsageReportView['by'])}>{KEYS.map((key) => <option key={key} value={key}>{key}</option>)}</select></label>
          <label class="field"><span>From</span><input class="input" type="date" value={from} onChange={(event) => setRange([event.currentTarget.value, to])} /></label>
          <label class="field"><span>Before</span><input class="input" type="date" value={to} onChange={(event) => setRange([from, event.currentTarget.value])} /></label>
          <button class="button small" type="button" onClick={() => void save()}>Save as CSV</button>
        </div>
      </header>
      <Await of={loaded} rows={4}>
        {({ rows }) =>
          rows.length === 0 ? <Empty title="No usage was reported for that time">Devices report at the next connection what they played offline.</Empty> : (
            <div class="scroll">
              <table>
                <thead><tr><th>{HEAD[by]}</th><th class="number">Plays</th><th class="number">Offline</th><th class="number">Clock uncertain</th><th class="number">Downloads</th><th class="number">Played</th></tr></thead>
                <tbody>
                  {rows.map((row) => (
                    <tr key={row.key}>
                      <td><Key by={by} name={row.key} /></td>
                      <td class="number"><strong>{row.plays}</strong></td>
                      <td class="number">{row.offlinePlays}</td>
                      <td class="number">{row.uncertain}</td>
                      <td class="number">{row.downloads}</td>
                      <td class="number">{span(row.played)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Await>
    </section>
  );
};

const Stops = () => {
  const loaded = useEndpoint<StopsView>('/v1/operations/stops', 3000);
  return (
    <section class="card list" aria-label="Secure stops">
      <header><h2>Secure stops</h2><span class="muted small">signed by the device, acknowledged here</span></header>
      <Await of={loaded} rows={3}>
        {({ stops }) =>
          stops.length === 0 ? <Empty title="No viewer has stopped yet" /> : (
            <div class="scroll">
              <table>
                <thead><tr><th>Stopped</th><th>Content</th><th>Account</th><th>Device</th><th>Session</th><th class="number">Watched for</th></tr></thead>
                <tbody>
                  {stops.slice(0, 100).map((stop) => (
                    <tr key={stop.session}>
                      <td><time title={instant(stop.endedAt)}>{when(stop.endedAt)}</time></td>
                      <td class="mono">{stop.asset}</td>
                      <td><a class="mono clip" title={stop.account} href={`#/accounts/${encodeURIComponent(stop.account)}`}>{stop.account}</a></td>
                      <td>{stop.deviceName}</td>
                      <td class="mono" title={stop.session}>{shortId(stop.session)}</td>
                      <td class="number">{span(stop.endedAt - stop.startedAt)}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Await>
    </section>
  );
};

export const Panel = (_: PanelProps) => (
  <div class="stack">
    <Report />
    <Stops />
  </div>
);
