// SPDX-License-Identifier: Apache-2.0
/**
 * The dashboard in real Chromium: built by Vite, served by the operations role under its own content security policy.
 *
 * Every page is watched for console errors and policy violations; one of either fails the test.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Browser, type Page, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#adapters/node/clock.ts';
import { accountId, assetId } from '#core/ids.ts';
import { microsFromSeconds } from '#core/time.ts';
import { markingFor } from '#entry/marking-plans.ts';
import { findChromium } from '../interop/browser.ts';
import { type ControlRoom, buildDashboard, countViewer, openControlRoom, startViewer } from './dashboard/room.ts';

let built: Awaited<ReturnType<typeof buildDashboard>>;
let browser: Browser;
let room: ControlRoom;

beforeAll(async () => {
  built = await buildDashboard();
  room = await openControlRoom({ read: built.read });
  browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox', '--host-resolver-rules=MAP tv.lan 127.0.0.1'] });
}, 60_000);

afterAll(async () => {
  await browser?.close();
  await room?.close();
  await built?.remove();
});

/** Opens a page whose faults are collected; `finish` closes it and answers them. */
const openPage = async (address: string): Promise<{ page: Page; finish: () => Promise<string[]> }> => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    // A refused request is logged by the browser itself and is what some tests are about.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
  });
  await page.goto(address);
  return {
    page,
    async finish() {
      await context.close();
      return faults;
    },
  };
};

const signIn = async (page: Page, token: string): Promise<void> => {
  await page.getByLabel('Operator token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
};

describe('build', () => {
  it('makes two pages without inline code, with hashed local assets', async () => {
    for (const name of ['watch.html', 'control.html']) {
      const html = await readFile(join(built.folder, name), 'utf8');
      expect(html).not.toMatch(/<style|style=|<script(?![^>]*\bsrc=)|\son[a-z]+=/);
      const addresses = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address ?? '');
      expect(addresses.length).toBeGreaterThan(2);
      for (const address of addresses) expect(address).toMatch(/^\/(?:assets\/[\w.-]+-[\w-]{8}\.(?:js|css)|favicon\.svg)$/);
    }
  });

  it('keeps player code out of the control room and players in chunks of their own', async () => {
    const assets = await readdir(join(built.folder, 'assets'));
    const textOf = async (prefix: string): Promise<string> => readFile(join(built.folder, 'assets', assets.find((name) => name.startsWith(prefix) && name.endsWith('.js')) ?? 'none'), 'utf8');
    const [control, watch] = await Promise.all([textOf('control'), textOf('watch')]);
    // A player alone is half a megabyte.
    expect(control.length).toBeLessThan(200_000);
    expect(watch.length).toBeLessThan(200_000);
    expect(control.includes('requestMediaKeySystemAccess')).toBe(false);
    expect(watch.includes('MediaSource.isTypeSupported')).toBe(false);
    expect(assets.filter((name) => /shaka|hls|dash/i.test(name) && name.endsWith('.js')).length).toBeGreaterThanOrEqual(3);
  });

  it('says nothing about the machine it was built on', async () => {
    for (const name of await readdir(join(built.folder, 'assets'))) {
      const code = await readFile(join(built.folder, 'assets', name), 'utf8');
      expect([name, code.includes(resolve(import.meta.dirname, '../..'))]).toEqual([name, false]);
    }
  });
});

describe('control room', () => {
  it('refuses a wrong token in words and shows nothing', async () => {
    const { page, finish } = await openPage(`${room.url}/control`);
    await signIn(page, `so_${'x'.repeat(43)}`);
    await page.getByText('This token is not known to the server').waitFor();
    expect(await page.locator('.tiles').count()).toBe(0);
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    expect(await finish()).toEqual([]);
  });

  it('shows live figures, charts and the feed, and survives a lost connection', async () => {
    const { page, finish } = await openPage(`${room.url}/control`);
    await signIn(page, room.token);
    await page.getByRole('status').getByText('Live', { exact: true }).waitFor();
    expect(page.url()).not.toContain(room.token.slice(3, 12));
    const requests = page.locator('.tile', { hasText: 'Edge requests' }).locator('.value');
    await expect.poll(() => requests.textContent(), { timeout: 10_000 }).toMatch(/^\d{3}\/s$/);
    expect(await page.locator('canvas').count()).toBe(4);
    room.operations.events({ at: systemClock.now(), kind: 'ingest.refused', severity: 'alert', message: 'No header was sent for v360' });
    await page.getByText('No header was sent for v360').waitFor();
    await page.getByRole('button', { name: 'alert' }).click();
    await expect.poll(() => page.getByText('No header was sent for v360').count()).toBe(0);
    await page.getByRole('button', { name: 'alert' }).click();

    await page.context().setOffline(true);
    room.cut();
    await page.getByText(/Reconnecting in \d+ s/).waitFor({ timeout: 20_000 });
    await page.context().setOffline(false);
    await page.getByRole('status').getByText('Live', { exact: true }).waitFor({ timeout: 20_000 });
    expect(await finish()).toEqual([]);
  });

  it('creates and ends an event, shows the credential once, records both', async () => {
    const { page, finish } = await openPage(`${room.url}/control#/events`);
    await signIn(page, room.token);
    await page.getByText('No event yet').waitFor();
    await page.getByRole('button', { name: 'New event' }).click();
    await page.getByLabel('Name').fill('Derby');
    await page.getByRole('textbox', { name: 'Id' }).fill('derby');
    await page.getByRole('button', { name: 'Create event' }).click();
    await page.getByText('si_demonstration').waitFor();
    await page.getByRole('button', { name: 'I have copied it' }).click();
    expect(await page.getByText('si_demonstration').count()).toBe(0);
    await page.getByRole('button', { name: 'New event' }).click();
    await page.getByLabel('Name').fill('Derby again');
    await page.getByRole('textbox', { name: 'Id' }).fill('derby');
    await page.getByRole('button', { name: 'Create event' }).click();
    await page.getByRole('dialog').getByRole('alert').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'End Derby' }).click();
    await page.getByLabel('Note for the audit log').fill('rained off');
    await page.getByRole('button', { name: 'End event' }).click();
    await page.getByRole('cell', { name: 'ended' }).waitFor();
    await page.getByRole('link', { name: 'Audit log' }).click();
    await page.getByText('Chain verified').waitFor();
    await page.getByText('rained off').waitFor();
    expect((await room.stores.catalogue.list()).map(({ state }) => state)).toEqual(['ended']);
    expect(await finish()).toEqual([]);
  });

  it('ends one session of an account', async () => {
    const record = await startViewer(room.stores, 'ann@example.com', 'cup', 'Kitchen tablet');
    const { page, finish } = await openPage(`${room.url}/control#/accounts`);
    await signIn(page, room.token);
    await page.getByRole('link', { name: 'ann@example.com' }).click();
    await page.getByText('watching').waitFor();
    await page.getByRole('button', { name: 'End session' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'End session' }).click();
    await page.getByText('ended', { exact: true }).waitFor();
    expect((await room.stores.sessions.get(record.session))?.endReason).toBe('operator');
    expect(await finish()).toEqual([]);
  });

  it('offers no action to role view, keeps the tab signed in, and signs out', async () => {
    await startViewer(room.stores, 'bob@example.com', 'cup', 'Phone');
    const token = await room.operations.issueToken('vera', 'view');
    const { page, finish } = await openPage(`${room.url}/control#/accounts/bob%40example.com`);
    await signIn(page, token);
    await page.getByText('watching').waitFor();
    expect(await page.getByRole('button', { name: /End/ }).count()).toBe(0);
    await page.reload();
    await page.getByText('watching').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Operator token').waitFor();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
    expect(await finish()).toEqual([]);
  });

  it('is usable by keyboard and fits a phone', async () => {
    const { page, finish } = await openPage(`${room.url}/control`);
    await page.locator('input[name=token]:focus').waitFor();
    await page.keyboard.insertText(room.token);
    await page.keyboard.press('Enter');
    await page.locator('.tiles').waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to content');
    await page.setViewportSize({ width: 390, height: 800 });
    for (const name of ['Events and titles', 'Sessions', 'Accounts', 'Audit log', 'Overview']) {
      await page.getByRole('link', { name, exact: true }).click();
      await page.getByRole('heading', { level: 1, name }).waitFor();
      // Charts follow their container one frame later.
      await expect.poll(() => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
    }
    expect(await finish()).toEqual([]);
  });
});

describe('inner delivery', () => {
  it('shows what each edge fetched, live, and switches an edge to copies of its viewers\' own', async () => {
    const marking = markingFor({ variants: 5, book: 'biased-uniform', delivery: 'two-phase', viewers: 1e6, edges: [] }, { kind: 'event', representations: ['v720'], segment: microsFromSeconds(2) }, ['ams', 'fra']);
    const asset = assetId('final');
    await room.stores.catalogue.create({ asset, kind: 'event', name: 'The final', state: 'live', createdAt: systemClock.now(), clearKey: 'off', marking });
    room.traffic.push({ edge: 'ams', asset, segments: 1000, variants: 1003, bytes: 2_006_000_000, plainBytes: 2_000_000_000, heardAt: systemClock.now() });
    const { page, finish } = await openPage(`${room.url}/control#/delivery`);
    await signIn(page, room.token);
    const card = page.getByRole('region', { name: 'The final' });
    await card.getByText('1.003 per edge and segment').waitFor();
    await card.getByRole('row', { name: /ams/ }).getByText('2006.0').waitFor();
    room.traffic[0] = { ...(room.traffic[0] as (typeof room.traffic)[number]), segments: 2000, variants: 2500 };
    await card.getByText('1.250 per edge and segment').waitFor();
    await card.getByRole('row', { name: /ams/ }).getByRole('button', { name: 'common, give own' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Give own copies' }).click();
    await card.getByRole('button', { name: 'own, give common' }).waitFor();
    expect((await room.stores.catalogue.get(asset))?.marking?.delivery).toMatchObject({ switched: [{ edge: 0, from: expect.any(Number) }] });
    const [line] = (await room.stores.audit.read(0, 1000)).toReversed();
    expect(line).toMatchObject({ action: 'event.copies', target: 'final', detail: { edge: 'ams', copies: 'own' } });
    expect(await finish()).toEqual([]);
  });
});

describe('watch page', () => {
  it('names the addresses to use in an insecure context', async () => {
    const { page, finish } = await openPage(`${room.url.replace('127.0.0.1', 'tv.lan')}/`);
    await page.getByText('This address cannot play protected video').waitFor();
    const port = new URL(room.url).port;
    expect(await page.getByRole('link', { name: `https://tv.lan:${port}/` }).count()).toBe(1);
    expect(await page.getByRole('link', { name: `http://localhost:${port}/` }).count()).toBe(1);
    expect(await page.locator('video').count()).toBe(0);
    expect(await finish()).toEqual([]);
  });

  it('asks for the provider’s link where there is no demo', async () => {
    const { page, finish } = await openPage(`${room.url}/`);
    await page.getByText('Please open this page from your provider’s link').waitFor();
    expect(await finish()).toEqual([]);
  });

  it('takes an entitlement out of the address and says why nothing plays', async () => {
    const { page, finish } = await openPage(`${room.url}/#asset=cup&entitlement=eyJ.secret.part`);
    await page.getByText('This cannot be played').waitFor({ timeout: 25_000 });
    expect(page.url()).not.toContain('secret');
    expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(1);
    expect(await finish()).toEqual([]);
  });
});

describe('concurrency, levels and state', () => {
  it('shows streams against the limit, sets a level and an override, replays a policy, and says what is not normal', async () => {
    for (const [device, asset] of [['TV', 'cup-final'], ['phone', 'cup-final'], ['tablet', 'long-film'], ['laptop', 'long-film']] as const) await countViewer(room, await startViewer(room.stores, 'crowded', asset, device), 'sport');
    const { page, finish } = await openPage(`${room.url}/control#/concurrency`);
    await signIn(page, room.token);
    const accounts = page.getByRole('region', { name: 'By account' });
    await accounts.getByRole('row', { name: /crowded 4 3 1/ }).waitFor();
    await page.getByRole('region', { name: 'By collection' }).getByText('sport').waitFor();
    await accounts.getByRole('link', { name: 'crowded' }).click();

    const standing = page.getByRole('region', { name: 'Standing' });
    await standing.getByText('1 · detection only').waitFor();
    await standing.getByRole('button', { name: 'Change level' }).click();
    await page.getByRole('dialog').getByRole('combobox').selectOption('3');
    await page.getByLabel('Note for the audit log').fill('shared with the street');
    await page.getByRole('dialog').getByRole('button', { name: 'Change level' }).click();
    await standing.getByText('3 · strict').waitFor();
    await standing.getByText('1 → 3').waitFor();
    await standing.getByRole('button', { name: 'Set override' }).click();
    await page.getByLabel('Renew every (s)').fill('60');
    await page.getByLabel('Licence lasts (s)').fill('30');
    await page.getByRole('dialog').getByRole('button', { name: 'Set override' }).click();
    await page.getByRole('alert').getByText('duration must be longer than interval').waitFor();
    await page.getByLabel('Licence lasts (s)').fill('120');
    await page.getByLabel('Streams at a time').fill('5');
    await page.getByRole('dialog').getByRole('button', { name: 'Set override' }).click();
    await standing.getByText('renew every 60 s, for 120 s, limit 5').waitFor();
    await standing.getByText('of 5').waitFor();

    const devices = page.getByRole('region', { name: 'Devices' });
    const tv = (await room.stores.sessions.list({ account: accountId('crowded'), limit: 10 }))[0];
    if (tv === undefined) throw new Error('no session');
    await room.stores.devices.register({ device: tv.device, account: tv.account, name: 'Bar TV', sign: {}, agree: {}, registeredAt: systemClock.now() }, 5);
    await devices.getByRole('button', { name: 'Set policy' }).click();
    await page.getByLabel('Streams at a time').fill('1');
    await page.getByLabel('Beyond the limit').selectOption('deny-new');
    await page.getByRole('dialog').getByRole('button', { name: 'Set policy' }).click();
    await devices.getByText('limit 1, deny-new').waitFor();
    expect((await room.stores.devices.get(tv.device))?.policy).toEqual({ limit: 1, mode: 'deny-new' });
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'account.png'), fullPage: true });
    await devices.getByRole('button', { name: 'Set policy' }).click();
    await page.getByLabel('Streams at a time').fill('');
    await page.getByLabel('Beyond the limit').selectOption('');
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'device-policy.png') });
    await page.getByRole('dialog').getByRole('button', { name: 'Set policy' }).click();
    await devices.getByText('its account’s').waitFor();

    await room.stores.catalogue.create({ asset: assetId('long-film'), kind: 'title', name: 'A long film', state: 'ready', createdAt: systemClock.now(), duration: microsFromSeconds(7200), clearKey: 'off' });
    await page.goto(`${room.url}/control#/events`);
    await page.getByRole('button', { name: 'Licensing of A long film' }).click();
    await page.getByLabel('Collection').fill('sport');
    await page.getByLabel('Renew every (s)').fill('60');
    await page.getByLabel('Licence lasts (s)').fill('180');
    await page.getByRole('dialog').getByRole('button', { name: 'Set licensing' }).click();
    await page.getByRole('region', { name: 'Titles' }).getByText('sport: renew every 60 s, for 180 s').waitFor();
    expect(await room.stores.catalogue.get(assetId('long-film'))).toMatchObject({ collection: 'sport', policy: { interval: 60_000, duration: 180_000 } });
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'events.png'), fullPage: true });

    await page.goto(`${room.url}/control#/concurrency`);
    await page.getByRole('img', { name: /1 on level 3.*1 from 1 to 3/ }).waitFor();
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'concurrency.png'), fullPage: true });
    await page.getByRole('button', { name: 'What if…' }).click();
    await page.getByLabel('Licences without renewals').fill('2');
    await page.getByRole('button', { name: 'Replay' }).click();
    await page.getByRole('heading', { name: 'No account would move' }).waitFor();
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'what-if.png') });
    await page.getByRole('button', { name: 'Done' }).click();

    room.conditions.emergency = { since: systemClock.now(), cause: 'timeout', renewals: 7 };
    room.conditions.load = { factor: 1.5, sheds: false };
    await page.goto(`${room.url}/control#/overview`);
    const state = page.getByRole('status', { name: 'Emergency and load' });
    await state.getByText(/The concurrency record answers too late.*7 so far/).waitFor();
    await state.getByText('Overload: periods ×1.5').waitFor();
    if (process.env['SEALCAST_SCREENSHOTS']) await page.screenshot({ path: join(process.env['SEALCAST_SCREENSHOTS'], 'overview.png'), fullPage: true });
    room.conditions.emergency = undefined;
    room.conditions.load = { factor: 1, sheds: false };
    await state.getByText('Normal operation').waitFor();
    expect(await finish()).toEqual([]);
  }, 60_000);
});
