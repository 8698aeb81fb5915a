// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge needs around it, on real sockets: an origin whose every answer a test writes, and a bundle server
 * that checks signatures and encrypts like the licence server.
 *
 * Invariant: nothing here sleeps; tests order events by waiting for what they caused.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CompactEncrypt, exportJWK, generateKeyPair, importJWK, type JWK, jwtVerify } from 'jose';
import { type EdgeBundle, encodeEdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { assetId, type SessionId, sessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import type { TokenClaims } from '#core/token/media-claims.ts';
import { mintMediaToken } from '#crypto/media-token.ts';

const listen = (server: Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

export type OriginHandler = (request: IncomingMessage, answer: ServerResponse) => void;

export type FakeOrigin = {
  readonly url: string;
  /** Answers `/origin/{key}` (query included) from now on. */
  on(key: string, handler: OriginHandler): void;
  /** Requests seen of a key, oldest first. */
  seen(key: string): readonly IncomingMessage[];
  /** Resolves when a key has been asked for `count` times in all. */
  asked(key: string, count: number): Promise<void>;
  close(): Promise<void>;
};

export const startOrigin = async (): Promise<FakeOrigin> => {
  const handlers = new Map<string, OriginHandler>();
  const requests: { key: string; request: IncomingMessage }[] = [];
  let wake: (() => void)[] = [];
  const server = createServer((request, answer) => {
    const key = (request.url ?? '').replace(/^\/origin\//, '');
    requests.push({ key, request });
    for (const resolve of wake.splice(0)) resolve();
    const handler = handlers.get(key);
    if (handler !== undefined) return handler(request, answer);
    answer.writeHead(404, { 'cache-control': 'no-store' }).end();
  });
  const port = await listen(server);
  const seen = (key: string): IncomingMessage[] => requests.filter((item) => item.key === key).map((item) => item.request);
  return {
    url: `http://127.0.0.1:${port}/origin`,
    on: (key, handler) => handlers.set(key, handler),
    seen,
    asked: async (key, count) => {
      while (seen(key).length < count) await new Promise<void>((resolve) => wake.push(resolve));
    },
    close: () => {
      wake = [];
      return shut(server);
    },
  };
};

/** A finished, immutable object. */
export const immutable =
  (body: Uint8Array, type = 'video/mp4', etag = '"v1"'): OriginHandler =>
  (_request, answer) =>
    void answer
      .writeHead(200, { 'content-type': type, 'content-length': body.length, etag, 'cache-control': 'public, max-age=31536000, immutable' })
      .end(body);

export const EDGE_ID = 'edge-test';
export const ZONE = 3;
export const EPOCH = 7;
export const MEDIA_TOKEN_KEY: Uint8Array = Uint8Array.from({ length: 32 }, (_, index) => index ^ 0x5a);
export const SESSION: SessionId = sessionId('BwMAAQIDBAUGBwgJCgsMDQ4P');
export const wallClock = (): Micros => (Date.now() * 1000) as Micros;

export type BundleServer = {
  readonly url: string;
  readonly signKey: JWK;
  readonly agreeKey: JWK;
  /** The bundle from now on; its version rises by itself. */
  update(change: Partial<EdgeBundle>): void;
  /** Answer to send instead of a bundle; undefined to be well again. */
  fail(status: number | undefined): void;
  /** Requests that were refused for their signature. */
  readonly refused: readonly string[];
  readonly answered: number;
  /** What the newest request said of marked assets. */
  readonly traffic: unknown;
  close(): Promise<void>;
};

export const startBundleServer = async (): Promise<BundleServer> => {
  const sign = await generateKeyPair('ES256', { extractable: true });
  const agree = await generateKeyPair('ECDH-ES', { extractable: true, crv: 'P-256' });
  const agreeTo = await importJWK(await exportJWK(agree.publicKey), 'ECDH-ES');
  const used = new Set<string>();
  const refused: string[] = [];
  const waiting = new Set<() => void>();
  let failing: number | undefined;
  let answered = 0;
  let traffic: unknown;
  const now = wallClock();
  let bundle: EdgeBundle = {
    version: 1,
    issuedAt: now,
    edge: EDGE_ID,
    zone: { index: ZONE, name: 'test' },
    epochs: [{ epoch: EPOCH, mediaTokenKey: MEDIA_TOKEN_KEY, zoneKey: new Uint8Array(32).fill(9), notBefore: 0 as Micros, notAfter: (now + microsFromSeconds(86_400)) as Micros }],
    revokedSessions: [],
    revokedDevices: [],
    validUntil: (now + microsFromSeconds(3600)) as Micros,
  };

  const check = async (authorization: string): Promise<void> => {
    const { payload } = await jwtVerify(authorization.replace(/^Bearer /, ''), sign.publicKey, { typ: 'edge-request+jwt', algorithms: ['ES256'] });
    if (payload['edge'] !== EDGE_ID || Math.abs(Date.now() / 1000 - (payload.iat ?? 0)) > 60) throw new Error('claims');
    if (payload.jti === undefined || used.has(payload.jti)) throw new Error('jti');
    used.add(payload.jti);
    if (payload['traffic'] !== undefined) traffic = payload['traffic'];
  };
  const handle = async (request: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://x');
    if (failing !== undefined) return void answer.writeHead(failing).end();
    if (url.pathname !== `/v1/edges/${EDGE_ID}/bundle`) return void answer.writeHead(404).end();
    try {
      await check(request.headers.authorization ?? '');
    } catch (error) {
      refused.push(String(error));
      return void answer.writeHead(401).end();
    }
    if (Number(url.searchParams.get('version')) === bundle.version && Number(url.searchParams.get('wait')) > 0) {
      await new Promise<void>((resolve) => {
        waiting.add(resolve);
        answer.on('close', resolve);
      });
      if (answer.destroyed) return;
    }
    if (Number(url.searchParams.get('version')) === bundle.version) return void answer.writeHead(204).end();
    const jwe = await new CompactEncrypt(new TextEncoder().encode(encodeEdgeBundle(bundle))).setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' }).encrypt(agreeTo);
    answered += 1;
    answer.writeHead(200, { 'content-type': 'application/jose', 'cache-control': 'no-store' }).end(jwe);
  };
  const server = createServer((request, answer) => void handle(request, answer));
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    signKey: await exportJWK(sign.privateKey),
    agreeKey: await exportJWK(agree.privateKey),
    update: (change) => {
      bundle = { ...bundle, ...change, version: bundle.version + 1, issuedAt: wallClock() };
      for (const resolve of waiting) resolve();
      waiting.clear();
    },
    fail: (status) => {
      failing = status;
    },
    refused,
    get traffic() {
      return traffic;
    },
    get answered() {
      return answered;
    },
    close: () => shut(server),
  };
};

/** A token for `asset`, valid from a minute ago until in two minutes. */
export const token = (asset: string, change: Partial<TokenClaims> = {}, key: Uint8Array = MEDIA_TOKEN_KEY, epoch: number = EPOCH): string => {
  const now = wallClock();
  const claims: TokenClaims = {
    session: SESSION,
    asset: assetId(asset),
    issuedAt: (now - microsFromSeconds(60)) as Micros,
    expiresAt: (now + microsFromSeconds(120)) as Micros,
    ...change,
  };
  return mintMediaToken({ key, kid: { epoch, zone: ZONE }, claims });
};
