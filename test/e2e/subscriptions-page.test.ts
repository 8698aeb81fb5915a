// SPDX-License-Identifier: Apache-2.0
/** Subscriptions and usage in the control room, in real Chromium: what is shown, a title added and removed, a payout saved. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#adapters/node/clock.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { StoredUsage } from '#ports';
import { findChromium } from '../interop/browser.ts';
import { buildDashboard, type ControlRoom, openControlRoom } from './dashboard/room.ts';

let built: Awaited<ReturnType<typeof buildDashboard>>;
let browser: Browser;
let room: ControlRoom;
let page: Page;
const faults: string[] = [];

const ANN = 'ann@example.com' as AccountId;
const PHONE = 'p'.repeat(43) as DeviceId;
const DAY = 86_400_000_000;

const fill = async (): Promise<void> => {
  const { stores } = room;
  const now = systemClock.now();
  for (const [index, name] of ['pilot', 'the-trial', 'homecoming', 'finale'].entries()) {
    await stores.catalogue.create({ asset: name as AssetId, kind: 'title', name, state: 'ready', createdAt: now, duration: 1_500_000_000 as Micros, clearKey: 'off' });
    if (index < 3) await stores.collections.put({ collection: 'series', asset: name as AssetId, published: (now - index * 30 * DAY) as Micros, scope: index === 1 ? 'shared' : 'account', actions: ['play', 'download'], owner: index === 2 ? 'Lumen Pictures' : 'Northlight' });
  }
  for (const device of [PHONE, 't'.repeat(43) as DeviceId]) await stores.devices.register({ device, account: ANN, name: device === PHONE ? 'Ann’s phone' : 'Tablet', sign: {}, agree: {}, registeredAt: now }, 5);
  await stores.devices.revoke('t'.repeat(43) as DeviceId, now);
  const root = { account: ANN, device: PHONE, plan: 'family', collection: 'series', jti: 'r1', issuedAt: now, begin: (now - DAY) as Micros, end: (now + 22 * DAY) as Micros, revoked: false };
  for (let renewal = 0; renewal < 4; renewal++) await stores.roots.put(root);
  await stores.roots.put({ ...root, plan: 'films', collection: 'films', end: now, revoked: true });
  const play = (seq: number, title: string, offline: boolean, owner: string): StoredUsage => ({
    device: PHONE, chain: 2, seq, hash: new Uint8Array(32), text: '', account: ANN, title: title as AssetId, owner, action: 'play', plan: 'family', started: now, played: 1_480_000_000 as Micros, offline, counted: true, uncertain: seq === 3, receivedAt: now,
  });
  await stores.usage.append({ device: PHONE, chain: 2, seq: 3, head: new Uint8Array(32), account: ANN, updatedAt: now }, undefined, [play(1, 'pilot', false, 'Northlight'), play(2, 'the-trial', true, 'Northlight'), play(3, 'homecoming', true, 'Lumen Pictures')]);
  const session = 'c3RvcHBlZC1ieS10aGUtdmll' as SessionId;
  await stores.sessions.create({ session, account: ANN, device: PHONE, deviceName: 'Ann’s phone', sign: {}, agree: {}, terms: {}, asset: 'pilot' as AssetId, startedAt: (now - 1500e6) as Micros, entitledUntil: (now + DAY) as Micros });
  await stores.sessions.end(session, now, 'viewer');
};

const shot = async (name: string): Promise<void> => {
  const folder = process.env['SEALCAST_SCREENSHOTS'];
  if (folder) await page.screenshot({ path: join(folder, name), fullPage: true });
};

beforeAll(async () => {
  built = await buildDashboard();
  room = await openControlRoom({ read: built.read });
  await fill();
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
  page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true })).newPage();
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
  });
  await page.goto(`${room.url}/control#/subscriptions`);
  await page.getByLabel('Operator token').fill(room.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await room?.close();
  await built?.remove();
});

it('shows plans, roots and collections, and an account with what its devices hold and reported', async () => {
  await page.getByRole('region', { name: 'Plans' }).getByRole('cell', { name: 'family' }).waitFor();
  await page.getByRole('region', { name: 'Collections' }).getByRole('link', { name: 'series' }).waitFor();
  expect(await page.getByRole('region', { name: 'Roots' }).locator('tbody tr').count()).toBe(2);
  await shot('subscriptions.png');
  await page.getByRole('region', { name: 'Roots' }).getByRole('link', { name: ANN }).first().click();
  await page.getByRole('heading', { name: `Devices of ${ANN}` }).waitFor();
  await page.getByText('lost records').waitFor();
  await page.getByText('revoked').first().waitFor();
  expect(await page.getByRole('region', { name: 'Played' }).locator('tbody tr').count()).toBe(3);
  await shot('subscriber.png');
});

it('a title joins a collection and leaves it again, each with an audit line', async () => {
  await page.goto(`${room.url}/control#/subscriptions/collection/series`);
  await page.getByRole('button', { name: 'Add title' }).click();
  await page.getByLabel('Title or event').fill('finale');
  await page.getByLabel('Owner, who is paid for its plays').fill('Northlight');
  await page.getByLabel('Published').fill('2026-11-01');
  await page.getByRole('dialog').getByRole('button', { name: 'Add title' }).click();
  await page.getByRole('cell', { name: 'finale' }).waitFor();
  await shot('collection.png');
  await page.getByRole('row', { name: /finale/ }).getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('cell', { name: 'finale' }).waitFor({ state: 'detached' });
  expect((await room.stores.audit.read(0, 9)).map(({ action, target, detail }) => [action, target, detail['published']])).toEqual([['collection.add', 'finale', Date.UTC(2026, 10, 1) * 1000], ['collection.remove', 'finale', undefined]]);
});

it('B138: usage by owner, saved as CSV; secure stops', async () => {
  await page.goto(`${room.url}/control#/usage`);
  await page.getByRole('cell', { name: 'Northlight' }).waitFor();
  await page.getByRole('region', { name: 'Secure stops' }).getByRole('cell', { name: 'pilot' }).waitFor();
  await shot('usage.png');
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save as CSV' }).click()]);
  expect((await readFile(await saved.path(), 'utf8')).split('\r\n').slice(0, 2)).toEqual(['owner,plays,offline_plays,uncertain_plays,downloads,played_seconds', 'Northlight,2,1,0,0,2960.000']);
  await page.getByLabel('Sum by').selectOption('title');
  await page.getByRole('cell', { name: 'homecoming' }).waitFor();
  expect(faults).toEqual([]);
});
