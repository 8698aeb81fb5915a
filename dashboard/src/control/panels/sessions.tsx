// SPDX-License-Identifier: Apache-2.0
/** Every session of the moment, newest first. Ending one happens on its account's page, where the neighbours show. */
import { useState } from 'preact/hooks';
import type { SessionView } from '../../../../src/operations/api.ts';
import { instant, shortId, span, when } from '../../ui/format.ts';
import { useEndpoint } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'sessions';
export const title = 'Sessions';
export const order = 25;

export const Panel = (_: PanelProps) => {
  const [liveOnly, setLiveOnly] = useState(true);
  const loaded = useEndpoint<{ sessions: SessionView[] }>(`/v1/operations/sessions?limit=500${liveOnly ? '&live=true' : ''}`, 3000);
  return (
    <section class="card list" aria-label="Sessions">
      <header>
        <h2>{loaded.data === undefined ? 'Sessions' : `${loaded.data.sessions.length} ${liveOnly ? 'open' : 'recent'}`}</h2>
        <div class="chips" role="group" aria-label="Which sessions">
          <button type="button" class="chip" aria-pressed={liveOnly} onClick={() => setLiveOnly(true)}>open</button>
          <button type="button" class="chip" aria-pressed={!liveOnly} onClick={() => setLiveOnly(false)}>all</button>
        </div>
      </header>
      <Await of={loaded} rows={8}>
        {({ sessions }) => sessions.length === 0 ? <Empty title="Nobody is watching">A session appears here as soon as a player starts.</Empty> : (
          <div class="scroll">
            <table>
              <thead><tr><th>Session</th><th>Account</th><th>Content</th><th>Device</th><th>Started</th><th>Licence</th></tr></thead>
              <tbody>
                {sessions.map((session) => (
                  <tr key={session.session}>
                    <td class="mono" title={session.session}>{shortId(session.session)}</td>
                    <td><a class="mono" href={`#/accounts/${encodeURIComponent(session.account)}`}>{session.account}</a></td>
                    <td class="mono">{session.asset}</td>
                    <td>{session.deviceName === '' ? <span class="muted">unnamed</span> : session.deviceName}</td>
                    <td><time title={instant(session.startedAt)}>{when(session.startedAt)}</time></td>
                    <td>
                      {session.endedAt !== undefined ? <span class="badge">ended{session.endReason === undefined ? '' : `: ${session.endReason}`}</span>
                        : session.live ? <span class="badge good">for {span((session.expiresAt ?? 0) - Date.now() * 1000)}</span> : <span class="badge warn">expired</span>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Await>
    </section>
  );
};
