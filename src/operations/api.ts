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
  /** What it is part of, for limits and counts. */
  readonly collection?: string;
  /** Events: the collection whose subscribers open it with in-band leaves. */
  readonly bundle?: string;
  /** Ended events that were kept: media time, microseconds. */
  readonly archive?: { readonly from: number; readonly to: number };
  /** Its licensing in place of the service's. */
  readonly policy?: OverrideView;
  /** Timed events: how they are released; microseconds. `edges`: who may have the secrets. */
  readonly timed?: { readonly mode: 'standard' | 'strict'; readonly version: number; readonly firstRelease: number; readonly period: number; readonly delta: number; readonly fallbackDelta: number; readonly perBlock: number; readonly edges: 'all' | readonly string[] };
  /** Sessions with an unexpired licence. */
  readonly liveSessions: number;
};
type NewAssetRequest = { readonly asset: string; readonly name: string; readonly scheme?: 'cenc' | 'cbcs'; readonly clearKey?: 'off' | 'detect' };
/** How segments are marked; all but `variants` have defaults. `edges` (prefix delivery): NAME=VIEWERS, separated by commas. */
type MarkingMembers = {
  readonly variants?: number;
  readonly book?: 'aligned' | 'adaptive' | 'biased-uniform' | 'biased-dirichlet' | 'biased-alternate';
  readonly delivery?: 'always-on' | 'prefix' | 'two-phase';
  readonly viewers?: number;
  readonly edges?: string;
};
/** POST /v1/events. `variants` and `marked` (track names, separated by commas) belong together: the source sends that many variants of these tracks. */
export type CreateEventRequest = NewAssetRequest & MarkingMembers & { /** Collection whose subscribers open it live with in-band leaves. */ readonly bundle?: string; readonly owner?: string;  readonly marked?: string; /** Tracks to mark inside the bitstream, separated by commas; excludes `variants`. */ readonly mark?: string };
/** The ingest credential is shown here once and stored as a hash. */
export type CreateEventAnswer = { readonly event: AssetView; readonly ingest: { readonly url: string; readonly credential: string } };
/** POST /v1/titles. `source` is a path or address the packager can read. */
export type AddTitleRequest = NewAssetRequest & MarkingMembers & { readonly source: string; readonly equalSize?: 'yes' | 'no'; /** Marks inside the bitstream of all video; excludes `variants`. */ readonly mark?: 'yes' | 'no'; readonly collection?: string } & Partial<Pick<MembershipView, 'published' | 'scope' | 'owner'>> & { readonly actions?: 'play' | 'play,download' };
/** POST /v1/events/{id}/copies: two-phase delivery. Answers `{from}`, the first position that is so. */
export type SwitchCopiesRequest = { readonly edge: string; readonly copies: 'own' | 'common'; readonly note?: string };
/** GET /v1/operations/delivery: marked assets and what each edge fetched of them since it started. */
export type DeliveryView = {
  readonly at: number;
  readonly assets: readonly {
    readonly asset: string;
    readonly name: string;
    readonly delivery: 'always-on' | 'prefix' | 'two-phase';
    readonly alphabet: number;
    /** Distinct variants fetched per segment (and part) of a representation; absent: nothing was fetched yet. */
    readonly variantsPerSegment?: number;
    /** `copies`: whether viewers there get copies of their own or the edge's common one. `plainBytes`: what one copy would have cost. */
    readonly edges: readonly { readonly edge: string; readonly segments: number; readonly variants: number; readonly bytes: number; readonly plainBytes: number; readonly copies: 'own' | 'common'; readonly heardAt?: number }[];
  }[];
};

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
export type DeviceView = { readonly device: string; readonly account: string; readonly name: string; readonly registeredAt: number; readonly revokedAt?: number; /** Licensing on it in place of its account's. */ readonly policy?: OverrideView };
/** One line of GET /v1/accounts, counted over the newest 1,000 sessions. */
export type AccountSummary = { readonly account: string; readonly live: number; readonly sessions: number; readonly lastStartedAt: number };
/** 1 detection only, 2 light, 3 strict. */
export type LevelView = 1 | 2 | 3;
/** A move between levels, with what caused it. */
export type LevelChangeView = { readonly at: number; readonly from: LevelView; readonly to: LevelView; readonly cause: string; readonly inputs: Readonly<Record<string, number | string>> };
export type ModeView = 'detection-only' | 'deny-new' | 'terminate-oldest';
/** POST /v1/accounts/{id}/override; an absent member is not overridden, `{}` removes all. Times in milliseconds. */
export type OverrideView = { readonly interval?: number; readonly duration?: number; readonly limit?: number; readonly mode?: ModeView };
/** Where an account stands. */
export type StandingView = {
  readonly level: LevelView;
  /** Absent: nothing has happened to the account yet, it is on the service's own level. */
  readonly since?: number;
  readonly override?: OverrideView;
  readonly overrideAt?: number;
  /** Moves between levels, newest first. */
  readonly causes: readonly LevelChangeView[];
  /** What holds for it now: streams at a time (absent: any number) and what a start over it does. */
  readonly limit?: number;
  readonly mode: ModeView;
};
/** GET /v1/accounts/{id}: newest sessions first. */
export type AccountView = { readonly account: string; readonly sessions: readonly SessionView[]; readonly devices: readonly DeviceView[]; readonly standing: StandingView };
/** PUT /v1/events/{id}/licensing and /v1/titles/{id}/licensing: what is absent is removed. PUT /v1/devices/{id}/policy takes an override itself. */
export type LicensingRequest = { readonly collection?: string; readonly policy?: OverrideView; readonly note?: string };
/** POST /v1/accounts/{id}/level. */
export type SetLevelRequest = { readonly level: LevelView; readonly note?: string };

/** Streams of one account, title or collection at this moment. */
export type StreamCount = { readonly id: string; readonly streams: number };
/** GET /v1/operations/concurrency: most streams first, at most 100 of each. */
export type ConcurrencyView = {
  readonly at: number;
  /** `heartbeats`: the concurrency record cannot be reached or there is none, and this process counts what it heard itself. */
  readonly source: 'record' | 'heartbeats';
  readonly service: number;
  /** `limit`: what holds for the account, where it has one. */
  readonly accounts: readonly (StreamCount & { readonly level: LevelView; readonly limit?: number })[];
  readonly titles: readonly StreamCount[];
  readonly collections: readonly StreamCount[];
};
/** GET /v1/operations/levels. */
export type LevelsView = {
  readonly at: number;
  /** Accounts per level; those that nothing happened to yet are not among them. */
  readonly accounts: Readonly<Record<LevelView, number>>;
  /** Moves of the last 24 hours. */
  readonly flows: readonly { readonly from: LevelView; readonly to: LevelView; readonly count: number }[];
  /** Newest first, at most 50; `account` is the id where it is known here, else its hash. */
  readonly latest: readonly { readonly at: number; readonly account: string; readonly from: LevelView; readonly to: LevelView; readonly cause: string }[];
};
/** GET /v1/operations/state: what is not normal now, and since when. */
export type StateView = {
  readonly at: number;
  readonly emergency?: { readonly since: number; readonly cause: string; readonly renewals: number };
  /** `factor` on renewal periods; `sheds`: new sessions are turned away. `since` and `cause` where this process saw it rise. */
  readonly overload?: { readonly factor: number; readonly sheds: boolean; readonly since?: number; readonly cause?: string };
  /** The newest alert since this process started. */
  readonly lastAlert?: { readonly at: number; readonly kind: string; readonly message: string };
};
/** POST /v1/policy/what-if: figures to change; what is absent stays as it is in force. */
export type WhatIfRequest = {
  readonly licenses?: number;
  readonly devices?: number;
  readonly windowSeconds?: number;
  readonly restartTitles?: number;
  readonly restartWindowSeconds?: number;
  readonly lateShare?: number;
  readonly lateTimes?: number;
  readonly lateWindowSeconds?: number;
  readonly relaxAfterSeconds?: number;
  /** Streams per account at a time, with mode `deny-new`: answered by `refused`. */
  readonly limit?: number;
};
/** Accounts whose recorded events lead to another level under the changed policy. Nothing is changed by asking. */
export type WhatIfView = {
  readonly accounts: number;
  readonly events: number;
  readonly moved: readonly { readonly account: string; readonly before: LevelView; readonly after: LevelView; readonly changes: readonly LevelChangeView[] }[];
  /** Where a limit was asked about: accounts of which it would have turned starts away, the most first. */
  readonly refused?: readonly { readonly account: string; readonly starts: number; readonly refused: number }[];
};

/** What was done about a leak; `automatic`: nobody was asked. */
export type LeakActionView = { readonly at: number; readonly action: 'end-sessions' | 'raise-level' | 'end-account' | 'dismiss'; readonly by: string; readonly automatic: boolean; readonly sessions?: number; readonly note?: string };
/** GET /v1/leaks: accusations with their evidence, newest first. Evidence and bound in nats. */
export type LeakView = {
  readonly leak: string;
  readonly asset: string;
  readonly at: number;
  readonly reportedBy: string;
  readonly source?: string;
  readonly viewer: number;
  /** Absent: no session was given this number. */
  readonly account?: string;
  readonly device?: string;
  readonly evidence: number;
  readonly bound: number;
  readonly eps: number;
  readonly viewers: number;
  readonly falseAccusation: number;
  readonly observed: number;
  readonly erased: number;
  readonly errorRates: { readonly symbols: number; readonly erasures: number };
  readonly coalition: { readonly share: number; readonly size: number };
  readonly runnerUp: { readonly viewer: number; readonly evidence: number } | null;
  /** The service came to the verdict itself, from the observation. */
  readonly replayed: boolean;
  readonly growth: readonly { readonly position: number; readonly evidence: number }[];
  readonly sessions: readonly string[];
  readonly carriers: readonly { readonly edge: string; readonly session: string; readonly prefix: string; readonly agent: string; readonly bytes: number; readonly from: number; readonly to: number }[];
  readonly signs: { readonly shared: boolean; readonly networks: number; readonly clients: number };
  readonly actions: readonly LeakActionView[];
};
/** POST /v1/leaks: what `sealcast trace --json` printed, and the observation file it rests on. */
export type AccuseRequest = { readonly report: Readonly<Record<string, unknown>>; readonly observation?: string };
/** POST /v1/leaks/{id}/decide. */
export type DecideLeakRequest = { readonly action: LeakActionView['action']; readonly note?: string };
/** GET /v1/viewers/{asset}?viewer=N: how many numbers were given, N of a trace, and whose number it is. */
export type ViewersView = { readonly asset: string; readonly given: number; readonly viewers: number; readonly viewer?: number; readonly account?: string | null; readonly device?: string | null };

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

// ---- subscriptions ------------------------------------------------------------------------------------------------

/** A title's place in a collection; `published` decides the month whose root key opens it. */
export type MembershipView = { readonly collection: string; readonly asset: string; readonly published: number; readonly scope: 'account' | 'shared'; readonly actions: readonly ('play' | 'download')[]; readonly owner?: string };
/** GET /v1/collections. */
export type CollectionsView = { readonly collections: readonly { readonly collection: string; readonly titles: number }[] };
/** GET /v1/collections/{id}?after=ASSET: at most 500 titles by id. */
export type CollectionPage = { readonly collection: string; readonly titles: readonly MembershipView[]; readonly next?: string };
/** POST /v1/collections/{id}/titles; `published` in microseconds (default now), `scope` account, actions play and download unless told. */
export type AddToCollectionRequest = { readonly asset: string; readonly published?: number; readonly scope?: 'account' | 'shared'; readonly actions?: 'play' | 'play,download'; readonly owner?: string; readonly note?: string };
/** The newest root that a device was given for a plan. */
export type RootView = { readonly account: string; readonly device: string; readonly plan: string; readonly collection: string; readonly issuedAt: number; readonly begin: number; /** Absent: for ever. */ readonly end?: number; readonly renewals: number; readonly state: 'good' | 'coming' | 'ended' | 'revoked' };
/** GET /v1/subscriptions?account=&device=: newest first, at most 500. `plans`: devices with a good root. */
export type SubscriptionsView = { readonly at: number; readonly plans: readonly { readonly plan: string; readonly collection: string; readonly devices: number }[]; readonly roots: readonly RootView[] };
/** A device of a subscriber. `lost`: how often it lost its usage records and began again. */
export type AccountDeviceView = { readonly device: string; readonly name: string; readonly registeredAt: number; readonly revokedAt?: number; readonly roots: readonly RootView[]; readonly usage?: { readonly records: number; readonly reportedAt: number; readonly lost: number } };
/** What was done with a title, as its device reported it. */
export type UsageRecordView = { readonly account: string; readonly device: string; readonly title: string; readonly owner: string; readonly action: 'play' | 'download' | 'delete'; readonly plan: string; readonly started: number; readonly played: number; readonly offline: boolean; readonly counted: boolean; readonly uncertain: boolean; readonly receivedAt: number };
/** GET /v1/usage/records?account=&device=&title=: newest received first, at most 200. */
export type UsageRecordsView = { readonly records: readonly UsageRecordView[] };
/** GET /v1/subscriptions/{account}. */
export type SubscriberView = { readonly account: string; readonly at: number; readonly devices: readonly AccountDeviceView[]; readonly usage: readonly UsageRecordView[] };
/** Sums; `uncertain` plays are among `plays`. `played` in microseconds of media. */
export type UsageTotalView = { readonly key: string; readonly plays: number; readonly offlinePlays: number; readonly uncertain: number; readonly downloads: number; readonly played: number };
/** GET /v1/usage/report?by=title|account|owner&from=&to=&format=json|csv: most plays first. An owner of '' is none. */
export type UsageReportView = { readonly by: 'title' | 'account' | 'owner'; readonly from: number; readonly to: number; readonly rows: readonly UsageTotalView[] };
/** A session that ended with a signed stop of its device. */
export type StopView = { readonly session: string; readonly account: string; readonly device: string; readonly deviceName: string; readonly asset: string; readonly startedAt: number; readonly endedAt: number };
/** GET /v1/operations/stops: newest first, of the newest 1,000 sessions. */
export type StopsView = { readonly stops: readonly StopView[] };

// ---- timed release ------------------------------------------------------------------------------------------------

/** GET /v1/operations/releases: `{ releases: ReleasesView | null }`. Times are microseconds. */
export type ReleasesView = {
  readonly edge: string;
  /** What the edge knows of UTC. */
  readonly clock: { readonly status: 'starting' | 'sync' | 'single-host' | 'fault'; readonly cause: string; /** Half width of the interval; absent while nothing is known. */ readonly error?: number; readonly sources: readonly string[] };
  readonly events: readonly ReleaseEventView[];
  /** Edges in other processes, by their own word. */
  readonly others?: readonly {
    readonly edge: string;
    /** When they said so. */
    readonly at: number;
    readonly status: 'starting' | 'sync' | 'single-host' | 'fault';
    readonly error?: number;
    readonly events: readonly { readonly event: string; readonly connections: number; readonly released: number; readonly horizon: number; readonly held?: 'clock' | 'horizon' | 'key-server' | 'stopped'; readonly latenessP99?: number; readonly spreadP95?: number; readonly onTime?: number; readonly bytesHeld?: number }[];
  }[];
};
/** One timed event at this edge. */
export type ReleaseEventView = {
  readonly event: string;
  readonly mode: 'standard' | 'strict';
  readonly period: number;
  readonly delta: number;
  readonly connections: number;
  /** Highest period released, and its instant. */
  readonly released: number;
  readonly releasedAt?: number;
  /** How far ahead secrets are held. */
  readonly horizon: number;
  readonly held: 'clock' | 'horizon' | 'key-server' | 'stopped' | null;
  readonly figures: {
    readonly releases: number;
    readonly early: number;
    readonly latenessP50?: number;
    readonly latenessP99?: number;
    readonly latenessMax?: number;
    readonly spreadP50?: number;
    readonly spreadP95?: number;
    readonly sent: number;
    readonly skipped: number;
    readonly reports: number;
    readonly onTime?: number;
    readonly held?: number;
    readonly displayP50?: number;
    readonly displayP95?: number;
    readonly arrivalP99?: number;
    /** Arrivals of the last hour's reports by steps; `sealcast bench release-sim --mix` takes them as `recorded`. */
    readonly steps?: readonly number[];
    /** What δ they speak for, for the next event; `delta` in microseconds, quantiles in ms. */
    readonly advice?: { readonly delta: number; readonly q95: number; readonly q99: number; readonly viewers: number; readonly trimmed: number };
  };
  /** The seven instants per segment, newest first. */
  readonly segments: readonly {
    readonly segment: number;
    readonly captured: number;
    readonly packaged?: number;
    readonly sent?: number;
    readonly firstHeld?: number;
    readonly lastHeld?: number;
    readonly reports?: number;
    readonly keyAtEdge?: number;
    readonly keyPushed?: number;
    readonly releaseAt: number;
    readonly inOrder: boolean;
  }[];
};
