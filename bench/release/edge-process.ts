// SPDX-License-Identifier: Apache-2.0
/**
 * An edge of timed events in a process of its own, for measurements: real grants, clock exchange, release loop, sockets and pulls.
 *
 * Started by `edges.ts`, which sends everything it needs. `skew` delays one way of its clock exchanges, which moves its clock by half of that
 * inside the bound it states: the only honest way to have a skewed clock.
 */
import { systemClock } from '#adapters/node/clock.ts';
import { eventStreamFraming } from '#adapters/node/event-stream.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { webSocketFraming } from '#adapters/node/web-socket.ts';
import type { Micros, Millis } from '#core/time.ts';
import { importJwsKey } from '#crypto/jose.ts';
import { createReleaseEdge } from '#edge/release/index.ts';
import { createReleaseSockets } from '#entry/release-sockets.ts';
import type { Fetch } from '#ports';

/** What an edge process is started with. */
export type EdgeSetup = {
  readonly edge: string;
  readonly host: string;
  readonly sign: JsonWebKey;
  readonly agree: JsonWebKey;
  readonly log: JsonWebKey;
  /** HS256 key of release tokens. */
  readonly tokenKey: Uint8Array;
  readonly servers: readonly { readonly name: string; readonly url: string; readonly grant: object; readonly schedule: object }[];
  /** Milliseconds added to the way there (positive) or back (negative) of clock exchanges. */
  readonly skew: number;
};
/** What it tells: where it listens, and how many pulls it has answered. */
export type FromEdge = { readonly kind: 'ready'; readonly port: number } | { readonly kind: 'standing'; readonly pulls: number; readonly connections: number; readonly status: string; readonly error: number; readonly heap: number };

if (process.send !== undefined && process.argv[1]?.endsWith('edge-process.ts') === true) {
  const tell = (message: FromEdge): void => void process.send?.(message);
  const wait = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, millis)));
  const run = async (setup: EdgeSetup): Promise<void> => {
    const time = createPreciseTime();
    const reach: Fetch = async (request) => {
      const exchange = new URL(request.url).pathname === '/v1/time';
      if (exchange && setup.skew > 0) await wait(setup.skew);
      const response = await fetch(request);
      if (exchange && setup.skew < 0) {
        const body = await response.text();
        await wait(-setup.skew);
        return new Response(body, { status: response.status });
      }
      return response;
    };
    let pulls = 0;
    const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message: string, fields?: object) => console.error(setup.edge, message, fields) };
    const part = createReleaseEdge({
      edge: setup.edge, host: setup.host, alone: false,
      signKey: await importJwsKey(setup.sign as never, 'ES256'),
      agreeKey: await crypto.subtle.importKey('jwk', setup.agree, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']),
      servers: await Promise.all(setup.servers.map(async ({ name, url, grant, schedule }) => ({ name, url, fetch: reach, jwk: schedule, grantKid: `${name}.grant`, grantKey: await importJwsKey(grant as never, 'EdDSA'), scheduleKid: `${name}.schedule`, scheduleKey: await importJwsKey(schedule as never, 'ES256') }))),
      peers: [],
      tokens: { keyOf: () => setup.tokenKey, isRevoked: () => false },
      framings: [webSocketFraming, eventStreamFraming], time,
      floor: 0 as Micros, keepFloor: async () => undefined,
      sign: { kid: `${setup.edge}.log`, sign: async () => 'e30.e30.e30' },
      append: async () => undefined,
      mayAskEpoch: () => false,
      hash: nodeLadderHash, timers: systemClock, random: systemRandom, log: silent, events: () => undefined,
      metrics: {
        count: (name, _help, labels, by = 1) => {
          if (name === 'sealcast_release_pulls_total' && labels?.['outcome'] === 'ok') pulls += by;
        },
        gauge: () => undefined,
        observe: () => undefined,
      },
      segmentDuration: 2_000_000 as Micros,
      maxGap: 20_000 as Millis,
    });
    const sockets = createReleaseSockets(() => part.host);
    const server = await serve(part.handler, { host: '127.0.0.1', port: 0, log: silent, onUpgrade: sockets.upgrade, onStream: sockets.stream });
    part.start();
    setInterval(() => {
      const { earliest, latest, status } = part.bound();
      tell({ kind: 'standing', pulls, connections: part.host.connections, status, error: (latest - earliest) / 2, heap: process.memoryUsage().heapUsed });
    }, 250);
    process.on('disconnect', () => process.exit(0));
    tell({ kind: 'ready', port: server.port });
  };
  process.once('message', (setup: EdgeSetup) => void run(setup));
}
