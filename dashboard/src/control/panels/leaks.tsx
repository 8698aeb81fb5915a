// SPDX-License-Identifier: Apache-2.0
/** Leaks that were traced: the evidence of each, what was done by itself, and what is left for an operator to decide. */
import { useState } from 'preact/hooks';
import type { DecideLeakRequest, LeakActionView, LeakView } from '../../../../src/operations/api.ts';
import { instant, shortId, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Dialog } from '../parts/dialog.tsx';
import { EvidencePlot } from '../parts/evidence.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'leaks';
export const title = 'Leaks';
export const order = 35;

const DONE: Readonly<Record<LeakActionView['action'], string>> = { 'end-sessions': 'sessions ended', 'raise-level': 'account moved to level 3', 'end-account': 'account ended', dismiss: 'dismissed' };

const StateBadge = ({ leak }: { leak: LeakView }) => {
  const last = leak.actions.at(-1);
  if (last === undefined) return <span class="badge bad">open</span>;
  return <span class={`badge ${last.action === 'dismiss' ? '' : 'good'}`}>{DONE[last.action]}</span>;
};

const List = (props: { leaks: readonly LeakView[] }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Traced</th><th>Content</th><th>Account</th><th class="number">Viewer</th><th class="number">Evidence</th><th>Source</th><th>State</th></tr></thead>
      <tbody>
        {props.leaks.map((leak) => (
          <tr key={leak.leak}>
            <td><a href={`#/leaks/${leak.leak}`}><time title={instant(leak.at)}>{when(leak.at)}</time></a></td>
            <td class="mono">{leak.asset}</td>
            <td>{leak.account === undefined ? <span class="muted">nobody</span> : <a class="mono clip" title={leak.account} href={`#/accounts/${encodeURIComponent(leak.account)}`}>{leak.account}</a>}</td>
            <td class="number">{leak.viewer}</td>
            <td class="number">{leak.evidence.toFixed(1)}<span class="muted"> / {leak.bound.toFixed(1)}</span></td>
            <td class="muted">{leak.source ?? ''}</td>
            <td><StateBadge leak={leak} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const Fact = (props: { name: string; children: preact.ComponentChildren }) => (
  <div><dt>{props.name}</dt><dd>{props.children}</dd></div>
);

/** 1 in how many traces of this kind would name somebody innocent. */
const odds = (probability: number): string => (probability <= 0 ? 'less than 1 in 10^15' : `at most 1 in ${Math.round(1 / probability).toLocaleString('en')}`);

const Facts = ({ leak }: { leak: LeakView }) => (
  <dl class="facts">
    <Fact name="Account">{leak.account === undefined ? <span class="muted">no session was given this number</span> : <a class="mono" href={`#/accounts/${encodeURIComponent(leak.account)}`}>{leak.account}</a>}</Fact>
    <Fact name="Viewer number"><span class="mono">{leak.viewer}</span> of {leak.viewers.toLocaleString('en')} searched</Fact>
    <Fact name="Evidence">{leak.evidence.toFixed(2)} nats, {leak.bound.toFixed(2)} needed</Fact>
    <Fact name="Chance of naming anyone innocent">{odds(leak.falseAccusation)} <span class="muted">(allowed {leak.eps})</span></Fact>
    <Fact name="Runner-up">{leak.runnerUp === null ? <span class="muted">nobody near</span> : <>viewer <span class="mono">{leak.runnerUp.viewer}</span>, {leak.runnerUp.evidence.toFixed(1)} nats</>}</Fact>
    <Fact name="Read">{leak.observed} segments, {leak.erased} not readable; {(leak.errorRates.symbols * 100).toFixed(1)}% misread, {(leak.errorRates.erasures * 100).toFixed(1)}% missing</Fact>
    <Fact name="Several copies mixed">{leak.coalition.share < 0.01 ? 'no sign of it' : `${(leak.coalition.share * 100).toFixed(0)}% of the evidence, likeliest ${leak.coalition.size}`}</Fact>
    <Fact name="Verdict by">{leak.replayed ? 'this service, from the observation' : <span class="badge warn">the report alone</span>}</Fact>
  </dl>
);

const Carriers = ({ leak }: { leak: LeakView }) => {
  if (leak.carriers.length === 0) return <Empty title="No edge has reported yet">Edges tell how a session was fetched once it has ended.</Empty>;
  return (
    <div class="scroll">
      <table>
        <thead><tr><th>Session</th><th>Edge</th><th>Network</th><th>Client</th><th class="number">Megabytes</th><th>Last seen</th></tr></thead>
        <tbody>
          {leak.carriers.map((row, i) => (
            <tr key={i}>
              <td class="mono" title={row.session}>{shortId(row.session)}</td>
              <td class="mono">{row.edge}</td>
              <td class="mono">{row.prefix}</td>
              <td class="mono">{row.agent === '' ? <span class="muted">none</span> : row.agent.slice(0, 8)}</td>
              <td class="number">{(row.bytes / 1e6).toFixed(1)}</td>
              <td><time title={instant(row.to)}>{when(row.to)}</time></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
};

type Question = { readonly action: LeakActionView['action']; readonly title: string; readonly text: string; readonly button: string };
const questions = (leak: LeakView): readonly Question[] => [
  { action: 'end-sessions', title: `End what ${leak.account ?? ''} watches of ${leak.asset}?`, text: 'Media stops within a second at every edge, keys with the next renewal. The account can start again.', button: 'End sessions' },
  { action: 'raise-level', title: `Move ${leak.account ?? ''} to level 3?`, text: 'Its licences become short: whatever it does without renewing stops within minutes. It relaxes by itself after a week without another cause.', button: 'Move to level 3' },
  { action: 'end-account', title: `End everything ${leak.account ?? ''} watches?`, text: 'All its sessions end now, of whatever it watches. Closing the account itself is for your back end to do.', button: 'End account' },
  { action: 'dismiss', title: 'Dismiss this leak?', text: 'It stays in the list and the audit log. Nothing that was done is undone.', button: 'Dismiss' },
];

const Decisions = (props: { leak: LeakView; onDecided: () => void }) => {
  const { leak } = props;
  const { client } = useRoom();
  const [asking, setAsking] = useState<Question | undefined>(undefined);
  const needsTrust = (action: Question['action']): boolean => action === 'raise-level' || action === 'end-account';
  return (
    <>
      <div class="decide">
        {questions(leak).map((question) => (
          <button key={question.action} class={`button small ${question.action === 'dismiss' ? '' : 'danger'}`} type="button" disabled={question.action !== 'dismiss' && (leak.account === undefined || (needsTrust(question.action) && leak.signs.shared))} onClick={() => setAsking(question)}>{question.button}</button>
        ))}
      </div>
      {asking === undefined ? null : (
        <Dialog
          title={asking.title}
          action={asking.button}
          danger={asking.action !== 'dismiss'}
          onClose={() => setAsking(undefined)}
          onSubmit={async (form) => {
            const note = form.get('note');
            const body: DecideLeakRequest = { action: asking.action, ...(typeof note === 'string' && note.trim() !== '' && { note: note.trim() }) };
            await client.post(`/v1/leaks/${leak.leak}/decide`, body);
            props.onDecided();
          }}
        >
          <p class="muted">{asking.text}</p>
          <label class="field"><span>Note for the audit log</span><input class="input" name="note" maxLength={200} placeholder="optional" /></label>
        </Dialog>
      )}
    </>
  );
};

const Actions = ({ leak }: { leak: LeakView }) => (
  <ol class="taken">
    {leak.actions.map((action, i) => (
      <li key={i}>
        <time class="muted" title={instant(action.at)}>{when(action.at)}</time>
        <span>{DONE[action.action]}{action.sessions === undefined ? '' : `: ${action.sessions}`}</span>
        <span class="muted small">{action.automatic ? 'by itself' : `by ${action.by}`}{action.note === undefined ? '' : `, “${action.note}”`}</span>
      </li>
    ))}
  </ol>
);

const Page = (props: { leak: string }) => {
  const { mayOperate } = useRoom();
  const loaded = useEndpoint<{ leak: LeakView }>(`/v1/leaks/${props.leak}`, 3000);
  return (
    <div class="stack">
      <p><a href="#/leaks">All leaks</a></p>
      <Await of={loaded} rows={8}>
        {({ leak }) => (
          <div class="stack">
            <section class="card list" aria-label="Verdict">
              <header><h2>{leak.asset}<span class="muted small"> {leak.source ?? ''} · reported by {leak.reportedBy}, {when(leak.at)}</span></h2><StateBadge leak={leak} /></header>
              <Facts leak={leak} />
            </section>
            <section class="card list" aria-label="Evidence">
              <header><h2>Evidence</h2></header>
              <EvidencePlot leak={leak} />
            </section>
            <section class="card list" aria-label="How its sessions were fetched">
              <header><h2>How its sessions were fetched</h2>{leak.carriers.length === 0 ? null : leak.signs.shared ? <span class="badge bad">signs of a shared token</span> : <span class="badge good">one client</span>}</header>
              <Carriers leak={leak} />
            </section>
            <section class="card list" aria-label="What was done">
              <header><h2>What was done</h2></header>
              {leak.actions.length === 0 ? <Empty title="Nothing yet" /> : <Actions leak={leak} />}
              {leak.signs.shared ? <p class="notice warn">The media of one session went to several networks or clients: somebody else may have used its token. Its sessions can be ended; the account is left alone.</p> : null}
              {mayOperate ? <Decisions leak={leak} onDecided={loaded.reload} /> : null}
            </section>
          </div>
        )}
      </Await>
    </div>
  );
};

export const Panel = (props: PanelProps) => {
  const loaded = useEndpoint<{ leaks: readonly LeakView[] }>('/v1/leaks', 3000);
  if (props.rest !== '') return <Page leak={props.rest} />;
  return (
    <section class="card list" aria-label="Leaks">
      <Await of={loaded} rows={4}>
        {({ leaks }) => (
          <>
            <header><h2>{leaks.length === 1 ? '1 leak' : `${leaks.length} leaks`}</h2></header>
            {leaks.length === 0 ? <Empty title="No leak was traced">Run “sealcast trace --accuse” on a copy, or “--follow” on a stream: its verdict appears here with the evidence.</Empty> : <List leaks={leaks} />}
          </>
        )}
      </Await>
    </section>
  );
};
