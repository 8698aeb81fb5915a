// SPDX-License-Identifier: Apache-2.0
/** What a renewal node makes of one request (docs/wire/renewal.md): an answer, denials included, or a refusal. */
import type { SessionId } from '#core/ids.ts';
import type { Reason } from '#core/license/reasons.ts';
import type { RenewalAct } from '#core/license/renewal-message.ts';
import type { GrantGroup } from '#core/time.ts';

/** What became of one request. A refusal is not authentic, so it gets no answer that a client could take for one. */
export type RenewalOutcome =
  | {
      readonly kind: 'answered';
      readonly bytes: Uint8Array;
      readonly act: RenewalAct;
      readonly reason: Reason;
      readonly session: SessionId;
      /** First group not opened after this answer. */
      readonly opened: GrantGroup;
      /** A fresh media token for the session; absent unless `act` is extend. */
      readonly mediaToken?: string;
      /** Timed events. */
      readonly releaseToken?: string;
      /** The session that was started in place of an ended one. */
      readonly by?: SessionId;
    }
  | { readonly kind: 'refused'; readonly code: 'renewal-invalid' | 'epoch-unknown'; readonly detail: string };
