// SPDX-License-Identifier: Apache-2.0
/**
 * The reference cheating client of timed events: everything a hacked player can try to have a secret before the others.
 *
 * docs/guide/timed-release.md, "What a racer gains". It does not hold, opens many connections at many edges, claims a long round trip, lies about its
 * clock, hammers pulls over both ways, comes early and comes back when it is thrown out. It measures; it shows nothing.
 * Invariant: what it reports is what arrived when by the observer's own clock, whatever it told the edges.
 */
import type { AssetId } from '#core/ids.ts';
import { decodeRelease, encodeSyncRequest, RELEASE_LENGTH } from '#core/release/frame.ts';
import { parseEdgeMessage, SUBPROTOCOL } from '#core/release/messages.ts';
import { type ReleaseInfo, lastReleasedBy } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch } from '#ports';
import { type OpenSocket, releaseAddress, type Socket } from '../release/edge-link.ts';

/** What a racer does besides not holding; nothing of it by default. */
export type Tricks = {
  /** Connections per edge. Default 1. */
  readonly connections?: number;
  /** Holds every clock request and report back so long and reports such arrivals: a client that seems far away. */
  readonly fakeRoundTrip?: Millis;
  /** Added to every time it tells an edge, µs. */
  readonly clockLie?: Micros;
  /** Asks for the next periods all the time, by WebSocket and by HTTP: rounds per second. */
  readonly hammer?: number;
  /** Claims to have seen periods of the future when it joins, in the hope of a replay. */
  readonly claimFuture?: boolean;
};

/** A race under way. */
export type Race = {
  /** First arrival of each secret by the observer's clock, UTC µs; by whatever way. */
  readonly firsts: ReadonlyMap<CryptoPeriod, Micros>;
  /** Secrets as they came, for the check that they are the released ones. */
  readonly secrets: ReadonlyMap<CryptoPeriod, Uint8Array>;
  readonly info: ReleaseInfo | undefined;
  /** Connections that are welcome now. */
  readonly up: number;
  /** What edges refused: `too-early`, `rate-limited`, HTTP statuses as `http 425`, close codes as `closed 4409`. */
  readonly refusals: ReadonlyMap<string, number>;
  stop(): void;
};

/** Who races where. `utc` is the observer's clock, microseconds; no edge learns it. */
export type RacerOptions = {
  readonly event: AssetId;
  /** Base URLs of edges. */
  readonly urls: readonly string[];
  /** A release token, asked for at each connection: a cheater may have several accounts. */
  readonly token: () => string;
  readonly openSocket: OpenSocket;
  readonly fetch: Fetch;
  readonly utc: () => Micros;
  readonly timers: Clock;
  readonly tricks?: Tricks;
};

/** Comes back after being thrown out, but a machine that does nothing else is no use to a cheater either. */
const COME_BACK = 500;
const REPORT_EVERY = 1000;
const SYNC_EVERY = 250;
/** Periods ahead of the clock that a hammering racer asks for. */
const AHEAD = 3;
const KEEP = 20_000;

/** Starts at once. */
export const startRacer = (options: RacerOptions): Race => {
  const { event, utc, timers, tricks = {} } = options;
  const firsts = new Map<CryptoPeriod, Micros>();
  const secrets = new Map<CryptoPeriod, Uint8Array>();
  const refusals = new Map<string, number>();
  const sockets = new Set<Socket>();
  const welcome = new Set<Socket>();
  const cancels = new Set<() => void>();
  let info: ReleaseInfo | undefined;
  let stopped = false;
  let seq = 0;

  const refused = (what: string): void => void refusals.set(what, (refusals.get(what) ?? 0) + 1);
  const later = (millis: number, run: () => void): void => {
    const cancel = timers.after(millis as Millis, () => {
      cancels.delete(cancel);
      if (!stopped) run();
    });
    cancels.add(cancel);
  };
  const every = (millis: number, run: () => void): void => later(millis, () => {
    run();
    every(millis, run);
  });
  const take = (bytes: Uint8Array, at: Micros): void => {
    const { period, secret } = decodeRelease(bytes);
    if (firsts.has(period)) return;
    firsts.set(period, at);
    secrets.set(period, secret);
    if (firsts.size <= KEEP) return;
    const oldest = firsts.keys().next().value as CryptoPeriod;
    firsts.delete(oldest);
    secrets.delete(oldest);
  };
  const told = (): number => utc() + (tricks.clockLie ?? 0);
  const say = (socket: Socket, message: object): void => {
    if (welcome.has(socket)) socket.send(JSON.stringify(message));
  };

  const lie = (socket: Socket): void => {
    const far = (tricks.fakeRoundTrip ?? 0) * 1000;
    later(SYNC_EVERY + (tricks.fakeRoundTrip ?? 0), () => {
      if (!welcome.has(socket)) return;
      // The request's own stamp says that it was sent long ago.
      socket.send(encodeSyncRequest({ seq: ++seq >>> 0, t1: BigInt(Math.max(0, told() - far)) }) as Uint8Array<ArrayBuffer>);
      lie(socket);
    });
    if (far === 0 && tricks.clockLie === undefined) return;
    const report = (): void => {
      if (!welcome.has(socket)) return;
      const now = info === undefined ? 0 : Math.max(0, lastReleasedBy(info, utc()));
      say(socket, { type: 'stat', from: Math.max(0, now - 10), to: now, n: 10, late: 10, skipped: 0, pulled: 0, arrival: { p50: far, p99: far }, clock: { offset: tricks.clockLie ?? 0, error: 1000 }, held: 1 });
      later(REPORT_EVERY, report);
    };
    later(REPORT_EVERY, report);
  };

  const connect = (url: string): void => {
    if (stopped) return;
    let socket: Socket;
    try {
      socket = options.openSocket(releaseAddress(url, event).replace(/^http/, 'ws'), SUBPROTOCOL);
    } catch {
      refused('no connection');
      return later(COME_BACK, () => connect(url));
    }
    sockets.add(socket);
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('open', () => {
      const future = tricks.claimFuture === true && info !== undefined ? { last: lastReleasedBy(info, utc()) + 20 } : {};
      socket.send(JSON.stringify({ type: 'hello', v: 1, token: options.token(), event, ...future }));
    });
    socket.addEventListener('message', ({ data }) => {
      const at = utc();
      if (typeof data !== 'string') {
        const bytes = new Uint8Array(data as ArrayBuffer);
        if (bytes.length === RELEASE_LENGTH && bytes[0] === 1) take(bytes, at);
        return;
      }
      const message = parseEdgeMessage(data);
      if (message.type === 'welcome') {
        info ??= message.info;
        welcome.add(socket);
        lie(socket);
      } else if (message.type === 'err') refused(message.code);
    });
    socket.addEventListener('error', () => undefined);
    socket.addEventListener('close', ({ code }) => {
      sockets.delete(socket);
      welcome.delete(socket);
      if (stopped) return;
      refused(`closed ${code}`);
      later(COME_BACK, () => connect(url));
    });
  };

  const hammer = async (url: string, period: CryptoPeriod): Promise<void> => {
    try {
      const response = await options.fetch(new Request(releaseAddress(url, event, `/${period}`)));
      const at = utc();
      if (response.status === 200) return take(new Uint8Array(await response.arrayBuffer()), at);
      refused(`http ${response.status}`);
      await response.body?.cancel();
    } catch {
      refused('http failed');
    }
  };

  for (const url of options.urls) for (let nth = 0; nth < (tricks.connections ?? 1); nth++) connect(url);
  if (tricks.hammer !== undefined) {
    every(1000 / tricks.hammer, () => {
      if (info === undefined) return;
      const next = lastReleasedBy(info, utc()) + 1;
      const periods = Array.from({ length: AHEAD }, (_, index) => next + index);
      for (const socket of welcome) say(socket, { type: 'pull', p: periods });
      for (const url of options.urls) void hammer(url, next as CryptoPeriod);
    });
  }
  return {
    firsts, secrets, refusals,
    get info() {
      return info;
    },
    get up() {
      return welcome.size;
    },
    stop() {
      stopped = true;
      for (const cancel of cancels) cancel();
      for (const socket of sockets) socket.close();
    },
  };
};
