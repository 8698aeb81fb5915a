// SPDX-License-Identifier: Apache-2.0
/** The edge contract in Node, behind the Node HTTP server. */
import { systemClock } from '#adapters/node/clock.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { serve } from '#adapters/node/http-server.ts';
import { createBundleClient } from '#edge/bundle-client.ts';
import { createEdge } from '#edge/edge.ts';
import type { Log, Metrics, Random } from '#ports';
import { EDGE_ID } from './edge-environment.ts';
import { edgeDeliverySuite } from './edge-delivery-suite.ts';
import { edgeSuite, type StartEdge } from './edge-suite.ts';
import { edgeSwitchingSuite } from './edge-switching-suite.ts';
import { edgeMarkingSuite } from './edge-marking-suite.ts';
import { edgeTokenSuite } from './edge-token-suite.ts';

const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
const random: Random = { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) };

const start: StartEdge = async ({ origin, bundles }) => {
  const edge = createEdge({
    origin: fetch,
    originBase: origin.url,
    bundle: createBundleClient({ server: bundles.url, edge: EDGE_ID, signKey: bundles.signKey, agreeKey: bundles.agreeKey, fetch, clock: systemClock, random }),
    clock: systemClock,
    random,
    log,
    metrics,
    events: () => undefined,
    respond: bufferedResponse,
  });
  await edge.refresh();
  edge.start();
  const server = await serve((request) => edge.handler(request), { host: '127.0.0.1', port: 0, log });
  return {
    fetch: (path, init) => fetch(`${server.url}${path}`, init),
    close: async () => {
      edge.stop();
      await server.close();
    },
  };
};

edgeSuite('Node', start, { endsBrokenChunksCleanly: false });
edgeTokenSuite('Node', start);
edgeSwitchingSuite('Node', start);
edgeDeliverySuite('Node', start);
edgeMarkingSuite('Node', start);
