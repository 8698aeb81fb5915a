// SPDX-License-Identifier: Apache-2.0
/**
 * Key servers, edges and clients of a timed event on one fake clock: every part but the network and the clocks is the real one.
 *
 * Truth is the fake clock's time; each edge host has a system clock with a skew of its own and a monotonic clock with another
 * start. Frames are stamped with the truth of the moment they are written.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { problemOf } from '#core/errors.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { decodeRelease, type ReleaseFrame, RELEASE_LENGTH } from '#core/release/frame.ts';
import { type EdgeMessage, parseEdgeMessage } from '#core/release/messages.ts';
import { periodsPerBlock, type ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { hmacSha256, sha256 } from '#crypto/hmac.ts';
import { importJwsKey, type JwsKey, makeKeyPair } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { mintReleaseToken } from '#crypto/release-token.ts';
import { createReleaseEdge, type ReleaseEdge } from '#edge/release/index.ts';
import { createReleaseServer, type ReleaseEdge as Enrolled, type ReleaseServer, type TimedEvents } from '#key-server/index.ts';
import type { Fetch, Metrics, OperationalEvent, PreciseTime, ReleaseFraming, ReleaseTransport } from '#ports';
import { createFakeClock, type FakeClock } from '../interop/fake-clock.ts';

export const EVENT = 'final' as AssetId;
export const p = (value: number): CryptoPeriod => value as CryptoPeriod;
const START = 1_800_000_000_000;
const RTK = new Uint8Array(32).fill(3);

/** Counters by `name{label}`. */
export type Counters = Map<string, number>;
const metricsOf = (counters: Counters): Metrics => {
  const add = (name: string, labels: Readonly<Record<string, string>> | undefined, by: number): void => {
    const key = `${name}{${Object.values(labels ?? {}).join(',')}}`;
    counters.set(key, (counters.get(key) ?? 0) + by);
  };
  return {
    count: (name, _help, labels, by = 1) => add(name, labels, by),
    gauge: (name, _help, value, labels) => void counters.set(`${name}{${Object.values(labels ?? {}).join(',')}}`, value),
    observe: (name, _help, _seconds, labels) => add(name, labels, 1),
  };
};
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Frames as they are, told apart by a first byte. */
export const plainFraming: ReleaseFraming = {
  text: (_type, json) => Uint8Array.from([0, ...encodeUtf8(json)]),
  release: (_period, frame) => Uint8Array.from([1, ...frame]),
  binary: (frame) => Uint8Array.from([2, ...frame]),
};

/** A client at one edge. */
export type FakeClient = {
  readonly frames: { readonly frame: ReleaseFrame; readonly truth: number }[];
  readonly messages: EdgeMessage[];
  readonly binary: Uint8Array[];
  code: number | undefined;
  /** Bytes it leaves unread. */
  pending: number;
  say(message: object): void;
  text(text: string): void;
  bytes(bytes: Uint8Array): void;
  gone(): void;
};

export type KeyServerWorld = { readonly server: ReleaseServer; readonly name: string; down: boolean; /** Microseconds that its clock is wrong by. */ skew: number; /** Changes its answers to edges. */ alter: ((body: Record<string, unknown>) => Record<string, unknown>) | undefined; asked: number };
export type EdgeWorld = {
  readonly edge: ReleaseEdge;
  readonly name: string;
  readonly counters: Counters;
  readonly events: OperationalEvent[];
  readonly log: string[];
  readonly floor: { value: Micros };
  /** Steps this host's system clock. */
  step(millis: number): void;
  client(options?: { account?: string; session?: string; connections?: number; last?: number; hello?: boolean; life?: number }): FakeClient;
  read(path: string, headers?: Record<string, string>, address?: string): Promise<Response>;
};
export type World = {
  readonly clock: FakeClock;
  readonly info: ReleaseInfo;
  readonly keyServers: readonly KeyServerWorld[];
  /** Edges that may have the secrets. */
  allowed: 'all' | readonly string[];
  ended: boolean;
  readonly enrolled: Enrolled[];
  readonly truth: () => number;
  edge(options?: { name?: string; host?: string; skewMillis?: number; alone?: boolean; floor?: number; chrony?: boolean; peers?: readonly EdgeWorld[]; keyServers?: readonly KeyServerWorld[] }): Promise<EdgeWorld>;
  /** Lets the edge stop and forget all but its floor. */
  revoked: Set<string>;
};

/** A world of `keyServers` replicas and no edge yet. */
export const createWorld = async (options: { keyServers?: number; info?: Partial<ReleaseInfo> } = {}): Promise<World> => {
  const clock = createFakeClock(START);
  const period = options.info?.period ?? (100_000 as Micros);
  const info: ReleaseInfo = { event: EVENT, version: 1, mode: 'standard', firstRelease: 4_850_000 as Micros, period, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: periodsPerBlock(period), ...options.info };
  const enrolled: Enrolled[] = [];
  const world: { allowed: World['allowed']; ended: boolean } = { allowed: 'all', ended: false };
  const createdAt = clock.now();
  const events: TimedEvents = {
    find: async (event) => (event === EVENT && !world.ended ? { info, createdAt: (createdAt - 600_000_000) as Micros, edges: world.allowed, urls: ['/', 'https://edge-2.example'] } : undefined),
    list: async () => (world.ended ? [] : [{ info, createdAt, edges: world.allowed, urls: ['/'] }]),
    edge: async (name) => enrolled.find(({ edge }) => edge === name),
    edges: async () => enrolled,
    eventKey: async (event, epoch) => sha256(encodeUtf8(`${event}/${epoch}`)),
  };
  const grantPairs = await Promise.all(Array.from({ length: options.keyServers ?? 2 }, () => crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify']) as Promise<CryptoKeyPair>));
  const schedulePairs = await Promise.all(grantPairs.map(() => makeKeyPair('sign')));
  const trusted: { name: string; grantKid: string; grantKey: JwsKey; scheduleKid: string; scheduleKey: JwsKey; jwk: object }[] = [];
  const keyServers: KeyServerWorld[] = [];
  for (const [index, pair] of grantPairs.entries()) {
    const name = `keys-${index + 1}`;
    const { publicJwk, privateJwk } = schedulePairs[index] as (typeof schedulePairs)[number];
    trusted.push({ name, grantKid: `${name}.grant`, grantKey: { alg: 'EdDSA', key: pair.publicKey }, scheduleKid: `${name}.schedule`, scheduleKey: await importJwsKey(publicJwk, 'ES256'), jwk: { ...publicJwk, kid: `${name}.schedule` } });
    const state: Omit<KeyServerWorld, 'server'> = { name, down: false, skew: 0, alter: undefined, asked: 0 };
    const server = createReleaseServer({
      name, events,
      grantKey: { kid: `${name}.grant`, key: { alg: 'EdDSA', key: pair.privateKey } },
      scheduleKey: { kid: `${name}.schedule`, key: await importJwsKey(privateJwk, 'ES256') },
      publicKeys: () => trusted.map(({ jwk }) => jwk),
      hash: ladderHash, clock: { ...clock, now: () => (clock.now() + state.skew) as Micros }, log: silent, metrics: metricsOf(new Map()),
    });
    keyServers.push(Object.assign(state, { server }));
  }
  const fetchOf = (keys: KeyServerWorld): Fetch => async (request) => {
    keys.asked++;
    if (keys.down) throw new TypeError('connection refused');
    const now = clock.now() + keys.skew;
    if (new URL(request.url).pathname === '/v1/time') return Response.json({ time: now, t2: now, t3: now, earliest: now - 500, latest: now + 500, status: 'host', host: keys.name });
    try {
      const response = await keys.server.handler(request);
      if (response.status !== 200 || keys.alter === undefined || !request.url.includes('/grants')) return response;
      return Response.json(keys.alter((await response.json()) as Record<string, unknown>));
    } catch (error) {
      const problem = problemOf(error);
      return new Response(JSON.stringify(problem), { status: problem.status });
    }
  };

  const revoked = new Set<string>();
  let hosts = 0;
  const self: World = Object.assign(world, {
    clock, info, keyServers, enrolled, revoked,
    truth: () => clock.now() as number,
    async edge(given: Parameters<World['edge']>[0] = {}): Promise<EdgeWorld> {
      const { name = 'edge-1', host = 'host-1', skewMillis = 0, alone = false, floor = 0, peers = [] } = given;
      const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
      const at = enrolled.findIndex(({ edge }) => edge === name);
      if (at >= 0) enrolled.splice(at, 1);
      enrolled.push({ edge: name, sign: sign.publicJwk as PublicJwk, agree: agree.publicJwk as PublicJwk, host });
      const counters: Counters = new Map();
      const told: OperationalEvent[] = [];
      const lines: string[] = [];
      const kept = { value: floor as Micros };
      const monoStart = ++hosts * 1_000_000;
      let stepped = skewMillis * 1000;
      let waited = 0;
      const monotonic = (): number => Math.max(clock.monotonic(), waited);
      const time: PreciseTime = {
        monotonic: () => (monotonic() + monoStart) as Millis,
        system: () => ({ at: (monotonic() + monoStart) as Millis, utc: (START * 1000 + Math.round(monotonic() * 1000) + stepped) as Micros, within: 0 as Millis }),
        waitUntil: (until) => {
          waited = Math.max(waited, until - monoStart);
        },
      };
      let draws = 0;
      const part = createReleaseEdge({
        edge: name, host, alone,
        signKey: await importJwsKey(sign.privateJwk, 'ES256'),
        agreeKey: await crypto.subtle.importKey('jwk', agree.privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']),
        servers: (given.keyServers ?? keyServers).map((keys) => ({ ...(trusted.find((each) => each.name === keys.name) as (typeof trusted)[number]), url: `http://${keys.name}`, fetch: fetchOf(keys) })),
        peers: peers.map((peer) => ({
          name: peer.name,
          url: `http://${peer.name}`,
          fetch: async () => {
            const { earliest, latest, status } = peer.edge.bound();
            const now = peer.edge.clock.utc();
            return Response.json({ time: now, t2: now, t3: now, earliest, latest, status, host: peer.edge.hostId });
          },
        })),
        ...(given.chrony === true && { local: async () => ({ source: 'chrony', at: time.monotonic(), offset: time.system().utc - time.system().at * 1000, error: 2000 as Micros }) }),
        tokens: { keyOf: (kid) => (kid.epoch === 1 && kid.zone === 0 ? RTK : undefined), isRevoked: (session) => revoked.has(session) },
        framings: [plainFraming], time,
        floor: floor as Micros,
        keepFloor: async (value) => {
          kept.value = value;
        },
        sign: { kid: `${name}.log`, sign: async ({ head }) => `e30.${encodeBase64url(encodeUtf8(head))}.c2ln` },
        append: async (text) => void lines.push(...text.trim().split('\n')),
        mayAskEpoch: () => true,
        hash: ladderHash, timers: clock,
        random: { bytes: (length) => hmacSha256(encodeUtf8(name), encodeUtf8(`${draws++}`)).subarray(0, length) },
        log: silent, metrics: metricsOf(counters), events: (event) => void told.push(event),
        segmentDuration: 2_000_000 as Micros,
        maxGap: 10_000 as Millis,
      });
      part.start();
      const client: EdgeWorld['client'] = ({ account = 'anna', session = 'A'.repeat(24), connections = 6, last, hello = true, life = 3_600_000_000 } = {}) => {
        const frames: FakeClient['frames'] = [];
        const messages: EdgeMessage[] = [];
        const binary: Uint8Array[] = [];
        const decoder = new TextDecoder();
        const me: FakeClient = { frames, messages, binary, code: undefined, pending: 0, say: (message) => me.text(JSON.stringify(message)), text: () => undefined, bytes: () => undefined, gone: () => undefined };
        const transport: ReleaseTransport = {
          kind: 'ws', address: '10.0.0.1',
          get pending() {
            return me.pending;
          },
          raw(bytes) {
            if (me.code !== undefined) return;
            if (bytes[0] === 0) messages.push(parseEdgeMessage(decoder.decode(bytes.subarray(1))));
            else if (bytes[0] === 1 && bytes.length === RELEASE_LENGTH + 1) frames.push({ frame: decodeRelease(bytes.subarray(1)), truth: START * 1000 + monotonic() * 1000 });
            else binary.push(bytes.subarray(1));
          },
          close(code) {
            me.code ??= code;
          },
        };
        const connection = part.host.accept(EVENT, transport, plainFraming);
        if (connection !== undefined) {
          me.text = (text) => connection.text(text);
          me.bytes = (bytes) => connection.binary(bytes);
          me.gone = () => connection.gone();
          const now = clock.now();
          const token = mintReleaseToken({ key: RTK, kid: { epoch: 1, zone: 0 }, claims: { session: session as SessionId, asset: EVENT, account: encodeBase64url(sha256(encodeUtf8(account))), connections, issuedAt: now, expiresAt: (now + life) as Micros } });
          if (hello) me.say({ type: 'hello', v: 1, token, event: EVENT, ...(last !== undefined && { last }) });
        }
        return me;
      };
      return {
        edge: part, name, counters, events: told, log: lines, floor: kept, client,
        step: (millis) => {
          stepped += millis * 1000;
        },
        read: (path, headers = {}, address = '10.0.0.2') => part.handler(new Request(`http://edge${path}`, { headers }), { address }),
      };
    },
  });
  return self;
};

/** Frames that were written before their instant. */
export const early = (client: FakeClient): number => client.frames.filter(({ frame, truth }) => truth < frame.releaseAt).length;
export const periodsOf = (client: FakeClient): number[] => client.frames.map(({ frame }) => frame.period);
export const consecutive = (periods: readonly number[]): boolean => periods.every((period, index) => index === 0 || period === (periods[index - 1] as number) + 1);
