// SPDX-License-Identifier: Apache-2.0
/** Accounts, and one account's sessions and devices: end a session, end all, revoke a device. */
import { useState } from 'preact/hooks';
import type { AccountSummary, AccountView, DeviceView, SessionView } from '../../../../src/operations/api.ts';
import { instant, shortId, span, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Dialog } from '../parts/dialog.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'accounts';
export const title = 'Accounts';
export const order = 30;

type Pending = { readonly title: string; readonly text: string; readonly action: string; readonly path: string };

const noteOf = (form: FormData): string => {
  const value = form.get('note');
  return typeof value === 'string' ? value.trim() : '';
};

const Sessions = (props: { sessions: readonly SessionView[]; onEnd?: (session: SessionView) => void }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Session</th><th>Content</th><th>Device</th><th>Started</th><th>State</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>
        {props.sessions.map((session) => (
          <tr key={session.session}>
            <td class="mono" title={session.session}>{shortId(session.session)}</td>
            <td class="mono">{session.asset}</td>
            <td>{session.deviceName === '' ? <span class="muted">unnamed</span> : session.deviceName}<span class="mono muted small" title={session.device}>{shortId(session.device)}</span></td>
            <td><time title={instant(session.startedAt)}>{when(session.startedAt)}</time></td>
            <td>
              {session.live ? <span class="badge good">watching</span> : session.endedAt === undefined ? <span class="badge">idle</span> : <span class="badge">ended</span>}
              {session.endedAt === undefined ? null : <span class="muted small">{session.endReason ?? ''} after {span(session.endedAt - session.startedAt)}</span>}
            </td>
            <td class="end">{props.onEnd === undefined || session.endedAt !== undefined ? null : <button class="button small danger" type="button" onClick={() => props.onEnd?.(session)}>End session</button>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const Devices = (props: { devices: readonly DeviceView[]; onRevoke?: (device: DeviceView) => void }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Device</th><th>Id</th><th>Registered</th><th>State</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>
        {props.devices.map((device) => (
          <tr key={device.device}>
            <td><strong>{device.name === '' ? 'unnamed' : device.name}</strong></td>
            <td class="mono" title={device.device}>{shortId(device.device)}</td>
            <td><time title={instant(device.registeredAt)}>{when(device.registeredAt)}</time></td>
            <td>{device.revokedAt === undefined ? <span class="badge good">trusted</span> : <span class="badge bad">revoked {when(device.revokedAt)}</span>}</td>
            <td class="end">{props.onRevoke === undefined || device.revokedAt !== undefined ? null : <button class="button small danger" type="button" onClick={() => props.onRevoke?.(device)}>Revoke</button>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const Account = (props: { account: string }) => {
  const { client, mayOperate } = useRoom();
  const path = `/v1/accounts/${encodeURIComponent(props.account)}`;
  const loaded = useEndpoint<AccountView>(path, 3000);
  const [pending, setPending] = useState<Pending | undefined>(undefined);
  const live = loaded.data?.sessions.filter((session) => session.live).length ?? 0;
  const endSession = (session: SessionView): void =>
    setPending({ title: 'End this session?', text: `${session.account} stops receiving ${session.asset} on ${session.deviceName === '' ? 'this device' : session.deviceName}: media within a second, keys at the next renewal.`, action: 'End session', path: `/v1/sessions/${session.session}/end` });
  const revoke = (device: DeviceView): void =>
    setPending({ title: 'Revoke this device?', text: 'Its sessions end and it cannot start new ones, with any account.', action: 'Revoke device', path: `/v1/devices/${device.device}/revoke` });
  const endAll = (): void => setPending({ title: `End all sessions of ${props.account}?`, text: `${live} live now. The account can start new ones while it is entitled to.`, action: 'End all sessions', path: `${path}/end` });
  return (
    <div class="stack">
      <nav class="crumbs" aria-label="Breadcrumb"><a href="#/accounts">Accounts</a> <span aria-hidden="true">/</span> <strong class="mono">{props.account}</strong></nav>
      <section class="card list" aria-label="Sessions">
        <header><h2>Sessions</h2>{mayOperate && live > 0 ? <button class="button small danger" type="button" onClick={endAll}>End all</button> : null}</header>
        <Await of={loaded}>{({ sessions }) => (sessions.length === 0 ? <Empty title="No session">This account has not watched anything yet.</Empty> : <Sessions sessions={sessions} {...(mayOperate ? { onEnd: endSession } : {})} />)}</Await>
      </section>
      <section class="card list" aria-label="Devices">
        <header><h2>Devices</h2></header>
        <Await of={loaded} rows={2}>{({ devices }) => (devices.length === 0 ? <Empty title="No registered device">Sessions of unregistered devices use a key pair of their own.</Empty> : <Devices devices={devices} {...(mayOperate ? { onRevoke: revoke } : {})} />)}</Await>
      </section>
      {pending === undefined ? null : (
        <Dialog title={pending.title} action={pending.action} danger onClose={() => setPending(undefined)} onSubmit={async (form) => { await client.post(pending.path, { note: noteOf(form) }); loaded.reload(); }}>
          <p class="muted">{pending.text}</p>
          <label class="field"><span>Note for the audit log</span><input class="input" name="note" maxLength={200} /></label>
        </Dialog>
      )}
    </div>
  );
};

const Accounts = () => {
  const loaded = useEndpoint<{ accounts: AccountSummary[] }>('/v1/accounts');
  const [query, setQuery] = useState('');
  return (
    <section class="card list" aria-label="Accounts">
      <header><h2>By live sessions</h2><input class="input" type="search" placeholder="Find an account" aria-label="Find an account" value={query} onInput={(event) => setQuery(event.currentTarget.value)} /></header>
      <Await of={loaded}>
        {({ accounts }) => {
          const shown = accounts.filter((entry) => entry.account.toLowerCase().includes(query.trim().toLowerCase()));
          if (shown.length === 0) return <Empty title={accounts.length === 0 ? 'Nobody has watched yet' : 'No account matches'}>{accounts.length === 0 ? 'An account appears here with its first session.' : undefined}</Empty>;
          return (
            <div class="scroll">
              <table>
                <thead><tr><th>Account</th><th class="number">Live</th><th class="number">Sessions</th><th>Last started</th></tr></thead>
                <tbody>
                  {shown.map((entry) => (
                    <tr key={entry.account}>
                      <td><a class="mono" href={`#/accounts/${encodeURIComponent(entry.account)}`}>{entry.account}</a></td>
                      <td class="number">{entry.live === 0 ? <span class="muted">0</span> : <strong>{entry.live}</strong>}</td>
                      <td class="number">{entry.sessions}</td>
                      <td><time title={instant(entry.lastStartedAt)}>{when(entry.lastStartedAt)}</time></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        }}
      </Await>
    </section>
  );
};

export const Panel = (props: PanelProps) => (props.rest === '' ? <Accounts /> : <Account key={props.rest} account={props.rest} />);
