// SPDX-License-Identifier: Apache-2.0
/** The same edge contract in the real workerd: `src/entry/worker-edge.ts` bundled to one module and run by miniflare. */
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { rolldown } from 'rolldown';
import { expect, it } from 'vitest';
import { EDGE_ID } from './edge-environment.ts';
import { edgeDeliverySuite } from './edge-delivery-suite.ts';
import { edgeSuite, type StartEdge } from './edge-suite.ts';
import { edgeSwitchingSuite } from './edge-switching-suite.ts';
import { edgeMarkingSuite } from './edge-marking-suite.ts';
import { edgeTokenSuite } from './edge-token-suite.ts';

const bundled = async (): Promise<string> => {
  const bundle = await rolldown({ input: fileURLToPath(new URL('../../src/entry/worker-edge.ts', import.meta.url)), platform: 'browser', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'esm' });
  await bundle.close();
  const [chunk, ...more] = output;
  expect(more).toEqual([]);
  return chunk.code;
};

it('the worker is one module without Node', async () => {
  const code = await bundled();
  expect(code).not.toMatch(/from\s*["']node:|require\(/);
  expect(code).not.toMatch(/^import /m);
});

const start: StartEdge = async ({ origin, bundles }) => {
  const worker = new Miniflare({
    modules: true,
    script: await bundled(),
    compatibilityDate: '2025-09-01',
    // The worker's own socket: miniflare's proxy in front would answer for it.
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    bindings: {
      ORIGIN_URL: origin.url,
      BUNDLE_URL: bundles.url,
      EDGE_ID,
      EDGE_SIGN_KEY: JSON.stringify(bundles.signKey),
      EDGE_AGREE_KEY: JSON.stringify(bundles.agreeKey),
    },
    handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
      stdout.resume();
      stderr.resume();
    },
  });
  await worker.ready;
  const url = await worker.unsafeGetDirectURL();
  return {
    fetch: (path, init) => fetch(new URL(path, url), init),
    close: () => worker.dispose(),
  };
};

edgeSuite('workerd', start, { endsBrokenChunksCleanly: true });
edgeTokenSuite('workerd', start);
edgeSwitchingSuite('workerd', start);
edgeDeliverySuite('workerd', start);
edgeMarkingSuite('workerd', start);
