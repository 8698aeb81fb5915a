// SPDX-License-Identifier: Apache-2.0
/** An edge in this process, under a clock that moves when told and an origin that is a function. */
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { assetId, type SessionId, sessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds, type Millis } from '#core/time.ts';
import type { TokenClaims } from '#core/token/media-claims.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { createEdge, type Edge, type EdgeOptions } from '#edge/edge.ts';
import type { Clock, OperationalEvent } from '#ports';

export type ManualClock = Clock & {
  /** Moves both clocks and runs the timers that fall due, in order. */
  advance(seconds: number): void;
  /** Timers that are set. */
  readonly timers: number;
};

export const manualClock = (start = 1_800_000_000): ManualClock => {
  let now = start * 1000;
  const timers = new Set<{ at: number; run: () => void }>();
  return {
    now: () => (now * 1000) as Micros,
    monotonic: () => now as Millis,
    after: (delay, run) => {
      const timer = { at: now + delay, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance: (seconds) => {
      const end = now + seconds * 1000;
      for (;;) {
        const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = due.at;
        due.run();
      }
      now = end;
    },
    get timers() {
      return timers.size;
    },
  };
};

/** Lets everything that can settle settle. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

export const KEY: Uint8Array = new Uint8Array(32).fill(0x42);
export const SESSION: SessionId = sessionId('BwMAAQIDBAUGBwgJCgsMDQ4P');

export type World = {
  readonly edge: Edge;
  readonly clock: ManualClock;
  readonly events: OperationalEvent[];
  readonly logged: string[];
  readonly counted: Map<string, number>;
  bundle: EdgeBundle;
  /** Address of every origin request. */
  readonly asked: string[];
  token(change?: Partial<TokenClaims>): string;
  get(path: string, init?: RequestInit): Promise<Response>;
};

export const objectAnswer = (body: string | Uint8Array, cacheControl = 'public, max-age=31536000, immutable', fields: Record<string, string> = {}): Response =>
  new Response(body as BodyInit, { headers: { 'content-type': 'video/mp4', 'cache-control': cacheControl, ...fields } });

/** `origin` answers `{asset}/{file}{?query}`. */
export const createWorld = async (origin: (key: string, request: Request) => Response | Promise<Response>, options: Partial<EdgeOptions> = {}): Promise<World> => {
  const clock = manualClock();
  const events: OperationalEvent[] = [];
  const logged: string[] = [];
  const asked: string[] = [];
  const counted = new Map<string, number>();
  const write = (message: string, fields?: Record<string, unknown>): void => void logged.push(`${message} ${JSON.stringify(fields)}`);
  const world = {
    clock,
    events,
    logged,
    counted,
    asked,
    bundle: {
      version: 1,
      issuedAt: clock.now(),
      edge: 'edge-1',
      zone: { index: 3, name: 'eu' },
      epochs: [{ epoch: 7, mediaTokenKey: KEY, zoneKey: new Uint8Array(32).fill(9), notBefore: 0 as Micros, notAfter: (clock.now() + microsFromSeconds(1e6)) as Micros }],
      revokedSessions: [],
      revokedDevices: [],
      validUntil: (clock.now() + microsFromSeconds(1e6)) as Micros,
    } as EdgeBundle,
    token: (change: Partial<TokenClaims> = {}): string =>
      mintMediaToken({
        key: KEY,
        kid: { epoch: 7, zone: 3 },
        claims: { session: SESSION, asset: assetId('cup'), issuedAt: clock.now(), expiresAt: (clock.now() + microsFromSeconds(1e5)) as Micros, ...change },
      }),
  };
  const edge = createEdge({
    origin: async (request) => {
      const key = request.url.replace('http://origin/origin/', '');
      asked.push(key);
      return origin(key, request);
    },
    originBase: 'http://origin/origin',
    bundle: async ({ version }) => (version === world.bundle.version ? undefined : world.bundle),
    clock,
    random: { bytes: (length) => new Uint8Array(length).fill(0x80) },
    log: { debug: write, info: write, warn: write, error: write },
    metrics: {
      count: (name, _help, labels = {}, by = 1) => {
        const id = `${name} ${Object.values(labels).join(' ')}`;
        counted.set(id, (counted.get(id) ?? 0) + by);
      },
      gauge: (name, _help, value) => counted.set(name, value),
      observe: () => undefined,
    },
    events: (event) => events.push(event),
    ...options,
  });
  await edge.refresh();
  return Object.assign(world, {
    edge,
    get: (path: string, init: RequestInit = {}) =>
      edge.handler(new Request(`http://edge/media/cup/${path}`, { ...init, headers: { authorization: `Bearer ${world.token()}`, ...(init.headers as Record<string, string>) } })),
  });
};
