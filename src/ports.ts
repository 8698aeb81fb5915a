// SPDX-License-Identifier: Apache-2.0
/**
 * What roles need from the outside world, as types without code: clock, randomness, stores, peers, tools, telemetry.
 *
 * Each store port has one contract suite in `test/contracts/`, which every adapter passes. A resolved promise of a
 * write means it is durable for adapters that claim durability: kill -9 afterwards loses nothing.
 * Adapters throw SealcastError('store-unavailable') when their engine cannot be reached, and nothing else on purpose.
 * Counting streams and media have files of their own (`ports/counting.ts`, `ports/media.ts`), re-exported here.
 */
import type { AccountId, AssetId, ContentKey, DeviceId, GrantKey, KeyGroup, KeyId, ProtectionScheme, ReleaseMode, SessionId } from '#core/ids.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { RootMonth } from '#core/subscription/root-keys.ts';
import type { CryptoPeriod, GrantGroup, KeySchedule, Micros, Millis } from '#core/time.ts';
import type { AccountStore, HeartbeatStore } from './ports/counting.ts';
import type { AssetMarking, ViewerNumberStore } from './ports/marking.ts';
import type { ObjectStore } from './ports/media.ts';
import type { CollectionStore, RootStore, UsageStore } from './ports/subscription.ts';
import type { LeakStore } from './ports/tracing.ts';
import type { OutboxStore } from './ports/outbox.ts';

export type * from './ports/counting.ts';
export type * from './ports/marking.ts';
export type * from './ports/media.ts';
export type * from './ports/offline.ts';
export type * from './ports/subscription.ts';
export type * from './ports/tracing.ts';
export type * from './ports/outbox.ts';
export type * from './ports/release.ts';

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
  init: { readonly status: number; readonly headers: [string, string][]; /** Told, where the runtime knows, that `body` was sent and is read by nobody any more. */ readonly done?: () => void },
) => Response;

/** An answer whose body is whole and in memory. Fields in the order they go out; `Content-Length` is one of them. */
export type WholeAnswer = { readonly status: number; readonly headers: readonly (readonly [name: string, value: string])[]; readonly bytes: Uint8Array };

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
export type PeriodKey = {
  readonly period: CryptoPeriod;
  readonly group: GrantGroup;
  readonly kid: KeyId;
  readonly key: ContentKey;
  /** In-band leaf of the group, where one was asked for: the month of its root key, and the grant key under it, 40 bytes. */
  readonly leaf?: { readonly month: RootMonth; readonly wrap: Uint8Array };
};

/** Key server → packager. In process or over HTTP (docs/wire/keys.md). */
export interface ContentKeySource {
  keying(asset: AssetId): Promise<AssetKeying>;
  /**
   * Keys of periods [from, to). Refuses (`key-unavailable`) live periods more than 60 s ahead of the key server's clock. `bundle`: the
   * collection whose subscribers open an untimed event with in-band leaves.
   */
  contentKeys(request: { asset: AssetId; keyGroup: KeyGroup; from: CryptoPeriod; to: CryptoPeriod; bundle?: string }): Promise<readonly PeriodKey[]>;
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
  /** Many at once, in the order asked; undefined for unknown assets. One read of the store, however many. */
  getMany(assets: readonly AssetId[]): Promise<readonly (AssetKeyRecord | undefined)[]>;
  /** Another number than before after any record was made or changed, by whatever process; cheap, so that callers can keep records. */
  revision(): Promise<number>;
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
  /** Events whose keys are released at their instants; absent: untimed. */
  readonly timed?: EventTiming;
  /** Untimed events: the collection whose subscribers open it live, without a request at key changes. All of its media is kept. */
  readonly bundle?: string;
  /** Ended events that were kept: their media time, [from, to) Unix. They are licensed as titles are. */
  readonly archive?: { readonly from: Micros; readonly to: Micros };
};

/** How a timed event is released. Never changed once it exists: clients and edges pin it. */
export type EventTiming = Omit<ReleaseInfo, 'event'> & {
  /** Edges that may have its release secrets; `all`: every enrolled one. This one may change. */
  readonly edges: 'all' | readonly string[];
};

/** Events and titles by asset. Durable; `list` is in the order of creation. */
export interface CatalogueStore {
  create(entry: CatalogueEntry): Promise<boolean>;
  get(asset: AssetId): Promise<CatalogueEntry | undefined>;
  /** Many at once, in the order asked; undefined for unknown assets. One read of the store, however many. */
  getMany(assets: readonly AssetId[]): Promise<readonly (CatalogueEntry | undefined)[]>;
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
  readonly leaks: LeakStore;
  readonly collections: CollectionStore;
  readonly roots: RootStore;
  readonly usage: UsageStore;
  readonly outbox: OutboxStore;
};

/** Every store of one deployment. */
export type Stores = DurableStores & { readonly heartbeats: HeartbeatStore; readonly objects: ObjectStore };
