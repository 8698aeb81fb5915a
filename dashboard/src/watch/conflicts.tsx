// SPDX-License-Identifier: Apache-2.0
/**
 * What else is playing on the account when no further stream may start, and the offer to stop one of them for this one.
 *
 * Invariant: nothing is ended before the viewer chose it; the choice and the new start are one request.
 */
import type { ConflictingSession } from '../../../src/client/session-types.ts';
import { when } from '../ui/format.ts';

export const Conflicts = (props: { sessions: readonly ConflictingSession[]; onInstead: (terminationCode: string) => void }) => (
  <>
    <p>Playing now on your account:</p>
    <ul class="conflicts">
      {props.sessions.map(({ session, deviceName, asset, startedAt, terminationCode }) => (
        <li key={session}>
          <span><strong>{deviceName === '' ? 'A device without a name' : deviceName}</strong><small>{asset}, since {when(startedAt)}</small></span>
          <button class="button primary small" type="button" onClick={() => props.onInstead(terminationCode)}>Stop that one and watch here</button>
        </li>
      ))}
    </ul>
  </>
);
