// SPDX-License-Identifier: Apache-2.0
/** What is not normal now: emergency mode and overload, each with its cause and since when; one quiet line while all is well. */
import type { StateView } from '../../../../src/operations/api.ts';
import { instant, span, when } from '../../ui/format.ts';
import { useEndpoint } from '../live.ts';

const CAUSES: Readonly<Record<string, string>> = { timeout: 'answers too late', unreachable: 'cannot be reached' };

export const StateCard = () => {
  const { data } = useEndpoint<StateView>('/v1/operations/state', 2000);
  if (data === undefined) return null;
  const { emergency, overload, lastAlert, at } = data;
  const mood = emergency !== undefined ? 'bad' : overload !== undefined ? 'warn' : 'good';
  return (
    <section class={`card state ${mood}`} aria-label="Emergency and load" role="status">
      {emergency === undefined && overload === undefined ? (
        <p><strong>Normal operation</strong> <span class="muted">Streams are counted, periods are as configured.</span></p>
      ) : null}
      {emergency === undefined ? null : (
        <p>
          <strong>Emergency mode for {span(at - emergency.since)}</strong>
          <span>The concurrency record {CAUSES[emergency.cause] ?? emergency.cause}. Every valid licence is renewed, for longer; {emergency.renewals} so far. <time class="muted" title={instant(emergency.since)}>since {when(emergency.since)}</time></span>
        </p>
      )}
      {overload === undefined ? null : (
        <p>
          <strong>Overload: periods ×{overload.factor}</strong>
          <span>
            {overload.cause === undefined ? '' : `Cause: ${overload.cause}. `}{overload.sheds ? 'New sessions are turned away so that running ones go on. ' : 'Clients renew less often. '}
            {overload.since === undefined ? null : <time class="muted" title={instant(overload.since)}>since {when(overload.since)}</time>}
          </span>
        </p>
      )}
      {lastAlert === undefined ? null : <p class="muted small last">Last alert <time title={instant(lastAlert.at)}>{when(lastAlert.at)}</time>: {lastAlert.message}</p>}
    </section>
  );
};
