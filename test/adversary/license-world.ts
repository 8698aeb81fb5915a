// SPDX-License-Identifier: Apache-2.0
/**
 * A whole licensing installation in memory with a hand-moved clock, and a client that speaks the protocol byte by byte, so
 * that tests can break any part of any message.
 *
 * Invariant: deterministic but for key pairs; everything logged, told or answered is captured for the search for secrets.
 */
import { createHash } from 'node:crypto';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { Problem } from '#core/errors.ts';
import { assetId, type AssetId, type GrantKey, type SessionId } from '#core/ids.ts';
import { createUnlocker, type OpenNode } from '#core/keys/unlock.ts';
import { type LicenseClaims, LICENSE_TYPE, parseLicenseClaims, parseSealedLicense, type SealedLicense, wrappedGrant } from '#core/license/license-claims.ts';
import { encodeRequest, nextState, openAnswer, type RenewalAnswer } from '#core/license/renewal-message.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import type { GrantGroup, KeySchedule, Micros, Millis } from '#core/time.ts';
import { importSigningKey, importVerifyKey, type JwsKey, type JwsType, makeKeyPair, openSealed, signJws, thumbprint, verifyJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { nodeEs256 } from '#adapters/node/es256.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import { createKeyServer, type KeyServer } from '#key-server/key-server.ts';
import { createLicenseServer } from '#license-server/license-server.ts';
import type { LicenseServer, LicenseServerOptions } from '#license-server/options.ts';
import { createRenewal, type Renewal, type RenewalOptions } from '#renewal/renewal.ts';
import type { Clock, EventSink, Log, Metrics, OperationalEvent, Random, Stores } from '#ports';

/** 2027-01-15T08:00:00Z. */
export const START = 1_800_000_000_000_000 as Micros;
export const SECOND = 1_000_000;
export const SCHEDULE: KeySchedule = { period: (2 * SECOND) as Micros, periodsPerGroup: 3 };
/** Group length of SCHEDULE. */
export const GROUP = 6 * SECOND;
export const LIVE: AssetId = assetId('match-1');
export const FILM: AssetId = assetId('film-1');
export const FILM_SECONDS = 600;

export type ManualClock = Clock & {
  advance(seconds: number): Promise<void>;
  set(at: Micros): void;
  /** Timers that wait to be run. */
  readonly pending: number;
};

/** Resolves once `condition` holds: for steps behind WebCrypto, which takes its own time. */
export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

/** Lets promise chains that are under way come to rest; not WebCrypto jobs. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

export const manualClock = (start: Micros = START): ManualClock => {
  let now: number = start;
  const timers = new Set<{ at: number; run: () => void }>();
  return {
    now: () => now as Micros,
    monotonic: () => ((now - start) / 1000) as Millis,
    after(delay, run) {
      const timer = { at: now + delay * 1000, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(seconds) {
      now += Math.round(seconds * SECOND);
      for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
        if (timer.at > now || !timers.delete(timer)) continue;
        timer.run();
        await settle();
      }
    },
    set(at) {
      now = at;
    },
    get pending() {
      return timers.size;
    },
  };
};

export const seededRandom = (seed: string): Random => {
  let counter = 0;
  return {
    bytes(length) {
      const parts: Uint8Array[] = [];
      for (let made = 0; made < length; made += 32) parts.push(createHash('sha256').update(`${seed}/${counter++}`).digest());
      return new Uint8Array(Buffer.concat(parts).subarray(0, length));
    },
  };
};

export type TestDevice = { readonly id: string; readonly sign: JwsKey; readonly signJwk: PublicJwk; readonly agreeJwk: PublicJwk; readonly agreeKey: CryptoKey; readonly privateText: string };

export const makeDevice = async (): Promise<TestDevice> => {
  const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
  const agreeKey = await crypto.subtle.importKey('jwk', agree.privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
  return { id: await thumbprint(sign.publicJwk), sign: await importSigningKey(sign.privateJwk), signJwk: sign.publicJwk, agreeJwk: agree.publicJwk, agreeKey, privateText: String(sign.privateJwk.d) };
};

export type StartBody = { entitlement: string; asset: string; nonce: string; position?: number; device: { sign: object; agree: object; name?: string }; proof: string; [extra: string]: unknown };

/** What a licence gave a client, and what it has opened since. */
export type Viewer = {
  readonly sid: SessionId;
  readonly claims: LicenseClaims;
  readonly sealed: SealedLicense;
  readonly device: TestDevice;
  readonly mediaToken: string;
  state: Uint8Array;
  /** Groups whose GK this client can unwrap. */
  opens(group: number): boolean;
  grant(group: number): GrantKey | undefined;
  take(nodes: readonly OpenNode[]): void;
  /** A renewal request as the client would send it now. */
  request(position: number, move?: boolean): { bytes: Uint8Array; mac: Uint8Array };
  /** Verifies an answer and takes it over. */
  accept(mac: Uint8Array, bytes: Uint8Array): RenewalAnswer;
};

export type World = {
  readonly clock: ManualClock;
  readonly stores: Stores;
  readonly keyServer: KeyServer;
  readonly licenses: LicenseServer;
  readonly renewal: Renewal;
  readonly logged: unknown[];
  readonly told: OperationalEvent[];
  readonly counted: string[];
  /** Another node: no state of the first one's. */
  renewalNode(changes?: Partial<RenewalOptions>): Renewal;
  licenseNode(changes?: Partial<LicenseServerOptions>): Promise<LicenseServer>;
  entitlement(changes?: Record<string, unknown>, sign?: { key?: JwsKey; kid?: string; typ?: string }): Promise<string>;
  /** A correct session start; `changes` overwrite members after signing. */
  startBody(device: TestDevice, asset: AssetId, changes?: { entitlement?: string; proof?: Record<string, unknown>; proofTyp?: JwsType; signer?: JwsKey; body?: Record<string, unknown> }): Promise<StartBody>;
  post(path: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> & Partial<Problem>; headers: Headers }>;
  get(path: string): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }>;
  nonce(): Promise<string>;
  open(answer: Record<string, unknown>, device: TestDevice): Promise<Viewer>;
  start(device: TestDevice, asset: AssetId, changes?: Parameters<World['startBody']>[2]): Promise<Viewer>;
  relicense(viewer: Viewer, changes?: { position?: number; nonce?: string; proof?: Record<string, unknown>; signer?: JwsKey }): ReturnType<World['post']>;
  relicenseBody(viewer: Viewer, changes?: Parameters<World['relicense']>[1]): Promise<Record<string, unknown>>;
  renewOn(node: Renewal, viewer: Viewer, position: number): RenewalAnswer;
  readonly hmacSecret: Uint8Array;
};

let jti = 0;

export const createWorld = async (changes: Partial<LicenseServerOptions> & { releaseSecret?: boolean } = {}): Promise<World> => {
  const clock = (changes.clock as ManualClock | undefined) ?? manualClock();
  const random = seededRandom('world');
  const stores = createMemoryStores();
  const logged: unknown[] = [];
  const told: OperationalEvent[] = [];
  const counted: string[] = [];
  const write = (level: string) => (message: string, fields?: Record<string, unknown>) => void logged.push({ level, message, ...fields });
  const log: Log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const events: EventSink = (event) => void told.push(event);
  const metrics: Metrics = {
    count: (name, _help, labels) => void counted.push(`${name} ${JSON.stringify(labels ?? {})}`),
    gauge: (name) => void counted.push(name),
    observe: (name) => void counted.push(name),
  };
  const box = createSecretBox(new Uint8Array(32).fill(9));
  const backend = await makeKeyPair('sign');
  const backendKey = await importSigningKey(backend.privateJwk);
  const hmacSecret = new Uint8Array(32).fill(3);
  const roots = { wrapper: nodeKeyWrapper, secret: async (collection: string) => hash.sha256(encodeUtf8(`root of ${collection}`)) };
  const keyServer = createKeyServer({ store: stores.assetKeys, box, random, clock, credentials: [], roots, log, events, metrics });
  await keyServer.createAsset({ asset: LIVE, kind: 'event', scheme: 'cenc', mode: 'untimed', schedule: SCHEDULE });
  await keyServer.createAsset({ asset: FILM, kind: 'title', scheme: 'cbcs', mode: 'untimed', schedule: SCHEDULE });
  await stores.catalogue.create({ asset: LIVE, kind: 'event', name: 'Match', state: 'live', createdAt: START, clearKey: 'off' });
  await stores.catalogue.create({ asset: FILM, kind: 'title', name: 'Film', state: 'ready', createdAt: START, duration: (FILM_SECONDS * SECOND) as Micros, clearKey: 'detect' });

  const options: LicenseServerOptions = {
    issuer: 'https://license.example',
    keys: keyServer,
    subscriptions: { keys: keyServer, collections: stores.collections, roots: stores.roots, usage: stores.usage },
    ...stores,
    box,
    wrapper: nodeKeyWrapper,
    entitlementKeys: [
      { kid: 'shop', alg: 'ES256', key: backend.publicJwk as JsonWebKey, issuer: 'https://shop.example' },
      { kid: 'hmac', alg: 'HS256', key: hmacSecret },
    ],
    policy: { interval: 20_000, duration: 60_000 },
    timeShift: (30 * SECOND) as Micros,
    // Server and client on different implementations: each checks the other.
    hash: nodeLadderHash,
    es256: nodeEs256,
    random,
    clock,
    log,
    events,
    metrics,
    ...changes,
  };
  const licenses = await createLicenseServer(options);
  const nodeOptions: RenewalOptions = { zones: licenses.zoneKeys, heartbeats: stores.heartbeats, flags: licenses.flags, policy: licenses.policy, clock, log, events, metrics };
  const renewal = createRenewal(nodeOptions);
  const seconds = (): number => Math.floor(clock.now() / SECOND);

  const call = async (path: string, init?: RequestInit): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> => {
    const response = await licenses.handler(new Request(`https://license.example${path}`, init));
    const text = await response.text();
    return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>), headers: response.headers };
  };

  const world: World = {
    clock,
    stores,
    keyServer,
    licenses,
    renewal,
    logged,
    told,
    counted,
    hmacSecret,
    renewalNode: (nodeChanges = {}) => createRenewal({ ...nodeOptions, ...nodeChanges }),
    licenseNode: (nodeChanges = {}) => createLicenseServer({ ...options, ...nodeChanges }),
    entitlement: (claims = {}, { key = backendKey, kid = 'shop', typ = 'entitlement+jwt' } = {}) =>
      signJws({ iss: 'https://shop.example', aud: 'sealcast', sub: 'account-1', jti: `jti-${++jti}`, iat: seconds(), exp: seconds() + 120, assets: ['*'], ...claims }, { typ: typ as JwsType, key, kid }),
    nonce: async () => String((await call('/v1/sessions')).body['nonce']),
    async startBody(device, asset, { entitlement, proof, proofTyp = 'session-proof+jwt', signer = device.sign, body } = {}) {
      const token = entitlement ?? (await world.entitlement());
      const nonce = await world.nonce();
      const payload = { ent: encodeBase64url(hash.sha256(encodeUtf8(token))), nonce, asset: proofTyp === 'device-proof+jwt' || proofTyp === 'root-proof+jwt' ? '' : asset, agree: await thumbprint(device.agreeJwk), ...proof };
      return {
        entitlement: token,
        asset,
        nonce,
        device: { sign: device.signJwk, agree: device.agreeJwk, name: 'TV' },
        proof: await signJws(payload, { typ: proofTyp, key: signer }),
        ...body,
      };
    },
    post: (path, body) => call(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body) }),
    get: (path) => call(path),
    async open(answer, device) {
      const keys = (await call('/v1/licenses/keys')).body['keys'] as (PublicJwk & { kid: string })[];
      const [jwk] = keys;
      if (jwk === undefined) throw new Error('no licence key published');
      const payload = await verifyJws(String(answer['license']), { typ: LICENSE_TYPE, key: await importVerifyKey(jwk), maxLength: 2 ** 22 });
      if (payload === undefined) throw new Error('licence not authentic');
      const claims = parseLicenseClaims(payload);
      const plain = await openSealed(claims.sealed, device.agreeKey);
      if (plain === undefined) throw new Error('licence not for this device');
      const sealed = parseSealedLicense(plain, claims.horizon);
      const unlocker = createUnlocker(hash, 4096);
      unlocker.add(sealed.nodes);
      const grant = (group: number): GrantKey | undefined => {
        const uk = unlocker.unlockKey(group);
        const wrapped = wrappedGrant(sealed, claims.horizon, group as GrantGroup);
        return uk === undefined || wrapped === undefined ? undefined : (nodeKeyWrapper.unwrap(uk, wrapped) as GrantKey | undefined);
      };
      const viewer: Viewer = {
        sid: claims.sid,
        claims,
        sealed,
        device,
        mediaToken: String(answer['mediaToken']),
        state: sealed.state,
        grant,
        opens: (group) => grant(group) !== undefined,
        take: (nodes) => unlocker.add(nodes),
        request: (position, move = false) => encodeRequest(hash, sealed.renewalKey, { position: position as GrantGroup, clientTime: clock.now(), state: viewer.state, move }),
        accept(mac, bytes) {
          const opened = openAnswer(hash, sealed.renewalKey, mac, bytes);
          unlocker.add(opened.nodes);
          viewer.state = nextState(viewer.state, opened);
          return opened;
        },
      };
      return viewer;
    },
    async start(device, asset, startChanges = {}) {
      const answer = await world.post('/v1/sessions', await world.startBody(device, asset, startChanges));
      if (answer.status !== 201) throw new Error(`start refused: ${answer.status} ${String(answer.body.code)} ${String(answer.body.detail)}`);
      return world.open(answer.body, device);
    },
    async relicenseBody(viewer, { position, nonce, proof, signer = viewer.device.sign } = {}) {
      const fresh = nonce ?? (await world.nonce());
      return { sid: viewer.sid, nonce: fresh, proof: await signJws({ sid: viewer.sid, nonce: fresh, ...proof }, { typ: 'license-proof+jwt', key: signer }), ...(position !== undefined && { position }) };
    },
    relicense: async (viewer, relicenseChanges = {}) => world.post('/v1/licenses', await world.relicenseBody(viewer, relicenseChanges)),
    renewOn(node, viewer, position) {
      const { bytes, mac } = viewer.request(position);
      const outcome = node.renew(bytes);
      if (outcome.kind !== 'answered') throw new Error(`renewal refused: ${outcome.code} ${outcome.detail}`);
      return viewer.accept(mac, outcome.bytes);
    },
  };
  return world;
};

/** The group that is live at `at`. */
export const liveGroup = (at: Micros): number => Math.floor(at / GROUP);
