// SPDX-License-Identifier: Apache-2.0
/** Marked media in real Chromium: a title with variants, packed by the running platform; two viewers get different bytes, and both see the film. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assetId } from '#core/ids.ts';
import type { MarkingRequest } from '#operations/index.ts';
import { pictureContrast } from './browser.ts';
import { ffmpeg } from './clips.ts';
import { openStage, reach, type Stage } from './harness.ts';
import type { Harness } from './page.ts';

declare const harness: Harness;

const FILM = assetId('marked');
const SECONDS = 12;
const REQUEST: MarkingRequest & { equalSize: boolean } = { variants: 3, book: 'aligned', delivery: 'always-on', viewers: 1000, edges: [], equalSize: true };
let stage: Stage;
let folder: string;

beforeAll(async () => {
  stage = await openStage();
  folder = await mkdtemp(join(tmpdir(), 'sealcast-marked-'));
  const clip = join(folder, 'clip.mp4');
  ffmpeg(['-y', '-f', 'lavfi', '-i', `testsrc2=s=320x180:r=25:d=${SECONDS}`, '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-g', '50', clip]);
  const { actions, stores } = stage.stack.platform;
  await actions?.addTitle?.({ asset: FILM, name: 'Marked', scheme: 'cenc', clearKey: 'off', source: clip, marked: REQUEST });
  const deadline = performance.now() + 90_000;
  for (;;) {
    const state = (await stores.catalogue.get(FILM))?.state;
    if (state === 'ready') break;
    if (state === 'failed' || performance.now() > deadline) throw new Error(`the title is ${state}`);
    await new Promise((wake) => setTimeout(wake, 200));
  }
  // The next bundle names the plan; a media request before it would find no variants.
  await stage.stack.platform.roles.licenseServer?.refresh();
  for (let tries = 0; stage.stack.platform.roles.edge?.keys()?.markSwitch(FILM) === undefined; tries++) {
    if (tries > 200) throw new Error('the edge was not told of the variants');
    await new Promise((wake) => setTimeout(wake, 100));
    await stage.stack.platform.roles.licenseServer?.refresh();
  }
}, 180_000);
afterAll(async () => {
  await stage?.close();
  await rm(folder, { recursive: true, force: true });
});

type Fetched = Map<string, { readonly hash: string; readonly bytes: number; readonly fields: string }>;

/** Collects what the page fetches of the video, by representation and segment. */
const collect = (page: Page): Fetched => {
  const fetched: Fetched = new Map();
  page.on('response', (response) => {
    const name = /\/media\/[^?]*?([a-z0-9-]+\/\d+\.m4s)/.exec(response.url())?.[1];
    if (name === undefined || response.status() !== 200) return;
    const fields = Object.entries(response.headers()).filter(([field]) => field !== 'etag' && field !== 'date').map(([field, value]) => `${field}: ${value}`).sort().join('\n');
    void response.body().then((body) => fetched.set(name, { hash: createHash('sha256').update(body).digest('hex'), bytes: body.length, fields })).catch(() => undefined);
  });
  return fetched;
};

describe('Shaka on a title with variants', () => {
  test('B191 B200 two viewers of one title get different bytes, of one size and under the same header fields, and both play', async () => {
    const watched = await Promise.all(
      ['ann', 'ben'].map((account) =>
        stage.onPage('shaka', async (page, errors) => {
          const fetched = collect(page);
          expect(await page.evaluate((options) => harness.play(options), { player: 'shaka' as const, asset: FILM, entitlement: await stage.stack.entitlement(FILM, account) })).toBeUndefined();
          const first = await reach(page, 30, ({ frames }) => frames > 5);
          const last = await reach(page, 30, ({ currentTime }) => currentTime - first.currentTime > 6);
          // Decoded; a busy machine draws fewer of them in time.
          expect(last.frames + last.dropped - first.frames - first.dropped).toBeGreaterThan(60);
          expect(last.frames - first.frames).toBeGreaterThan(10);
          expect(last).toMatchObject({ failure: undefined, mediaError: undefined });
          expect(await pictureContrast(page)).toBeGreaterThan(20);
          expect(errors).toEqual([]);
          await page.evaluate(() => harness.stop());
          return fetched;
        }),
      ),
    );
    const [ann, ben] = watched as [Fetched, Fetched];
    const common = [...ann.keys()].filter((name) => name.startsWith('v') && ben.has(name));
    expect(common.length).toBeGreaterThanOrEqual(3);
    expect(common.some((name) => ann.get(name)?.hash !== ben.get(name)?.hash)).toBe(true);
    for (const name of common) {
      expect(ann.get(name)?.bytes, name).toBe(ben.get(name)?.bytes);
      expect(ann.get(name)?.fields, name).toBe(ben.get(name)?.fields);
    }
    // What the platform keeps for tracing belongs to the copies it serves.
    expect(await stage.stack.platform.stores.viewerNumbers.count(FILM)).toBe(2);
  }, 300_000);
});
