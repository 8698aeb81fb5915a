// SPDX-License-Identifier: Apache-2.0
/**
 * The process that `usage-kill.test.ts` kills: takes usage reports over HTTP into SQLite. Arguments: folder, page limit or 0.
 *
 * Prints its port once it listens. Everything it knows is in the folder.
 */
import { join } from 'node:path';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { problemOf } from '#core/errors.ts';
import { loadServerSecrets } from '#license-server/server-secrets.ts';
import { createUsage } from '#license-server/usage.ts';

const [folder = '', pages = '0'] = process.argv.slice(2);
const stores = createSqliteStores({ path: join(folder, 'usage.sqlite'), ...(pages !== '0' && { pageLimit: Number(pages) }) });
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const secrets = await loadServerSecrets({ secrets: stores.secrets, box: createSecretBox(new Uint8Array(32).fill(7)), random: systemRandom });
const take = createUsage({ secrets, devices: stores.devices, catalogue: stores.catalogue, collections: stores.collections, usage: stores.usage, hash: nodeLadderHash, clock: systemClock, events: () => undefined, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } });
const server = await serve(
  async (request) => {
    try {
      return Response.json(await take(await request.json()));
    } catch (error) {
      const problem = problemOf(error);
      return Response.json(problem, { status: problem.status });
    }
  },
  { host: '127.0.0.1', port: 0, log: quiet },
);
process.stdout.write(`${server.port}\n`);
