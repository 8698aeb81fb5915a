// SPDX-License-Identifier: Apache-2.0
/** Who watches how much at once: streams per account, title and collection, and accounts per enforcement level. */
import { useState } from 'preact/hooks';
import type { ConcurrencyView, Figures, LevelsView, StreamCount, WhatIfRequest, WhatIfView } from '../../../../src/operations/api.ts';
import { instant, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { causeText } from '../parts/causes.ts';
import { Chart, type Series } from '../parts/chart.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { LevelFlow } from '../parts/flow.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'concurrency';
export const title = 'Concurrency';
export const order = 27;

const level = (name: string) => (sample: Figures): number | undefined => sample.levels[name];
const SESSIONS: readonly Series[] = [{ label: 'Live sessions', colour: '--accent', value: level('liveSessions') }];
const LEVELS: readonly Series[] = [
  { label: 'Light', colour: '--second', value: level('accountsLevel2') },
  { label: 'Strict', colour: '--bad', value: level('accountsLevel3') },
];

const Bars = (props: { counts: readonly StreamCount[] }) => {
  const most = Math.max(...props.counts.map(({ streams }) => streams), 1);
  return (
    <ul class="bars">
      {props.counts.map(({ id: name, streams }) => (
        <li key={name}><span class="mono">{name}</span><meter min={0} max={most} value={streams} aria-label={`${streams} streams`} /><strong>{streams}</strong></li>
      ))}
    </ul>
  );
};

const Accounts = (props: { accounts: ConcurrencyView['accounts'] }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Account</th><th class="number">Streams</th><th class="number">Limit</th><th>Level</th></tr></thead>
      <tbody>
        {props.accounts.map(({ id: account, streams, limit, level: on }) => (
          <tr key={account}>
            <td><a class="mono clip" title={account} href={`#/accounts/${encodeURIComponent(account)}`}>{account}</a></td>
            <td class="number">{limit !== undefined && streams > limit ? <span class="badge bad">{streams}</span> : <strong>{streams}</strong>}</td>
            <td class="number">{limit === undefined ? <span class="muted">none</span> : limit}</td>
            <td><span class={`badge ${on === 1 ? '' : on === 2 ? 'warn' : 'bad'}`}>{on}</span></td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const QUESTIONS: readonly { readonly name: keyof WhatIfRequest; readonly label: string; readonly usual: string; readonly step?: string }[] = [
  { name: 'licenses', label: 'Licences without renewals', usual: '6' },
  { name: 'devices', label: 'on so many devices', usual: '2' },
  { name: 'restartTitles', label: 'Titles played on without renewals', usual: '2' },
  { name: 'lateTimes', label: 'Late renewals', usual: '2' },
  { name: 'lateShare', label: 'Late is beyond this part of a licence', usual: '0.8', step: '0.01' },
  { name: 'limit', label: 'Streams per account, others turned away', usual: 'not asked' },
];

const WhatIf = (props: { onClose: () => void }) => {
  const { client } = useRoom();
  const [answer, setAnswer] = useState<WhatIfView | undefined>(undefined);
  if (answer !== undefined) {
    return (
      <Dialog title={answer.moved.length === 0 ? 'No account would move' : `${answer.moved.length} account${answer.moved.length === 1 ? '' : 's'} would move`} action="Done" notice onClose={props.onClose} onSubmit={async () => undefined}>
        {answer.refused === undefined ? null : <p>{answer.refused.length === 0 ? 'The limit would have turned nobody away.' : `The limit would have turned away ${answer.refused.reduce((sum, { refused }) => sum + refused, 0)} starts of ${answer.refused.length} account${answer.refused.length === 1 ? '' : 's'}.`}</p>}
        <p class="muted">{answer.events === 1 ? 'One recorded event' : `${answer.events} recorded events`} of {answer.accounts === 1 ? 'one account' : `${answer.accounts} accounts`} {answer.events === 1 ? 'was' : 'were'} replayed. Nothing has been changed.</p>
        <ul class="moves">
          {answer.moved.slice(0, 50).map(({ account, before, after, changes }) => <li key={account}><a class="mono clip" href={`#/accounts/${encodeURIComponent(account)}`}>{account}</a><span>{before} → {after}</span><span class="muted small">{causeText(changes.at(-1)?.cause ?? '')}</span></li>)}
          {(answer.refused ?? []).slice(0, 50).map(({ account, starts, refused }) => <li key={`limit ${account}`}><a class="mono clip" href={`#/accounts/${encodeURIComponent(account)}`}>{account}</a><span>{refused} of {starts}</span><span class="muted small">starts turned away</span></li>)}
        </ul>
      </Dialog>
    );
  }
  return (
    <Dialog
      key="ask"
      title="What would another policy have done?"
      action="Replay"
      stay
      onClose={props.onClose}
      onSubmit={async (form) => {
        const asked = Object.fromEntries(QUESTIONS.flatMap(({ name }) => (form.get(name) === '' ? [] : [[name, Number(form.get(name))]])));
        setAnswer(await client.post<WhatIfView>('/v1/policy/what-if', asked));
      }}
    >
      <p class="muted">Replays what is recorded of each account. Empty fields stay as they are in force.</p>
      {QUESTIONS.map(({ name, label, usual, step }) => <label key={name} class="field"><span>{label}</span><input class="input" name={name} type="number" min={step ?? '1'} step={step ?? '1'} placeholder={name === 'limit' ? usual : `default ${usual}`} /></label>)}
    </Dialog>
  );
};

export const Panel = (_: PanelProps) => {
  const { live } = useRoom();
  const counts = useEndpoint<ConcurrencyView>('/v1/operations/concurrency', 3000);
  const levels = useEndpoint<LevelsView>('/v1/operations/levels', 5000);
  const [asking, setAsking] = useState(false);
  return (
    <div class="stack">
      {counts.data?.source === 'heartbeats' ? <p class="notice warn" role="status">The concurrency record cannot be reached or there is none: these are the heartbeats that this process heard.</p> : null}
      <div class="charts">
        <Chart title="Live sessions" unit="" figures={live.figures} series={SESSIONS} least={4} />
        <Chart title="Accounts above level 1" unit="" figures={live.figures} series={LEVELS} least={4} />
      </div>
      <div class="charts">
        <section class="card list" aria-label="By account">
          <header><h2>By account</h2><span class="muted small">{counts.data === undefined ? '' : `${counts.data.service} streams`}</span></header>
          <Await of={counts}>{({ accounts }) => (accounts.length === 0 ? <Empty title="Nobody is watching">Accounts appear here with their first stream.</Empty> : <Accounts accounts={accounts} />)}</Await>
        </section>
        <div class="stack">
          <section class="card list" aria-label="By title"><header><h2>By title</h2></header><Await of={counts} rows={2}>{({ titles }) => (titles.length === 0 ? <Empty title="No title is playing" /> : <Bars counts={titles} />)}</Await></section>
          <section class="card list" aria-label="By collection"><header><h2>By collection</h2></header><Await of={counts} rows={2}>{({ collections }) => (collections.length === 0 ? <Empty title="No collection is playing">Titles without a collection count above only.</Empty> : <Bars counts={collections} />)}</Await></section>
        </div>
      </div>
      <section class="card list" aria-label="Enforcement levels">
        <header><h2>Enforcement levels</h2><span class="muted small">moves of the last 24 hours</span><button class="button small" type="button" onClick={() => setAsking(true)}>What if…</button></header>
        <Await of={levels}>
          {(data) => (
            <>
              <LevelFlow levels={data} />
              {data.latest.length === 0 ? null : (
                <div class="scroll">
                  <table>
                    <thead><tr><th>When</th><th>Account</th><th>Move</th><th>Because of</th></tr></thead>
                    <tbody>
                      {data.latest.slice(0, 10).map((move, i) => (
                        <tr key={i}>
                          <td><time title={instant(move.at)}>{when(move.at)}</time></td>
                          <td><a class="mono clip" title={move.account} href={`#/accounts/${encodeURIComponent(move.account)}`}>{move.account}</a></td>
                          <td>{move.from} → {move.to}</td>
                          <td>{causeText(move.cause)}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
            </>
          )}
        </Await>
      </section>
      {asking ? <WhatIf onClose={() => setAsking(false)} /> : null}
    </div>
  );
};
