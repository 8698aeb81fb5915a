// SPDX-License-Identifier: Apache-2.0
/**
 * Two key servers and a few edge processes of one timed event, for measurements: started, killed, cut off and watched.
 *
 * Key servers run here and can be taken down; edges are children with clocks skewed inside their bounds. Everything goes over HTTP and WebSocket.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { openReleaseChannel } from '#client/release/channel.ts';
import type { ReleaseChannel } from '#client/release/channel-types.ts';
import type { OpenSocket } from '#client/release/edge-link.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { problemOf } from '#core/errors.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import { periodsPerBlock, type ReleaseInfo } from '#core/release/schedule.ts';
import type { Micros } from '#core/time.ts';
import { importJwsKey, type JwsKey, makeKeyPair } from '#crypto/jose.ts';
import { mintReleaseToken } from '#crypto/release-token.ts';
import { createReleaseServer, type ReleaseEdge as Enrolled } from '#key-server/index.ts';
import type { Fetch } from '#ports';
import type { EdgeSetup, FromEdge } from './edge-process.ts';
import { lightSockets } from './light-socket.ts';

type Standing = Extract<FromEdge, { kind: 'standing' }>;
/** One edge process. */
export type EdgeHandle = { readonly name: string; readonly url: string; readonly port: number; readonly standing: Standing | undefined; kill(): void };
/** All of it. */
export type Edges = {
  readonly info: ReleaseInfo;
  readonly edges: readonly EdgeHandle[];
  /** UTC of this host at full resolution. */
  readonly utc: () => Micros;
  /** Takes the key servers down or brings them back. */
  cut(down: boolean): void;
  token(account: string): string;
  /** A real client's channel to `urls`. */
  channel(account: string, urls: readonly string[], openSocket?: OpenSocket, fetch?: Fetch): ReleaseChannel;
  /** Waits until every edge is sure of the time and releases. */
  ready(): Promise<void>;
  close(): Promise<void>;
};

const EVENT = 'bench' as AssetId;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
const KEY_ERROR = 300;

/** Starts them; `skews` has one entry per edge, milliseconds of asymmetry. */
export const startEdges = async (options: { readonly skews: readonly number[]; readonly period: Micros }): Promise<Edges> => {
  const precise = createPreciseTime();
  const utc = (): Micros => precise.system().utc;
  const { period } = options;
  const info: ReleaseInfo = { event: EVENT, version: 1, mode: 'standard', firstRelease: 850_000 as Micros, period, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: periodsPerBlock(period) };
  const tokenKey = systemRandom.bytes(32);
  const root = systemRandom.bytes(32);
  const createdAt = (systemClock.now() - 3_600_000_000) as Micros;
  const enrolled: Enrolled[] = [];
  let down = false;
  const closers: (() => unknown)[] = [];
  const names = ['keys-1', 'keys-2'];
  const grants = await Promise.all(names.map(() => crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify']) as Promise<CryptoKeyPair>));
  const schedules = await Promise.all(names.map(() => makeKeyPair('sign')));
  const jwks = schedules.map(({ publicJwk }, index) => ({ ...publicJwk, kid: `${names[index]}.schedule` }));
  const servers: EdgeSetup['servers'][number][] = [];
  for (const [index, name] of names.entries()) {
    const pair = grants[index] as CryptoKeyPair;
    const keys = createReleaseServer({
      name,
      events: {
        find: async (event) => (event === EVENT ? { info, createdAt, edges: 'all', urls: edges.map(({ url }) => url) } : undefined),
        list: async () => [{ info, createdAt, edges: 'all', urls: edges.map(({ url }) => url) }],
        edge: async (edge) => enrolled.find((each) => each.edge === edge),
        edges: async () => enrolled,
        eventKey: async (event, epoch) => nodeLadderHash.sha256(new Uint8Array([...root, ...encodeUtf8(`${event}/${epoch}`)])),
      },
      grantKey: { kid: `${name}.grant`, key: { alg: 'EdDSA', key: pair.privateKey } },
      scheduleKey: { kid: `${name}.schedule`, key: await importJwsKey(schedules[index]?.privateJwk as never, 'ES256') },
      publicKeys: () => jwks, hash: nodeLadderHash, clock: systemClock, log: silent, metrics,
    });
    const server = await serve(async (request) => {
      if (down) return new Response(null, { status: 503 });
      if (new URL(request.url).pathname === '/v1/time') {
        const at = utc();
        const sent = utc();
        return Response.json({ time: sent, t2: at, t3: sent, earliest: sent - KEY_ERROR, latest: sent + KEY_ERROR, status: 'host', host: name });
      }
      try {
        return await keys.handler(request);
      } catch (error) {
        const problem = problemOf(error);
        return new Response(JSON.stringify(problem), { status: problem.status });
      }
    }, { host: '127.0.0.1', port: 0, log: silent });
    closers.push(() => server.close(0 as never), () => keys.close());
    servers.push({ name, url: `http://127.0.0.1:${server.port}`, grant: await crypto.subtle.exportKey('jwk', pair.publicKey), schedule: jwks[index] as object });
  }

  const edges: (EdgeHandle & { child: ChildProcess })[] = [];
  const start = async (nth: number, skew: number): Promise<void> => {
    const edge = `edge-${nth + 1}`;
    const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
    enrolled.push({ edge, sign: sign.publicJwk, agree: agree.publicJwk, host: `host-${nth + 1}` });
    const child = fork(fileURLToPath(new URL('edge-process.ts', import.meta.url)), { execPath: process.execPath, execArgv: [], serialization: 'advanced' });
    let standing: Standing | undefined;
    const port = new Promise<number>((resolve, reject) => {
      child.on('message', (message: FromEdge) => (message.kind === 'ready' ? resolve(message.port) : (standing = message)));
      child.once('exit', () => reject(new Error(`${edge} ended`)));
    });
    child.send({ edge, host: `host-${nth + 1}`, sign: sign.privateJwk, agree: agree.privateJwk, log: {}, tokenKey, servers, skew } satisfies EdgeSetup);
    const at = await port;
    edges.push({ name: edge, port: at, url: `http://127.0.0.1:${at}/`, child, get standing() { return standing; }, kill: () => void child.kill('SIGKILL') });
  };
  await Promise.all(options.skews.map((skew, nth) => start(nth, skew)));
  edges.sort((a, b) => a.name.localeCompare(b.name));
  const keys = new Map<string, JwsKey>(await Promise.all(jwks.map(async (jwk): Promise<[string, JwsKey]> => [jwk.kid, await importJwsKey(jwk as never, 'ES256')])));
  const light = lightSockets();
  const token = (account: string): string =>
    mintReleaseToken({ key: tokenKey, kid: { epoch: 1, zone: 0 }, claims: { session: encodeBase64url(nodeLadderHash.sha256(encodeUtf8(account)).subarray(0, 18)) as SessionId, asset: EVENT, account: encodeBase64url(nodeLadderHash.sha256(encodeUtf8(account))), connections: 6, issuedAt: systemClock.now(), expiresAt: (systemClock.now() + 7_200_000_000) as Micros } });

  const channel: Edges['channel'] = (account, urls, openSocket = light, reach = (request) => fetch(request)) =>
    openReleaseChannel({ event: EVENT, urls, token: () => token(account), keyOf: (kid) => keys.get(kid ?? ''), clock: systemClock, random: systemRandom, fetch: reach, openSocket, caps: ['ws', 'subtle'] });

  return {
    info, edges, utc, token, channel,
    cut: (value) => {
      down = value;
    },
    async ready() {
      for (const { url, name } of edges) {
        const probe = channel(`ready-${name}`, [url]);
        await new Promise<void>((resolve, reject) => {
          const late = setTimeout(() => reject(new Error(`${name} does not release`)), 60_000);
          probe.on('released', () => {
            clearTimeout(late);
            resolve();
          });
        });
        probe.stop();
      }
    },
    async close() {
      for (const { child } of edges) child.kill('SIGKILL');
      for (const close of closers.toReversed()) await close();
    },
  };
};
