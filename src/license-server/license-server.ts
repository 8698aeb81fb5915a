// SPDX-License-Identifier: Apache-2.0
/**
 * The licence server: session starts, licences, devices, stops, Clear Key and edge bundles, put together from their steps.
 *
 * docs/wire/session.md, docs/wire/edge-bundle.md, design sections 3, 6 and 9.
 * Invariant: whatever ends a session reaches renewals and bundles of this process at once, and those of others by `refresh`.
 */
import { SealcastError } from '#core/errors.ts';
import { endsRemembered, policyVersion } from '#core/license/decide.ts';
import type { Micros, Millis } from '#core/time.ts';
import { sealTo } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { createAccounts } from './accounts.ts';
import { createAdmission } from './admission.ts';
import { BUNDLE_VALIDITY, createBundles } from './bundle.ts';
import { createClearKey } from './clear-key.ts';
import { createEndings } from './end-session.ts';
import { createEntitlementCallback } from './entitlement-callback.ts';
import { createEntitlements } from './entitlements.ts';
import { createLicensing } from './grant-license.ts';
import { createIssuer } from './issue.ts';
import { createDownloads } from './downloads.ts';
import { createLeaves } from './leaves.ts';
import { createMarking } from './marking.ts';
import { createMasterSecrets } from './master-secrets.ts';
import type { LicenseServer, LicenseServerOptions, Zone } from './options.ts';
import { createRegisterDevice } from './register-device.ts';
import { createRelicense } from './relicense.ts';
import { createRevocations } from './revocations.ts';
import { createRoots } from './roots.ts';
import { createRoutes } from './routes.ts';
import { loadServerSecrets } from './server-secrets.ts';
import { createSignedTime } from './signed-time.ts';
import { createStartSession } from './start-session.ts';
import { createUsage } from './usage.ts';

const HOUR = 3_600_000_000;
const DEFAULTS = {
  zones: [{ index: 0, name: 'core' }] satisfies readonly Zone[],
  liveHorizon: HOUR as Micros,
  timeShift: (HOUR / 12) as Micros,
  epochLength: (24 * HOUR) as Micros,
  epochOverlap: (24 * HOUR) as Micros,
  deviceLimit: 10,
  refreshEvery: 1000 as Millis,
  renewUrls: ['/v1/renew'],
  licenseUrls: ['/v1/licenses'],
} as const;
/**
 * An edge that is cut off may renew a session that it does not know to be over for as long as its bundle is valid, and the last
 * right given then lasts two terms. A minute more is for clocks that differ.
 */
const REVOCATION_MARGIN = BUNDLE_VALIDITY + 60_000_000;

/** Loads or makes the server's secrets. Throws `config-invalid` naming the option. */
export const createLicenseServer = async (options: LicenseServerOptions): Promise<LicenseServer> => {
  const { keys, catalogue, sessions, devices, singleUse, heartbeats, wrapper, random, clock, log, events, metrics, box } = options;
  const given = { ...DEFAULTS, ...options };
  const { timeShift, liveHorizon } = given;
  const zones: readonly Zone[] = given.zones;
  const [home] = zones;
  if (home === undefined || new Set(zones.map(({ index }) => index)).size !== zones.length) throw new SealcastError('config-invalid', 'zones: at least one, each with its own index');

  const policy = policyVersion(options.policy);
  const secrets = await loadServerSecrets({ secrets: options.secrets, box, random, es256: options.es256 });
  const masterSecrets = createMasterSecrets({ store: options.masterSecrets, box, random, clock, zones, epochLength: given.epochLength, overlap: given.epochOverlap, log, events });
  const revocations = createRevocations({ store: sessions, keep: (endsRemembered(policy) * 1000 + REVOCATION_MARGIN) as Micros });
  const marking = createMarking({ ...options.marking, timeShift, log });
  const bundles = createBundles({ edges: options.edges ?? (() => undefined), zones, masterSecrets, revocations, singleUse, marking, onTraffic: options.onTraffic, onCarriers: options.onCarriers, clock });
  const entitlements = await createEntitlements({ keys: options.entitlementKeys, singleUse, es256: options.es256, ...(options.entitlementCallback !== undefined && { callback: createEntitlementCallback({ ...options.entitlementCallback, clock, random, events, metrics }) }) });
  const { record } = options;
  const load = options.load ?? (() => ({ factor: 1, sheds: false }));
  const accounts = createAccounts({ store: options.accounts, enforcement: policy.enforcement, level: policy.level, clock, log, events, metrics });
  const endings = createEndings({ es256: options.es256, sessions, devices, heartbeats, record, renewsElsewhere: (options.renewsElsewhere ?? false) && policy.enforcement !== undefined, slotFreedBy: options.slotFreedBy ?? 'stop', adaptive: policy.enforcement !== undefined, period: async (asset) => (await keys.keying(asset)).schedule.period, accounts, revocations, changed: bundles.changed, clock, events });
  const issuer = createIssuer({ issuer: options.issuer, keys, wrapper, random, secrets, ...(options.hash !== undefined && { hash: options.hash }), ...(options.sealTo !== undefined && { sealTo: options.sealTo }) });
  const licensing = createLicensing({ keys, catalogue, masterSecrets, issuer, hmac: options.hash?.hmac, policy, liveHorizon, timeShift, renewUrls: given.renewUrls, licenseUrls: given.licenseUrls, marking, ...(options.releases && { releases: options.releases }) });
  const { nonceKey } = secrets;
  const admit = createAdmission({
    record,
    accounts,
    renewsElsewhere: options.renewsElsewhere ?? false,
    policy,
    collectionLimits: options.collectionLimits ?? {},
    uncounted: options.uncounted ?? 'well-behaved',
    load: () => load().factor,
    codeKey: nonceKey,
    endSession: endings.endSession,
    events,
    metrics,
  });
  const start = createStartSession({
    nonceKey,
    entitlements,
    devices,
    sessions,
    heartbeats,
    licensing,
    masterSecrets,
    zone: home,
    unregisteredDevices: options.unregisteredDevices ?? 'allow',
    admit,
    es256: options.es256,
    hash: options.hash ?? ladderHash,
    random,
    clock,
    events,
    metrics,
  });

  const sold = options.subscriptions;
  const hash = options.hash ?? ladderHash;
  const leaves = sold && (await createLeaves({ secrets, keys: sold.keys, catalogue, collections: sold.collections, devices, clock }));
  const subscriptions = sold && leaves && {
    roots: createRoots({ nonceKey, issuer: options.issuer, entitlements, devices, keys: sold.keys, roots: sold.roots, secrets, hash, sealTo: options.sealTo ?? sealTo, random, clock, events, metrics }),
    leaves,
    downloads: await createDownloads({ secrets, leaves, catalogue, collections: sold.collections, devices, marking, masterSecrets, zone: home.index, random, clock }),
    usage: createUsage({ secrets, devices, catalogue, collections: sold.collections, usage: sold.usage, hash, es256: options.es256, ...(sold.countedAfter !== undefined && { countedAfter: sold.countedAfter }), clock, events, metrics }),
  };

  const refresh = async (): Promise<void> => {
    await Promise.all([masterSecrets.refresh(), revocations.refresh(clock.now()), marking.refresh(clock.now())]);
    bundles.changed();
  };
  await refresh();

  let cancel = (): void => undefined;
  let closed = false;
  let failing = false;
  const schedule = (): void => {
    if (closed) return;
    cancel = clock.after(given.refreshEvery, () => {
      refresh()
        .then(
          () => void (failing = false),
          (error: unknown) => {
            // Said once: it is tried again every second.
            if (!failing) log.warn('the licence server could not refresh', { error: error instanceof Error ? error.name : typeof error });
            failing = true;
          },
        )
        .finally(schedule);
    });
  };
  schedule();

  return {
    handler: createRoutes({
      secrets,
      entitlements,
      start,
      relicense: createRelicense({ es256: options.es256, nonceKey, sessions, devices, singleUse, heartbeats, licensing, admit, masterSecrets, clock, metrics }),
      register: createRegisterDevice({ es256: options.es256, nonceKey, entitlements, devices, limit: given.deviceLimit, clock, events }),
      endings,
      subscriptions,
      signedTime: createSignedTime({ secrets, trusted: options.trusted ?? (() => true), clock }),
      clearKey: createClearKey({ keys, catalogue, sessions, devices, heartbeats, licensing, masterSecrets, policy, timeShift, clock }),
      bundles,
      sheds: () => load().sheds,
      trusted: options.trusted ?? (() => true),
      startsAtOnce: options.startsAtOnce ?? Number.POSITIVE_INFINITY,
      clock,
      random,
      ...(options.respond !== undefined && { respond: options.respond }),
      log,
      metrics,
    }),
    endSession: endings.endSession,
    endAccount: endings.endAccount,
    revokeDevice: endings.revokeDevice,
    zoneKeys: masterSecrets.find,
    flags: revocations.reason,
    policy,
    bundleSource: (edge) => (request) => {
      if (request.carriers !== undefined) options.onCarriers?.(edge.edge, request.carriers);
      return bundles.next(edge, request);
    },
    accounts,
    refresh,
    close() {
      closed = true;
      accounts.close();
      cancel();
      bundles.close();
    },
  };
};
