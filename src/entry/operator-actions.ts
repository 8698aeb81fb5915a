// SPDX-License-Identifier: Apache-2.0
/**
 * What operators ask for, carried out by the roles of this process: events, titles, ended sessions.
 *
 * Invariant: an asset's keys exist before its catalogue entry, so that nothing listed is unplayable for want of keys; an
 * ingest credential is answered once and kept as a hash.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { type KeySchedule, type Micros, microsFromSeconds } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { TimedMode } from '#core/release/schedule.ts';
import type { KeyServer, TimedResources } from '#key-server/index.ts';
import type { LicenseServer } from '#license-server/index.ts';
import type { OperationsActions } from '#operations/index.ts';
import type { Packager } from '#packager/index.ts';
import type { CatalogueEntry, CatalogueStore, Clock, DeviceStore, Random, SessionStore, EventTiming } from '#ports';
import type { Collections } from './collections.ts';
import { inBandMarking } from './in-band-marking.ts';
import { markingFor, withCopies } from './marking-plans.ts';

/** The roles and stores that operator actions work on. */
export type ActionParts = {
  readonly catalogue: CatalogueStore;
  readonly sessions: SessionStore;
  readonly devices: Pick<DeviceStore, 'setPolicy'>;
  readonly keyServer: Pick<KeyServer, 'createAsset' | 'keying'>;
  readonly licenseServer: Pick<LicenseServer, 'endSession' | 'endAccount' | 'revokeDevice' | 'accounts'>;
  readonly packager?: Pick<Packager, 'endEvent' | 'range'>;
  /** Absent: nothing is sold by subscription here. */
  readonly collections?: Collections;
  readonly addTitle?: OperationsActions['addTitle'];
  /** Seals things that open at an instant. */
  readonly timedResources?: Pick<TimedResources, 'put'>;
  /** Periods and offsets of timed events; absent where no key server releases secrets. */
  readonly timing?: (mode: TimedMode) => { readonly timing: EventTiming; readonly periodsPerGroup: number };
  readonly schedules: { readonly event: KeySchedule; readonly title: KeySchedule; /** Length of an event's segments. */ readonly segment: Micros };
  /** Names of all edges, for events with two-phase delivery. */
  readonly edges?: readonly string[];
  /** Base of ingest addresses, without a slash at the end. */
  readonly ingestBase: () => string;
  readonly clock: Clock;
  readonly random: Random;
};

/** How a credential is kept: SHA-256, base64url. */
export const credentialHash = (credential: string): string => encodeBase64url(sha256(encodeUtf8(credential)));

/** Crypto periods and grant groups of events and titles, from the configuration. */
export const schedulesOf = (packager: { readonly periodSeconds: number; readonly titlePeriodSeconds: number; readonly groupPeriods: number; readonly segmentSeconds: number }): ActionParts['schedules'] => ({
  event: { period: microsFromSeconds(packager.periodSeconds), periodsPerGroup: packager.groupPeriods },
  title: { period: microsFromSeconds(packager.titlePeriodSeconds), periodsPerGroup: packager.groupPeriods },
  segment: microsFromSeconds(packager.segmentSeconds),
});

/** The actions of this process; `addTitle` is absent where nothing packs. */
export const createOperatorActions = (parts: ActionParts): OperationsActions => {
  const { catalogue, sessions, devices, keyServer, licenseServer, packager, collections, clock, random } = parts;
  /** Keys without a catalogue entry are what a crash between the two leaves behind; the same request then goes on from there. */
  const createKeys = async (asset: AssetId, scheme: 'cenc' | 'cbcs', timed: { timing: EventTiming; periodsPerGroup: number } | undefined): Promise<void> => {
    const mode = timed === undefined ? 'untimed' : 'timed';
    const schedule = timed === undefined ? parts.schedules.event : { period: timed.timing.period, periodsPerGroup: timed.periodsPerGroup };
    try {
      await keyServer.createAsset({ asset, kind: 'event', scheme, mode, schedule });
    } catch (error) {
      if (!isSealcastError(error, 'already-exists')) throw error;
      const keying = await keyServer.keying(asset);
      if (keying.scheme !== scheme || keying.mode !== mode || keying.schedule.period !== schedule.period) throw error;
    }
  };
  const endSessionsOf = async (asset: AssetId): Promise<void> => {
    // Listing is bounded; ending shrinks the list, so the loop ends.
    for (;;) {
      const batch = await sessions.list({ asset, live: true, limit: 500 });
      if (batch.length === 0) return;
      for (const { session } of batch) await licenseServer.endSession(session, 'content-ended');
    }
  };
  return {
    async createEvent({ asset, name, scheme, clearKey, marked, inBand, timed: mode, bundle, owner }) {
      if ((await catalogue.get(asset)) !== undefined) throw new SealcastError('already-exists', `${asset} exists already; choose another id`);
      // Positions are segment numbers, which are Unix time. What cannot be planned is refused before keys are made.
      const marking = inBand !== undefined ? inBandMarking({ representations: inBand, segment: parts.schedules.segment }) : marked && markingFor(marked, { kind: 'event', representations: marked.representations, segment: parts.schedules.segment }, parts.edges ?? []);
      if (mode !== undefined && clearKey === 'detect') throw new SealcastError('bad-request', 'a timed event cannot give its keys to players without our client: leave clearKey off');
      const timed = mode && parts.timing?.(mode);
      if (mode !== undefined && timed === undefined) throw new SealcastError('bad-request', 'timed events need a key server in this process');
      await createKeys(asset, scheme, timed);
      const credential = encodeBase64url(random.bytes(24));
      const entry = { asset, kind: 'event', name, state: 'created', createdAt: clock.now(), ingestCredentialHash: credentialHash(credential), clearKey, ...(marking !== undefined && { marking }), ...(timed !== undefined && { timed: timed.timing }), ...(bundle !== undefined && { bundle }) } as const;
      if (!(await catalogue.create(entry))) throw new SealcastError('already-exists', `${asset} exists already; choose another id`);
      if (bundle !== undefined) await collections?.setMembership({ collection: bundle, asset, published: entry.createdAt, scope: 'shared', actions: ['play'], ...(owner !== undefined && { owner }) });
      return { entry, ingest: { url: `${parts.ingestBase()}/ingest/${asset}`, credential } };
    },
    ...(parts.addTitle === undefined ? {} : { addTitle: parts.addTitle }),
    async endEvent(asset) {
      const entry = await catalogue.get(asset);
      if (entry === undefined || entry.kind !== 'event') throw new SealcastError('not-found', `there is no event ${asset}`);
      if (entry.state === 'ended') return false;
      await packager?.endEvent(asset);
      const archive = entry.bundle === undefined ? undefined : await packager?.range(asset);
      await catalogue.update({ ...entry, state: 'ended', endedAt: clock.now(), ...(archive !== undefined && { archive }) });
      await endSessionsOf(asset);
      await collections?.refreshLeaf(asset);
      return true;
    },
    async switchCopies(asset, edge, copies) {
      const known = await catalogue.get(asset);
      if (known === undefined) throw new SealcastError('not-found', `there is no event ${asset}`);
      const { marking, from } = withCopies(known.marking, edge, copies, clock.now());
      await catalogue.update({ ...known, marking });
      return { from };
    },
    ...(parts.timedResources && { putTimedResource: parts.timedResources.put }),
    async setReleaseEdges(asset, edges) {
      const entry = await catalogue.get(asset);
      if (entry?.timed === undefined) throw new SealcastError('not-found', `there is no timed event ${asset}`);
      const changed = { ...entry, timed: { ...entry.timed, edges } };
      await catalogue.update(changed);
      return changed;
    },
    endSession: (session) => licenseServer.endSession(session, 'operator'),
    endAccount: (account) => licenseServer.endAccount(account, 'operator'),
    async setLevel(account, level, operator) {
      await licenseServer.accounts.setLevel(account, level, operator);
    },
    async setOverride(account, override) {
      await licenseServer.accounts.setOverride(account, override);
    },
    async endForLeak(account, asset) {
      const running = await sessions.list({ account, asset, live: true, limit: 500 });
      const ended = await Promise.all(running.map(async ({ session }) => ((await licenseServer.endSession(session, 'leak')) ? [session] : [])));
      return ended.flat();
    },
    async raiseForLeak(account, leak) {
      await licenseServer.accounts.accuse(account, leak);
    },
    endAccountForLeak: (account) => licenseServer.endAccount(account, 'leak'),
    async setLicensing(asset, licensing) {
      const known = await catalogue.get(asset);
      if (known === undefined) throw new SealcastError('not-found', `there is no event or title ${asset}`);
      const { collection: _collection, policy: _policy, ...rest } = known;
      const entry: CatalogueEntry = { ...rest, ...licensing };
      await catalogue.update(entry);
      return entry;
    },
    ...(collections && { setMembership: collections.setMembership, removeMembership: collections.removeMembership }),
    setDevicePolicy: (device, policy) => devices.setPolicy(device, policy),
    revokeDevice: (device) => licenseServer.revokeDevice(device),
  };
};
