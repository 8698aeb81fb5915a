// SPDX-License-Identifier: Apache-2.0
/**
 * Timed release in one process: the key server's side, the edge's side, or both, wired to clocks, sockets, files and config.
 *
 * docs/wire/release.md, docs/guide/timed-release.md. Where both are in one process they still meet by sealed, signed grants:
 * there is one way a secret gets to an edge.
 * Invariant: an edge's secrets are in memory only; what is written here is a high-water mark and the release log.
 */
import { mkdir, readFile, rename, writeFile, appendFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { askChrony } from '#adapters/node/chrony.ts';
import { eventStreamFraming } from '#adapters/node/event-stream.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { webSocketFraming } from '#adapters/node/web-socket.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { problemOf, SealcastError } from '#core/errors.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { resourceName } from '#core/release/resource.ts';
import type { EdgeReport } from '#core/release/report.ts';
import { periodsPerBlock, type TimedMode } from '#core/release/schedule.ts';
import { type CryptoPeriod, type Micros, microsFromMillis, microsFromSeconds, type Millis } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { importJwsKey, signJws } from '#crypto/jose.ts';
import type { Edge } from '#edge/index.ts';
import { createReleaseEdge, ownsReleasePath, type ReleaseEdge, releaseEvent, type TrustedKeyServer } from '#edge/release/index.ts';
import { createReleaseFeed, createReleaseFollower, createReleaseServer, createTimedResources, isReleaseFeed, type ReleaseEdge as EnrolledReleaseEdge, type ReleaseServer, type ServiceCredential, type TimedEvent, type TimedEvents, type TimedResources } from '#key-server/index.ts';
import type { CatalogueEntry, CatalogueStore, Clock, EventSink, EventTiming, Fetch, GrantKeySource, Log, Metrics, ObjectStore, PreciseTime, Random } from '#ports';
import type { Config } from './config/index.ts';
import { type EnrolledPeer, releaseKeysOf, type ReleasePublicKeys } from './release-peers.ts';
import type { PeerHandler } from './routes.ts';
import { createReleaseSockets } from './release-sockets.ts';
import { type ReleaseWorkers, startReleaseWorkers } from './release-workers.ts';
import type { OwnSecrets } from './secrets.ts';
import type { TlsFiles } from './tls.ts';
import { createTimeEndpoint } from './time-endpoint.ts';

/** What the wiring needs. */
export type ReleaseDeps = {
  readonly config: Config;
  readonly catalogue: CatalogueStore;
  readonly secrets: OwnSecrets;
  /** Edges in other processes. */
  readonly enrolled: readonly EnrolledPeer[];
  readonly credentials: readonly ServiceCredential[];
  /** Bearer text for the first key server, for a replica. */
  readonly firstCredential?: string;
  /** Whether a request carries an operator token. */
  readonly isOperator: (request: Request) => Promise<boolean>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: EventSink;
  /** Connects over the network; tests and drills stand in between. */
  readonly fetch?: Fetch;
};

/** Timed release of one process. */
export type Release = {
  /** RS[p] for the key server of this process. */
  readonly releaseSecret?: (asset: AssetId, period: CryptoPeriod, length: Micros) => Promise<Uint8Array>;
  /** For the licence server. */
  readonly releases: () => { readonly urls: readonly string[]; readonly keys: readonly object[] };
  /** Origins beside this one that viewers of timed events connect to, for pages' content policy. */
  readonly origins: () => readonly string[];
  /** Periods and offsets of new timed events. */
  readonly timing: (mode: TimedMode) => { readonly timing: EventTiming; readonly periodsPerGroup: number };
  /** The packager finished a chunk of a timed event. */
  readonly packaged: (event: AssetId, segment: number) => void;
  /** A media request was answered; notes when a segment's sending began. */
  readonly mediaSent: (url: string) => void;
  /** Timed resources of this key server; also answers `/v1/events/{id}/resources/{name}` from now on. */
  openResources(from: { keys: Pick<GrantKeySource, 'keying' | 'grantKeys'>; store: ObjectStore }): TimedResources | undefined;
  readonly server?: ReleaseServer;
  /** What edges elsewhere told of their releases in the last ten seconds. */
  readonly reports: () => readonly (EdgeReport & { readonly edge: string; readonly at: Micros })[];
  readonly time: PreciseTime;
  /** Public keys of the key server of this process, for edges elsewhere. */
  readonly publicKeys: ReleasePublicKeys | undefined;
  readonly hostId: string;
  /** The edge's side, once there is an edge; started. */
  attach(edge: Edge, listeners: { readonly url: string; readonly tls: TlsFiles | undefined }): Promise<ReleaseEdge>;
  edge(): ReleaseEdge | undefined;
  /** `/v1/time` with the stamps of a clock exchange. */
  readonly timeHandler: (request: Request) => Promise<Response>;
  /** Answers release paths; undefined for others. */
  readonly route: (path: string) => PeerHandler | undefined;
  /** A WebSocket upgrade; false if it is none of ours. */
  readonly upgrade: (message: IncomingMessage, socket: Duplex, head: Uint8Array) => boolean;
  /** An event stream; false if the request asks for none. */
  readonly stream: (message: IncomingMessage, answer: ServerResponse) => boolean;
  stop(): Promise<void>;
};

/** What an operator's NTP is assumed to keep a key server's clock within, where nothing states it. */
const KEY_SERVER_ERROR: Micros = 1_000 as Micros;
const INTERNAL = 'http://keys.internal';
const RESOURCE = /^\/v1\/events\/([^/]+)\/resources\/([^/]+)$/;
/** Event and number of a segment's address. */
const SEGMENT = /\/([a-z0-9][a-z0-9-]{0,39})\/[^/]+\/([0-9]{1,15})(?:\.[0-9]+)?\.m4s(?:\?|$)/;

const problems =
  (handler: (request: Request) => Promise<Response>, log: Log): PeerHandler =>
  async (request) => {
    try {
      return await handler(request);
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === 'internal') log.error('release request failed', { error: error instanceof Error ? error.name : typeof error });
      return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*' } });
    }
  };

/** Timed events out of the catalogue. Exported for tests. */
export const catalogueEvents = (options: { catalogue: CatalogueStore; secrets: OwnSecrets; edges: readonly EnrolledReleaseEdge[]; urls: () => readonly string[] }): TimedEvents => {
  const { catalogue, secrets, edges } = options;
  const eventOf = (entry: CatalogueEntry | undefined): TimedEvent | undefined => {
    if (entry?.timed === undefined || entry.state === 'ended') return undefined;
    const { edges: allowed, ...timing } = entry.timed;
    return { info: { event: entry.asset, ...timing }, createdAt: entry.createdAt, edges: allowed, urls: options.urls() };
  };
  return {
    find: async (event) => eventOf(await catalogue.get(event)),
    list: async () => (await catalogue.list()).map(eventOf).filter((event) => event !== undefined),
    edge: async (name) => edges.find(({ edge }) => edge === name),
    edges: async () => edges,
    // Random per event and ten minutes, sealed at rest, made when first needed.
    eventKey: (event, epoch) => secrets.bytes(`release/${event}/${epoch}`),
  };
};

/** Opens what the configuration names; nothing runs before `attach` and requests. */
export const openRelease = async (deps: ReleaseDeps): Promise<Release> => {
  const { config, secrets, clock, log, metrics, events } = deps;
  const { release } = config;
  const hostId = release.host ?? hostname();
  const time = createPreciseTime();
  const reach: Fetch = deps.fetch ?? ((request) => fetch(request));
  let stopping: Promise<void> | undefined;
  let resources: TimedResources | undefined;
  let workers: ReleaseWorkers | undefined;
  let workerUrl: string | undefined;
  let cancelKeys: (() => void) | undefined;
  const urls = (): readonly string[] => (release.urls.length > 0 ? release.urls : [workerUrl ?? '/']);
  const hasKeys = config.roles.includes('key-server');
  const hasEdge = config.roles.includes('edge');

  // ---- key server ----
  const [edgeSign, edgeAgree] = hasEdge ? await Promise.all([secrets.keyPair('edge/sign', 'ES256'), secrets.keyPair('edge/agree', 'ECDH-ES')]) : [undefined, undefined];
  const own: EnrolledReleaseEdge[] = edgeSign !== undefined && edgeAgree !== undefined ? [{ edge: config.edge.id, sign: edgeSign.publicJwk as never, agree: edgeAgree.publicJwk as never, host: hostId }] : [];
  const name = config.keyServer.name;
  const replicaOf = hasKeys && config.keyServer.url !== undefined && deps.firstCredential !== undefined ? createReleaseFollower({ url: config.keyServer.url, credential: deps.firstCredential, fetch: reach, clock, log }) : undefined;
  const first = catalogueEvents({ catalogue: deps.catalogue, secrets, edges: [...own, ...deps.enrolled], urls });
  const timedEvents: TimedEvents = replicaOf ?? first;
  const others: readonly (ReleasePublicKeys & { readonly url: string })[] = await Promise.all(release.keyServers.map(async ({ name: other, url, publicFile }) => ({ ...(await releaseKeysOf(publicFile, other)), url })));
  let server: ReleaseServer | undefined;
  const reports = new Map<string, EdgeReport & { readonly edge: string; readonly at: Micros }>();
  const keepHead = async (edge: string, jws: string, at: Micros): Promise<void> => {
    await appendFile(join(config.data, 'release-log-heads.jsonl'), `${JSON.stringify({ edge, at, jws })}\n`);
  };
  let publicKeys: ReleasePublicKeys | undefined;
  if (hasKeys) {
    const [grant, schedule] = await Promise.all([secrets.keyPair(`release/${name}/grant`, 'EdDSA'), secrets.keyPair(`release/${name}/schedule`, 'ES256')]);
    publicKeys = { name, grant: { ...grant.publicJwk, kid: `${name}.grant` }, schedule: { ...schedule.publicJwk, kid: `${name}.schedule` } };
    const shown = publicKeys;
    server = createReleaseServer({
      name, events: timedEvents,
      grantKey: { kid: `${name}.grant`, key: await importJwsKey(grant.privateJwk, 'EdDSA') },
      scheduleKey: { kid: `${name}.schedule`, key: await importJwsKey(schedule.privateJwk, 'ES256') },
      publicKeys: () => [shown.schedule, ...others.filter((other) => other.name !== name).map((other) => other.schedule)],
      hash: nodeLadderHash, clock, log, metrics,
      onReport: (edge, told, at) => {
        if (edge !== config.edge.id || !hasEdge) reports.set(edge, { edge, at, ...told });
      },
      onLogHead: (edge, jws, at) => void keepHead(edge, jws, at).catch((error: unknown) => log.error('the head of a release log could not be kept', { edge, reason: error instanceof Error ? error.message : String(error) })),
    });
  }
  replicaOf?.start();
  const feed = hasKeys && replicaOf === undefined ? createReleaseFeed({ events: first, credentials: deps.credentials, clock }) : undefined;

  // ---- edge ----
  let edgePart: ReleaseEdge | undefined;
  const trusted = async (keys: ReleasePublicKeys): Promise<TrustedKeyServer & { jwk: object }> => ({
    name: keys.name,
    grantKid: `${keys.name}.grant`, grantKey: await importJwsKey(keys.grant, 'EdDSA'),
    scheduleKid: `${keys.name}.schedule`, scheduleKey: await importJwsKey(keys.schedule, 'ES256'),
    jwk: keys.schedule,
  });

  const floorFile = join(config.data, 'release-floor');
  const readFloor = async (): Promise<Micros> => {
    try {
      const value = Number((await readFile(floorFile, 'utf8')).trim());
      return (Number.isSafeInteger(value) && value > 0 ? value : 0) as Micros;
    } catch {
      return 0 as Micros;
    }
  };

  /** Workers verify tokens themselves: they get the bundle's keys and revocations when either changes. */
  const followKeys = (edge: Edge, to: ReleaseWorkers): void => {
    let sent = -1;
    const look = (): void => {
      const keys = edge.keys();
      if (keys !== undefined && keys.version !== sent) {
        sent = keys.version;
        to.tokens({ zone: keys.zone.index, epochs: keys.releaseKeys(), revoked: keys.revoked() });
      }
      cancelKeys = clock.after(200 as Millis, look);
    };
    look();
  };

  const attach: Release['attach'] = async (edge, { url, tls }) => {
    if (edgeSign === undefined || edgeAgree === undefined) throw new SealcastError('internal', 'an edge has keys');
    const here = server;
    const servers = [
      ...(publicKeys !== undefined && here !== undefined ? [{ ...(await trusted(publicKeys)), url: INTERNAL, fetch: ((request: Request) => answerInternal(request, here)) as Fetch }] : []),
      ...(await Promise.all(others.filter((other) => other.name !== publicKeys?.name).map(async (other) => ({ ...(await trusted(other)), url: other.url, fetch: reach })))),
    ];
    // All roles on this host: a key server here, and nobody else to ask. Enrolled edges of other hosts end it later.
    const alone = release.singleHost === 'auto' && here !== undefined && servers.length === 1 && release.peers.length === 0;
    const agreeKey = await crypto.subtle.importKey('jwk', edgeAgree.privateJwk as Parameters<typeof crypto.subtle.importKey>[1] as never, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
    const logKey = await secrets.keyPair('release/log', 'EdDSA');
    const kid = `${config.edge.id}.log`;
    const signer = await importJwsKey(logKey.privateJwk, 'EdDSA');
    const folder = release.log ?? join(config.data, 'release');
    const file = join(folder, `${config.edge.id}-${new Date(clock.now() / 1000).toISOString().replace(/[:.]/g, '-')}.jsonl`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, `${config.edge.id}.public.json`), `${JSON.stringify({ ...logKey.publicJwk, kid })}\n`);
    const floor = await readFloor();
    if (release.workers > 0) {
      workers = await startReleaseWorkers({
        count: release.workers,
        data: {
          edge: config.edge.id, host: hostId, alone, floor, maxGap: release.suspendMillis as Millis, maxConnections: release.maxConnections,
          listen: { host: release.workerHost, port: release.workerPort }, ...(tls && { tls }), keys: servers.map(({ jwk }) => jwk), past: [...others.map((other) => other.url), ...(tls === undefined ? [url] : [])],
        },
        reports: () => edgePart?.reports, now: () => clock.now(), log, events,
      });
      workerUrl = `${tls === undefined ? 'http' : 'https'}://${/^(?:127\.|0\.0\.0\.0$|::1?$)/.test(release.workerHost) ? 'localhost' : release.workerHost}:${workers.port}`;
      followKeys(edge, workers);
    }
    edgePart = createReleaseEdge({
      ...(workers && { followers: workers.followers }),
      edge: config.edge.id, host: hostId,
      signKey: await importJwsKey(edgeSign.privateJwk, 'ES256'), agreeKey, servers,
      peers: release.peers.map(({ name: peer, url }) => ({ name: peer, url, fetch: reach })),
      alone,
      ...(release.chrony && { local: () => askChrony(time) }),
      tokens: {
        keyOf: (id, now) => edge.keys()?.releaseTokenKey(id, now),
        isRevoked: (session, now) => edge.keys()?.isRevoked(session as never, now) ?? false,
      },
      framings: [webSocketFraming, eventStreamFraming],
      time,
      floor,
      keepFloor: async (at) => {
        await writeFile(`${floorFile}.new`, `${at}\n`);
        await rename(`${floorFile}.new`, floorFile);
      },
      sign: { kid, sign: (payload) => signJws(payload, { typ: 'release-log+jwt', key: signer, kid }) },
      append: (text) => appendFile(file, text),
      mayAskEpoch: async (request) => mayAsk(request) || deps.isOperator(request),
      hash: nodeLadderHash, timers: clock, random: deps.random, log, metrics, events,
      segmentDuration: microsFromSeconds(config.packager.segmentSeconds),
      maxConnections: release.maxConnections,
      maxGap: release.suspendMillis as Millis,
    });
    edgePart.start();
    return edgePart;
  };

  /** The key server of this process, reached like any other; it is also asked for the time, which says that it is this host. */
  const answerInternal = async (request: Request, here: ReleaseServer): Promise<Response> => (new URL(request.url).pathname === '/v1/time' ? timeAnswer(request) : problems(here.handler, log)(request, { address: 'internal' }));

  const epochHashes = release.credentials.map(({ sha256: hash }) => encodeUtf8(hash));
  const mayAsk = (request: Request): boolean => {
    const token = /^Bearer ([\x21-\x7e]{1,256})$/.exec(request.headers.get('authorization') ?? '')?.[1];
    if (token === undefined) return false;
    const given = encodeUtf8(encodeBase64url(sha256(encodeUtf8(token))));
    return epochHashes.filter((hash) => equalBytes(hash, given)).length > 0;
  };

  const exchange = (query: URLSearchParams): Readonly<Record<string, unknown>> => {
    const part = edgePart;
    const bound = part?.bound();
    const sure = bound !== undefined && (bound.status === 'sync' || bound.status === 'single-host');
    const stamp = (): { readonly utc: number; readonly within: number } => {
      if (sure && part !== undefined) return { utc: part.clock.utc(), within: (bound.latest - bound.earliest) / 2 };
      const { utc, within } = time.system();
      return { utc, within: Math.ceil(within * 1000) + KEY_SERVER_ERROR };
    };
    const t1 = query.get('t1');
    const [received, sent] = [stamp(), stamp()];
    const error = Math.ceil(Math.max(received.within, sent.within));
    return {
      time: sent.utc, ...(t1 !== null && /^[0-9]{1,17}$/.test(t1) && { t1: Number(t1) }), t2: received.utc, t3: Math.max(received.utc, sent.utc),
      earliest: sent.utc - error, latest: sent.utc + error, status: sure || !hasKeys ? (bound?.status ?? 'host') : 'host', host: hostId,
    };
  };
  const timeAnswer = createTimeEndpoint(clock, exchange);

  const resource = async (request: Request, event: string, name: string): Promise<Response> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new SealcastError('method-not-allowed', 'timed resources take GET');
    const bytes = await resources?.get(assetId(event), resourceName(name));
    if (bytes === undefined) throw new SealcastError('not-found', 'no such timed resource');
    return new Response(bytes as Uint8Array<ArrayBuffer>, { headers: { 'Content-Type': 'application/octet-stream', 'Cache-Control': 'public, max-age=5', 'Access-Control-Allow-Origin': '*' } });
  };

  const route = (path: string): PeerHandler | undefined => {
    const asked = RESOURCE.exec(path);
    if (asked !== null && resources !== undefined) return problems((request) => resource(request, asked[1] ?? '', asked[2] ?? ''), log);
    if (feed !== undefined && isReleaseFeed(path)) return problems(feed, log);
    if (server !== undefined && (path.endsWith('/grants') || path.endsWith('/releases') || path.endsWith('/log-heads') || path.endsWith('/release-report')) && /^\/v1\/(?:events|edges)\/[^/]+\/(?:grants|releases|log-heads|release-report)$/.test(path)) return problems(server.handler, log);
    if (!ownsReleasePath(path)) return undefined;
    const part = edgePart;
    const event = releaseEvent(path);
    if (part !== undefined && event !== undefined && part.intake.book(event) !== undefined) return part.handler;
    if (server !== undefined && /\/release\/(?:keys|schedule|blocks)/.test(path)) return problems(server.handler, log);
    return part?.handler;
  };

  const sockets = createReleaseSockets(() => edgePart?.host);

  return {
    ...(server !== undefined && { server }),
    ...(server !== undefined && replicaOf === undefined && { releaseSecret: ((made) => (asset: AssetId, period: CryptoPeriod, length: Micros) => made.secrets.secret({ event: asset, period: length }, period))(server) }),
    releases: () => ({ urls: urls(), keys: [...(publicKeys === undefined ? [] : [publicKeys.schedule]), ...others.filter((other) => other.name !== publicKeys?.name).map((other) => other.schedule)] }),
    origins: () => urls().filter((url) => /^https?:/.test(url)).map((url) => new URL(url).origin).flatMap((origin) => [origin, origin.replace(/^http/, 'ws')]),
    timing(mode) {
      const { periodMillis, deltaMillis, fallbackDeltaMillis } = release[mode];
      const period = microsFromMillis(periodMillis);
      const delta = microsFromMillis(deltaMillis);
      const perGroup = Math.max(1, Math.round(microsFromSeconds(release.groupSeconds) / period));
      return {
        timing: { mode, version: 1, firstRelease: (microsFromSeconds(release.latencySeconds) - delta) as Micros, period, delta, fallbackDelta: microsFromMillis(fallbackDeltaMillis), perBlock: periodsPerBlock(period), edges: 'all' },
        periodsPerGroup: perGroup,
      };
    },
    openResources({ keys, store }) {
      if (server === undefined || replicaOf !== undefined) return undefined;
      resources = createTimedResources({ events: first, secrets: server.secrets, keys, store, random: deps.random, clock });
      return resources;
    },
    packaged: (event, segment) => edgePart?.timeline.packaged(event, segment, edgePart.clock.utc()),
    mediaSent(address) {
      if (edgePart === undefined || edgePart.intake.books.size === 0) return;
      const match = SEGMENT.exec(address);
      const event = match?.[1] as AssetId | undefined;
      if (event !== undefined && edgePart.intake.books.has(event)) edgePart.timeline.sent(event, Number(match?.[2]), edgePart.clock.utc());
    },
    reports: () => [...reports.values()].filter(({ at }) => clock.now() - at < 10_000_000),
    time,
    publicKeys,
    hostId,
    attach,
    edge: () => edgePart,
    route,
    timeHandler: timeAnswer,
    upgrade: sockets.upgrade,
    stream: sockets.stream,
    stop: () =>
      (stopping ??= (async () => {
        server?.close();
        replicaOf?.stop();
        cancelKeys?.();
        await edgePart?.stop();
        await workers?.stop();
      })()),
  };
};
