// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps the signed stop of every running session until the service has acknowledged it, also over crashes.
 *
 * docs/wire/subscription.md, "Secure stop" (B150-B152). The stop is signed while the session runs, so that nothing has to be signed
 * afterwards. Invariant: a stop is removed only after `{ "stopped": true }`, or when the service itself said that the session is over;
 * the stop of a session that another page still runs is never sent.
 */
import { type SessionId, sessionId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import type { OfflineRecords } from '#ports';
import type { SignedStop } from '../license-desk.ts';

/** Where stops wait. */
export type StopKeeper = {
  /** The newest signed stop of a running session; durable when it resolves. */
  running(stop: SignedStop): Promise<void>;
  /** The session ended here: its stop is due, and goes out until it is acknowledged. */
  due(stop: SignedStop): Promise<void>;
  /** The service knows that the session is over. */
  over(sid: SessionId): Promise<void>;
  /** Sends what is due, and the stops of sessions that nobody runs any more. Answers how many still wait. */
  resend(send: (stop: SignedStop) => Promise<'stopped' | 'refused' | 'unreachable'>): Promise<number>;
};

const PREFIX = 'stop/';

type Kept = { readonly stop: SignedStop; readonly state: 'running' | 'due'; readonly owner: string };

/** A kept stop from its text; undefined for one that was damaged. */
const readKept = (text: string): Kept | undefined => {
  try {
    const kept = membersOf(jsonObject(text, 'kept stop', 'bad-request'), 'kept stop', 'bad-request', ['sid', 'at', 'proof', 'state', 'owner']);
    const stop = { sid: sessionId(kept.value('sid')), at: kept.integer('at', 0, Number.MAX_SAFE_INTEGER) as Micros, proof: kept.text('proof', { most: 4096 }) };
    return { stop, state: kept.oneOf('state', ['running', 'due']), owner: kept.text('owner', { most: 64 }) };
  } catch {
    return undefined;
  }
};

/** A keeper in `records`. `owner` names this page or process; `alive` says whether another one still runs (default: none does). */
export const createStopKeeper = ({ records, owner, alive = async () => false }: { readonly records: OfflineRecords; readonly owner: string; readonly alive?: (owner: string) => Promise<boolean> }): StopKeeper => {
  const over = new Set<SessionId>();
  const keep = (stop: SignedStop, state: 'running' | 'due'): Promise<void> => records.write([[`${PREFIX}${stop.sid}`, JSON.stringify({ ...stop, state, owner })]]);
  return {
    async running(stop) {
      if (!over.has(stop.sid)) await keep(stop, 'running');
    },
    due: (stop) => keep(stop, 'due'),
    async over(sid) {
      over.add(sid);
      await records.write([[`${PREFIX}${sid}`, undefined]]);
    },
    async resend(send) {
      let waiting = 0;
      for (const [key, text] of await records.list(PREFIX)) {
        const kept = readKept(text);
        if (kept?.state === 'running' && (kept.owner === owner || (await alive(kept.owner)))) continue;
        const outcome = kept === undefined ? 'refused' : await send(kept.stop);
        // Refused for good: the service does not know the session, or not as this device's.
        if (outcome === 'unreachable') waiting += 1;
        else await records.write([[key, undefined]]);
      }
      return waiting;
    },
  };
};
