// SPDX-License-Identifier: Apache-2.0
/** The control room's leaks in real Chromium: list, evidence, a decision with its audit line. */
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#adapters/node/clock.ts';
import { type AccountId, assetId, type DeviceId, type SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { LeakRecord } from '#ports';
import { findChromium } from '../interop/browser.ts';
import { buildDashboard, type ControlRoom, openControlRoom } from './dashboard/room.ts';

let built: Awaited<ReturnType<typeof buildDashboard>>;
let browser: Browser;
let room: ControlRoom;

const SESSION = 'c2Vzc2lvbi1vZi10aGUtcGly' as SessionId;
const leak = (more: Partial<LeakRecord> = {}): LeakRecord => {
  const now = systemClock.now();
  const growth = Array.from({ length: 20 }, (_, n) => ({ position: 897_651_800 + n, evidence: Number((1.57 * (n + 1) - (n > 8 ? 2.8 : 0)).toFixed(3)) }));
  return {
    leak: 'LEAKLEAKLEAKLEAKLEAK01', asset: assetId('final-2026'), at: now, reportedBy: 'desk', source: 'stream at pirate.example', viewer: 4711, account: 'zoe@example.com' as AccountId, device: 'd'.repeat(43) as DeviceId,
    evidence: 28.6, bound: 27.631, eps: 1e-6, viewers: 1_000_000, falseAccusation: 3.8e-7, observed: 20, erased: 2, errorRates: { symbols: 0.024, erasures: 0.09 }, coalition: { share: 0, size: 1 },
    runnerUp: { viewer: 902_113, evidence: 6.2 }, replayed: true, growth, sessions: [SESSION],
    carriers: [{ edge: 'edge-1', session: SESSION, prefix: '203.0.113.0/24', agent: '9f86d081884c7d65', bytes: 48_300_000, from: (now - 240e6) as Micros, to: now }],
    actions: [{ at: now, action: 'end-sessions', by: 'desk', automatic: true, sessions: 1 }],
    ...more,
  };
};

beforeAll(async () => {
  built = await buildDashboard();
  room = await openControlRoom({ read: built.read });
  await room.stores.leaks.create(leak());
  const shared = leak({ leak: 'LEAKLEAKLEAKLEAKLEAK02', asset: assetId('film'), account: 'bob@example.com' as AccountId, source: 'found.mp4' });
  await room.stores.leaks.create({ ...shared, carriers: [...shared.carriers, { ...(shared.carriers[0] as LeakRecord['carriers'][number]), agent: 'aaaabbbbccccdddd', prefix: '198.51.100.0/24' }] });
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] });
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await room?.close();
  await built?.remove();
});

it('shows a leak with its evidence, and lets an operator decide', async () => {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 1100 } })).newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
  });
  const shot = async (name: string): Promise<void> => {
    const folder = process.env['SEALCAST_SCREENSHOTS'];
    if (folder) await page.screenshot({ path: join(folder, name), fullPage: true });
  };
  await page.goto(`${room.url}/control#/leaks`);
  await page.getByLabel('Operator token').fill(room.token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: '2 leaks' }).waitFor();
  expect(await page.getByRole('row').count()).toBe(3);
  await shot('leaks.png');

  await page.goto(`${room.url}/control#/leaks/LEAKLEAKLEAKLEAKLEAK01`);
  const plot = page.getByRole('img', { name: /Evidence grew to 28\.6 nats over 20 segments; 27\.6 were needed/ });
  await plot.waitFor();
  expect(await plot.locator('circle').count()).toBe(20);
  expect(await page.getByText('zoe@example.com').first().isVisible()).toBe(true);
  expect(await page.getByText('one client').isVisible()).toBe(true);
  await shot('leak.png');
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.getByLabel('Note for the audit log').fill('the rights holder knows');
  await page.getByRole('dialog').getByRole('button', { name: 'Dismiss' }).click();
  await page.getByText('the rights holder knows').waitFor();
  expect((await room.stores.audit.read(0, 10)).map(({ action, target }) => `${action} ${target}`)).toEqual(['leak.dismiss LEAKLEAKLEAKLEAKLEAK01']);

  await page.goto(`${room.url}/control#/leaks/LEAKLEAKLEAKLEAKLEAK02`);
  await page.getByText('signs of a shared token').waitFor();
  expect(await page.getByRole('button', { name: 'Move to level 3' }).isDisabled()).toBe(true);
  expect(await page.getByRole('button', { name: 'End sessions' }).isEnabled()).toBe(true);
  await shot('leak-shared.png');
  expect(faults).toEqual([]);
  await page.context().close();
}, 60_000);
