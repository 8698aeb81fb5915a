// SPDX-License-Identifier: Apache-2.0
/**
 * The control room's shell: sign-in, navigation, stream state, the chosen panel.
 *
 * Invariant: nothing of the room is rendered, and no request is made, before the server has accepted the token.
 */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Summary } from '../../../src/operations/api.ts';
import { Brand } from '../ui/brand.tsx';
import { createOperatorClient, storeToken, storedToken } from './client.ts';
import { type Live, type Room, RoomContext, followStream, useCell } from './live.ts';
import { Login } from './login.tsx';
import { panelOf, panels } from './panels.ts';
import { Boundary } from './parts/boundary.tsx';

const useHash = (): string => {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = (): void => setHash(location.hash);
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return hash;
};

const StreamBadge = (props: { live: Live }) => {
  const state = useCell(props.live.state);
  const [, redraw] = useState(0);
  useEffect(() => {
    if (state.phase !== 'waiting') return undefined;
    const timer = setInterval(() => redraw((count) => count + 1), 500);
    return () => clearInterval(timer);
  }, [state]);
  if (state.phase === 'live') return <span class="badge good" role="status">Live</span>;
  if (state.phase !== 'waiting') return <span class="badge" role="status">Connecting</span>;
  const seconds = Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000));
  return <span class="badge warn" role="status" title={state.reason}>Reconnecting in {seconds} s</span>;
};

const Shell = (props: { room: Room; onSignOut: () => void }) => {
  const { room, onSignOut } = props;
  const { panel, rest } = panelOf(useHash());
  useEffect(() => {
    document.title = `${panel.title} · Sealcast control room`;
  }, [panel]);
  return (
    <RoomContext.Provider value={room}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>Skip to content</a>
      <div class="room">
        <aside class="side">
          <Brand href="#/" suffix="control room" />
          <nav aria-label="Panels">
            <ul>
              {panels.map((entry) => (
                <li key={entry.id}>
                  <a href={`#/${entry.id}`} aria-current={entry.id === panel.id ? 'page' : undefined}>{entry.title}</a>
                </li>
              ))}
            </ul>
          </nav>
          <div class="who">
            <div>
              <strong>{room.summary.operator.name}</strong>
              <span class="muted small">role: {room.summary.operator.role}</span>
            </div>
            <button class="button small" type="button" onClick={onSignOut}>Sign out</button>
          </div>
        </aside>
        <main id="main" tabIndex={-1}>
          <header class="bar">
            <h1>{panel.title}</h1>
            <StreamBadge live={room.live} />
          </header>
          <Boundary key={panel.id}>
            <panel.Panel rest={rest} />
          </Boundary>
        </main>
      </div>
    </RoomContext.Provider>
  );
};

export const App = () => {
  const [session, setSession] = useState<{ token: string; summary: Summary } | undefined>(undefined);
  const [notice, setNotice] = useState<string | undefined>(undefined);
  const leave = (why?: string): void => {
    storeToken(null);
    setNotice(why);
    setSession(undefined);
  };
  const client = useMemo(() => (session === undefined ? undefined : createOperatorClient(session.token)), [session]);
  const [live, setLive] = useState<Live | undefined>(undefined);
  useEffect(() => {
    if (client === undefined) return setLive(undefined);
    const followed = followStream(client, () => leave('The server no longer accepts this token. Please sign in again.'));
    setLive(followed.live);
    return followed.stop;
  }, [client]);

  if (session === undefined) {
    return (
      <Login
        notice={notice}
        remembered={storedToken()}
        onSignedIn={(token, summary) => {
          storeToken(token);
          setNotice(undefined);
          setSession({ token, summary });
        }}
      />
    );
  }
  if (client === undefined || live === undefined) return null;
  const room: Room = { client, live, summary: session.summary, mayOperate: session.summary.operator.role !== 'view' };
  return <Shell room={room} onSignOut={() => leave()} />;
};
