// SPDX-License-Identifier: Apache-2.0
/** A title marked inside its bitstream on a running platform: added by an operator, fetched by two sessions, refused to strangers. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { assetId } from '#core/ids.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { decodeProfile, isMarkBox } from '#core/mark/index.ts';
import { ffmpeg } from '../interop/clips.ts';
import { type Stack, startStack } from '../interop/stack.ts';

const FILM = assetId('film');
let stack: Stack;
let folder: string;

beforeAll(async () => {
  stack = await startStack();
  folder = await mkdtemp(join(tmpdir(), 'sealcast-marked-platform-'));
  const clip = join(folder, 'clip.mp4');
  ffmpeg(['-y', '-f', 'lavfi', '-i', 'testsrc2=s=640x360:r=25:d=6', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000:d=6', '-c:v', 'libx264', '-crf', '20', '-pix_fmt', 'yuv420p', '-g', '50', '-sc_threshold', '0', '-c:a', 'aac', clip]);
  const { actions, stores, roles } = stack.platform;
  await actions?.addTitle?.({ asset: FILM, name: 'Film', scheme: 'cbcs', clearKey: 'off', source: clip, inBand: true });
  for (let tries = 0; (await stores.catalogue.get(FILM))?.state !== 'ready'; tries++) {
    if (tries > 600) throw new Error(`the title is ${(await stores.catalogue.get(FILM))?.state}`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
  for (let tries = 0; roles.edge?.keys()?.markSwitch(FILM) === undefined; tries++) {
    if (tries > 300) throw new Error('the edge was not told of the marks');
    await roles.licenseServer?.refresh();
    await new Promise((wake) => setTimeout(wake, 100));
  }
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await rm(folder, { recursive: true, force: true });
});

const segment = async (account: string, path: string): Promise<Uint8Array> => {
  const session = await stack.session(FILM, { account });
  const response = await fetch(`${stack.url}/media/${FILM}/${path}`, { headers: { authorization: `Bearer ${session.mediaToken}` } });
  expect(response.status).toBe(200);
  const body = new Uint8Array(await response.arrayBuffer());
  await session.stop();
  return body;
};

describe('a title marked inside its bitstream', () => {
  test('B194 sessions carry the viewer number, and two accounts get two copies of one size without boxes', async () => {
    const [ann, ben] = await Promise.all(['ann', 'ben'].map((account) => segment(account, 'v360/1.m4s')));
    expect(ann?.length).toBe(ben?.length);
    expect(Buffer.compare(ann as Uint8Array, ben as Uint8Array)).not.toBe(0);
    expect(readBoxes(ann as Uint8Array).some(({ bytes }) => isMarkBox(bytes))).toBe(false);
    expect(await stack.platform.stores.viewerNumbers.count(FILM)).toBe(2);
  }, 60_000);
  test('the tracer has originals and places of every segment, the origin has neither in clear', async () => {
    const marking = (await stack.platform.stores.catalogue.get(FILM))?.marking;
    expect(marking).toMatchObject({ alphabet: 2, inBand: { slots: 16 }, segments: 3, representations: ['v360'] });
    const references = createFileObjectStore({ root: join(stack.data, 'tracing') });
    for (let number = 0; number < 3; number++) {
      const profile = decodeProfile((await references.get(`${FILM}/marks/v360/${number}.marks`)) as Uint8Array);
      expect(profile.size).toBe((await references.size(`${FILM}/marks/v360/${number}.m4s`)) as number);
      expect(profile.sites.count).toBeGreaterThan(50);
    }
  });
  test('without a token, or with one of another title, there is no byte', async () => {
    expect((await fetch(`${stack.url}/media/${FILM}/v360/1.m4s`)).status).toBe(401);
  });
});
