// SPDX-License-Identifier: Apache-2.0
/**
 * The configuration of one process as a type: what every role's wiring reads. `schema.ts` says what each option means.
 *
 * Invariant: a `Config` was validated; units are in the names; it holds names of secrets' files, never a secret.
 */

import type { EnforcementOptions } from './enforcement-options.ts';
import type { ReleaseOptions } from './release-options.ts';
import type { TracingOptions } from './tracing-options.ts';

/** An address to listen on. */
export type Listen = { readonly host: string; readonly port: number };
/** A part of the service that this process runs. */
export type Role = 'packager' | 'key-server' | 'license-server' | 'renewal' | 'edge' | 'operations';
/** A renewal zone: one per region or third-party runtime; the index stands in every session id. */
export type Zone = { readonly index: number; readonly name: string };
/** A key of the operator's backend that signs entitlements; exactly one of `jwk`, `jwkFile` and `secretFile` is set. */
export type EntitlementKey = {
  readonly kid: string;
  readonly alg: 'ES256' | 'EdDSA' | 'HS256';
  readonly jwk?: Readonly<Record<string, string>>;
  readonly jwkFile?: string;
  readonly secretFile?: string;
};

/** An edge in another process, with the public keys that it wrote at its first start. */
export type EnrolledEdge = { readonly id: string; readonly publicFile: string; readonly zone: number; readonly renews: boolean };
/** A packager, licence server or key-server replica in another process, by the hash of its credential. */
export type ServiceCredential = { readonly role: 'packager' | 'license-server' | 'key-server'; readonly sha256: string };

/** Where alerts are sent; the secret signs them. */
export type WebhookAddress = { readonly url: string; readonly secretFile: string };

/** Where to ask the operator's backend who may watch. */
export type EntitlementCallbackAddress = { readonly url: string; readonly secretFile: string; readonly timeoutMillis: number };
/** Streams of one account at a time within one collection. */
export type CollectionLimit = { readonly name: string; readonly limit: number };

/** A complete, valid configuration. */
export type Config = {
  readonly data: string;
  readonly roles: readonly Role[];
  readonly listen: Listen;
  readonly adminListen?: Listen;
  readonly publicUrl?: string;
  readonly hosts: readonly string[];
  readonly tls: { readonly mode: 'off' | 'auto' | 'files'; readonly certFile?: string; readonly keyFile?: string };
  readonly zone: Zone;
  readonly zones: readonly Zone[];
  readonly keyEncryptionKey: { readonly file?: string; readonly env?: string };
  readonly licensing: {
    readonly intervalSeconds: number;
    readonly durationSeconds: number;
    readonly horizonSeconds: number;
    readonly maxLiveGrantSeconds: number;
    readonly levels: 'strict' | 'adaptive';
    readonly epochHours: number;
    readonly renewUrls: readonly string[];
    readonly licenseUrls: readonly string[];
    readonly startsAtOnce: number;
  };
  readonly concurrency: {
    readonly mode: 'detection-only' | 'deny-new' | 'terminate-oldest';
    readonly limit: number;
    readonly collections: readonly CollectionLimit[];
    readonly slotFreedBy: 'stop' | 'expiry';
    readonly uncounted: 'serve' | 'well-behaved' | 'refuse';
    readonly recordUrls: readonly string[];
    readonly recordTimeoutMillis: number;
    readonly emergencyFactor: number;
    readonly emergencyMaxSeconds: number;
  };
  readonly enforcement: EnforcementOptions;
  readonly time: { readonly peers: readonly string[]; readonly acceptStepsAfterSeconds: number };
  readonly usage: { readonly countedAfterSeconds: number };
  readonly devices: { readonly unregistered: 'allow' | 'deny'; readonly max: number };
  readonly entitlements: { readonly keys: readonly EntitlementKey[]; readonly callback?: EntitlementCallbackAddress };
  readonly packager: {
    readonly scheme: 'cenc' | 'cbcs';
    readonly segmentSeconds: number;
    readonly chunkMillis: number;
    readonly requireMark: boolean;
    readonly periodSeconds: number;
    readonly titlePeriodSeconds: number;
    readonly groupPeriods: number;
    readonly windowSeconds: number;
    readonly latencySeconds: number;
    readonly maxBehindSeconds: number;
  };
  readonly keyServer: { readonly name: string; readonly url?: string; readonly credentialFile?: string; readonly credentials: readonly ServiceCredential[] };
  readonly edges: readonly EnrolledEdge[];
  readonly origin: { readonly credentialFile?: string };
  readonly edge: {
    readonly id: string;
    readonly cacheMemoryMegabytes: number;
    readonly cacheDiskMegabytes: number;
    readonly withoutMarkPlaces: 'serve' | 'refuse';
    readonly unmarkable: 'serve' | 'refuse';
    readonly originUrl?: string;
    readonly bundleUrl?: string;
  };
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'auto' | 'json' | 'text' };
  readonly metrics: { readonly public: boolean };
  readonly release: ReleaseOptions;
  readonly tracing: TracingOptions;
  readonly webhooks: readonly WebhookAddress[];
};

/** Every property optional at every depth; lists are replaced whole. What command-line flags may override. */
export type ConfigOverrides = Overrides<Config>;
type Overrides<T> = { readonly [K in keyof T]?: T[K] extends readonly unknown[] ? T[K] : NonNullable<T[K]> extends object ? Overrides<NonNullable<T[K]>> : T[K] };
