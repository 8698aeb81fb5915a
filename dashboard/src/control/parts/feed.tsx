// SPDX-License-Identifier: Apache-2.0
/** The live feed of operational events with filters by severity and text; pausing holds the list still while the stream goes on. */
import { useState } from 'preact/hooks';
import type { FeedLine } from '../../../../src/operations/api.ts';
import { clockTime, instant } from '../../ui/format.ts';
import { useCell, useRoom } from '../live.ts';
import { Empty } from './states.tsx';

const SEVERITIES = ['info', 'warning', 'alert'] as const;
const SHOWN = 120;

const matches = (line: FeedLine, hidden: ReadonlySet<string>, query: string): boolean =>
  !hidden.has(line.severity) && (query === '' || `${line.kind} ${line.message} ${line.asset ?? ''} ${line.account ?? ''}`.toLowerCase().includes(query));

export const Feed = () => {
  const { live } = useRoom();
  const lines = useCell(live.lines);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [query, setQuery] = useState('');
  const [held, setHeld] = useState<readonly FeedLine[] | undefined>(undefined);
  const shown = (held ?? lines).filter((line) => matches(line, hidden, query.trim().toLowerCase())).slice(0, SHOWN);
  const waiting = held === undefined ? 0 : lines.filter((line) => line.id > (held[0]?.id ?? 0)).length;
  return (
    <section class="card feed" aria-label="Live events">
      <header>
        <h2>Live events</h2>
        <div class="filters">
          <div class="chips" role="group" aria-label="Severity">
            {SEVERITIES.map((severity) => (
              <button
                key={severity}
                type="button"
                class={`chip ${severity}`}
                aria-pressed={!hidden.has(severity)}
                onClick={() => setHidden(new Set(hidden.has(severity) ? [...hidden].filter((name) => name !== severity) : [...hidden, severity]))}
              >
                {severity}
              </button>
            ))}
          </div>
          <input class="input" type="search" placeholder="Filter" aria-label="Filter events by text" value={query} onInput={(event) => setQuery(event.currentTarget.value)} />
          <button class="button small" type="button" aria-pressed={held !== undefined} onClick={() => setHeld(held === undefined ? lines : undefined)}>
            {held === undefined ? 'Pause' : waiting === 0 ? 'Resume' : `Resume (${waiting} new)`}
          </button>
        </div>
      </header>
      {shown.length === 0 ? (
        <Empty title={lines.length === 0 ? 'Nothing has happened yet' : 'No event matches the filter'}>{lines.length === 0 ? 'Session starts, denials, ingest changes and operator actions appear here as they happen.' : undefined}</Empty>
      ) : (
        <ol>
          {shown.map((line) => (
            <li key={line.id} class={line.severity}>
              <time title={instant(line.at)}>{clockTime(line.at)}</time>
              <span class="kind">{line.kind}</span>
              <span class="message">
                {line.message}
                {line.account === undefined ? null : <a href={`#/accounts/${encodeURIComponent(line.account)}`}>{line.account}</a>}
              </span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
};
