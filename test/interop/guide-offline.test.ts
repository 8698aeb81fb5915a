// SPDX-License-Identifier: Apache-2.0
/** The offline guide's excerpts are lines of its example, and the example runs against the real protocol. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { openOffline } from '#client/offline/offline.ts';
import type { Session } from '#client/session-types.ts';
import { textOf } from '#client/texts/texts.ts';
import { FILM } from '../adversary/license-world.ts';
import { createOfflineWorld, DAY } from '../adversary/offline-world.ts';

const root = resolve(import.meta.dirname, '../..');
const guide = readFileSync(join(root, 'docs/guide/offline.md'), 'utf8');
const example = readFileSync(join(root, 'examples/offline.js'), 'utf8');

test.each([...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code = '']) => code))('excerpt %#', (code) => {
  expect(example).toContain(code.trim());
});

test('the example opens, renews, plays, and says why it does not', async () => {
  type Show = (text: string) => void;
  type Shelf = Awaited<ReturnType<typeof openOffline>>;
  const { openShelf, renewPlans, playKept } = (await import(join(root, 'examples/offline.js'))) as { openShelf(options: object): Promise<Shelf>; renewPlans(offline: Shelf, show: Show): Promise<void>; playKept(offline: Shelf, title: string, show: Show): Promise<Session | undefined> };
  const world = await createOfflineWorld();
  const client = await world.client();
  const shown: string[] = [];
  const show = (text: string): void => void shown.push(text);
  const offline = await openShelf({ openOffline, servers: ['https://license.example'], baseUrl: 'https://license.example', device: client.device, storage: client.storage, clock: client.clock, entitlement: () => world.entitlement({ assets: undefined, plans: client.bought.plans }), fetch: (request: Request) => world.licenses.handler(request) });
  await renewPlans(offline, show);
  await offline.subscriptions.fetchLeaves({ plan: 'family' });
  expect(shown).toEqual([]);
  const session = await playKept(offline, FILM, show);
  await session?.stop();
  await world.clock.advance(31 * DAY);
  await playKept(offline, FILM, show);
  await renewPlans(offline, show);
  expect(shown).toEqual([textOf('viewer'), textOf('license-expired'), `family: ${textOf('entitlement-expired')}`]);
  await offline.close();
});
