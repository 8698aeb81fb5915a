// SPDX-License-Identifier: Apache-2.0
/**
 * The licence server and a renewal node of one installation behind one HTTP server, as `sealcast up` wires them, in memory.
 *
 * Sessions can be made by code, with the functions that the licence server uses, so that a bench can have many at once.
 */
import { openJournalledHeartbeats } from '#adapters/files/index.ts';
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency, createMemoryStores } from '#adapters/memory/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeEs256 } from '#adapters/node/es256.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createMetrics } from '#adapters/node/metrics.ts';
import { createOverloadWatch } from '#adapters/node/overload.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { nodeSealTo } from '#adapters/node/seal.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { renewalKey, sessionKey, stateKey } from '#core/keys/ladder.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { type EnforcementLevel, encodeState } from '#core/license/renewal-state.ts';
import { makeSessionId, sessionIdBytes } from '#core/license/session-id.ts';
import { type GrantGroup, groupAt, groupLength, type KeySchedule, type Micros, type Millis } from '#core/time.ts';
import { makeKeyPair } from '#crypto/jose.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import type { OverloadPolicy } from '#core/policy/overload.ts';
import { createRouter } from '#entry/routes.ts';
import { createKeyServer } from '#key-server/key-server.ts';
import { createLicenseServer } from '#license-server/license-server.ts';
import type { Log } from '#ports';
import { createRenewal, type Renewal } from '#renewal/renewal.ts';

export const SECOND = 1_000_000;
/** The longest id an asset may have: sizes are the worst there are. */
export const EVENT: AssetId = assetId('live-event-with-the-longest-id-there-is0');
/** The defaults: periods of 10 s, groups of 30 s. */
export const SCHEDULE: KeySchedule = { period: (10 * SECOND) as Micros, periodsPerGroup: 3 };

const loud = (message: string, fields?: unknown): void => console.error(message, fields);
const log: Log = { debug: () => undefined, info: () => undefined, warn: loud, error: loud };

/** A session as its client holds it. */
export type MadeSession = { readonly renewalKey: Uint8Array; readonly state: Uint8Array; readonly position: GrantGroup };
/** How a session was going when it last renewed, ms; `own` are terms in place of its level's, `shift` moves it in the unlock tree, groups. */
export type Course = { readonly level: EnforcementLevel; readonly shift: number; readonly age: number; readonly sinceRenewal: number; readonly term: number; readonly own?: { readonly interval: number; readonly duration: number } };

export type Installation = {
  readonly port: number;
  readonly url: string;
  /** Private key of the backend that signs entitlements, kid `shop`. */
  readonly backend: JsonWebKey;
  /** What licences are signed with. */
  readonly licenseKey: PublicJwk;
  /** The renewal node without its server. */
  readonly renewal: Pick<Renewal, 'direct'>;
  makeSession(course: Course): MadeSession;
  close(): Promise<void>;
};

/** A running installation with one live event. `schedule`: of its keys. */
export const startInstallation = async (schedule: KeySchedule = SCHEDULE, { overload: policy, startsAtOnce }: { /** Makes the overload watch count, by this policy. */ readonly overload?: Partial<OverloadPolicy>; readonly startsAtOnce?: number } = {}): Promise<Installation> => {
  const stores = createMemoryStores();
  const metrics = createMetrics({ process: false });
  const box = createSecretBox(systemRandom.bytes(32));
  const common = { random: systemRandom, clock: systemClock, log, metrics, events: () => undefined };
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-'));
  const heartbeats = await openJournalledHeartbeats({ path: join(folder, 'heartbeats.ndjson'), clock: systemClock });
  const record = createGuardedConcurrency({ store: createMemoryConcurrency(), ...common });
  const overload = createOverloadWatch({ ...common, ...(policy && { policy }) });
  // An overloaded server lengthens periods and turns starts away. Where speed is measured it is overloaded on purpose, and its watch runs without effect.
  const load = (): { factor: number; sheds: boolean } => (policy === undefined ? { ...overload.load(), factor: 1, sheds: false } : overload.load());
  const keyServer = createKeyServer({ store: stores.assetKeys, box, credentials: [], hash: nodeLadderHash, ...common });
  await keyServer.createAsset({ asset: EVENT, kind: 'event', scheme: 'cenc', mode: 'untimed', schedule });
  await stores.catalogue.create({ asset: EVENT, kind: 'event', name: 'Bench', state: 'live', createdAt: systemClock.now(), clearKey: 'off' });
  const shop = await makeKeyPair('sign');
  const licenses = await createLicenseServer({
    issuer: 'https://license.example',
    keys: keyServer,
    ...stores,
    heartbeats,
    record,
    load,
    ...(startsAtOnce !== undefined && { startsAtOnce }),
    policy: { enforcement: ENFORCEMENT_DEFAULTS, limit: 3, mode: 'deny-new' },
    box,
    wrapper: nodeKeyWrapper,
    hash: nodeLadderHash,
    sealTo: nodeSealTo,
    es256: nodeEs256,
    respond: bufferedResponse,
    entitlementKeys: [{ kid: 'shop', alg: 'ES256', key: { ...shop.publicJwk } }],
    ...common,
  });
  const renewal = createRenewal({ zones: licenses.zoneKeys, heartbeats, record, load: () => load().factor, flags: licenses.flags, policy: licenses.policy, hash: nodeLadderHash, respond: bufferedResponse, ...common });
  const router = createRouter({ licenses: licenses.handler, renewals: renewal.handler, time: async () => new Response() }, { viewers: true, operators: false });
  const server = await serve(router, { host: '127.0.0.1', port: 0, log, direct: [{ path: '/v1/renew', mostBytes: 256, answer: renewal.direct }] });
  const published = (await (await fetch(`${server.url}/v1/licenses/keys`)).json()) as { keys: [PublicJwk] };
  const length = groupLength(schedule);
  const { gen } = await keyServer.keying(EVENT);
  const zone = licenses.zoneKeys(1, 0, systemClock.now());
  if (zone === undefined) throw new Error('the first epoch is missing');

  return {
    port: server.port,
    renewal,
    url: server.url,
    backend: shop.privateJwk,
    licenseKey: published.keys[0],
    makeSession({ level, shift, age, sinceRenewal, term, own = { interval: 0, duration: 0 } }) {
      const now = systemClock.now();
      const [t0, issued] = [(now - age * 1000) as Micros, (now - sinceRenewal * 1000) as Micros];
      const sid = makeSessionId(zone.epoch, zone.zone.index, systemRandom.bytes(16));
      const [accountHash, device] = [systemRandom.bytes(32), systemRandom.bytes(32)];
      const sk = sessionKey(nodeLadderHash, zone.zoneKey, { sid: sessionIdBytes(sid), accountHash, device, asset: EVENT, gen });
      const g0 = groupAt(t0, schedule) - shift;
      const position = (groupAt(now, schedule) - shift) as GrantGroup;
      const opened = (g0 + Math.ceil((issued - t0 + term * 1000) / length)) as GrantGroup;
      const state = encodeState(nodeLadderHash, stateKey(nodeLadderHash, sk), {
        sid, accountHash, device, asset: EVENT, gen, level, policy: licenses.policy.version, groupMillis: length / 1000, interval: own.interval || licenses.policy.interval, duration: term,
        ownInterval: own.interval, ownDuration: own.duration, live: true, timed: false, end: (position + 1000) as GrantGroup, g0: g0 as GrantGroup, t0, opened, issued, spent: 0,
      });
      return { renewalKey: renewalKey(nodeLadderHash, sk), state, position };
    },
    async close() {
      licenses.close();
      await server.close(0 as Millis);
      record.close();
      overload.close();
      await heartbeats.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
