// SPDX-License-Identifier: Apache-2.0
/** What a licence server is built from, and what others may ask of it. Types only. */
import type { AccountId, DeviceId, SessionId } from '#core/ids.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { EdgeCarrier } from '#core/edge-bundle/edge-carriers.ts';
import type { EdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { PolicyVersion } from '#core/license/decide.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import type { EndReason } from '#core/license/reasons.ts';
import type { ZoneKeysFinder } from '#core/license/zone-keys.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Es256, SealTo } from '#crypto/jose.ts';
import type { Accounts } from './accounts.ts';
import type { EntitlementCallbackOptions } from './entitlement-callback.ts';
import type { AccountStore, CatalogueStore, Clock, CollectionStore, ConcurrencyRecord, DeviceStore, EventSink, GrantKeySource, HeartbeatStore, KeyWrapper, LeafKeySource, Log, MarkKeySource, MasterSecretStore, Metrics, Random, ResponseFactory, RootStore, SecretBox, SecretStore, SessionStore, SingleUseStore, UsageStore, ViewerNumberStore } from '#ports';

/** A key of an operator's backend. `key`: public JWK for ES256 (P-256) and EdDSA (Ed25519), at least 32 bytes for HS256. */
export type EntitlementKey = {
  readonly kid: string;
  readonly alg: 'ES256' | 'EdDSA' | 'HS256';
  readonly key: JsonWebKey | Uint8Array;
  /** Only tokens with this `iss` are accepted under the key; absent: any. */
  readonly issuer?: string;
};

/** A zone as configured; `name` goes into the key ladder, so renaming one ends its sessions. */
export type Zone = { readonly index: number; readonly name: string };

/** An edge that may ask for bundles. */
export type EnrolledEdge = {
  readonly edge: string;
  readonly sign: PublicJwk;
  readonly agree: PublicJwk;
  /** Index of its zone. */
  readonly zone: number;
  /** True gives it the zone key, with which it can renew. */
  readonly renews: boolean;
};

/** What a licence server is built from. */
export type LicenseServerOptions = {
  /** `iss` of licences. */
  readonly issuer: string;
  readonly keys: GrantKeySource;
  readonly catalogue: Pick<CatalogueStore, 'get' | 'getMany'>;
  readonly sessions: SessionStore;
  readonly devices: DeviceStore;
  readonly singleUse: SingleUseStore;
  readonly masterSecrets: MasterSecretStore;
  readonly secrets: SecretStore;
  readonly heartbeats: HeartbeatStore;
  readonly box: SecretBox;
  readonly wrapper: KeyWrapper;
  /** What subscriptions need; absent: nothing is sold by subscription. */
  readonly subscriptions?: {
    readonly keys: LeafKeySource;
    readonly collections: CollectionStore;
    readonly roots: RootStore;
    readonly usage: UsageStore;
    /** Played for this long, a play counts; half of a shorter title does too. Default 30 s. */
    readonly countedAfter?: Micros;
  };
  readonly entitlementKeys: readonly EntitlementKey[];
  /** Asks the operator's backend about tokens that are not signed entitlements. Absent: they are refused. */
  readonly entitlementCallback?: EntitlementCallbackOptions;
  /** All zones; new sessions start in the first. Default: one, index 0, `core`. */
  readonly zones?: readonly Zone[];
  readonly edges?: (edge: string) => EnrolledEdge | undefined | Promise<EnrolledEdge | undefined>;
  readonly policy?: Partial<PolicyVersion>;
  /** Whether a device that its account did not register may play. Default `allow`. */
  readonly unregisteredDevices?: 'allow' | 'deny';
  /** Unrevoked devices per account. Default 10. */
  readonly deviceLimit?: number;
  /** Where clients renew and get new licences: absolute, or relative to the server that answered. */
  readonly renewUrls?: readonly string[];
  readonly licenseUrls?: readonly string[];
  /** Media time that an event's licence covers from now on. Default 60 min. */
  readonly liveHorizon?: Micros;
  /** Media time behind live that an event's licence still opens. Default 5 min. */
  readonly timeShift?: Micros;
  /** Sessions start under one master secret for so long. Default 24 h. */
  readonly epochLength?: Micros;
  /** Renewals under it are served for so long after; the longest a session can last. Default 24 h. */
  readonly epochOverlap?: Micros;
  /** Counts sessions, so that limits hold. Absent: no limits. */
  readonly record?: ConcurrencyRecord;
  /** Whether other processes renew sessions of this service, too; then the record is asked for their renewals before an account is judged. Default: no. */
  readonly renewsElsewhere?: boolean;
  /** Enforcement levels of accounts. */
  readonly accounts: AccountStore;
  /** Streams per account at a time within a collection. */
  readonly collectionLimits?: Readonly<Record<string, number>>;
  /** Starts while sessions cannot be counted: all, those of accounts below level 3 (default), or none. */
  readonly uncounted?: 'serve' | 'well-behaved' | 'refuse';
  /** What frees the place of a session that its viewer stopped: the stop, or the end of its licence. Default `stop`; an account of level 3 waits for a crypto period then. */
  readonly slotFreedBy?: 'stop' | 'expiry';
  /** Whether the clock may date licences; while it may not, everything that depends on time is refused with `clock-untrusted`. Default: always. */
  readonly trusted?: () => boolean;
  /** Starts worked on at the same time; more are refused with `overloaded`, so that renewals beside them never wait for long. Default: any number. */
  readonly startsAtOnce?: number;
  /** How overloaded this process is: a factor on periods, and whether new sessions are turned away. Default: never. */
  readonly load?: () => { readonly factor: number; readonly sheds: boolean };
  /** Marked assets: their keys, viewer numbers and the catalogue that says how they are marked. Absent: nothing is marked. */
  readonly marking?: { readonly keys: MarkKeySource; readonly viewers: ViewerNumberStore; readonly catalogue: Pick<CatalogueStore, 'list'> & Partial<Pick<CatalogueStore, 'get' | 'update'>> };
  /** Timed events: where clients get releases, and the keys that sign their schedules. Absent: the server that answered, and no keys. */
  readonly releases?: () => { readonly urls: readonly string[]; readonly keys: readonly object[]; /** Connections of an account per edge. */ readonly connections?: number };
  /** Hears what edges know of sessions that ended because of a leak. */
  readonly onCarriers?: (edge: string, carriers: readonly EdgeCarrier[]) => void;
  /** Hears what edges in other processes say they fetched of marked assets: totals since their start. */
  readonly onTraffic?: (edge: string, traffic: readonly EdgeTraffic[]) => void;
  /** Pause between two looks at what other licence servers changed. Default 1 s. */
  readonly refreshEvery?: Millis;
  /** Hashes of the key ladder; default: the portable ones. `#adapters/node/ladder-hash.ts` is faster. */
  readonly hash?: LadderHash;
  /** What seals licences; default: WebCrypto. `#adapters/node/seal.ts` is faster. */
  readonly sealTo?: SealTo;
  /** What checks proofs and entitlements and signs licences; default: WebCrypto. `#adapters/node/es256.ts` is faster. */
  readonly es256?: Es256;
  /** How answers are made; default: the platform's `Response`. `#adapters/node/http-response.ts` is faster behind `serve`. */
  readonly respond?: ResponseFactory;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** A running licence server. */
export type LicenseServer = {
  readonly handler: (request: Request) => Promise<Response>;
  /** Ends a session: no new licence, no renewal, no media. False if it is unknown or was over. */
  endSession(session: SessionId, reason: EndReason): Promise<boolean>;
  /** Ends all running sessions of an account; answers how many. */
  endAccount(account: AccountId, reason: EndReason): Promise<number>;
  /** Revokes a device and ends its sessions. False if it is unknown or was revoked. */
  revokeDevice(device: DeviceId): Promise<boolean>;
  /** For renewal nodes in this process. */
  readonly zoneKeys: ZoneKeysFinder;
  readonly flags: (session: SessionId, device: DeviceId) => EndReason | undefined;
  readonly policy: PolicyVersion;
  /** Bundles for an edge in this process; the edge's own long-poll without HTTP. */
  bundleSource(edge: Pick<EnrolledEdge, 'edge' | 'zone' | 'renews'>): (request: { readonly version: number; readonly wait: Millis; readonly signal: AbortSignal; readonly carriers?: readonly EdgeCarrier[] }) => Promise<EdgeBundle | undefined>;
  /** Where accounts stand, for renewal nodes in this process and for operators. */
  readonly accounts: Accounts;
  /** Takes over what other licence servers changed and rotates master secrets that are due; also runs by itself. */
  refresh(): Promise<void>;
  /** Stops the background work and answers waiting long-polls. */
  close(): void;
};
