// SPDX-License-Identifier: Apache-2.0
/**
 * What operators can change, each step written to the audit log before it is taken.
 *
 * The entry wires the callbacks to the roles that carry them out; roles do not know each other.
 * Invariant: no action without its audit line. If the log cannot be written the action does not happen; if the action then fails, a second line says so.
 */
import { SealcastError, isSealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import type { TimedMode } from '#core/release/schedule.ts';
import type { Micros } from '#core/time.ts';
import type { AuditStore, CatalogueEntry, Clock, EventSink, Membership } from '#ports';
import { sealAuditEntry } from '#operations/audit.ts';
import type { MarkingRequest } from '#operations/marking-request.ts';
import type { Operator } from '#operations/operator-gate.ts';

/** A checked request for an event or title; defaults are filled in. */
export type NewAsset = { readonly asset: AssetId; readonly name: string; readonly scheme: 'cenc' | 'cbcs'; readonly clearKey: 'off' | 'detect' };

/** An event whose source sends pre-marked variants of some tracks. */
export type NewEvent = NewAsset & {
  readonly marked?: MarkingRequest & { readonly representations: readonly string[] };
  /** Tracks that get marks inside the bitstream; excludes `marked`. */
  readonly inBand?: readonly string[];
  /** Content is delivered early and opened by keys at their instants. */
  readonly timed?: TimedMode;
  /** The collection whose subscribers open it live without sessions; excludes `timed`. Its media is kept. */
  readonly bundle?: string;
  /** Who is paid for its plays. */
  readonly owner?: string;
};
/** A title's place in a collection, given when it is added; `published` defaults to now. */
export type NewMembership = Omit<Membership, 'asset' | 'published'> & { readonly published?: Membership['published'] };
/** A title, and whether and how the packager makes variants of its video. */
export type NewTitle = NewAsset & {
  readonly source: string;
  readonly marked?: MarkingRequest & { /** Pads the variants of a segment to one length. */ readonly equalSize: boolean };
  /** Marks inside the bitstream of all video; excludes `marked`. */
  readonly inBand?: boolean;
  readonly membership?: NewMembership;
};

/** Wired by the entry. Each may throw a SealcastError, which becomes the operator's answer. */
export type OperationsActions = {
  /** Makes the event, its keys and an ingest credential (answered once, stored as a hash). Throws `already-exists`. */
  readonly createEvent: (event: NewEvent) => Promise<{ readonly entry: CatalogueEntry; readonly ingest: { readonly url: string; readonly credential: string } }>;
  /** Absent where no packager runs in this process. Resolves once the title is accepted; packing may go on. */
  readonly addTitle?: (title: NewTitle) => Promise<CatalogueEntry>;
  /** Stops ingest and ends the event's sessions; false if it had ended. */
  readonly endEvent: (asset: AssetId) => Promise<boolean>;
  /** False if it had ended. */
  readonly endSession: (session: SessionId) => Promise<boolean>;
  /** Ends every live session of the account; answers how many. */
  readonly endAccount: (account: AccountId) => Promise<number>;
  /** Absent where no licence server runs in this process. */
  readonly setLevel?: (account: AccountId, level: EnforcementLevel, operator: string) => Promise<void>;
  /** Undefined removes what was set. */
  readonly setOverride?: (account: AccountId, override: PolicyOverride | undefined) => Promise<void>;
  /** Ends what an account watches of an asset because of a leak; answers which sessions that were. Absent as `setLevel` is. */
  readonly endForLeak?: (account: AccountId, asset: AssetId) => Promise<readonly SessionId[]>;
  /** Moves an account to level 3 because of a leak, or ends all it watches; answers how many sessions ended. */
  readonly raiseForLeak?: (account: AccountId, leak: string) => Promise<void>;
  readonly endAccountForLeak?: (account: AccountId) => Promise<number>;
  /** Collection and licensing of an event or title, in place of what was set before; absent members are removed. Absent where no licence server runs. */
  readonly setLicensing?: (asset: AssetId, licensing: Pick<CatalogueEntry, 'collection' | 'policy'>) => Promise<CatalogueEntry>;
  /** Undefined removes what was set; false if the device is unknown. */
  readonly setDevicePolicy?: (device: DeviceId, policy: PolicyOverride | undefined) => Promise<boolean>;
  /** Gives an edge's viewers copies of their own, or the common one again; answers the first position that is so. */
  readonly switchCopies?: (asset: AssetId, edge: string, copies: 'own' | 'common') => Promise<{ readonly from: number }>;
  /** Publishes something that opens at an instant; answers when. Absent where no key server runs. */
  readonly putTimedResource?: (asset: AssetId, resource: { readonly name: string; readonly type: string; readonly at: Micros; readonly content: Uint8Array }) => Promise<{ readonly period: number; readonly releaseAt: number }>;
  /** Which edges may have an event's release secrets from now on; what they hold ends within a horizon. Absent where no key server runs. */
  readonly setReleaseEdges?: (asset: AssetId, edges: 'all' | readonly string[]) => Promise<CatalogueEntry>;
  /** Puts a title into a collection, or changes how it is in it. Absent where no licence server runs. */
  readonly setMembership?: (membership: Membership) => Promise<void>;
  /** False if it was not in it. Leaves that devices hold stay good. */
  readonly removeMembership?: (collection: string, asset: AssetId) => Promise<boolean>;
  /** False if unknown or revoked before. */
  readonly revokeDevice: (device: DeviceId) => Promise<boolean>;
};

/** Plain facts beside an audit entry; no secrets. */
export type AuditDetail = Readonly<Record<string, string | number | boolean>>;
/** Runs an action between its audit lines; rejects with what the log or the action rejected with. */
export type Audited = <T>(operator: Operator, action: string, target: string, detail: AuditDetail, run: () => Promise<T>) => Promise<T>;

/** Wraps actions with their audit lines and a line in the live feed. */
export const createAudited = (options: { audit: AuditStore; clock: Clock; events: EventSink }): Audited => {
  const { audit, clock, events } = options;
  const append = (operator: Operator, action: string, target: string, detail: AuditDetail): Promise<unknown> =>
    audit.append({ at: clock.now(), actor: operator.name, action, target, detail }, sealAuditEntry);

  return async (operator, action, target, detail, run) => {
    await append(operator, action, target, detail);
    try {
      const answer = await run();
      events({ at: clock.now(), kind: `operator.${action}`, severity: 'info', message: `${operator.name}: ${action} ${target}` });
      return answer;
    } catch (error) {
      await append(operator, `${action}.failed`, target, { code: isSealcastError(error) ? error.code : 'internal' });
      throw error;
    }
  };
};

/** An action this process cannot carry out. */
export const unavailable = (what: string, role: string): SealcastError => new SealcastError('not-found', `${what} is not available in this process; ask the one that runs ${role}`);
