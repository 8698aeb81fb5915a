// SPDX-License-Identifier: Apache-2.0
/**
 * Builds the roles that a configuration names, each from its ports and its peers: the neighbour in this process where
 * there is one, else the HTTP client of the same interface.
 *
 * Invariant: a role that lacks a peer is refused at start with the option that names it; nothing is half wired.
 */
import { join } from 'node:path';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { nodeEs256 } from '#adapters/node/es256.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import type { NodeMetrics } from '#adapters/node/metrics.ts';
import { nodeSealTo } from '#adapters/node/seal.ts';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { createHttpKeys } from '#adapters/http/keys.ts';
import { decodeBase64url } from '#core/bytes/base64url.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { policyVersion, type PolicyVersion } from '#core/license/decide.ts';
import type { EnforcementPolicy } from '#core/policy/enforcement.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { type BundleSource, createBundleClient, createEdge, type Edge } from '#edge/index.ts';
import { createKeyServer, createMarkKeys, hashCredential, type KeyServer } from '#key-server/index.ts';
import { createLicenseServer, type EntitlementKey, type LicenseServer, type LicenseServerOptions } from '#license-server/index.ts';
import { createLiveOriginals, createPackager, type Packager } from '#packager/index.ts';
import type { Clock, ContentKeySource, EventSink, GrantKeySource, LeafKeySource, Log, MarkBoxKeySource, MarkKeySource, Random, SecretBox } from '#ports';
import { createRenewal, flagsOfBundle, type Renewal, zonesOfBundle } from '#renewal/index.ts';
import { type Config, enforcementPolicy, type Role } from './config/index.ts';
import type { Counting } from './counting.ts';
import { loadEntitlementCallback } from './entitlement-keys.ts';
import { enrolledEdges, readCredential } from './peers.ts';
import { liveMarks } from './live-marks.ts';
import type { Release } from './release.ts';
import type { OwnSecrets } from './secrets.ts';
import type { OpenStores } from './stores.ts';

/** What roles are built from. */
export type Parts = {
  readonly config: Config;
  /** In place of the configured terms, for demos that scale time. */
  readonly terms?: Partial<PolicyVersion>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: NodeMetrics;
  readonly events: EventSink;
  readonly stores: OpenStores;
  readonly counting: Counting;
  /** Whether this process's clock may date licences. */
  readonly trusted: () => boolean;
  /** Hears what edges in other processes fetched of marked assets. */
  readonly onTraffic?: LicenseServerOptions['onTraffic'];
  readonly box: SecretBox;
  readonly secrets: OwnSecrets;
  /** Timed release of this process. */
  readonly release?: Pick<Release, 'releaseSecret' | 'releases' | 'packaged'>;
  /** Hears what edges know of sessions that ended because of a leak. */
  readonly onCarriers: NonNullable<LicenseServerOptions['onCarriers']>;
  /** Beside the configured ones, e.g. the demo issuer's. */
  readonly entitlementKeys: readonly EntitlementKey[];
};

/** The roles of this process. */
export type Roles = {
  readonly keyServer?: KeyServer;
  readonly packager?: Packager;
  readonly licenseServer?: LicenseServer;
  readonly renewal?: Renewal;
  readonly edge?: Edge;
};

const missing = (role: Role, option: string): SealcastError =>
  new SealcastError('config-invalid', `role ${role} runs without its peer in this process; set ${option}`);

/** Renewals that nobody tells the licence server of are not missing: then no account moves for want of them. */
const whatIsSeen = ({ roles, edges, concurrency }: Config, policy: EnforcementPolicy): EnforcementPolicy =>
  concurrency.recordUrls.length > 0 || (roles.includes('renewal') && !edges.some(({ renews }) => renews))
    ? policy
    : { ...policy, suppression: { ...policy.suppression, licenses: Number.MAX_SAFE_INTEGER }, restarts: { ...policy.restarts, titles: Number.MAX_SAFE_INTEGER } };

/** The configured policy. */
const termsOf = ({ config, terms }: Pick<Parts, 'config' | 'terms'>): Partial<PolicyVersion> => {
  const { licensing, concurrency, enforcement } = config;
  return {
    mode: concurrency.mode,
    ...(concurrency.limit > 0 && { limit: concurrency.limit }),
    ...(licensing.levels === 'adaptive' && { enforcement: whatIsSeen(config, enforcementPolicy(enforcement, licensing)) }),
    interval: licensing.intervalSeconds * 1000,
    duration: licensing.durationSeconds * 1000,
    maxLiveGrant: licensing.maxLiveGrantSeconds * 1000,
    emergencyFactor: concurrency.emergencyFactor,
    emergencyCap: concurrency.emergencyMaxSeconds * 1000,
    ...terms,
  };
};

/** Mark keys from the secrets of this process. */
const ownMarkKeys = ({ secrets }: Parts): MarkKeySource => createMarkKeys({ secret: async (asset) => decodeBase64url(await secrets.text(`mark/${asset}`)) });

const buildKeyServer = async (parts: Parts): Promise<KeyServer> => {
  const { config, clock, random, log, metrics, events, stores, box, secrets } = parts;
  const own = await Promise.all((['packager', 'license-server'] as const).map(async (role) => ({ role, tokenHash: hashCredential(await secrets.text(`service/${role}`)) })));
  return createKeyServer({ store: stores.assetKeys, box, random, clock, credentials: [...own, ...config.keyServer.credentials.map(({ role, sha256 }) => ({ role, tokenHash: sha256 }))], marks: ownMarkKeys(parts), roots: { secret: async (collection) => decodeBase64url(await secrets.text(`root/${collection}`)), wrapper: nodeKeyWrapper }, hash: nodeLadderHash, ...(parts.release?.releaseSecret && { releaseSecret: parts.release.releaseSecret }), log, events, metrics });
};

const remoteKeys = async (role: Role, { config }: Parts): Promise<ContentKeySource & GrantKeySource & LeafKeySource & MarkKeySource> => {
  const { url, credentialFile } = config.keyServer;
  if (url === undefined || credentialFile === undefined) throw missing(role, 'keyServer.url and keyServer.credentialFile');
  return createHttpKeys({ baseUrl: url, credential: await readCredential(credentialFile) });
};

const buildLicenseServer = async (parts: Parts, keys: GrantKeySource & LeafKeySource, marks: MarkKeySource): Promise<LicenseServer> => {
  const { config, clock, random, log, metrics, events, stores, box, counting } = parts;
  const { licensing } = config;
  const edges = await enrolledEdges(config.edges);
  const callback = await loadEntitlementCallback(config.entitlements.callback);
  return createLicenseServer({
    issuer: config.publicUrl ?? 'sealcast',
    keys,
    catalogue: stores.catalogue, sessions: stores.sessions, devices: stores.devices, singleUse: stores.singleUse, masterSecrets: stores.masterSecrets, secrets: stores.secrets, heartbeats: stores.heartbeats,
    box,
    wrapper: nodeKeyWrapper,
    hash: nodeLadderHash,
    sealTo: nodeSealTo,
    es256: nodeEs256,
    respond: bufferedResponse,
    subscriptions: { keys, collections: stores.collections, roots: stores.roots, usage: stores.usage, countedAfter: microsFromSeconds(config.usage.countedAfterSeconds) },
    entitlementKeys: parts.entitlementKeys,
    ...(callback !== undefined && { entitlementCallback: callback }),
    collectionLimits: Object.fromEntries(config.concurrency.collections.map(({ name, limit }) => [name, limit])),
    record: counting.record,
    renewsElsewhere: config.concurrency.recordUrls.length > 0,
    accounts: stores.accounts,
    marking: { keys: marks, viewers: stores.viewerNumbers, catalogue: stores.catalogue },
    ...(parts.onTraffic && { onTraffic: parts.onTraffic }),
    uncounted: config.concurrency.uncounted,
    slotFreedBy: config.concurrency.slotFreedBy,
    load: counting.load,
    trusted: parts.trusted,
    startsAtOnce: licensing.startsAtOnce,
    zones: [config.zone, ...config.zones.filter(({ index }) => index !== config.zone.index)],
    edges: (edge) => edges.get(edge),
    policy: termsOf(parts),
    unregisteredDevices: config.devices.unregistered,
    deviceLimit: config.devices.max,
    ...(parts.release && { releases: parts.release.releases }),
    ...(licensing.renewUrls.length > 0 && { renewUrls: licensing.renewUrls }),
    ...(licensing.licenseUrls.length > 0 && { licenseUrls: licensing.licenseUrls }),
    liveHorizon: microsFromSeconds(licensing.horizonSeconds),
    // Whatever manifests still list must be licensable.
    timeShift: microsFromSeconds(config.packager.windowSeconds),
    epochLength: microsFromSeconds(licensing.epochHours * 3600),
    onCarriers: parts.onCarriers,
    random, clock, log, events, metrics,
  });
};

const buildPackager = (parts: Parts, keys: ContentKeySource, marks: MarkBoxKeySource): Packager => {
  const { config, clock, random, log, metrics, events, stores } = parts;
  const { packager } = config;
  return createPackager({
    keys,
    store: stores.media,
    aes: nodeSampleAes,
    random, clock, log, events, metrics,
    tolerance: { behind: microsFromSeconds(packager.maxBehindSeconds), ahead: microsFromSeconds(10) },
    times: {
      segmentDuration: microsFromSeconds(packager.segmentSeconds),
      chunkDuration: (packager.chunkMillis * 1000) as Micros,
      window: microsFromSeconds(packager.windowSeconds),
      targetLatency: microsFromSeconds(packager.latencySeconds),
    },
    async marks(asset) {
      const marking = (await stores.catalogue.get(asset))?.marking;
      return marking && liveMarks({ asset, marking, keys: marks, config });
    },
    bundle: async (asset) => (await stores.catalogue.get(asset))?.bundle,
    async originals(asset) {
      const { referenceMinutes } = config.tracing;
      const marking = (await stores.catalogue.get(asset))?.marking;
      if (marking === undefined || marking.inBand !== undefined || referenceMinutes === 0) return undefined;
      const onFault = (error: unknown): void => log.error('an original could not be kept for tracing', { asset, fault: error instanceof Error ? error.message : String(error) });
      return createLiveOriginals({ store: createFileObjectStore({ root: join(config.data, 'tracing'), durability: 'process' }), asset, marking, keep: microsFromSeconds(referenceMinutes * 60), onFault });
    },
    onTimedChunk: (asset, _track, segment) => parts.release?.packaged(asset, segment),
    async timing(asset: AssetId) {
      const timed = (await stores.catalogue.get(asset))?.timed;
      return timed && { strict: timed.mode === 'strict', pad: config.release.pad, latency: (timed.firstRelease + timed.delta) as Micros };
    },
    async ingestAccess(asset: AssetId) {
      const entry = await stores.catalogue.get(asset);
      if (entry === undefined || entry.kind !== 'event' || entry.ingestCredentialHash === undefined) return undefined;
      return { credentialHash: entry.ingestCredentialHash, open: entry.state !== 'ended' };
    },
  });
};

const buildPackagerWith = async (parts: Parts, keyServer: KeyServer | undefined): Promise<Packager> => {
  if (keyServer !== undefined) return buildPackager(parts, keyServer, ownMarkKeys(parts));
  const remote = await remoteKeys('packager', parts);
  return buildPackager(parts, remote, remote);
};

/** Remembers the newest bundle that passes by, for a renewal node beside the edge. */
const tapped = (source: BundleSource): { source: BundleSource; newest: () => EdgeBundle | undefined } => {
  let newest: EdgeBundle | undefined;
  return {
    newest: () => newest,
    source: async (request) => {
      const bundle = await source(request);
      if (bundle !== undefined) newest = bundle;
      return bundle;
    },
  };
};

const bundleSource = async (parts: Parts, licenseServer: LicenseServer | undefined): Promise<BundleSource> => {
  const { config, clock, random, secrets } = parts;
  const { id, bundleUrl } = config.edge;
  if (licenseServer !== undefined) return licenseServer.bundleSource({ edge: id, zone: config.zone.index, renews: config.roles.includes('renewal') });
  if (bundleUrl === undefined) throw missing('edge', 'edge.bundleUrl');
  const [sign, agree] = await Promise.all([secrets.keyPair('edge/sign', 'ES256'), secrets.keyPair('edge/agree', 'ECDH-ES')]);
  return createBundleClient({ server: bundleUrl, edge: id, signKey: sign.privateJwk, agreeKey: agree.privateJwk, fetch: (request) => fetch(request), clock, random });
};

const buildEdge = async (parts: Parts, source: BundleSource, packager: Packager | undefined): Promise<Edge> => {
  const { config, clock, random, log, metrics, events } = parts;
  const { originUrl, cacheMemoryMegabytes, cacheDiskMegabytes, withoutMarkPlaces, unmarkable } = config.edge;
  if (packager === undefined && originUrl === undefined) throw missing('edge', 'edge.originUrl');
  const local = packager !== undefined && originUrl === undefined;
  return createEdge({
    origin: local ? (request) => packager.originHandler(request) : (request) => fetch(request),
    originBase: local ? 'http://origin.internal/origin' : (originUrl ?? ''),
    ...(!local && config.origin.credentialFile !== undefined && { originAuthorization: `Bearer ${await readCredential(config.origin.credentialFile)}` }),
    bundle: source,
    cache: {
      memoryBytes: cacheMemoryMegabytes * 2 ** 20,
      ...(cacheDiskMegabytes > 0 ? { disk: { store: createFileObjectStore({ root: join(config.data, 'edge-cache') }), bytes: cacheDiskMegabytes * 2 ** 20 } } : {}),
    },
    marking: { noSites: withoutMarkPlaces, unmarkable },
    clock, random, log, metrics, events,
    respond: bufferedResponse,
  });
};

/** Builds what `config.roles` names. Throws `config-invalid` naming the missing option. */
export const buildRoles = async (parts: Parts): Promise<Roles> => {
  const { config, stores, counting, clock, log, metrics, events } = parts;
  const has = (role: Role): boolean => config.roles.includes(role);
  const keyServer = has('key-server') ? await buildKeyServer(parts) : undefined;
  const packager = has('packager') ? await buildPackagerWith(parts, keyServer) : undefined;
  const licenseServer = !has('license-server')
    ? undefined
    : keyServer !== undefined
      ? await buildLicenseServer(parts, keyServer, ownMarkKeys(parts))
      : await remoteKeys('license-server', parts).then((remote) => buildLicenseServer(parts, remote, remote));
  const bundle = has('edge') || (has('renewal') && licenseServer === undefined) ? tapped(await bundleSource(parts, licenseServer)) : undefined;
  const edge = has('edge') && bundle !== undefined ? await buildEdge(parts, bundle.source, packager) : undefined;
  if (has('renewal') && licenseServer === undefined && edge === undefined) throw missing('renewal', 'roles: [renewal, edge], or run it beside the licence server');
  const renewal = has('renewal')
    ? createRenewal({
        ...(licenseServer !== undefined
          ? { zones: licenseServer.zoneKeys, flags: licenseServer.flags, policy: licenseServer.policy }
          : { zones: zonesOfBundle(() => bundle?.newest()), flags: flagsOfBundle(() => bundle?.newest()), policy: policyVersion(termsOf(parts)) }),
        ...(licenseServer !== undefined && { accounts: licenseServer.accounts }),
        heartbeats: stores.heartbeats,
        record: counting.record,
        load: () => counting.load().factor,
        trusted: parts.trusted,
        hash: nodeLadderHash,
        respond: bufferedResponse,
        clock, log, events, metrics,
      })
    : undefined;
  return {
    ...(keyServer && { keyServer }),
    ...(packager && { packager }),
    ...(licenseServer && { licenseServer }),
    ...(renewal && { renewal }),
    ...(edge && { edge }),
  };
};
