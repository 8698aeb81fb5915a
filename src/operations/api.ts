// SPDX-License-Identifier: Apache-2.0
/**
 * The JSON of the operator endpoints, as types: what the control room and scripts may rely on.
 *
 * Instants are integer microseconds UTC. Invariant: types only, no import, so that a browser build takes nothing along.
 */

/** What an operator may do; each role includes the ones before it. */
export type Role = 'view' | 'operate' | 'keys';

/** An event or a title as operators see it; credentials and their hashes never appear. */
export type AssetView = {
  readonly asset: string;
  readonly kind: 'event' | 'title';
  readonly name: string;
  readonly state: 'created' | 'live' | 'ended' | 'ready' | 'failed';
  readonly createdAt: number;
  readonly endedAt?: number;
  /** Titles: length in microseconds. */
  readonly duration?: number;
  readonly clearKey: 'off' | 'detect';
  /** Sessions with an unexpired licence. */
  readonly liveSessions: number;
};
/** POST /v1/events. */
export type CreateEventRequest = { readonly asset: string; readonly name: string; readonly scheme?: 'cenc' | 'cbcs'; readonly clearKey?: 'off' | 'detect' };
/** The ingest credential is shown here once and stored as a hash. */
export type CreateEventAnswer = { readonly event: AssetView; readonly ingest: { readonly url: string; readonly credential: string } };
/** POST /v1/titles. `source` is a path or address the packager can read. */
export type AddTitleRequest = CreateEventRequest & { readonly source: string };

/** One viewing session. */
export type SessionView = {
  readonly session: string;
  readonly account: string;
  readonly device: string;
  readonly deviceName: string;
  readonly asset: string;
  readonly startedAt: number;
  readonly entitledUntil: number;
  readonly endedAt?: number;
  readonly endReason?: string;
  /** Whether the session holds an unexpired licence now. */
  readonly live: boolean;
  /** When the licence in use expires unless it is renewed. */
  readonly expiresAt?: number;
};
/** A registered device; its public keys stay in the store. */
export type DeviceView = { readonly device: string; readonly account: string; readonly name: string; readonly registeredAt: number; readonly revokedAt?: number };
/** One line of GET /v1/accounts, counted over the newest 1,000 sessions. */
export type AccountSummary = { readonly account: string; readonly live: number; readonly sessions: number; readonly lastStartedAt: number };
/** GET /v1/accounts/{id}: newest sessions first. */
export type AccountView = { readonly account: string; readonly sessions: readonly SessionView[]; readonly devices: readonly DeviceView[] };

/** One entry of the audit log; `hash` chains it to the entry before. */
export type AuditView = {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, string | number | boolean>>;
  readonly hash: string;
};
/** GET /v1/audit?before=SEQ&limit=N: newest first. `verified` covers the whole chain. */
export type AuditPage = { readonly entries: readonly AuditView[]; readonly total: number; readonly verified: boolean; readonly brokenAt?: number };

/** One line of the live feed; SSE event `operational`, whose id is `id`. */
export type FeedLine = {
  readonly id: number;
  readonly at: number;
  readonly kind: string;
  readonly severity: 'info' | 'warning' | 'alert';
  readonly message: string;
  readonly asset?: string;
  readonly account?: string;
  readonly session?: string;
  readonly data?: Readonly<Record<string, number | string | boolean>>;
};
/** SSE event `figures`, once per second; `history` carries a list of them. */
export type Figures = {
  readonly at: number;
  /** Per second, over the last ten seconds. */
  readonly rates: Readonly<Record<string, number>>;
  /** Values of this moment. */
  readonly levels: Readonly<Record<string, number>>;
  /** Named readiness checks. */
  readonly ready: Readonly<Record<string, boolean>>;
};
/** GET /v1/operations/summary. */
export type Summary = {
  readonly at: number;
  readonly startedAt: number;
  readonly operator: { readonly name: string; readonly role: Role };
  /** Which actions this process can carry out. */
  readonly can: { readonly addTitle: boolean };
  readonly figures: Figures;
};
