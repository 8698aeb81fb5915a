// SPDX-License-Identifier: Apache-2.0
/**
 * Edges of a timed event in memory, on a fake clock: pushes at T_p, pulls, blocks, clock answers, over paths with a delay each way.
 *
 * Speaks docs/wire/release.md through the codecs of `src/core/release`, so a client cannot tell it from a real one; each edge can lose, lie, hold, drain and die.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { releaseCommitment, releaseSecret } from '#core/keys/ladder.ts';
import { encodeRun } from '#core/release/block.ts';
import { decodeSyncRequest, encodeRelease, encodeSyncAnswer } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type ClientMessage, type EdgeMessage, type HoldReason, SUBPROTOCOL, type StatMessage, edgeMessageData, encodeEdgeMessage, parseClientMessage } from '#core/release/messages.ts';
import { type ReleaseInfo, SCHEDULE_TYPE, blockOf, encodeBlockSchedule, encodeEdgeInfo, firstOfBlock, lastReleasedBy, periodsPerBlock } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { importSigningKey, importVerifyKey, makeKeyPair, signJws } from '#crypto/jose.ts';
import type { JwsKey } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Fetch } from '#ports';
import type { Socket } from '#client/release/edge-link.ts';
import type { FakeClock } from './fake-clock.ts';

export const EVENT: AssetId = assetId('match-1');
export const KID = 'ks-1';
const EVENT_KEY = new Uint8Array(32).fill(9);

/** What an edge does to its clients; change it at will. */
export type EdgeConduct = {
  /** One-way delays, ms. */
  up: number;
  down: number;
  /** The edge's clock against UTC, µs, and the bound it states. */
  skew: number;
  error: number;
  dead: boolean;
  /** Pushes that get lost. */
  lose: (period: CryptoPeriod) => boolean;
  /** Sends another secret than was committed to. */
  lie: (period: CryptoPeriod) => boolean;
  /** Refuses new connections with this close code. */
  refuse: number | undefined;
  /** Says another T0 than is signed, µs off. */
  shift: number;
};

export type FakeEdge = {
  readonly url: string;
  readonly conduct: EdgeConduct;
  readonly connections: number;
  /** Hellos since the start. */
  readonly hellos: Extract<ClientMessage, { type: 'hello' }>[];
  readonly pulled: CryptoPeriod[];
  readonly httpPulled: string[];
  readonly stats: StatMessage[];
  readonly closed: number[];
  hold(reason: HoldReason): void;
  resume(): void;
  drain(alt: readonly string[], spreadMs: number): void;
  /** Breaks all connections and answers nobody from now on. */
  kill(): void;
  /** Sends text to every connection as it is. */
  say(text: string | Uint8Array): void;
};

export type FakeEdges = {
  readonly edges: readonly FakeEdge[];
  readonly info: ReleaseInfo;
  readonly fetch: Fetch;
  readonly openSocket: (url: string, protocol: string) => Socket;
  readonly keyOf: (kid: string | undefined) => JwsKey | undefined;
  secret(period: CryptoPeriod): Uint8Array;
  /** Last period released by the true clock. */
  last(): CryptoPeriod;
};

export const createFakeEdges = async (clock: FakeClock, count: number, given: Partial<ReleaseInfo> = {}): Promise<FakeEdges> => {
  const period = given.period ?? (100_000 as Micros);
  const info: ReleaseInfo = { event: EVENT, version: 1, mode: 'standard', firstRelease: 3_000_000 as Micros, period, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: periodsPerBlock(period), ...given };
  const pair = await makeKeyPair('sign');
  const signing = await importSigningKey(pair.privateJwk);
  const verifying = await importVerifyKey(pair.publicJwk);
  const secret = (p: CryptoPeriod): Uint8Array => releaseSecret(ladderHash, EVENT_KEY, info.event, p);
  const signed = new Map<number, Promise<string>>();
  const schedule = (block: number): Promise<string> => {
    const from = firstOfBlock(block, info.perBlock);
    const made =
      signed.get(block) ??
      signJws(
        encodeBlockSchedule({
          ...info,
          block,
          from,
          commitments: Uint8Array.from(Array.from({ length: info.perBlock }, (_, i) => {
            const p = (from + i) as CryptoPeriod;
            return [...releaseCommitment(ladderHash, { eventId: info.event, version: info.version, period: p, releaseAt: releaseInstant(info, p) }, secret(p))];
          }).flat()),
        }),
        { typ: SCHEDULE_TYPE, key: signing, kid: KID },
      );
    signed.set(block, made);
    return made;
  };
  const last = (): CryptoPeriod => lastReleasedBy(info, clock.now());
  const later = (delay: number, run: () => void): void => void clock.after(delay as Millis, run);

  const urls = Array.from({ length: count }, (_, i) => `http://edge-${i + 1}.example/`);
  type Peer = { readonly deliver: (data: string | Uint8Array) => void; readonly close: (code: number) => void; welcomed: boolean };

  const made = urls.map((url, index) => {
    const conduct: EdgeConduct = { up: 10, down: 10, skew: 0, error: 500, dead: false, lose: () => false, lie: () => false, refuse: undefined, shift: 0 };
    const peers = new Set<Peer>();
    let holding: HoldReason | undefined;
    const own = (): Micros => (clock.now() + conduct.skew) as Micros;
    let heldAt: CryptoPeriod | undefined;
    const released = (): CryptoPeriod => heldAt ?? lastReleasedBy(info, (own() - conduct.error) as Micros);
    const frame = (p: CryptoPeriod, flags: number): Uint8Array =>
      encodeRelease({ flags, alias: index, period: p, releaseAt: releaseInstant(info, p), lateness: 0 as Micros, error: conduct.error as Micros, secret: conduct.lie(p) ? new Uint8Array(16).fill(66) : secret(p) });
    const edge: FakeEdge & { connect(deliver: Peer['deliver'], closed: Peer['close']): { send(data: string | Uint8Array): void; close(code: number): void }; push(p: CryptoPeriod): void; answer(request: Request): Promise<Response> } = {
      url,
      conduct,
      get connections() {
        return [...peers].filter(({ welcomed }) => welcomed).length;
      },
      hellos: [],
      pulled: [],
      httpPulled: [],
      stats: [],
      closed: [],
      hold(reason) {
        heldAt = released();
        holding = reason;
        for (const peer of peers) peer.deliver(encodeEdgeMessage({ type: 'hold', reason }));
      },
      resume() {
        heldAt = undefined;
        holding = undefined;
        for (const peer of peers) peer.deliver(encodeEdgeMessage({ type: 'resume', now: released() }));
      },
      drain(alt, spreadMs) {
        for (const peer of peers) peer.deliver(encodeEdgeMessage({ type: 'drain', alt, spreadMs }));
      },
      kill() {
        conduct.dead = true;
        for (const peer of [...peers]) peer.close(1006);
        peers.clear();
      },
      say(text) {
        for (const peer of peers) peer.deliver(text);
      },
      push(p) {
        if (conduct.dead || holding !== undefined) return;
        for (const peer of peers) if (peer.welcomed && !conduct.lose(p)) peer.deliver(frame(p, 0));
      },
      connect(deliver, closed) {
        const peer: Peer = { deliver, close: closed, welcomed: false };
        peers.add(peer);
        const welcome = async (hello: Extract<ClientMessage, { type: 'hello' }>): Promise<void> => {
          edge.hellos.push(hello);
          const block = blockOf(last(), info.perBlock);
          const message: EdgeMessage = {
            type: 'welcome', alias: index, now: released(), alt: urls.filter((other) => other !== url),
            info: { ...info, firstRelease: (info.firstRelease + conduct.shift) as Micros, edge: `edge-${index + 1}`, urls },
            schedules: await Promise.all([block, block + 1, block + 2].map(schedule)),
          };
          if (!peers.has(peer)) return;
          peer.deliver(encodeEdgeMessage(message));
          peer.welcomed = true;
          const now = released();
          const from = hello.last === undefined || now - hello.last > 50 ? now : ((hello.last + 1) as CryptoPeriod);
          for (let p = from; p <= now; p = (p + 1) as CryptoPeriod) peer.deliver(frame(p, 2));
          if (holding !== undefined) peer.deliver(encodeEdgeMessage({ type: 'hold', reason: holding }));
        };
        return {
          send(data) {
            if (!peers.has(peer) || conduct.dead) return;
            if (typeof data !== 'string') {
              const { seq, t1 } = decodeSyncRequest(data);
              return deliver(encodeSyncAnswer({ seq, t1, received: own(), sent: own(), error: conduct.error as Micros }));
            }
            const message = parseClientMessage(data);
            if (message.type === 'hello') return conduct.refuse === undefined ? void welcome(message) : closed(conduct.refuse);
            if (message.type === 'stat') return void edge.stats.push(message);
            if (message.type !== 'pull') return undefined;
            for (const p of message.periods) {
              edge.pulled.push(p);
              if (p <= released()) deliver(frame(p, 2));
              else deliver(encodeEdgeMessage({ type: 'err', code: 'too-early', period: p }));
            }
          },
          close(code) {
            edge.closed.push(code);
            peers.delete(peer);
          },
        };
      },
      async answer(request) {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === '/v1/time') return Response.json({ time: own(), t1: Number(searchParams.get('t1')), t2: own(), t3: own(), earliest: own() - conduct.error, latest: own() + conduct.error, status: 'sync', host: url });
        const rest = pathname.slice(`/v1/events/${info.event}/release`.length);
        if (rest === '' && request.headers.get('accept') === 'text/event-stream') {
          let peer: ReturnType<typeof edge.connect> | undefined;
          const lastId = request.headers.get('last-event-id');
          const body = new ReadableStream<Uint8Array>({
            start(controller) {
              const write = (text: string): void => controller.enqueue(new TextEncoder().encode(text));
              peer = edge.connect(
                (data) => {
                  if (typeof data !== 'string') return write(`event: rel\ndata: ${encodeBase64url(data)}\n\n`);
                  const { type, ...rest } = JSON.parse(data) as { type: string };
                  write(`event: ${type}\ndata: ${JSON.stringify(rest)}\n\n`);
                },
                () => controller.close(),
              );
              peer.send(JSON.stringify({ type: 'hello', v: 1, token: 'token', event: info.event, ...(lastId === null ? {} : { last: Number(lastId) }) }));
            },
            cancel: () => peer?.close(1000),
          });
          return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
        }
        if (rest === '') return Response.json(encodeEdgeInfo({ ...info, edge: `edge-${index + 1}`, urls }));
        edge.httpPulled.push(`${rest}${new URL(request.url).search}`);
        const number = Number(rest.split('/').at(-1));
        if (rest.startsWith('/schedule/')) return new Response(await schedule(number));
        if (rest.startsWith('/blocks/')) {
          const from = firstOfBlock(number, info.perBlock);
          const end = Math.min(from + info.perBlock * Number(searchParams.get('count') ?? 1), released() + 1);
          if (end <= from) return new Response(null, { status: 425 });
          const secrets = Uint8Array.from(Array.from({ length: end - from }, (_, i) => [...(conduct.lie((from + i) as CryptoPeriod) ? new Uint8Array(16).fill(66) : secret((from + i) as CryptoPeriod))]).flat());
          return new Response(encodeRun({ from, releaseAt: releaseInstant(info, from), period: info.period, version: info.version, secrets }) as BodyInit);
        }
        return number <= released() ? new Response(frame(number as CryptoPeriod, 2) as BodyInit) : new Response(null, { status: 425 });
      },
    };
    return edge;
  });

  const edgeOf = (url: string): (typeof made)[number] | undefined => made.find((edge) => new URL(edge.url).host === new URL(url).host);

  // Pushes are planned a period ahead, so that an edge whose clock is fast can be early.
  const tick = (): void => {
    const next = (last() + 1) as CryptoPeriod;
    const until = (releaseInstant(info, next) - clock.now()) / 1000;
    for (const edge of made) later(until + info.period / 1000 + (edge.conduct.error - edge.conduct.skew) / 1000, () => edge.push((next + 1) as CryptoPeriod));
    later(until, tick);
  };
  const first = (last() + 1) as CryptoPeriod;
  for (const edge of made) later((releaseInstant(info, first) - clock.now()) / 1000 + 0.5, () => edge.push(first));
  tick();

  return {
    edges: made,
    info,
    keyOf: (kid) => (kid === KID ? verifying : undefined),
    secret,
    last,
    async fetch(request) {
      const edge = edgeOf(request.url);
      const wait = (delay: number): Promise<void> => new Promise((resolve) => later(delay, resolve));
      if (edge === undefined) throw new TypeError('no such host');
      await wait(edge.conduct.up);
      if (edge.conduct.dead) throw new TypeError('connection refused');
      const response = await edge.answer(request);
      await wait(edge.conduct.down);
      return response;
    },
    openSocket(url, protocol) {
      if (protocol !== SUBPROTOCOL) throw new TypeError('wrong subprotocol');
      const edge = edgeOf(url.replace(/^ws/, 'http'));
      const listeners = new Map<string, ((event: never) => void)[]>();
      const emit = (type: string, event: object): void => (listeners.get(type) ?? []).forEach((listener) => listener(event as never));
      let state = 0;
      let peer: ReturnType<NonNullable<typeof edge>['connect']> | undefined;
      const closed = (code: number): void => {
        if (state === 3) return;
        state = 3;
        emit('close', { code });
      };
      const socket: Socket = {
        binaryType: 'blob',
        get readyState() {
          return state;
        },
        send(data) {
          if (state !== 1 || edge === undefined) throw new Error('not open');
          const bytes = typeof data === 'string' ? data : data.slice();
          later(edge.conduct.up, () => peer?.send(bytes));
        },
        close(code = 1000) {
          if (state === 3) return;
          state = 3;
          if (edge !== undefined) later(edge.conduct.up, () => peer?.close(code));
          later(1, () => emit('close', { code }));
        },
        addEventListener(type: string, listener: (event: never) => void) {
          listeners.set(type, [...(listeners.get(type) ?? []), listener]);
        },
      };
      later(edge === undefined ? 1 : edge.conduct.up + edge.conduct.down, () => {
        if (edge === undefined || edge.conduct.dead) return closed(1006);
        if (state !== 0) return;
        peer = edge.connect(
          (data) => {
            const bytes = typeof data === 'string' ? data : data.slice();
            later(edge.conduct.down, () => state === 1 && emit('message', { data: typeof bytes === 'string' ? bytes : bytes.buffer }));
          },
          (code) => later(edge.conduct.down, () => closed(code)),
        );
        state = 1;
        emit('open', {});
      });
      return socket;
    },
  };
};

/** Data of an edge's message as SSE has it; for tests of the reader. */
export const streamText = (message: EdgeMessage): string => `event: ${message.type}\ndata: ${JSON.stringify(edgeMessageData(message))}\n\n`;
