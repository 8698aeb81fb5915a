// SPDX-License-Identifier: Apache-2.0
/**
 * What roles need from the outside world, as types without code: clock, randomness, stores, peers, tools, telemetry.
 *
 * Each store port has one contract suite in `test/contracts/`, which every adapter passes. A resolved promise of a
 * write means it is durable for adapters that claim durability: kill -9 afterwards loses nothing.
 * Adapters throw SealcastError('store-unavailable') when their engine cannot be reached, and nothing else on purpose.
 * Length: everything that a deployment may replace, in one place.
 */
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import type { AccountId, AssetId, ContentKey, DeviceId, GrantKey, KeyGroup, KeyId, ProtectionScheme, ReleaseMode, SessionId } from '#core/ids.ts';
import type { EndReason } from '#core/license/reasons.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import type { ConcurrencyMode, PolicyOverride } from '#core/policy/decide-terms.ts';
import type { AccountHistory } from '#core/policy/account-history.ts';
import type { AccountRecord } from '#core/policy/enforcement.ts';
import type { CryptoPeriod, GrantGroup, KeySchedule, Micros, Millis } from '#core/time.ts';

// ---- time, randomness, peers --------------------------------------------------------------------------------------

/** Time as roles see it. Tests advance it by hand. */
export interface Clock {
  /** Wall time, microseconds UTC. */
  now(): Micros;
  /** Milliseconds since an arbitrary point, never stepping. */
  monotonic(): Millis;
  /** Calls `run` once after `delay`; returns a cancel function. */
  after(delay: Millis, run: () => void): () => void;
}

/** Randomness as roles see it. Tests seed it. */
export interface Random {
  /** `length` bytes from a cryptographically secure generator. */
  bytes(length: number): Uint8Array;
}

/** A peer role or server, reached in process or over HTTP. */
export type Fetch = (request: Request) => Promise<Response>;

/**
 * Makes a response. `new Response(...)` copies its body and validates every field; a runtime's adapter may have a cheaper
 * way for whole bodies in memory. The body must not be changed afterwards.
 */
export type ResponseFactory = (
  body: Uint8Array | ReadableStream<Uint8Array> | null,
  init: { readonly status: number; readonly headers: [string, string][] },
) => Response;

// ---- telemetry ----------------------------------------------------------------------------------------------------

/** Structured log. Fields must not hold keys, tokens or licence bodies. */
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** One line of the control room's live stream: something an operator would want to know. */
export type OperationalEvent = {
  readonly at: Micros;
  /** `<part>.<what>`, e.g. `session.started`, `ingest.refused`, `renewal.denied`, `edge.bundle-updated`. Stable. */
  readonly kind: string;
  readonly severity: 'info' | 'warning' | 'alert';
  /** One sentence for a person. */
  readonly message: string;
  readonly asset?: AssetId;
  readonly account?: AccountId;
  readonly session?: SessionId;
  /** Figures for charts and filters; no secrets. */
  readonly data?: Readonly<Record<string, number | string | boolean>>;
};
/** Where a role tells what an operator would want to know. Never blocks and never throws. */
export type EventSink = (event: OperationalEvent) => void;

/** Prometheus-shaped metrics. Names `sealcast_<part>_<what>_<unit>[_total]`; never user or session ids as labels. */
export interface Metrics {
  count(name: string, help: string, labels?: Readonly<Record<string, string>>, by?: number): void;
  gauge(name: string, help: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Seconds, into a histogram with default buckets. */
  observe(name: string, help: string, seconds: number, labels?: Readonly<Record<string, string>>): void;
}

// ---- keys ---------------------------------------------------------------------------------------------------------

/** What everyone may know about how an asset is keyed; travels in licences and to packagers. */
export type AssetKeying = {
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly scheme: ProtectionScheme;
  readonly mode: ReleaseMode;
  /** u16, raised only by recovery or re-pack. */
  readonly gen: number;
  /** 16 bytes, public; makes KIDs unguessable across assets. */
  readonly salt: Uint8Array;
  readonly schedule: KeySchedule;
  /** The decoy that sets up EME in stock players; encrypts no sample. */
  readonly entryKid: KeyId;
};

/** The content key of one crypto period, with the group whose grant opens it. */
export type PeriodKey = { readonly period: CryptoPeriod; readonly group: GrantGroup; readonly kid: KeyId; readonly key: ContentKey };

/** Key server → packager. In process or over HTTP (docs/wire/keys.md). */
export interface ContentKeySource {
  keying(asset: AssetId): Promise<AssetKeying>;
  /** Keys of periods [from, to). Refuses (`key-unavailable`) live periods more than 60 s ahead of the key server's clock. */
  contentKeys(request: { asset: AssetId; keyGroup: KeyGroup; from: CryptoPeriod; to: CryptoPeriod }): Promise<readonly PeriodKey[]>;
}

/** Key server → licence server. In process or over HTTP (docs/wire/keys.md). */
export interface GrantKeySource {
  keying(asset: AssetId): Promise<AssetKeying>;
  /** GK of groups [from, to), at most 4,096. */
  grantKeys(request: { asset: AssetId; from: GrantGroup; to: GrantGroup }): Promise<readonly { group: GrantGroup; key: GrantKey }[]>;
  /** The decoy entry key, 16 bytes: what `/v1/clearkey` answers. Not a content key. */
  entryKey(asset: AssetId): Promise<{ kid: KeyId; key: Uint8Array }>;
  /** Fixed keys imported for this asset (empty unless imported), each valid for [from, to) periods. */
  importedKeys(asset: AssetId): Promise<readonly ImportedKey[]>;
}
/** A fixed content key from a third-party packager or key service, valid for periods [from, to). */
export type ImportedKey = { readonly kid: KeyId; readonly key: ContentKey; readonly keyGroup: KeyGroup; readonly from: CryptoPeriod; readonly to: CryptoPeriod };

/** AES-256 key wrap (RFC 3394), synchronous. `unwrap` answers undefined for a wrong key-encryption key. */
export interface KeyWrapper {
  wrap(kek: Uint8Array, key: Uint8Array): Uint8Array;
  unwrap(kek: Uint8Array, wrapped: Uint8Array): Uint8Array | undefined;
}

/** Encrypts small secrets at rest under the key-encryption key, bound to a context string. */
export interface SecretBox {
  seal(plain: Uint8Array, context: string): Promise<Uint8Array>;
  /** Throws SealcastError('config-invalid') when sealed under another key or context. */
  open(sealed: Uint8Array, context: string): Promise<Uint8Array>;
}

// ---- stores -------------------------------------------------------------------------------------------------------

/** Key server's record of an asset. All secrets are sealed by a SecretBox before they get here. */
export type AssetKeyRecord = {
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly scheme: ProtectionScheme;
  readonly mode: ReleaseMode;
  readonly gen: number;
  readonly salt: Uint8Array;
  readonly periodMicros: number;
  readonly periodsPerGroup: number;
  readonly entryKid: Uint8Array;
  readonly sealedEntryKey: Uint8Array;
  /** Title key TK per generation. */
  readonly sealedTitleKeys: readonly { readonly gen: number; readonly sealed: Uint8Array }[];
  readonly importedKeys: readonly { readonly kid: Uint8Array; readonly sealed: Uint8Array; readonly keyGroup: KeyGroup; readonly from: number; readonly to: number }[];
  readonly createdAt: Micros;
};
/** Key records by asset. Durable. */
export interface AssetKeyStore {
  /** False if the asset exists already; nothing changes then. */
  create(record: AssetKeyRecord): Promise<boolean>;
  get(asset: AssetId): Promise<AssetKeyRecord | undefined>;
  list(): Promise<readonly AssetKeyRecord[]>;
  /** Replaces the record if its `gen` still equals `expectedGen`; false otherwise. */
  replace(record: AssetKeyRecord, expectedGen: number): Promise<boolean>;
}

/** An event or title as operators and viewers see it. */
export type CatalogueEntry = {
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly name: string;
  readonly state: 'created' | 'live' | 'ended' | 'ready' | 'failed';
  readonly createdAt: Micros;
  readonly endedAt?: Micros;
  /** Titles: length of the content. */
  readonly duration?: Micros;
  /** Events: SHA-256 (base64url) of the ingest credential. */
  readonly ingestCredentialHash?: string;
  /** `detect`: plain Clear Key players may have the keys of a sliding window. */
  readonly clearKey: 'off' | 'detect';
  /** What it is part of, for limits and counts: a league, a series. */
  readonly collection?: string;
  /** Licensing of this event or title in place of the service's. */
  readonly policy?: PolicyOverride;
  /** How its segments are marked per viewer; absent: they are not. */
  readonly marking?: AssetMarking;
};

/** Variants of an asset's segments, and the code book that chooses among them (docs/wire/edge-bundle.md, `marks`). */
export type AssetMarking = Pick<MarkPlan, 'sequencing' | 'representations' | 'names' | 'pace' | 'alphabet' | 'book' | 'schedule'> & {
  /** Length of a segment. */
  readonly segment: Micros;
  /** Titles: how many segments there are. */
  readonly segments?: number;
};

/** Key server → licence server: what edges choose variants with. Throws `not-found` for assets without a mark secret. */
export interface MarkKeySource {
  /** Mark keys of epochs [from, to), at most 4,096, and the key that closes viewer numbers into `wmid`. */
  markKeys(request: { asset: AssetId; from: number; to: number }): Promise<{ readonly version: number; readonly viewerKey: Uint8Array; readonly keys: readonly { readonly epoch: number; readonly key: Uint8Array }[] }>;
}

/** Viewer numbers of marked assets: given once per asset, account and device, dense from 16 on. Durable. */
export interface ViewerNumberStore {
  /** The number of a viewer, given now if it has none yet. Atomic: no two viewers of an asset share one. */
  give(viewer: { readonly asset: AssetId; readonly account: AccountId; readonly device: DeviceId }): Promise<number>;
  /** Whose number it is. */
  whose(asset: AssetId, number: number): Promise<{ readonly account: AccountId; readonly device: DeviceId } | undefined>;
  /** How many numbers of an asset were given: the population a tracer searches. */
  count(asset: AssetId): Promise<number>;
}
/** Events and titles by asset. Durable; `list` is in the order of creation. */
export interface CatalogueStore {
  create(entry: CatalogueEntry): Promise<boolean>;
  get(asset: AssetId): Promise<CatalogueEntry | undefined>;
  list(): Promise<readonly CatalogueEntry[]>;
  /** Replaces an existing entry; false if there is none. */
  update(entry: CatalogueEntry): Promise<boolean>;
}

/** A registered device. Revoked devices stay known, so that they cannot register again. */
export type DeviceRecord = {
  readonly device: DeviceId;
  readonly account: AccountId;
  readonly name: string;
  /** Public JWKs, P-256: ECDSA for proofs, ECDH for licences. */
  readonly sign: Readonly<Record<string, string>>;
  readonly agree: Readonly<Record<string, string>>;
  readonly registeredAt: Micros;
  readonly revokedAt?: Micros;
  /** Licensing on this device in place of the account's. */
  readonly policy?: PolicyOverride;
};
/** Registered devices. Durable. */
export interface DeviceStore {
  /**
   * Adds the device unless the account already has `cap` unrevoked ones. Atomic. Registering the same device and
   * account again answers `exists` and changes nothing; the same device under another account answers `taken`.
   */
  register(record: DeviceRecord, cap: number): Promise<'registered' | 'exists' | 'limit' | 'taken'>;
  get(device: DeviceId): Promise<DeviceRecord | undefined>;
  listByAccount(account: AccountId): Promise<readonly DeviceRecord[]>;
  revoke(device: DeviceId, at: Micros): Promise<boolean>;
  /** Licensing on this device from its next licence on; undefined removes what was set. False if the device is unknown. */
  setPolicy(device: DeviceId, policy: PolicyOverride | undefined): Promise<boolean>;
}

/** A viewing session from its start to its end; ended sessions stay for the control room and revocation lists. */
export type SessionRecord = {
  readonly session: SessionId;
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly deviceName: string;
  /** The device's public JWKs, so that an unregistered device can prove itself again for this session. */
  readonly sign: Readonly<Record<string, string>>;
  readonly agree: Readonly<Record<string, string>>;
  readonly asset: AssetId;
  readonly startedAt: Micros;
  /** When the account's entitlement to this session ends; a new licence after that needs a new entitlement. */
  readonly entitledUntil: Micros;
  /** The entitlement's own terms in ms, kept for new licences of the session; they tighten the service's, never loosen them. */
  readonly terms: { readonly interval?: number; readonly duration?: number };
  readonly endedAt?: Micros;
  readonly endReason?: string;
};
/** Viewing sessions. Durable. */
export interface SessionStore {
  /** Throws `already-exists` for a known session id. */
  create(record: SessionRecord): Promise<void>;
  get(session: SessionId): Promise<SessionRecord | undefined>;
  /** Ends a session once; false if unknown or already ended. */
  end(session: SessionId, at: Micros, reason: string): Promise<boolean>;
  /** Newest first. */
  list(filter: { account?: AccountId; asset?: AssetId; live?: boolean; limit: number }): Promise<readonly SessionRecord[]>;
  /** Sessions ended at or after `since`, for revocation lists. */
  endedSince(since: Micros): Promise<readonly SessionRecord[]>;
}

/** Things that may be used once (entitlement jti, nonces). */
export interface SingleUseStore {
  /** True exactly once per id until `expiresAt`; atomic. */
  claim(id: string, expiresAt: Micros, now: Micros): Promise<boolean>;
}

/** MK of one epoch, sealed, and when it may be used. */
export type MasterSecretRecord = {
  /** Epoch number; its low byte is byte 0 of every session id of the epoch. */
  readonly epoch: number;
  readonly sealed: Uint8Array;
  /** Sessions start under it in [notBefore, retireAt); renewals are served until notAfter. */
  readonly notBefore: Micros;
  readonly retireAt: Micros;
  readonly notAfter: Micros;
};
/** Master secrets by epoch. Durable; `list` is in the order of epochs. */
export interface MasterSecretStore {
  /** False if the epoch exists already. */
  create(record: MasterSecretRecord): Promise<boolean>;
  list(): Promise<readonly MasterSecretRecord[]>;
  remove(epoch: number): Promise<void>;
}

/** Named secrets made at first start (signing keys, service credentials), sealed by a SecretBox. */
export interface SecretStore {
  get(name: string): Promise<Uint8Array | undefined>;
  /** Stores unless present; answers what is stored afterwards. Atomic. */
  putIfAbsent(name: string, sealed: Uint8Array): Promise<Uint8Array>;
}

/** What an operator may do: look; also change events, sessions and devices; also see and export keys. */
export type OperatorRole = 'view' | 'operate' | 'keys';
/** An operator; the token itself is never stored. */
export type OperatorRecord = { readonly name: string; readonly role: OperatorRole; /** SHA-256 of the token, base64url. */ readonly tokenHash: string; readonly createdAt: Micros };
/** Operators by name and by token hash. Durable. */
export interface OperatorStore {
  create(record: OperatorRecord): Promise<boolean>;
  byTokenHash(tokenHash: string): Promise<OperatorRecord | undefined>;
  list(): Promise<readonly OperatorRecord[]>;
}

/** One action of an operator or of the service, chained to the entry before it. */
export type AuditEntry = {
  /** 1, 2, 3... without gaps. */
  readonly seq: number;
  readonly at: Micros;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, string | number | boolean>>;
  /** SHA-256 over the previous entry's hash and this entry (base64url). */
  readonly hash: string;
};
/** The audit chain. Durable; entries cannot be changed or removed. */
export interface AuditStore {
  /** Appends atomically; `seal` computes the hash from (previous hash, entry without hash). */
  append(entry: Omit<AuditEntry, 'seq' | 'hash'>, seal: (previous: string, entry: Omit<AuditEntry, 'hash'>) => string): Promise<AuditEntry>;
  /** Oldest first, from `afterSeq` exclusive. */
  read(afterSeq: number, limit: number): Promise<readonly AuditEntry[]>;
}

/** One initial licence or renewal served (B020). */
export type Heartbeat = {
  readonly session: SessionId;
  /** base64url of SHA-256(account id), as in the renewal state: a renewal node knows no more. `heartbeatAccount()` makes it. */
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly asset: AssetId;
  readonly at: Micros;
  readonly expiresAt: Micros;
  readonly kind: 'initial' | 'renewal';
};
/** Who is watching now. May forget at a restart; adapters say whether they do. */
export interface HeartbeatStore {
  /** Records it; a second heartbeat of the same session replaces the first. */
  record(heartbeat: Heartbeat): Promise<void>;
  /** Sessions with an unexpired heartbeat. */
  live(filter: { account?: AccountId; asset?: AssetId }, now: Micros): Promise<readonly Heartbeat[]>;
  remove(session: SessionId): Promise<void>;
}

// ---- counting -----------------------------------------------------------------------------------------------------

export type { ConcurrencyMode };

/** At most `limit` streams of one account in this scope; `key` is the title or collection, and empty for `account`. */
export type StreamLimit = { readonly scope: 'account' | 'title' | 'collection'; readonly key: string; readonly limit: number };
/**
 * A draw on the account's bucket of content (design section 3). It fills up to `capacity` at `refill` seconds of content
 * per second of server time, is full when first seen, and gives nothing back.
 */
export type BucketDraw = { readonly capacity: Micros; readonly refill: number; readonly cost: Micros };
/** Why a session may not go on, and which session took its place. */
export type SessionFlag = { readonly reason: EndReason; readonly by?: SessionId };

/** A session that wants to start, or wants a new licence under its old id. */
export type StreamStart = {
  /** Its `expiresAt` is when the session leaves the count unless it is renewed. */
  readonly heartbeat: Heartbeat;
  /** When the right ends, if that is later: flags and replays are remembered for as long again. */
  readonly rightUntil?: Micros;
  /** For the list of conflicts that another device of the account may see. */
  readonly deviceName: string;
  readonly collection?: string;
  readonly level: EnforcementLevel;
  /** All of them hold; absent scopes are unlimited. */
  readonly limits: readonly StreamLimit[];
  readonly mode: ConcurrencyMode;
  /** Sessions of the account that its viewer chose to end for this one. They end if, and only if, the start is granted. */
  readonly ends: readonly SessionId[];
  readonly bucket?: BucketDraw;
};
/** A live session as the store knows it. */
export type LiveSession = Omit<Heartbeat, 'kind'> & { readonly deviceName: string; readonly collection?: string; readonly level: EnforcementLevel; readonly startedAt: Micros };
/** What became of a start. A refusal changes nothing in the store. */
export type Admission =
  | {
      readonly granted: true;
      /** Sessions that this start ended because of a limit (terminate-oldest), oldest first: exactly as many as were over it. */
      readonly flagged: readonly SessionId[];
      /** Of the start's `ends`, those that were running. */
      readonly ended: readonly SessionId[];
      /** Detection only: the account is over a limit now. */
      readonly over: boolean;
      /** Streams in the scope of each of the start's limits, this one included. */
      readonly counts: readonly number[];
    }
  | { readonly granted: false; readonly because: 'limit'; readonly limit: StreamLimit; readonly conflicts: readonly LiveSession[] }
  | { readonly granted: false; readonly because: 'bucket'; readonly retryAfter: Micros }
  | { readonly granted: false; readonly because: 'ended'; readonly flag: SessionFlag };

/** An authentic renewal, before it is answered. */
export type StreamRenewal = {
  readonly heartbeat: Heartbeat;
  /** As of a start. */
  readonly rightUntil?: Micros;
  readonly level: EnforcementLevel;
  /** When the state that came with the request was issued. The answer's state is issued at `heartbeat.at`. */
  readonly issued: Micros;
  /** First 8 bytes of the request's MAC, base64url: tells a repeated request from another one with the same state. */
  readonly request: string;
  readonly bucket?: BucketDraw;
};
/** What the record says to a renewal. Only `counted` ones are extended. */
export type RenewalCount =
  | { readonly kind: 'flagged'; readonly flag: SessionFlag }
  /**
   * It has to prove its device again and be admitted anew. `clone`: its state is a fork of one that someone else goes on
   * with, or an older one rolled back to. `limit`: it was out of the count (expired or replaced) and its place is taken.
   */
  | { readonly kind: 'readmit'; readonly because: 'clone' | 'limit' }
  | {
      readonly kind: 'counted';
      /** When this request was first counted: the instant to answer it for, so that repeating it gives no longer right. */
      readonly at: Micros;
      readonly duplicate: boolean;
      /** `short`: the draw was refused and nothing was taken; `retryAfter` says when it would fit. */
      readonly bucket: 'ok' | 'short';
      readonly retryAfter?: Micros;
      /** Streams of the account. */
      readonly count: number;
    };
/** A heartbeat from a time when the record could not be reached. */
export type GatheredHeartbeat = Heartbeat & { readonly level: EnforcementLevel; readonly rightUntil?: Micros };
/** Whose streams to count. */
export type CountScope = { readonly account: AccountId } | { readonly title: AssetId } | { readonly collection: string } | 'service';

/**
 * The record of who is watching, on which limits are decided. Each call is atomic within one account, and one account's
 * calls touch one shard. Time is an argument: `heartbeat.at`, `at` or `now`, by server clocks.
 *
 * A session counts while its newest heartbeat has not expired and it is neither flagged nor replaced by a newer session
 * of the same device and title (a reload). Flags outlive the expiry by one term, so that no late renewal revives a session.
 * Adapters bound what they keep per account.
 */
export interface ConcurrencyStore {
  /** Repeating it for the same session is harmless: one session never counts twice. */
  admit(start: StreamStart): Promise<Admission>;
  /** A session that the record does not know (it started during an outage) is taken in. */
  renew(renewal: StreamRenewal): Promise<RenewalCount>;
  /** Out of the count at once, and not revived by a late renewal. False if it was not counted. */
  stop(account: AccountId, session: SessionId, at: Micros): Promise<boolean>;
  /** The first flag of a session stays. Also for sessions that this record does not know, until `until`. False if flagged before. */
  flag(account: AccountId, session: SessionId, flag: SessionFlag, at: Micros, until: Micros): Promise<boolean>;
  /** Takes a flag back; the session counts again if it still runs. False if there was none. */
  unflag(account: AccountId, session: SessionId, at: Micros): Promise<boolean>;
  /** Counted sessions, oldest first. */
  live(filter: { account?: AccountId; asset?: AssetId; collection?: string }, now: Micros): Promise<readonly LiveSession[]>;
  /** One number per scope. Scopes wider than an account may lag by one write. */
  counts(scopes: readonly CountScope[], now: Micros): Promise<readonly number[]>;
  /** Heartbeats gathered while the record was unreachable (B103). Older than what is known, expired or flagged ones change nothing. */
  writeBack(heartbeats: readonly GatheredHeartbeat[], now: Micros): Promise<void>;
}

/**
 * The concurrency record as roles use it: behind a circuit breaker, and never a fault. What cannot be answered in time is
 * undefined; the role then decides by what it knows, and the heartbeat is gathered here and written back later.
 */
export interface ConcurrencyRecord {
  admit(start: StreamStart): Promise<Admission | undefined>;
  renew(renewal: StreamRenewal): Promise<RenewalCount | undefined>;
  /** Kept here until the record takes it. */
  flag(account: AccountId, session: SessionId, flag: SessionFlag, until: Micros): Promise<void>;
  /** Keeps the heartbeat of a start that was served without an answer of the record. */
  gather(heartbeat: GatheredHeartbeat): void;
  /** Flags that went through this process: they hold in an emergency too. */
  knownFlag(session: SessionId): SessionFlag | undefined;
  /** Set while the breaker is open; `renewals` were answered without the record since then. */
  readonly emergency: { readonly since: Micros; readonly cause: string; readonly renewals: number } | undefined;
}

/** What is kept of an account beside its streams. `account` is the hash that heartbeats carry. */
export type AccountState = {
  readonly account: AccountId;
  readonly record: AccountRecord;
  /** Recorded events and moves, for operators; absent until something happened. */
  readonly history?: AccountHistory;
  /** What an operator set for it, and when. */
  readonly override?: PolicyOverride;
  readonly overrideAt?: Micros;
};
/** Enforcement records of accounts. Durable. */
export interface AccountStore {
  get(account: AccountId): Promise<AccountState | undefined>;
  /** Atomic: `change` sees what is stored and its answer is stored. It may be called again and must be pure. */
  update(account: AccountId, change: (current: AccountState | undefined) => AccountState): Promise<AccountState>;
  /** Accounts on a level, the latest move first. */
  list(filter: { level?: EnforcementLevel; limit: number }): Promise<readonly AccountState[]>;
  /** How many accounts there are on each level. */
  levels(): Promise<Readonly<Record<EnforcementLevel, number>>>;
}

// ---- media --------------------------------------------------------------------------------------------------------

/**
 * Finished objects (init segments, segments, playlists of titles) by path; used by origins and caches.
 * A path is 1-16 names joined by `/`, each 1-128 characters of [A-Za-z0-9._-] not starting with a dot; any other path
 * is refused with `bad-request`. No object's path may continue another object's path.
 */
export interface ObjectStore {
  /** Atomic: a reader sees the old object or the new one, never a part. Durable when it resolves. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  get(path: string): Promise<Uint8Array | undefined>;
  /** Bytes [start, end), cut at the object's size, without reading the rest; undefined if absent. */
  range(path: string, start: number, end: number): Promise<Uint8Array | undefined>;
  size(path: string): Promise<number | undefined>;
  /** Paths that start with this text, sorted by code unit. */
  list(prefix: string): Promise<readonly string[]>;
  /** Harmless if absent. */
  remove(path: string): Promise<void>;
}

/** The stores that must survive a restart: one database holds them all. */
export type DurableStores = {
  readonly assetKeys: AssetKeyStore;
  readonly catalogue: CatalogueStore;
  readonly devices: DeviceStore;
  readonly sessions: SessionStore;
  readonly singleUse: SingleUseStore;
  readonly masterSecrets: MasterSecretStore;
  readonly secrets: SecretStore;
  readonly operators: OperatorStore;
  readonly audit: AuditStore;
  readonly accounts: AccountStore;
  readonly viewerNumbers: ViewerNumberStore;
};

/** Every store of one deployment. */
export type Stores = DurableStores & { readonly heartbeats: HeartbeatStore; readonly objects: ObjectStore };

// ---- tools --------------------------------------------------------------------------------------------------------

/** One elementary stream found in an input. */
export type ProbedStream = {
  readonly index: number;
  readonly kind: 'video' | 'audio' | 'text';
  /** Name of the coding as ffmpeg spells it: `h264`, `aac`, `mp3`, `flac`, `subrip`... */
  readonly codec: string;
  readonly profile?: string;
  readonly pixelFormat?: string;
  readonly width?: number;
  readonly height?: number;
  readonly frameRate?: { readonly numerator: number; readonly denominator: number };
  readonly sampleRate?: number;
  readonly channels?: number;
  /** Bits per second, where the container says so. */
  readonly bitRate?: number;
  /** BCP 47; `und` when the input does not say. */
  readonly language: string;
  readonly title?: string;
  readonly captions: boolean;
};
/** What is in an input. `duration` is absent for streams without an end. */
export type MediaProbe = { readonly duration?: Micros; readonly streams: readonly ProbedStream[] };

/** How one stream becomes a CMAF track. `copy` keeps the coded samples. */
export type TrackConversion =
  | { readonly stream: number; readonly kind: 'video' | 'audio'; readonly copy: true }
  | { readonly stream: number; readonly kind: 'video'; readonly copy: false; readonly width: number; readonly height: number; readonly bitRate: number; readonly keyFrameEvery: Micros; /** Which of `marks` is added to the luma. */ readonly variant?: number }
  | { readonly stream: number; readonly kind: 'audio'; readonly copy: false; readonly bitRate: number };

/** What tells the variants of a video apart: per interval of the timeline one small picture per variant, added to the luma. */
export type VariantMarks = {
  readonly alphabet: number;
  /** Size of one variant's picture. */
  readonly width: number;
  readonly height: number;
  /** Interval 0 begins at media time 0. */
  readonly every: Micros;
  /** 8-bit 4:2:0, the variants' pictures below one another; 128 changes nothing. */
  picture(interval: number): Uint8Array;
};

/** Reads and converts media with a tool outside this process. Throws `tool-missing`, `media-malformed`, `media-unsupported`. */
export interface VideoTool {
  probe(file: string): Promise<MediaProbe>;
  /**
   * One CMAF byte stream per conversion, all timestamps later by exactly `offset`, so that audio priming before zero
   * survives. All streams have to be read at the same time; each throws when the conversion fails.
   */
  toCmaf(request: { file: string; tracks: readonly TrackConversion[]; fragment: Micros; marks?: VariantMarks; signal?: AbortSignal }): { readonly offset: Micros; readonly tracks: readonly AsyncIterable<Uint8Array>[] };
  /** A text stream as one WebVTT document. */
  toWebVtt(request: { file: string; stream: number; signal?: AbortSignal }): Promise<string>;
}

/** Decodes video of any origin into small gray pictures. Throws `tool-missing`, `media-malformed`. */
export interface FrameTool {
  /**
   * Luma of the first video stream, `width` x `height` bytes per frame, frame n at n / framesPerSecond seconds after the start
   * of the file. At most `limit` of media time is decoded; a decoder that uses more than its CPU time is ended.
   */
  grayFrames(request: { file: string; width: number; height: number; framesPerSecond: number; limit?: Micros; signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}
