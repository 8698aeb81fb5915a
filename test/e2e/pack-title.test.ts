// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast pack --title`: a folder packed with the platform's keys is opened by the platform's licences, wherever the
 * folder is served from.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { createViewer, openDevice, startSession } from '#client/index.ts';
import type { AccountId } from '#core/ids.ts';
import { createDemoIssuer, type DemoIssuer } from '#entry/demo/issuer.ts';
import { loadConfig } from '#entry/config/index.ts';
import { startPlatform } from '#entry/node.ts';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sealcast-pack-title-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pack = (...args: string[]): { status: number | null; stderr: string } => {
  const { status, stderr } = spawnSync(process.execPath, [BIN, 'pack', join(folder, 'in.mp4'), ...args, '--data', join(folder, 'data'), '--json'], { encoding: 'utf8' });
  return { status, stderr };
};

test('licences of the platform open what was packed beside it', async () => {
  execFileSync(findTool('ffmpeg'), ['-nostdin', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '6', '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '50', join(folder, 'in.mp4')]);
  expect(pack('-o', join(folder, 'out'), '--title', 'film', '--segment', '2', '--period', '2')).toMatchObject({ status: 0 });
  const other = pack('-o', join(folder, 'out2'), '--title', 'film', '--scheme', 'cbcs');
  expect(other.status).toBe(1);
  expect(other.stderr).toContain('exists');

  cpSync(join(folder, 'out'), join(folder, 'data', 'media', 'titles', 'film'), { recursive: true });
  let issuer: DemoIssuer | undefined;
  const platform = await startPlatform({
    config: loadConfig(undefined, { data: join(folder, 'data'), listen: { port: 0 }, log: { level: 'error' } }),
    extend: async ({ stores, secrets }) => {
      const pair = await secrets.keyPair('demo/issuer', 'ES256');
      issuer = createDemoIssuer({ kid: 'test', pair, catalogue: stores.catalogue, clock: systemClock, random: systemRandom });
      return { demo: issuer.handler, entitlementKeys: [{ kid: 'test', alg: 'ES256', key: pair.publicJwk }] };
    },
  });
  try {
    const started = await startSession({ servers: [platform.url], device: await openDevice(), asset: 'film', entitlement: async () => issuer?.issue('anna' as AccountId, '*') ?? '' });
    if (!started.ok) throw new Error(started.denial.detail);
    const viewer = createViewer({ session: started.session, baseUrl: `${platform.url}/`, speed: 8 });
    expect(await viewer.done).toEqual({ kind: 'finished' });
    expect(viewer.stats()).toMatchObject({ frames: 150, implausible: 0, keysUsed: 3 });
    await started.session.stop();
  } finally {
    await platform.stop();
  }
}, 60_000);
