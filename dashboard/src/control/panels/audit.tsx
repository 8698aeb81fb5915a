// SPDX-License-Identifier: Apache-2.0
/** The audit log, newest first, with the verdict over its hash chain. */
import { useState } from 'preact/hooks';
import type { AuditPage } from '../../../../src/operations/api.ts';
import { instant, shortId, when } from '../../ui/format.ts';
import { useEndpoint } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'audit';
export const title = 'Audit log';
export const order = 90;

const PAGE = 50;

export const Panel = (_: PanelProps) => {
  const [before, setBefore] = useState<number | undefined>(undefined);
  const loaded = useEndpoint<AuditPage>(`/v1/audit?limit=${PAGE}${before === undefined ? '' : `&before=${before}`}`);
  return (
    <section class="card list" aria-label="Operator actions">
      <Await of={loaded} rows={8}>
        {(page) => {
          const oldest = page.entries.at(-1)?.seq ?? 0;
          return (
            <>
              <header>
                <h2>{page.total === 1 ? '1 entry' : `${page.total} entries`}</h2>
                {page.verified ? <span class="badge good">Chain verified</span> : <span class="badge bad" role="alert">Chain broken at entry {page.brokenAt}</span>}
              </header>
              {page.entries.length === 0 ? <Empty title="No operator action yet">Everything an operator changes is recorded here before it happens.</Empty> : (
                <div class="scroll">
                  <table>
                    <thead><tr><th class="number">#</th><th>When</th><th>Operator</th><th>Action</th><th>Target</th><th>Detail</th><th>Hash</th></tr></thead>
                    <tbody>
                      {page.entries.map((entry) => (
                        <tr key={entry.seq}>
                          <td class="number muted">{entry.seq}</td>
                          <td><time title={instant(entry.at)}>{when(entry.at)}</time></td>
                          <td>{entry.actor}</td>
                          <td><code class={entry.action.endsWith('.failed') ? 'failed' : ''}>{entry.action}</code></td>
                          <td class="mono" title={entry.target}>{shortId(entry.target)}</td>
                          <td class="muted">{Object.entries(entry.detail).filter(([, value]) => value !== '').map(([name, value]) => `${name}: ${value}`).join(', ')}</td>
                          <td class="mono muted" title={entry.hash}>{entry.hash.slice(0, 8)}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
              {before === undefined && oldest <= 1 ? null : (
                <footer>
                  <button class="button small" type="button" disabled={before === undefined} onClick={() => setBefore(undefined)}>Newest</button>
                  <button class="button small" type="button" disabled={oldest <= 1} onClick={() => setBefore(oldest)}>Older</button>
                </footer>
              )}
            </>
          );
        }}
      </Await>
    </section>
  );
};
