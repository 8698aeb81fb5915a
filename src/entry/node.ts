// SPDX-License-Identifier: Apache-2.0
/**
 * One Node process with any set of roles: opens stores, makes its own secrets, builds the roles, listens, drains.
 *
 * Design sections 2, 6 and 9. Roles in one process meet through the same functions that stand behind their HTTP
 * interfaces; nothing here decides policy.
 * Invariant: with the generated development key the process listens on loopback only, unless `exposeDevelopmentKey` says otherwise.
 */
import { isIP } from 'node:net';
import { createClockGuard } from '#adapters/guarded/clock.ts';
import { watchStores } from '#adapters/guarded/stores.ts';
import { createFfmpegTool } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { type RunningServer, serve } from '#adapters/node/http-server.ts';
import { createLog } from '#adapters/node/log.ts';
import { createMetrics, type NodeMetrics } from '#adapters/node/metrics.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { createSecretBox, loadKeyEncryptionKey } from '#adapters/node/secret-box.ts';
import { SealcastError } from '#core/errors.ts';
import type { PolicyVersion } from '#core/license/decide.ts';
import { MAX_REQUEST_LENGTH } from '#core/license/renewal-message.ts';
import type { Millis } from '#core/time.ts';
import type { EntitlementKey } from '#license-server/index.ts';
import { createOperations, createPages, type Operations, type OperationsActions } from '#operations/index.ts';
import type { Clock, ConcurrencyStore, EventSink, Log, OperationalEvent, Random, VideoTool } from '#ports';
import { openAlerts } from './alerts.ts';
import { createCollections } from './collections.ts';
import type { Config } from './config/index.ts';
import { createDashboardReader, dashboardFolder } from './dashboard-files.ts';
import { loadEntitlementKeys } from './entitlement-keys.ts';
import { createTrafficBoard } from './edge-traffic.ts';
import { createFigureSource } from './figures.ts';
import { createJudge } from './judge.ts';
import { createOperatorActions, schedulesOf } from './operator-actions.ts';
import { enrolledEdges, guardedOrigin, operatorCheck, readCredential } from './peers.ts';
import { type Counting, openCounting } from './counting.ts';
import { openRelease, type Release } from './release.ts';
import { releasesView } from './release-view.ts';
import { buildRoles, type Parts, type Roles } from './roles.ts';
import { createRouter, type Handlers, type PeerHandler } from './routes.ts';
import { createPlatformTracer } from './platform-tracer.ts';
import { createOwnSecrets, type OwnSecrets } from './secrets.ts';
import { openStores, type OpenStores } from './stores.ts';
import { loadTls, type TlsFiles } from './tls.ts';
import { titleMarks } from './live-marks.ts';
import { createTitles } from './titles.ts';

/** What a process is started with beyond its configuration. */
export type PlatformOptions = {
  readonly config: Config;
  /** Default: made from `config.log`. */
  readonly log?: Log;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Routes and entitlement keys that a demo adds; called once stores and secrets are open. */
  readonly extend?: (parts: { stores: OpenStores; secrets: OwnSecrets; clock: Clock; random: Random }) => Promise<{ readonly demo: PeerHandler; readonly entitlementKeys: readonly EntitlementKey[] }>;
  /** What reads and converts titles; default ffmpeg. */
  readonly videoTool?: VideoTool;
  /** Stands between the concurrency record and its breaker, for demos and drills that cut it off. */
  readonly wrapRecord?: (store: ConcurrencyStore) => ConcurrencyStore;
  /** Stands before the durable stores, for demos and drills that cut them off. */
  readonly wrapStores?: (stores: OpenStores) => OpenStores;
  /** Licence terms in place of the configured ones, for demos that scale time. */
  readonly terms?: Partial<PolicyVersion>;
  /** With TLS: one more listener, plain http on a free loopback port, for viewers inside this process. */
  readonly plainLoopback?: boolean;
  /** Allows other addresses than loopback although the key-encryption key is the generated one. */
  readonly exposeDevelopmentKey?: boolean;
};

/** A running process. */
export type Platform = {
  /** Base address for viewers, e.g. `http://localhost:8080`. */
  readonly url: string;
  /** Base address of the control room; the same unless `adminListen` is set. */
  readonly adminUrl: string;
  /** Where viewers inside this process connect: `url`, or the plain loopback listener where there is one. */
  readonly localUrl: string;
  readonly roles: Roles;
  readonly actions?: OperationsActions;
  readonly operations?: Operations;
  readonly stores: OpenStores;
  /** Who counts where. */
  readonly counting: Counting;
  readonly metrics: NodeMetrics;
  readonly log: Log;
  /** Public keys of an edge whose licence server runs elsewhere; `{}` otherwise. */
  readonly edgeIdentity: { readonly sign?: object; readonly agree?: object; readonly host?: string };
  /** Timed release. */
  readonly release: Release;
  /** Token of the first operator, at first start only. */
  readonly firstToken: string | undefined;
  /** Every operational event of this process, from now on; answers the unsubscribe function. */
  watch(listener: EventSink): () => void;
  /** Stops taking requests, finishes what runs for at most `limit`, stores what is in the making, closes. */
  stop(limit?: Millis): Promise<void>;
};

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** The name under which people open a listener: `localhost` is a secure context over plain http, 0.0.0.0 is no address. */
const publicName = (host: string): string => (isLoopback(host) || host === '0.0.0.0' || host === '::' ? 'localhost' : isIP(host) === 6 ? `[${host}]` : host);

/** Starts the platform; rejects with `config-invalid` for anything the configuration got wrong. */
export const startPlatform = async (options: PlatformOptions): Promise<Platform> => {
  const { config, clock = systemClock, random = systemRandom } = options;
  const log = options.log ?? createLog({ level: config.log.level, format: config.log.format === 'text' ? 'lines' : config.log.format });
  const metrics = createMetrics();
  const closers: (() => Promise<void> | void)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const environment = config.keyEncryptionKey.env === undefined ? undefined : (process.env[config.keyEncryptionKey.env] ?? '');
    const { kek, development } = await loadKeyEncryptionKey(
      { ...(config.keyEncryptionKey.file !== undefined && { file: config.keyEncryptionKey.file }), ...(environment !== undefined && { environment }), developmentFolder: config.data },
      log,
    );
    for (const { host } of [config.listen, ...(config.adminListen ? [config.adminListen] : [])]) {
      if (development && !isLoopback(host) && options.exposeDevelopmentKey !== true) {
        throw new SealcastError('config-invalid', `listening on ${host} needs a key-encryption key of your own (keyEncryptionKey.file or .env): the generated one is for development on this machine`);
      }
    }
    const listeners = new Set<EventSink>();
    // Alerts are logged once, by `alerts.ts`.
    let sink: EventSink = (event) => (event.severity === 'alert' ? undefined : log.info(event.message, { kind: event.kind }));
    const events: EventSink = (event) => {
      sink(event);
      for (const listener of listeners) listener(event);
    };
    const opened = await openStores({ dataFolder: config.data, clock, counts: config.roles.includes('license-server') || config.roles.includes('renewal') });
    closers.push(() => opened.close());
    const stores: OpenStores = { ...watchStores(options.wrapStores?.(opened) ?? opened, { clock, events, metrics }), heartbeats: opened.heartbeats, media: opened.media, close: opened.close };
    const box = createSecretBox(kek);
    const secrets = createOwnSecrets({ store: stores.secrets, box, random });
    const extension = await options.extend?.({ stores, secrets, clock, random });

    const counting = await openCounting({ config, heartbeats: stores.heartbeats, clock, events, metrics, ...(options.wrapRecord && { wrap: options.wrapRecord }) });
    closers.push(() => counting.close());
    // Its own failures must not raise alerts about alerts.
    const alerts = await openAlerts({ config, outbox: opened.outbox, clock, random, log, metrics });
    listeners.add(alerts.take);
    closers.push(() => alerts.close());
    // Edges may speak before the role that listens is there; then nothing was ended yet either.
    let operationsOf = (): Operations | undefined => undefined;
    const clockGuard = createClockGuard({ clock, peers: config.time.peers, acceptAfter: config.time.acceptStepsAfterSeconds === 0 ? Number.POSITIVE_INFINITY : config.time.acceptStepsAfterSeconds * 1000, fetch: (request) => fetch(request), events, metrics });
    closers.push(() => clockGuard.close());
    const traffic = createTrafficBoard(() => clock.now());
    const release = await openRelease({
      config, catalogue: stores.catalogue, secrets, clock, random, log, metrics, events,
      enrolled: [...(await enrolledEdges(config.edges)).values()],
      credentials: config.keyServer.credentials.map(({ role, sha256: tokenHash }) => ({ role, tokenHash })),
      ...(config.roles.includes('key-server') && config.keyServer.url !== undefined && config.keyServer.credentialFile !== undefined && { firstCredential: await readCredential(config.keyServer.credentialFile) }),
      isOperator: operatorCheck(stores.operators),
    });
    closers.push(() => release.stop());
    const parts: Parts = { config, release, onTraffic: traffic.heard, trusted: clockGuard.trusted, ...(options.terms && { terms: options.terms }), clock, random, log, metrics, events, stores, counting, box, secrets, onCarriers: (edge, rows) => void operationsOf()?.carried(edge, rows).catch((error: unknown) => log.warn('what an edge told could not be kept', { edge, error: error instanceof Error ? error.name : typeof error })), entitlementKeys: [...(await loadEntitlementKeys(config.entitlements.keys)), ...(extension?.entitlementKeys ?? [])] };
    const roles = await buildRoles(parts);
    if (roles.edge !== undefined) traffic.setLocal(config.edge.id, roles.edge.traffic);
    closers.push(() => roles.licenseServer?.close(), () => roles.packager?.stop(), () => roles.edge?.stop());
    listeners.add(liveMarker(stores, log));

    let url = '';
    let sentBytes = (): number => 0;
    const { keyServer, licenseServer, packager } = roles;
    const tool = options.videoTool ?? createFfmpegTool();
    const collections = keyServer && licenseServer ? createCollections({ catalogue: stores.catalogue, collections: stores.collections, keys: keyServer, ...(packager && { media: stores.media }) }) : undefined;
    const titles = packager && keyServer ? createTitles({ config, ...(collections && { collections }), catalogue: stores.catalogue, store: stores.media, keyServer, tool, tracer: createPlatformTracer({ data: config.data, secrets, tool }), marks: titleMarks({ data: config.data, secrets }), clock, random, log, events }) : undefined;
    await titles?.recover();
    closers.push(() => titles?.stop());
    const resources = keyServer && release.openResources({ keys: keyServer, store: stores.media });
    const actions = keyServer && licenseServer
      ? createOperatorActions({ catalogue: stores.catalogue, sessions: stores.sessions, devices: stores.devices, keyServer, licenseServer, ...(packager && { packager }), ...(collections && { collections }), ...(titles && { addTitle: titles.add }), edges: [config.edge.id, ...config.edges.map(({ id }) => id)], timing: release.timing, ...(resources && { timedResources: resources }), schedules: schedulesOf(config.packager), ingestBase: () => url, clock, random })
      : undefined;
    const hosts = [...config.hosts, 'localhost', '127.0.0.1', '[::1]', ...(config.publicUrl === undefined ? [] : [new URL(config.publicUrl).hostname])];
    const operations = config.roles.includes('operations') && actions
      ? createOperations({ ...stores, clock, random, log, metrics, exposition: () => metrics.render(), metricsPublic: config.metrics.public, allowedHosts: hosts, figures: createFigureSource(metrics, () => sentBytes()), delivery: traffic.rows, readiness: { ...readinessOf(roles, stores), clock: clockGuard.trusted, ...(roles.edge && { release: () => release.edge()?.readiness().ready ?? true }) }, actions, concurrency: counting.store, emergency: () => counting.record.emergency, load: counting.load, releases: () => releasesView(config.edge.id, release.edge(), release.reports()), judge: createJudge({ secrets: stores.secrets, box }), onAccusation: config.tracing.onAccusation, ...(licenseServer && { policy: licenseServer.policy }) })
      : undefined;
    operationsOf = () => operations;
    if (operations !== undefined) {
      sink = operations.events;
      closers.push(() => operations.close());
    }

    const read = createDashboardReader(dashboardFolder());
    const apart = config.adminListen !== undefined;
    const { credentialFile } = config.origin;
    const origin = packager && credentialFile !== undefined ? guardedOrigin(packager.originHandler, await readCredential(credentialFile)) : undefined;
    const handlers = handlersOf(roles, operations, release, { time: release.timeHandler, release: release.route, ...(origin && { origin }), ...(extension && { demo: extension.demo }) });
    const pages = (which: ('watch' | 'control')[]): Handlers['pages'] => {
      if (operations === undefined) return undefined;
      // Release workers and other edges have origins of their own, the former known only once they listen.
      let made = { connect: '', answer: createPages({ read, pages: which, allowedHosts: hosts }) };
      return (request) => {
        const connect = release.origins();
        if (connect.join(' ') !== made.connect) made = { connect: connect.join(' '), answer: createPages({ read, pages: which, allowedHosts: hosts, connect }) };
        return made.answer(request);
      };
    };
    const tls = await loadTls(config.tls, config.data);
    const listen = async (where: { host: string; port: number }, sides: { viewers: boolean; operators: boolean }, secure: TlsFiles | undefined): Promise<RunningServer> => {
      const shown = pages([...(sides.viewers ? (['watch'] as const) : []), ...(sides.operators ? (['control'] as const) : [])]);
      const handler = createRouter({ ...handlers, ...(shown && { pages: shown }) }, sides);
      const direct = sides.viewers && roles.renewal ? [{ path: '/v1/renew', mostBytes: MAX_REQUEST_LENGTH, answer: roles.renewal.direct }] : [];
      const server = await serve(handler, { ...where, log, direct, ...(sides.viewers && { onUpgrade: release.upgrade, onStream: release.stream }), ...(secure && { tls: secure }) });
      closers.push(() => server.close(1000 as Millis));
      return server;
    };
    const addressOf = (server: RunningServer, host: string): string => `${tls === undefined ? 'http' : 'https'}://${publicName(host)}:${server.port}`;
    const main = await listen(config.listen, { viewers: true, operators: !apart }, tls);
    sentBytes = main.sentBytes;
    url = config.publicUrl ?? addressOf(main, config.listen.host);
    const admin = config.adminListen === undefined ? undefined : await listen(config.adminListen, { viewers: false, operators: true }, tls);
    const local = tls !== undefined && options.plainLoopback === true ? await listen({ host: '127.0.0.1', port: 0 }, { viewers: true, operators: false }, undefined) : undefined;
    roles.edge?.start();
    if (licenseServer !== undefined) await licenseServer.refresh();
    if (roles.edge !== undefined && licenseServer !== undefined) await roles.edge.refresh();
    if (roles.edge !== undefined) await release.attach(roles.edge, { url: local?.url ?? main.url, tls });

    let stopping: Promise<void> | undefined;
    return {
      url,
      adminUrl: admin === undefined || config.adminListen === undefined ? url : addressOf(admin, config.adminListen.host),
      localUrl: local?.url ?? url,
      roles,
      ...(actions && { actions }),
      ...(operations && { operations }),
      stores,
      counting,
      metrics,
      log,
      edgeIdentity: config.roles.includes('edge') && licenseServer === undefined ? { sign: (await secrets.keyPair('edge/sign', 'ES256')).publicJwk, agree: (await secrets.keyPair('edge/agree', 'ECDH-ES')).publicJwk, host: release.hostId } : {},
      release,
      firstToken: await operations?.firstStartToken(),
      watch(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      stop: (limit = 5000 as Millis) =>
        (stopping ??= (async () => {
          // Waiting long-polls and streams must end before the listeners can drain.
          roles.edge?.stop();
          await release.stop();
          licenseServer?.close();
          operations?.close();
          await Promise.all([main.close(limit), admin?.close(limit), local?.close(limit)]);
          await closeAll();
        })()),
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
};

/** An event is live once its first media was taken. */
const liveMarker = (stores: OpenStores, log: Log): EventSink => (event: OperationalEvent) => {
  const { asset } = event;
  if (event.kind !== 'ingest.started' || asset === undefined) return;
  void (async () => {
    const entry = await stores.catalogue.get(asset);
    if (entry?.state === 'created') await stores.catalogue.update({ ...entry, state: 'live' });
  })().catch((error: unknown) => log.error('catalogue not updated', { asset, reason: error instanceof Error ? error.message : 'unknown' }));
};

const readinessOf = (roles: Roles, stores: OpenStores): Readonly<Record<string, () => Promise<boolean> | boolean>> => ({
  // A check that throws counts as not ready.
  store: async () => (await stores.operators.list()).length >= 0,
  ...(roles.keyServer && { 'key server': async () => (await stores.assetKeys.list()).length >= 0 }),
  ...(roles.edge && { edge: () => roles.edge?.readiness().ready === true }),
});

const handlersOf = (roles: Roles, operations: Operations | undefined, release: Release, others: Handlers): Handlers => {
  const { edge, packager, licenseServer, renewal, keyServer } = roles;
  return {
    ...others,
    ...(edge && {
      media: (request, peer) => {
        const answer = edge.handler(request, peer);
        // When a segment's sending began, for the timeline of timed events; nothing is waited for.
        if (release.edge()?.intake.books.size) void answer.then((response) => response.ok && release.mediaSent(request.url), () => undefined);
        return answer;
      },
    }),
    ...(packager && { ingest: packager.ingestHandler }),
    ...(licenseServer && { licenses: licenseServer.handler }),
    ...(renewal && { renewals: renewal.handler }),
    ...(keyServer && { keys: keyServer.handler }),
    ...(operations && { operations }),
  };
};
