// SPDX-License-Identifier: Apache-2.0
/**
 * The dashboard as operators and viewers meet it: built by Vite, served by the operations role over HTTP, on memory stores.
 *
 * Figures follow a fixed curve, so that charts have a shape to look at; everything else is the real role.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'vite';
import { createMemoryConcurrency, createMemoryStores } from '#adapters/memory/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { createLog } from '#adapters/node/log.ts';
import { createMetrics } from '#adapters/node/metrics.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AccountId, accountId, assetId, deviceId, sessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { withCopies } from '#entry/marking-plans.ts';
import { type OperationsActions } from '#operations/actions.ts';
import type { DeliveryRow } from '#operations/delivery.ts';
import { type Operations, createOperations } from '#operations/operations.ts';
import { createPages } from '#operations/pages.ts';
import { DEFAULT_POLICY } from '#core/license/decide.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import { createAccounts } from '#license-server/accounts.ts';
import type { CatalogueEntry, ConcurrencyRecord, ConcurrencyStore, EventSink, SessionRecord, Stores } from '#ports';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';

const root = resolve(import.meta.dirname, '../../..');

/** Builds both pages into a private folder; `read` is what `createPages` wants. */
export const buildDashboard = async (): Promise<{ folder: string; read: (path: string) => Promise<Uint8Array | undefined>; remove: () => Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-dashboard-'));
  await build({ configFile: join(root, 'dashboard/vite.config.ts'), logLevel: 'error', mode: 'production', build: { outDir: folder, emptyOutDir: true } });
  return {
    folder,
    read: (path) => readFile(join(folder, path)).catch(() => undefined),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
};

const nowMicros = (): Micros => systemClock.now();

/** A session of `account` with a licence for the next minute. */
export const startViewer = async (stores: Stores, account: string, asset: string, deviceName: string): Promise<SessionRecord> => {
  const record: SessionRecord = {
    session: sessionId(encodeBase64url(systemRandom.bytes(18))),
    account: accountId(account),
    device: deviceId(encodeBase64url(systemRandom.bytes(32))),
    deviceName,
    sign: {},
    agree: {},
    terms: {},
    asset: assetId(asset),
    startedAt: nowMicros(),
    entitledUntil: (nowMicros() + 12 * 3600e6) as Micros,
  };
  await stores.sessions.create(record);
  await stores.heartbeats.record({ ...record, account: heartbeatAccount(ladderHash, record.account), at: nowMicros(), expiresAt: (nowMicros() + 60e6) as Micros, kind: 'initial' });
  return record;
};

/** Lets the session of a viewer count, as its start does. */
export const countViewer = async (room: Pick<ControlRoom, 'record'>, { session, account, device, deviceName, asset, startedAt }: SessionRecord, collection?: string): Promise<void> => {
  const heartbeat = { session, account: heartbeatAccount(ladderHash, account), device, asset, at: startedAt, expiresAt: (startedAt + 300e6) as Micros, kind: 'initial' } as const;
  await room.record.admit({ heartbeat, deviceName, level: 1, limits: [], mode: 'detection-only', ends: [], ...(collection !== undefined && { collection }) });
};

const actionsOn = (stores: Stores, accounts: ReturnType<typeof createAccounts>): OperationsActions => {
  const endSession = async (record: SessionRecord): Promise<boolean> => {
    await stores.heartbeats.remove(record.session);
    return stores.sessions.end(record.session, nowMicros(), 'operator');
  };
  return {
    async createEvent(event) {
      const entry = { asset: event.asset, kind: 'event', name: event.name, state: 'created', createdAt: nowMicros(), clearKey: event.clearKey, ingestCredentialHash: 'x' } as const;
      if (!(await stores.catalogue.create(entry))) throw new SealcastError('already-exists', 'an event of this id exists');
      return { entry, ingest: { url: `https://tv.example/ingest/${event.asset}/`, credential: 'si_demonstration' } };
    },
    async addTitle(title) {
      const entry = { asset: title.asset, kind: 'title', name: title.name, state: 'ready', createdAt: nowMicros(), duration: 5_400_000_000 as Micros, clearKey: title.clearKey } as const;
      if (!(await stores.catalogue.create(entry))) throw new SealcastError('already-exists', 'a title of this id exists');
      return entry;
    },
    async endEvent(asset) {
      const entry = await stores.catalogue.get(asset);
      return entry !== undefined && entry.state !== 'ended' && stores.catalogue.update({ ...entry, state: 'ended', endedAt: nowMicros() });
    },
    async endSession(session) {
      const record = await stores.sessions.get(session);
      return record !== undefined && endSession(record);
    },
    async endAccount(account: AccountId) {
      const ended = await Promise.all((await stores.sessions.list({ account, live: true, limit: 1000 })).map(endSession));
      return ended.filter(Boolean).length;
    },
    async switchCopies(asset, edge, copies) {
      const entry = await stores.catalogue.get(asset);
      const { marking, from } = withCopies(entry?.marking, edge, copies, nowMicros());
      if (entry !== undefined) await stores.catalogue.update({ ...entry, marking });
      return { from };
    },
    setLevel: async (account, level, operator) => void (await accounts.setLevel(account, level, operator)),
    setOverride: async (account, override) => void (await accounts.setOverride(account, override)),
    async setLicensing(asset, licensing) {
      const { collection: _collection, policy: _policy, ...rest } = (await stores.catalogue.get(asset)) as CatalogueEntry;
      await stores.catalogue.update({ ...rest, ...licensing });
      return { ...rest, ...licensing };
    },
    setMembership: (membership) => stores.collections.put(membership),
    removeMembership: (collection, asset) => stores.collections.remove(collection, asset),
    setDevicePolicy: (device, policy) => stores.devices.setPolicy(device, policy),
    revokeDevice: (device) => stores.devices.revoke(device, nowMicros()),
  };
};

type Conditions = { emergency: ConcurrencyRecord['emergency']; load: { factor: number; sheds: boolean } };

export type ControlRoom = { readonly url: string; readonly token: string; readonly stores: Stores; readonly operations: Operations; readonly record: ConcurrencyStore; /** What edges fetched of marked assets; tests add to it. */ readonly traffic: DeliveryRow[]; /** What is not normal; tests change it. */ readonly conditions: Conditions; /** Breaks every open connection, as a failing network does. */ readonly cut: () => void; readonly close: () => Promise<void> };

/** Starts the role with the built pages on a free port of 127.0.0.1. `extra` answers what the role does not own. */
export const openControlRoom = async (options: { read: (path: string) => Promise<Uint8Array | undefined>; extra?: (request: Request) => Promise<Response | undefined> }): Promise<ControlRoom> => {
  const stores = createMemoryStores();
  const metrics = createMetrics({ process: false });
  const startedAt = systemClock.monotonic();
  const figures = () => {
    const seconds = (systemClock.monotonic() - startedAt) / 1000;
    const wave = (base: number, swing: number, pace: number): number => base * seconds - (swing / pace) * Math.cos(seconds * pace);
    return {
      totals: {
        licenses: wave(3, 1.5, 0.21), renewals: wave(24, 6, 0.13), denials: wave(0.2, 0.2, 0.3),
        markedSegments: wave(40, 4, 0.2), markedVariants: wave(40.2, 4, 0.2),
        edgeRequests: wave(420, 70, 0.17), edgeBytes: wave(31e6, 6e6, 0.11), edgeHits: wave(411, 69, 0.17), edgeMisses: wave(9, 1, 0.17),
      },
      levels: {},
    };
  };
  const record = createMemoryConcurrency();
  const traffic: DeliveryRow[] = [];
  const conditions: Conditions = { emergency: undefined, load: { factor: 1, sheds: false } };
  const policy = { ...DEFAULT_POLICY, enforcement: ENFORCEMENT_DEFAULTS, limit: 3, mode: 'deny-new' } as const;
  let tell: EventSink = () => undefined;
  const accounts = createAccounts({ store: stores.accounts, enforcement: ENFORCEMENT_DEFAULTS, level: 1, clock: systemClock, log: createLog({ level: 'error' }), events: (event) => tell(event), metrics });
  const operations = createOperations({
    ...stores,
    clock: systemClock,
    random: systemRandom,
    log: createLog({ level: 'error' }),
    metrics,
    exposition: metrics.render,
    allowedHosts: ['127.0.0.1', 'localhost'],
    figures,
    delivery: () => traffic,
    readiness: { store: () => true, 'key server': () => true, packager: () => true, edge: () => true },
    actions: actionsOn(stores, accounts),
    concurrency: record,
    emergency: () => conditions.emergency,
    load: () => conditions.load,
    policy,
  });
  tell = operations.events;
  const pages = createPages({ read: options.read, pages: ['watch', 'control'], allowedHosts: ['127.0.0.1', 'localhost'] });
  const server = await serve(
    async (request) => (operations.owns(new URL(request.url).pathname) ? operations.handler(request, { address: '127.0.0.1' }) : ((await pages(request)) ?? (await options.extra?.(request)) ?? new Response(null, { status: 404 }))),
    { host: '127.0.0.1', port: 0, log: createLog({ level: 'silent' }) },
  );
  const token = await operations.firstStartToken();
  if (token === undefined) throw new Error('a fresh store has no operator yet');
  return {
    url: server.url,
    token,
    stores,
    operations,
    record,
    traffic,
    conditions,
    cut: server.disconnect,
    async close() {
      operations.close();
      await server.close(0 as Millis);
    },
  };
};
