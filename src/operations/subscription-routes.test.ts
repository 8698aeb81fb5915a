// SPDX-License-Identifier: Apache-2.0
/** Collections, roots, usage and stops as operators see and change them. */
import { beforeEach, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { createOperations, type OperationsActions } from '#operations/index.ts';
import type { SubscriberView, SubscriptionsView, UsageReportView } from '#operations/api.ts';
import type { StoredUsage } from '#ports';

const NOW = 1_800_000_000_000_000 as Micros;
const DAY = 86_400_000_000;
const ANN = 'ann' as AccountId;
const PHONE = 'P'.repeat(43) as DeviceId;
const TABLET = 'T'.repeat(43) as DeviceId;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const setUp = async () => {
  const stores = createMemoryStores();
  let seed = 0;
  const operations = createOperations({
    ...stores,
    clock: { now: () => NOW, monotonic: () => 0 as Millis, after: () => () => undefined },
    random: { bytes: (length) => new Uint8Array(length).fill(++seed) },
    log: silent,
    metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
    exposition: async () => ({ contentType: 'text/plain', body: '' }),
    allowedHosts: ['ops.example'],
    figures: () => ({ totals: {}, levels: {} }),
    readiness: {},
    actions: { setMembership: (membership: Parameters<typeof stores.collections.put>[0]) => stores.collections.put(membership), removeMembership: (collection: string, asset: AssetId) => stores.collections.remove(collection, asset) } as Partial<OperationsActions> as OperationsActions,
  });
  const token = await operations.issueToken('pay', 'operate');
  const call = (method: string, path: string, body?: unknown) =>
    operations.handler(new Request(`https://ops.example${path}`, { method, headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, ...(body !== undefined && { body: JSON.stringify(body) }) }));
  const read = async <T>(path: string): Promise<T> => (await (await call('GET', path)).json()) as T;
  return { stores, operations, call, read };
};

const play = (seq: number, more: Partial<StoredUsage> = {}): StoredUsage => ({
  device: PHONE, chain: 1, seq, hash: new Uint8Array(32).fill(seq), text: `{"seq":${seq}}`, account: ANN, title: 'film' as AssetId, owner: 'Studio', action: 'play', plan: 'family',
  started: (NOW - DAY) as Micros, played: 90_500_000 as Micros, offline: false, counted: true, uncertain: false, receivedAt: NOW, ...more,
});
const report = (seq: number): Parameters<Awaited<ReturnType<typeof setUp>>['stores']['usage']['append']>[0] => ({ device: PHONE, chain: 1, seq, head: new Uint8Array(32).fill(seq), account: ANN, updatedAt: NOW });

let room: Awaited<ReturnType<typeof setUp>>;
beforeEach(async () => {
  room = await setUp();
  await room.stores.catalogue.create({ asset: 'film' as AssetId, kind: 'title', name: 'Film', state: 'ready', createdAt: NOW, clearKey: 'off' });
});

it('a collection is filled and emptied, with an audit line for each change', async () => {
  const added = await room.call('POST', '/v1/collections/films/titles', { asset: 'film', published: NOW - DAY, scope: 'shared', actions: 'play', owner: 'Studio' });
  expect([added.status, await added.json()]).toEqual([201, { title: { collection: 'films', asset: 'film', published: NOW - DAY, scope: 'shared', actions: ['play'], owner: 'Studio' } }]);
  expect(await room.read('/v1/collections')).toEqual({ collections: [{ collection: 'films', titles: 1 }] });
  expect(await (await room.call('POST', '/v1/collections/films/remove', { asset: 'film' })).json()).toEqual({ removed: true });
  expect(await room.read('/v1/collections/films')).toEqual({ collection: 'films', titles: [] });
  expect((await room.stores.audit.read(0, 9)).map(({ actor, action, target, detail }) => [actor, action, target, detail['collection']])).toEqual([['pay', 'collection.add', 'film', 'films'], ['pay', 'collection.remove', 'film', 'films']]);
});

it('a collection of more than one page is read to its end', async () => {
  for (let index = 0; index < 501; index++) await room.stores.collections.put({ collection: 'songs', asset: `song-${String(index).padStart(4, '0')}` as AssetId, published: NOW, scope: 'account', actions: ['play'] });
  const first = await room.read<{ titles: unknown[]; next?: string }>('/v1/collections/songs');
  expect([first.titles.length, first.next]).toEqual([500, 'song-0499']);
  const second = await room.read<{ titles: { asset: string }[]; next?: string }>(`/v1/collections/songs?after=${first.next ?? ''}`);
  expect([second.titles.map(({ asset }) => asset), second.next]).toEqual([['song-0500'], undefined]);
});

it('shows what every device of an account holds and has reported, and that one lost its records', async () => {
  for (const device of [PHONE, TABLET]) await room.stores.devices.register({ device, account: ANN, name: device === PHONE ? 'phone' : 'tablet', sign: {}, agree: {}, registeredAt: NOW }, 5);
  await room.stores.devices.revoke(TABLET, NOW);
  const root = { account: ANN, device: PHONE, plan: 'family', collection: 'films', jti: 'a', issuedAt: NOW, begin: (NOW - DAY) as Micros, end: (NOW + DAY) as Micros, revoked: false };
  await room.stores.roots.put(root);
  await room.stores.roots.put({ ...root, plan: 'old', end: (NOW - 1) as Micros });
  await room.stores.roots.put({ ...root, plan: 'refunded', end: NOW, revoked: true });
  await room.stores.usage.append({ ...report(1), chain: 2 }, undefined, [play(1, { chain: 2 })]);
  const view = await room.read<SubscriberView>('/v1/subscriptions/ann');
  expect(view.devices.map(({ name, revokedAt, usage, roots }) => [name, revokedAt, usage?.lost, roots.map(({ plan, state }) => `${plan} ${state}`).sort()])).toEqual([['phone', undefined, 1, ['family good', 'old ended', 'refunded revoked']], ['tablet', NOW, undefined, []]]);
  expect((await room.read<SubscriptionsView>('/v1/subscriptions')).plans).toEqual([{ plan: 'family', collection: 'films', devices: 1 }]);
});

it('B138: payouts by title, account and owner, as JSON and as CSV that no spreadsheet runs', async () => {
  await room.stores.usage.append(report(3), undefined, [play(1), play(2, { owner: '=HYPERLINK("x")', offline: true }), play(3, { counted: false, owner: '', started: (NOW - 40 * DAY) as Micros })]);
  const owners = await room.read<UsageReportView>(`/v1/usage/report?by=owner&from=${(NOW - 2 * DAY) / 1e6}&to=${NOW / 1e6}`);
  expect(owners.rows.map(({ key, plays, offlinePlays }) => [key, plays, offlinePlays])).toEqual([['=HYPERLINK("x")', 1, 1], ['Studio', 1, 0]]);
  const csv = await room.call('GET', '/v1/usage/report?by=owner&format=csv');
  expect(csv.headers.get('content-type')).toContain('text/csv');
  expect((await csv.text()).split('\r\n')).toEqual(['owner,plays,offline_plays,uncertain_plays,downloads,played_seconds', `"'=HYPERLINK(""x"")",1,1,0,0,90.500`, 'Studio,1,0,0,0,90.500', ',0,0,0,0,90.500', '']);
  expect((await room.read<UsageReportView>('/v1/usage/report?by=account')).rows).toMatchObject([{ key: 'ann', plays: 2 }]);
  expect((await room.call('GET', '/v1/usage/report?from=10&to=5')).status).toBe(400);
});

it('lists secure stops, newest first, and no other end', async () => {
  const session = (name: string): SessionId => name.repeat(24) as SessionId;
  for (const [index, name] of ['A', 'B', 'C'].entries()) {
    await room.stores.sessions.create({ session: session(name), account: ANN, device: PHONE, deviceName: 'phone', sign: {}, agree: {}, terms: {}, asset: 'film' as AssetId, startedAt: (NOW - 1000 + index) as Micros, entitledUntil: (NOW + DAY) as Micros });
    await room.stores.sessions.end(session(name), (NOW - 10 + index) as Micros, name === 'B' ? 'operator' : 'viewer');
  }
  const { stops } = await room.read<{ stops: { session: string }[] }>('/v1/operations/stops');
  expect(stops.map(({ session: id }) => id)).toEqual([session('C'), session('A')]);
});
