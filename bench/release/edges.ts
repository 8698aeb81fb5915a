// SPDX-License-Identifier: Apache-2.0
/**
 * Two key servers and a few edge processes of one timed event, for measurements: started, killed, cut off and watched.
 *
 * Key servers are one child and can be cut off; edges are children with clocks skewed inside their bounds. Everything goes over HTTP and WebSocket.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { openReleaseChannel } from '#client/release/channel.ts';
import type { ReleaseChannel } from '#client/release/channel-types.ts';
import type { OpenSocket } from '#client/release/edge-link.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import { periodsPerBlock, type ReleaseInfo } from '#core/release/schedule.ts';
import type { Micros } from '#core/time.ts';
import { importJwsKey, type JwsKey, makeKeyPair } from '#crypto/jose.ts';
import { mintReleaseToken } from '#crypto/release-token.ts';
import type { ReleaseEdge as Enrolled } from '#key-server/index.ts';
import type { Fetch } from '#ports';
import type { EdgeSetup, FromEdge } from './edge-process.ts';
import type { KeySetup, ToKeys } from './key-process.ts';
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

/** Starts them; `skews` has one entry per edge, milliseconds of asymmetry. */
export const startEdges = async (options: { readonly skews: readonly number[]; readonly period: Micros }): Promise<Edges> => {
  const precise = createPreciseTime();
  const utc = (): Micros => precise.system().utc;
  const { period } = options;
  const info: ReleaseInfo = { event: EVENT, version: 1, mode: 'standard', firstRelease: 850_000 as Micros, period, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: periodsPerBlock(period) };
  const tokenKey = systemRandom.bytes(32);
  const root = systemRandom.bytes(32);
  const enrolled: Enrolled[] = [];
  const names = ['keys-1', 'keys-2'];
  const grants = await Promise.all(names.map(() => crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify']) as Promise<CryptoKeyPair>));
  const schedules = await Promise.all(names.map(() => makeKeyPair('sign')));
  const jwks = schedules.map(({ publicJwk }, index) => ({ ...publicJwk, kid: `${names[index]}.schedule` }));
  const keyProcess = fork(fileURLToPath(new URL('key-process.ts', import.meta.url)), { execPath: process.execPath, execArgv: [], serialization: 'advanced' });
  const listening = new Promise<{ ports: readonly number[] }>((resolve, reject) => {
    keyProcess.once('message', (message) => resolve(message as { ports: readonly number[] }));
    keyProcess.once('exit', () => reject(new Error('the key servers ended')));
  });
  const made = await Promise.all(names.map(async (name, index) => ({ name, grant: await crypto.subtle.exportKey('jwk', (grants[index] as CryptoKeyPair).privateKey), schedule: schedules[index]?.privateJwk as object, jwk: jwks[index] as object })));
  keyProcess.send({ info, root, servers: made } satisfies KeySetup);
  const { ports } = await listening;
  const servers: EdgeSetup['servers'][number][] = await Promise.all(names.map(async (name, index) => ({ name, url: `http://127.0.0.1:${ports[index]}`, grant: await crypto.subtle.exportKey('jwk', (grants[index] as CryptoKeyPair).publicKey), schedule: jwks[index] as object })));
  const tellKeys = (message: ToKeys): void => void keyProcess.send(message);

  const edges: (EdgeHandle & { child: ChildProcess })[] = [];
  const start = async (nth: number, skew: number): Promise<void> => {
    const edge = `edge-${nth + 1}`;
    const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
    enrolled.push({ edge, sign: sign.publicJwk, agree: agree.publicJwk, host: `host-${nth + 1}` });
    tellKeys({ kind: 'edges', enrolled, urls: [] });
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
  tellKeys({ kind: 'edges', enrolled, urls: edges.map(({ url }) => url) });
  const keys = new Map<string, JwsKey>(await Promise.all(jwks.map(async (jwk): Promise<[string, JwsKey]> => [jwk.kid, await importJwsKey(jwk as never, 'ES256')])));
  const light = lightSockets();
  const token = (account: string): string =>
    mintReleaseToken({ key: tokenKey, kid: { epoch: 1, zone: 0 }, claims: { session: encodeBase64url(nodeLadderHash.sha256(encodeUtf8(account)).subarray(0, 18)) as SessionId, asset: EVENT, account: encodeBase64url(nodeLadderHash.sha256(encodeUtf8(account))), connections: 6, issuedAt: systemClock.now(), expiresAt: (systemClock.now() + 7_200_000_000) as Micros } });

  const channel: Edges['channel'] = (account, urls, openSocket = light, reach = (request) => fetch(request)) =>
    openReleaseChannel({ event: EVENT, urls, token: () => token(account), keyOf: (kid) => keys.get(kid ?? ''), clock: systemClock, random: systemRandom, fetch: reach, openSocket, caps: ['ws', 'subtle'] });

  return {
    info, edges, utc, token, channel,
    cut: (down) => tellKeys({ kind: 'cut', down }),
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
      keyProcess.kill('SIGKILL');
    },
  };
};
