// SPDX-License-Identifier: Apache-2.0
/**
 * A timed event on a whole platform: created by an operator, its secrets released at their instants over WebSocket, event
 * stream and pull, to sessions with a right and to nobody before the time.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDevice, startSession } from '#client/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { type AccountId, type AssetId, assetId } from '#core/ids.ts';
import { decodeRun, secretOf } from '#core/release/block.ts';
import { decodeRelease, decodeSyncAnswer, encodeSyncRequest, type ReleaseFrame } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type EdgeMessage, parseEdgeMessage, SUBPROTOCOL } from '#core/release/messages.ts';
import { type BlockSchedule, commitmentOf, type EdgeInfo, parseBlockSchedule, parseEdgeInfo, SCHEDULE_TYPE } from '#core/release/schedule.ts';
import { releaseCommitment } from '#core/keys/ladder.ts';
import type { CryptoPeriod } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { importJwsKey, type JwsKey, verifyJws } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { loadConfig } from '#entry/config/index.ts';
import { createDemoIssuer, type DemoIssuer } from '#entry/demo/issuer.ts';
import { type Platform, startPlatform } from '#entry/node.ts';

const EVENT = assetId('final') as AssetId;
const OTHER = assetId('semi') as AssetId;
const BETS = encodeBase64url(new Uint8Array(32).fill(5));
let folder: string;
let platform: Platform;
let issuer: DemoIssuer;
let operator = '';
const sessions: { stop(): Promise<unknown> }[] = [];
type Access = { readonly token: string; readonly urls: readonly string[]; readonly keys: readonly { readonly kid: string }[] };

const call = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> => {
  const response = await fetch(`${platform.url}${path}`, { method, headers: { authorization: `Bearer ${operator}`, ...(body !== undefined && { 'content-type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
/** Starts a session and answers what it was given for releases. */
const accessOf = async (account: string, asset: AssetId = EVENT): Promise<Access> => {
  let access: Access | undefined;
  const started = await startSession({
    servers: [platform.url], asset, device: await openDevice(), attempts: 1,
    entitlement: async () => issuer.issue(account as AccountId, '*'),
    release: { openSocket: null },
    fetch: async (request) => {
      // This session's own channel stays closed: its connections would count.
      if (/\/release(?:\/|$)/.test(new URL(request.url).pathname)) return new Response(null, { status: 503 });
      const response = await fetch(request);
      if (new URL(request.url).pathname === '/v1/sessions' && request.method === 'POST') access = ((await response.clone().json()) as { release?: Access }).release;
      return response;
    },
  });
  if (!started.ok) throw new Error(`no session: ${JSON.stringify(started)}`);
  sessions.push(started.session);
  if (access === undefined) throw new Error('a session of a timed event is told where releases are');
  return access;
};

/** A client of the channel that keeps what it is sent. */
const join4 = async (token: string, hello: object = {}, event: string = EVENT): Promise<{ frames: ReleaseFrame[]; at: number[]; messages: EdgeMessage[]; socket: WebSocket; closed: Promise<number>; until: (done: () => boolean, what: string) => Promise<void> }> => {
  const socket = new WebSocket(`${platform.url.replace('http', 'ws')}/v1/events/${event}/release`, SUBPROTOCOL);
  socket.binaryType = 'arraybuffer';
  const frames: ReleaseFrame[] = [];
  const at: number[] = [];
  const messages: EdgeMessage[] = [];
  const waiters = new Set<() => void>();
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') messages.push(parseEdgeMessage(data));
    else if (data.byteLength === 48) {
      frames.push(decodeRelease(new Uint8Array(data)));
      at.push(Date.now() * 1000);
    }
    for (const wake of waiters) wake();
  };
  const closed = new Promise<number>((resolve) => {
    socket.onclose = ({ code }) => {
      resolve(code);
      for (const wake of waiters) wake();
    };
  });
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error('the socket did not open'));
  });
  socket.send(JSON.stringify({ type: 'hello', v: 1, token, event, ...hello }));
  const until = (done: () => boolean, what: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} within 10 s`)), 10_000);
      const look = (): void => {
        if (!done()) return;
        clearTimeout(timer);
        waiters.delete(look);
        resolve();
      };
      waiters.add(look);
      look();
    });
  return { frames, at, messages, socket, closed, until };
};

const infoOf = async (): Promise<EdgeInfo> => parseEdgeInfo(await (await fetch(`${platform.url}/v1/events/${EVENT}/release`, { headers: { accept: 'application/json' } })).text());
/** The newest period that is over for everybody, by this host's clock. */
const newest = async (info: EdgeInfo): Promise<CryptoPeriod> => Math.floor((Date.now() * 1000 - info.firstRelease) / info.period) as CryptoPeriod;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-timed-'));
  await writeFile(join(folder, 'sealcast.yaml'), `data: ${join(folder, 'data')}\nlisten: { port: 0 }\nrelease: { chrony: false, suspendMillis: 20000, credentials: [{ name: bets, sha256: ${encodeBase64url(sha256(encodeUtf8(BETS)))} }] }\n`);
  platform = await startPlatform({
    config: loadConfig(join(folder, 'sealcast.yaml'), { log: { level: 'error' } }),
    extend: async ({ stores, secrets, clock, random }) => {
      const pair = await secrets.keyPair('demo/issuer', 'ES256');
      issuer = createDemoIssuer({ kid: 'test', pair, catalogue: stores.catalogue, clock, random });
      return { demo: issuer.handler, entitlementKeys: [{ kid: 'test', alg: 'ES256', key: pair.publicJwk }] };
    },
  });
  operator = platform.firstToken ?? '';
  for (const asset of [EVENT, OTHER]) expect(await call('POST', '/v1/events', { asset, name: asset, timed: 'standard' })).toMatchObject({ status: 201 });
  for (let status = 0; status !== 200; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    status = (await fetch(`${platform.url}/v1/events/${EVENT}/release`, { headers: { accept: 'application/json' } })).status;
  }
}, 60_000);

afterAll(async () => {
  for (const session of sessions) await session.stop();
  await platform?.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('a timed event', () => {
  test('B163 B176: secrets are pushed at their instants, never before, in frames below 128 bytes, each matching its signed commitment (B177)', async () => {
    const access = await accessOf('anna');
    const client = await join4(access.token);
    await client.until(() => client.frames.length >= 12, 'twelve releases');
    const [welcome] = client.messages;
    if (welcome?.type !== 'welcome') throw new Error('a welcome comes first');
    const { info } = welcome;
    expect(info).toMatchObject({ event: EVENT, mode: 'standard', period: 100_000, delta: 150_000, version: 1 });
    // Released on the grid, in order, and after the instant by the host's own clock (whose reading here is cut to milliseconds).
    client.frames.forEach((frame, index) => {
      expect(frame.releaseAt).toBe(releaseInstant(info, frame.period));
      expect((client.at[index] as number) + 1000).toBeGreaterThanOrEqual(frame.releaseAt);
      if (index > 1) expect(frame.period).toBe((client.frames[index - 1] as ReleaseFrame).period + 1);
    });
    const keys = new Map<string, JwsKey>(await Promise.all(access.keys.map(async (jwk): Promise<[string, JwsKey]> => [jwk.kid, await importJwsKey(jwk, 'ES256')])));
    const schedules: BlockSchedule[] = [];
    for (const jws of client.messages.flatMap((message) => (message.type === 'welcome' || message.type === 'sched' ? message.schedules : []))) {
      const payload = await verifyJws(jws, { typ: SCHEDULE_TYPE, key: (kid) => keys.get(kid ?? ''), maxLength: 65_536 });
      expect(payload).toBeDefined();
      schedules.push(parseBlockSchedule(payload));
    }
    for (const { period, releaseAt, secret } of client.frames) {
      const commitment = schedules.map((schedule) => commitmentOf(schedule, period)).find((each) => each !== undefined);
      expect(commitment).toEqual(releaseCommitment(ladderHash, { eventId: EVENT, version: 1, period, releaseAt }, secret));
    }
    client.socket.close();
  });

  test('every client gets the same bytes; a late one is shown the newest, a returning one what it missed (B179)', async () => {
    const { token } = await accessOf('berta');
    const first = await join4(token);
    await first.until(() => first.frames.length >= 8, 'eight releases');
    const missed = (first.frames[2] as ReleaseFrame).period;
    const back = await join4(token, { last: missed });
    await back.until(() => back.frames.length >= 5, 'replays');
    expect(back.frames[0]?.period).toBe(missed + 1);
    expect(back.frames[0]?.flags).toBe(2);
    for (const frame of back.frames) {
      const same = first.frames.find(({ period }) => period === frame.period);
      if (same !== undefined) expect(frame.secret).toEqual(same.secret);
    }
    const late = await join4(token);
    await late.until(() => late.frames.length >= 1, 'a release');
    expect(late.frames[0]?.period).toBeGreaterThanOrEqual((first.frames[7] as ReleaseFrame).period);
    for (const each of [first, back, late]) each.socket.close();
  });

  test('pull and push go through one gate: 425 and not stored before the instant, immutable after, the current block open at the end', async () => {
    const info = await infoOf();
    const now = await newest(info);
    const ahead = await fetch(`${platform.url}/v1/events/${EVENT}/release/${now + 40}`);
    expect(ahead.status).toBe(425);
    expect(ahead.headers.get('cache-control')).toBe('no-store');
    expect(await ahead.json()).toMatchObject({ code: 'too-early', releaseAt: releaseInstant(info, (now + 40) as CryptoPeriod) });
    await expect.poll(async () => (await fetch(`${platform.url}/v1/events/${EVENT}/release/${now}`)).status).toBe(200);
    const pulled = await fetch(`${platform.url}/v1/events/${EVENT}/release/${now}`);
    expect(pulled.headers.get('cache-control')).toContain('immutable');
    const frame = decodeRelease(new Uint8Array(await pulled.arrayBuffer()));
    const block = Math.floor(now / info.perBlock);
    const current = await fetch(`${platform.url}/v1/events/${EVENT}/release/blocks/${block}`);
    expect(current.headers.get('cache-control')).toBe('no-store');
    expect(secretOf(decodeRun(new Uint8Array(await current.arrayBuffer())), now)).toEqual(frame.secret);
    expect((await fetch(`${platform.url}/v1/events/${EVENT}/release/blocks/${block + 2}`)).status).toBe(425);
    expect((await fetch(`${platform.url}/v1/events/nothing/release/1`)).status).toBe(404);
  });

  test('the event stream carries the same, and resumes by Last-Event-ID', async () => {
    const { token } = await accessOf('carla');
    const info = await infoOf();
    const from = (await newest(info)) - 5;
    const response = await fetch(`${platform.url}/v1/events/${EVENT}/release`, { headers: { accept: 'text/event-stream', authorization: `Bearer ${token}`, 'last-event-id': String(from) } });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    let text = '';
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    while (text.split('event: rel').length < 10) text += decoder.decode((await reader.read()).value, { stream: true });
    await reader.cancel();
    const events = text.split('\n\n').slice(0, -1).filter((each) => !each.startsWith(':'));
    const lines = (event: string): Map<string, string> => new Map(event.split('\n').map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
    expect(parseEdgeMessage(lines(events[0] as string).get('data') as string, 'welcome')).toMatchObject({ type: 'welcome' });
    const ids = events.map(lines).filter((each) => each.get('event') === 'rel').map((each) => Number(each.get('id')));
    expect(ids[0]).toBe(from + 1);
    expect(ids).toEqual(ids.map((_, index) => (ids[0] as number) + index));
    expect((await fetch(`${platform.url}/v1/events/${EVENT}/release`, { headers: { accept: 'text/event-stream' } })).status).toBe(401);
  });

  test('clock exchange: two stamps inside the exchange, and a stated error', async () => {
    const { token } = await accessOf('dora');
    const client = await join4(token);
    const answer = new Promise<ReturnType<typeof decodeSyncAnswer>>((resolve) => {
      client.socket.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
        if (data instanceof ArrayBuffer && data.byteLength === 40) resolve(decodeSyncAnswer(new Uint8Array(data)));
      });
    });
    const before = Date.now() * 1000;
    client.socket.send(encodeSyncRequest({ seq: 3, t1: 99n }) as Uint8Array<ArrayBuffer>);
    const got = await answer;
    expect(got).toMatchObject({ seq: 3, t1: 99n });
    expect(got.sent).toBeGreaterThanOrEqual(got.received);
    expect(got.received).toBeGreaterThanOrEqual(before - 2000);
    expect(got.sent).toBeLessThanOrEqual(Date.now() * 1000 + 2000);
    const time = (await (await fetch(`${platform.url}/v1/time?t1=5`)).json()) as Record<string, unknown>;
    expect(time).toMatchObject({ t1: 5, status: 'single-host' });
    client.socket.close();
  });

  test('B169: another event\'s token, a media token, a second hello, an unknown message and too many connections are refused with their codes', async () => {
    const { token } = await accessOf('emil');
    const other = await accessOf('emil', OTHER);
    const malformed = await join4(token);
    malformed.socket.send('{"type":"root"}');
    expect(await malformed.closed).toBe(4400);
    expect(await (await join4(other.token)).closed).toBe(4403);
    expect(await (await join4('a.b.c')).closed).toBe(4401);
    const early = await join4(token);
    early.socket.send(JSON.stringify({ type: 'pull', p: [(await newest(await infoOf())) + 50] }));
    await early.until(() => early.messages.some((message) => message.type === 'err'), 'a refusal');
    expect(early.messages.find((message) => message.type === 'err')).toMatchObject({ code: 'too-early' });
    const many = await Promise.all(Array.from({ length: 8 }, () => join4(token)));
    const codes = await Promise.all(many.map((each) => Promise.race([each.closed, new Promise<number>((resolve) => setTimeout(resolve, 1500, 0))])));
    // Six of the account in all, one of them above.
    expect(codes.filter((code) => code === 4409).length).toBe(3);
    for (const each of [early, ...many]) each.socket.close();
  });

  test('a client that never reads is skipped and closed; its neighbours notice nothing', async () => {
    const { token } = await accessOf('frida');
    const neighbour = await join4((await accessOf('gerd')).token);
    const { hostname, port } = new URL(platform.url);
    const socket: Socket = connect({ host: hostname === 'localhost' ? '127.0.0.1' : hostname, port: Number(port) });
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    socket.write(`GET /v1/events/${EVENT}/release HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n\r\n`);
    await new Promise<void>((resolve) => socket.once('data', () => resolve()));
    const send = (text: string): void => {
      const payload = encodeUtf8(text);
      socket.write(Uint8Array.from([0x81, 0xfe, payload.length >> 8, payload.length & 255, 0, 0, 0, 0, ...payload]));
    };
    send(JSON.stringify({ type: 'hello', v: 1, token, event: EVENT, caps: ['ws', 'ws', 'ws', 'ws', 'ws', 'ws'] }));
    socket.pause();
    const info = await infoOf();
    // Replays fill its window: 50 at a time, unread.
    const periods = Array.from({ length: 50 }, (_, index) => index + 1).map((back) => Math.floor((Date.now() * 1000 - info.firstRelease) / info.period) - back);
    const flooding = setInterval(() => send(JSON.stringify({ type: 'pull', p: periods })), 5);
    await gone;
    clearInterval(flooding);
    const seen = neighbour.frames.length;
    await neighbour.until(() => neighbour.frames.length >= seen + 5, 'more releases');
    neighbour.socket.close();
  }, 30_000);

  test('the epoch tells bet engines what was out when, to them only', async () => {
    const info = await infoOf();
    const at = Date.now() * 1000;
    expect((await fetch(`${platform.url}/v1/events/${EVENT}/epoch?t=${at}`)).status).toBe(403);
    for (const bearer of [BETS, operator]) {
      const answer = await fetch(`${platform.url}/v1/events/${EVENT}/epoch?t=${at}`, { headers: { authorization: `Bearer ${bearer}` } });
      expect(answer.status).toBe(200);
      const body = (await answer.json()) as { period: CryptoPeriod; releaseAt: number; nextAt: number };
      expect(body.releaseAt).toBeLessThanOrEqual(at);
      expect(body.nextAt).toBeGreaterThan(at);
      expect(body.releaseAt).toBe(releaseInstant(info, body.period));
    }
  });

  test('B178 B180: the release log is signed lines; no secret is on disk before its time', async () => {
    const files = (await readdir(join(folder, 'data'), { recursive: true, withFileTypes: true })).filter((file) => file.isFile() && !file.name.startsWith('sealcast')).map((file) => join(file.parentPath, file.name));
    const book = platform.release.edge()?.intake.book(EVENT);
    const info = await infoOf();
    const ahead = (await newest(info)) + 60;
    const clock = { earliest: Number.MAX_SAFE_INTEGER, latest: Number.MAX_SAFE_INTEGER, status: 'sync' } as never;
    const opening = book?.open(ahead as CryptoPeriod, clock);
    if (opening?.release !== true) throw new Error('the edge holds six seconds ahead');
    const secret = Buffer.from(opening.secret);
    for (const file of files) {
      const content = await readFile(file);
      expect(content.includes(secret) || content.includes(secret.toString('base64url')) || content.includes(secret.toString('hex')), file).toBe(false);
    }
    const log = files.find((file) => /edge-1-[^/]*\.jsonl$/.test(file)) as string;
    await expect.poll(async () => (await readFile(log, 'utf8')).split('\n').filter((line) => line.includes('"t":"signature"')).length, { timeout: 5000 }).toBeGreaterThan(1);
    const lines = (await readFile(log, 'utf8')).trim().split('\n');
    let prev = encodeBase64url(new Uint8Array(32));
    for (const line of lines) {
      const entry = JSON.parse(line) as { t: string; prev: string; at?: number; earliest?: number };
      expect(entry.prev).toBe(prev);
      if (entry.t === 'release') expect(entry.earliest).toBeGreaterThanOrEqual(entry.at as number);
      prev = encodeBase64url(sha256(encodeUtf8(line)));
    }
  });

  test('B174: an operator publishes odds that open at an instant; anybody may fetch them before', async () => {
    const at = Date.now() * 1000 + 60_000_000;
    const put = (query: string, headers: Record<string, string> = { authorization: `Bearer ${operator}` }): Promise<Response> => fetch(`${platform.url}/v1/events/${EVENT}/resources?${query}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{"home":1.8}' });
    expect((await put(`name=odds.json&at=${at}`, {})).status).toBe(401);
    expect((await put(`name=odds.json&at=1`)).status).toBe(400);
    const made = await put(`name=odds.json&at=${at}`);
    expect(made.status).toBe(201);
    const { url, releaseAt } = (await made.json()) as { url: string; releaseAt: number };
    expect(releaseAt).toBeGreaterThanOrEqual(at);
    const sealed = await fetch(`${platform.url}${url}`);
    expect(sealed.status).toBe(200);
    expect(new TextDecoder().decode(await sealed.arrayBuffer())).not.toContain('home');
    expect((await fetch(`${platform.url}/v1/events/${EVENT}/resources/nothing`)).status).toBe(404);
  });

  test('the control room sees every timed event: lateness, horizon, clock, and the instants of each segment (B167)', async () => {
    const answer = async (): Promise<unknown> => (await call('GET', '/v1/operations/releases')).body;
    // A starved process may have lost its trust in the clock for a moment.
    await expect.poll(answer, { timeout: 10_000 }).toMatchObject({ releases: { edge: 'edge-1', clock: { status: 'single-host', sources: ['host'] }, events: expect.arrayContaining([EVENT, OTHER].map((event) => expect.objectContaining({ event, mode: 'standard', figures: expect.objectContaining({ early: 0 }) }))) } });
    expect((await fetch(`${platform.url}/v1/operations/releases`)).status).toBe(401);
  });

  test('metrics count what happened, and no release was early', async () => {
    const text = await (await fetch(`${platform.url}/metrics`, { headers: { authorization: `Bearer ${operator}` } })).text();
    for (const name of ['sealcast_release_released_total', 'sealcast_release_sent_total', 'sealcast_release_lateness_seconds', 'sealcast_release_horizon_seconds', 'sealcast_release_clients_refused_total', 'sealcast_release_pulls_total']) expect(text).toContain(name);
    expect(text).not.toContain('sealcast_release_early_total{');
  });
});
