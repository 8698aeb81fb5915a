// SPDX-License-Identifier: Apache-2.0
/** Accounts, and one account's sessions and devices: end a session, end all, revoke a device. */
import { useState } from 'preact/hooks';
import type { AccountSummary, AccountView, DeviceView, LevelView, SessionView, StandingView } from '../../../../src/operations/api.ts';
import { instant, shortId, span, when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { causeText } from '../parts/causes.ts';
import { Dialog } from '../parts/dialog.tsx';
import { noteOf, NoteField, OverrideFields, overrideOf, overrideText } from '../parts/override-fields.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'accounts';
export const title = 'Accounts';
export const order = 30;

type Pending = { readonly title: string; readonly text: string; readonly action: string; readonly path: string };

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

const Devices = (props: { devices: readonly DeviceView[]; onRevoke?: (device: DeviceView) => void; onPolicy?: (device: DeviceView) => void }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Device</th><th>Id</th><th>Registered</th><th>State</th><th>Policy</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>
        {props.devices.map((device) => (
          <tr key={device.device}>
            <td><strong>{device.name === '' ? 'unnamed' : device.name}</strong></td>
            <td class="mono" title={device.device}>{shortId(device.device)}</td>
            <td><time title={instant(device.registeredAt)}>{when(device.registeredAt)}</time></td>
            <td>{device.revokedAt === undefined ? <span class="badge good">trusted</span> : <span class="badge bad">revoked {when(device.revokedAt)}</span>}</td>
            <td>{device.policy === undefined ? <span class="muted">its account’s</span> : overrideText(device.policy)}</td>
            <td class="end">
              {device.revokedAt !== undefined || props.onPolicy === undefined ? null : <button class="button small" type="button" onClick={() => props.onPolicy?.(device)}>Set policy</button>}
              {device.revokedAt !== undefined || props.onRevoke === undefined ? null : <button class="button small danger" type="button" onClick={() => props.onRevoke?.(device)}>Revoke</button>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

const LEVEL_NAMES: Readonly<Record<LevelView, string>> = { 1: 'detection only', 2: 'light', 3: 'strict' };
const wordsOf = (inputs: StandingView['causes'][number]['inputs']): string => Object.entries(inputs).map(([name, value]) => (name.endsWith('Micros') ? `${name.slice(0, -6)} ${span(Number(value))}` : `${name} ${value}`)).join(', ');

const Standing = (props: { standing: StandingView; live: number; onLevel?: () => void; onOverride?: () => void }) => {
  const { standing: { level, since, override, overrideAt, causes, limit, mode }, live } = props;
  return (
    <section class="card list" aria-label="Standing">
      <header>
        <h2>Standing</h2>
        <div class="filters">
          {props.onLevel === undefined ? null : <button class="button small" type="button" onClick={props.onLevel}>Change level</button>}
          {props.onOverride === undefined ? null : <button class="button small" type="button" onClick={props.onOverride}>Set override</button>}
        </div>
      </header>
      <dl class="facts">
        <div><dt>Level</dt><dd><span class={`badge ${level === 1 ? 'good' : level === 2 ? 'warn' : 'bad'}`}>{level} · {LEVEL_NAMES[level]}</span>{since === undefined ? null : <time class="muted small" title={instant(since)}>since {when(since)}</time>}</dd></div>
        <div><dt>Streams</dt><dd><strong>{live}</strong> of {limit ?? 'any number'}<span class="muted small">{mode}</span></dd></div>
        <div>
          <dt>Override</dt>
          <dd>
            {override === undefined ? <span class="muted">none</span> : overrideText(override)}
            {overrideAt === undefined ? null : <time class="muted small" title={instant(overrideAt)}>set {when(overrideAt)}</time>}
          </dd>
        </div>
      </dl>
      {causes.length === 0 ? null : (
        <div class="scroll">
          <table>
            <thead><tr><th>When</th><th>Move</th><th>Because of</th><th>Inputs</th></tr></thead>
            <tbody>{causes.slice(0, 20).map((cause, i) => <tr key={i}><td><time title={instant(cause.at)}>{when(cause.at)}</time></td><td>{cause.from} → {cause.to}</td><td>{causeText(cause.cause)}</td><td class="muted small">{wordsOf(cause.inputs)}</td></tr>)}</tbody>
          </table>
        </div>
      )}
    </section>
  );
};

const LevelDialog = (props: { path: string; level: LevelView; onClose: () => void; onDone: () => void }) => {
  const { client } = useRoom();
  return (
    <Dialog title="Change the enforcement level" action="Change level" onClose={props.onClose} onSubmit={async (form) => { await client.post(`${props.path}/level`, { level: Number(form.get('level')), note: noteOf(form) }); props.onDone(); }}>
      <p class="muted">Running sessions get the terms of the new level at their next renewal. After a quiet week the account relaxes by one level.</p>
      <label class="field"><span>Level</span><select class="input" name="level">{([1, 2, 3] as const).map((level) => <option key={level} value={level} selected={level === props.level}>{level} · {LEVEL_NAMES[level]}</option>)}</select></label>
      <NoteField />
    </Dialog>
  );
};

const OverrideDialog = (props: { path: string; override: StandingView['override']; onClose: () => void; onDone: () => void }) => {
  const { client } = useRoom();
  return (
    <Dialog title="Set an override" action="Set override" onClose={props.onClose} onSubmit={async (form) => { await client.post(`${props.path}/override`, { ...overrideOf(form), note: noteOf(form) }); props.onDone(); }}>
      <p class="muted">In place of the service’s policy, for this account. Empty fields are not overridden; all empty removes the override.</p>
      <OverrideFields override={props.override} />
      <NoteField />
    </Dialog>
  );
};

const DevicePolicyDialog = (props: { device: DeviceView; onClose: () => void; onDone: () => void }) => {
  const { client } = useRoom();
  const { device } = props;
  const path = `/v1/devices/${device.device}/policy`;
  const set = async (form: FormData): Promise<void> => {
    const policy = overrideOf(form);
    await (Object.keys(policy).length === 0 ? client.remove(path) : client.put(path, { ...policy, note: noteOf(form) }));
    props.onDone();
  };
  return (
    <Dialog title={`Policy of ${device.name === '' ? 'this device' : device.name}`} action="Set policy" onClose={props.onClose} onSubmit={set}>
      <p class="muted">In place of its account’s, for licences from now on. Empty fields are not overridden; all empty removes the policy.</p>
      <OverrideFields override={device.policy} />
      <NoteField />
    </Dialog>
  );
};

const Account = (props: { account: string }) => {
  const { client, mayOperate } = useRoom();
  const path = `/v1/accounts/${encodeURIComponent(props.account)}`;
  const loaded = useEndpoint<AccountView>(path, 3000);
  const [pending, setPending] = useState<Pending | undefined>(undefined);
  const [device, setDevice] = useState<DeviceView | undefined>(undefined);
  const [setting, setSetting] = useState<'level' | 'override' | undefined>(undefined);
  const live = loaded.data?.sessions.filter((session) => session.live).length ?? 0;
  const endSession = (session: SessionView): void =>
    setPending({ title: 'End this session?', text: `${session.account} stops receiving ${session.asset} on ${session.deviceName === '' ? 'this device' : session.deviceName}: media within a second, keys at the next renewal.`, action: 'End session', path: `/v1/sessions/${session.session}/end` });
  const revoke = (device: DeviceView): void =>
    setPending({ title: 'Revoke this device?', text: 'Its sessions end and it cannot start new ones, with any account.', action: 'Revoke device', path: `/v1/devices/${device.device}/revoke` });
  const endAll = (): void => setPending({ title: `End all sessions of ${props.account}?`, text: `${live} live now. The account can start new ones while it is entitled to.`, action: 'End all sessions', path: `${path}/end` });
  return (
    <div class="stack">
      <nav class="crumbs" aria-label="Breadcrumb"><a href="#/accounts">Accounts</a> <span aria-hidden="true">/</span> <strong class="mono">{props.account}</strong></nav>
      {loaded.data === undefined ? null : <Standing standing={loaded.data.standing} live={live} {...(mayOperate ? { onLevel: () => setSetting('level'), onOverride: () => setSetting('override') } : {})} />}
      <section class="card list" aria-label="Sessions">
        <header><h2>Sessions</h2>{mayOperate && live > 0 ? <button class="button small danger" type="button" onClick={endAll}>End all</button> : null}</header>
        <Await of={loaded}>{({ sessions }) => (sessions.length === 0 ? <Empty title="No session">This account has not watched anything yet.</Empty> : <Sessions sessions={sessions} {...(mayOperate ? { onEnd: endSession } : {})} />)}</Await>
      </section>
      <section class="card list" aria-label="Devices">
        <header><h2>Devices</h2></header>
        <Await of={loaded} rows={2}>{({ devices }) => (devices.length === 0 ? <Empty title="No registered device">Sessions of unregistered devices use a key pair of their own.</Empty> : <Devices devices={devices} {...(mayOperate ? { onRevoke: revoke, onPolicy: setDevice } : {})} />)}</Await>
      </section>
      {setting === 'level' ? <LevelDialog path={path} level={loaded.data?.standing.level ?? 1} onClose={() => setSetting(undefined)} onDone={loaded.reload} /> : null}
      {setting === 'override' ? <OverrideDialog path={path} override={loaded.data?.standing.override} onClose={() => setSetting(undefined)} onDone={loaded.reload} /> : null}
      {device === undefined ? null : <DevicePolicyDialog device={device} onClose={() => setDevice(undefined)} onDone={loaded.reload} />}
      {pending === undefined ? null : (
        <Dialog title={pending.title} action={pending.action} danger onClose={() => setPending(undefined)} onSubmit={async (form) => { await client.post(pending.path, { note: noteOf(form) }); loaded.reload(); }}>
          <p class="muted">{pending.text}</p>
          <NoteField />
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
