// SPDX-License-Identifier: Apache-2.0
/**
 * The key servers of a measurement in a process of their own: crowds elsewhere must not delay their answers, least of all those about the time.
 *
 * Started by `edges.ts`, which enrols edges and cuts it off by message. Invariant: while it is cut off, every request is answered 503.
 */
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { problemOf } from '#core/errors.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { Micros } from '#core/time.ts';
import { importJwsKey } from '#crypto/jose.ts';
import { createReleaseServer, type ReleaseEdge as Enrolled } from '#key-server/index.ts';

/** The first message: what the key servers are made of. `root`: the event keys derive from it. */
export type KeySetup = { readonly info: ReleaseInfo; readonly root: Uint8Array; readonly servers: readonly { readonly name: string; readonly grant: object; readonly schedule: object; readonly jwk: object }[] };
/** Later ones. */
export type ToKeys = { readonly kind: 'edges'; readonly enrolled: readonly Enrolled[]; readonly urls: readonly string[] } | { readonly kind: 'cut'; readonly down: boolean };

/** Stated error of this host's clock, µs. */
const KEY_ERROR = 300;

if (process.send !== undefined && process.argv[1]?.endsWith('key-process.ts') === true) {
  const time = createPreciseTime();
  let enrolled: readonly Enrolled[] = [];
  let urls: readonly string[] = [];
  let down = false;
  const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
  const run = async ({ info, root, servers }: KeySetup): Promise<void> => {
    process.on('message', (message: ToKeys) => {
      if (message.kind === 'cut') down = message.down;
      else ({ enrolled, urls } = message);
    });
    const createdAt = (systemClock.now() - 3_600_000_000) as Micros;
    const ports: number[] = [];
    for (const { name, grant, schedule } of servers) {
      const keys = createReleaseServer({
        name,
        events: {
          find: async (event) => (event === info.event ? { info, createdAt, edges: 'all', urls } : undefined),
          list: async () => [{ info, createdAt, edges: 'all', urls }],
          edge: async (edge) => enrolled.find((each) => each.edge === edge),
          edges: async () => enrolled,
          eventKey: async (event, epoch) => nodeLadderHash.sha256(new Uint8Array([...root, ...encodeUtf8(`${event}/${epoch}`)])),
        },
        grantKey: { kid: `${name}.grant`, key: await importJwsKey(grant as never, 'EdDSA') },
        scheduleKey: { kid: `${name}.schedule`, key: await importJwsKey(schedule as never, 'ES256') },
        publicKeys: () => servers.map(({ jwk }) => jwk), hash: nodeLadderHash, clock: systemClock, log: silent, metrics,
      });
      const server = await serve(async (request) => {
        if (down) return new Response(null, { status: 503 });
        if (new URL(request.url).pathname === '/v1/time') {
          const received = time.system().utc;
          const sent = time.system().utc;
          return Response.json({ time: sent, t2: received, t3: sent, earliest: sent - KEY_ERROR, latest: sent + KEY_ERROR, status: 'host', host: name });
        }
        try {
          return await keys.handler(request);
        } catch (error) {
          const problem = problemOf(error);
          return new Response(JSON.stringify(problem), { status: problem.status });
        }
      }, { host: '127.0.0.1', port: 0, log: silent });
      ports.push(server.port);
    }
    process.send?.({ ports });
  };
  process.once('message', (setup: KeySetup) => void run(setup));
  process.on('disconnect', () => process.exit(0));
}
