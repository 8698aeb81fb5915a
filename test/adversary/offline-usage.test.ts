// SPDX-License-Identifier: Apache-2.0
/** Usage kept, chained and reported by the real client: crashes, lost acknowledgements, lost and altered storage, honest counting. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createPlayMeter } from '#client/offline/play-meter.ts';
import type { Micros } from '#core/time.ts';
import { FILM, SECOND } from './license-world.ts';
import { createOfflineWorld, DAY, equipped, type OfflineClient, type OfflineWorld } from './offline-world.ts';

type Offline = Awaited<ReturnType<OfflineClient['open']>>;
let world: OfflineWorld;
let client: OfflineClient;
beforeEach(async () => {
  world = await createOfflineWorld();
  client = await world.client();
});

/** Plays `seconds` of the film with a playhead every second. */
const watch = async (offline: Offline, seconds: number, { stop = true, rate = 1 } = {}) => {
  const playing = await offline.play(FILM);
  if (!playing.ok) throw new Error(playing.denial.detail);
  for (let at = 0; at <= seconds * rate; at += rate) {
    playing.session.playhead((at * SECOND) as Micros);
    if (at < seconds * rate) await world.clock.advance(1);
  }
  if (stop) await playing.session.stop();
  return playing.session;
};
const plays = async (): Promise<number> => (await world.stores.usage.totals('title', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 9 }))[0]?.plays ?? 0;
const stored = (): Promise<readonly { text: string }[]> => world.stores.usage.list({ device: client.device.id, limit: 1000 });
const pathIs = (request: Request, path: string): boolean => new URL(request.url).pathname === path;

describe('usage on a device', () => {
  it('B139: acknowledged records are removed; a report whose answer was lost goes out again under its transaction and counts once', async () => {
    const offline = await equipped(client);
    await watch(offline, 40);
    await watch(offline, 40);
    const transactions: string[] = [];
    let lose = 4;
    client.between = async (request, forward) => {
      if (!pathIs(request, '/v1/usage')) return forward(request);
      const { report } = (await request.clone().json()) as { report: string };
      transactions.push((JSON.parse(Buffer.from(report.split('.')[1] as string, 'base64url').toString()) as { transaction: string }).transaction);
      const answer = await forward(request);
      if (lose-- > 0) throw new TypeError('the answer was lost');
      return answer;
    };
    expect(await offline.usage.flush()).toBe(false);
    expect(offline.usage.pending).toBe(2);
    const restarted = await client.restart();
    expect(await restarted.usage.flush()).toBe(false);
    expect(await restarted.usage.flush()).toBe(true);
    expect(new Set(transactions).size).toBe(1);
    expect(transactions).toHaveLength(5);
    expect(await plays()).toBe(2);
    expect([...client.storage.texts.keys()].filter((key) => key.startsWith('usage/record'))).toEqual([]);
    expect(await restarted.usage.flush()).toBe(true);
    expect(transactions).toHaveLength(5);
  });

  it('B139: an acknowledgement that is forged, of another device or of other records removes nothing', async () => {
    const offline = await equipped(client);
    await watch(offline, 40);
    const other = await world.client({ account: 'account-2' });
    await watch(await equipped(other), 0);
    let foreign: string | undefined;
    other.between = async (request, forward) => {
      const answer = await forward(request);
      if (pathIs(request, '/v1/usage')) foreign = await answer.clone().text();
      return answer;
    };
    await watch(await other.restart(), 40);
    await (await other.restart()).usage.flush();
    for (const lie of [foreign as string, JSON.stringify({ ack: 1, head: 'x', time: 0, signature: 'a.b.c' }), '{}']) {
      client.between = async (request, forward) => (pathIs(request, '/v1/usage') ? new Response(lie, { headers: { 'content-type': 'application/json' } }) : forward(request));
      expect(await offline.usage.flush()).toBe(false);
      expect(offline.usage.pending).toBe(1);
    }
    client.between = undefined;
    expect(await offline.usage.flush()).toBe(true);
  });

  it('B141: reports are batched, leave at reconnection and then by schedule, and survive restarts', async () => {
    let offline = await equipped(client);
    client.cut = true;
    for (let count = 0; count < 5; count++) await watch(offline, 35);
    offline = await client.restart();
    expect(offline.usage.pending).toBe(5);
    client.cut = false;
    client.asked.length = 0;
    await offline.reconnected();
    expect(client.asked.filter((path) => path === 'POST /v1/usage')).toHaveLength(1);
    expect(await plays()).toBe(5);
    offline.usage.start();
    await watch(offline, 35);
    expect(offline.usage.pending).toBe(1);
    await world.clock.advance(900);
    await offline.usage.flush();
    expect(await plays()).toBe(6);
    offline.usage.stop();
    await offline.close();
  });

  it('B141: a thousand records leave in reports that the service takes', async () => {
    const offline = await equipped(client);
    client.cut = true;
    for (let count = 0; count < 1000; count++) await watch(offline, 0);
    client.cut = false;
    client.asked.length = 0;
    expect(await offline.usage.flush()).toBe(true);
    expect(client.asked.filter((path) => path === 'POST /v1/usage').length).toBeLessThanOrEqual(6);
    expect(await stored()).toHaveLength(1000);
  });

  it('B136: a crash in the middle of a play costs at most the last seconds of it', async () => {
    const offline = await equipped(client);
    client.cut = true;
    await watch(offline, 60, { stop: false });
    const restarted = await client.restart();
    expect(restarted.usage.pending).toBe(1);
    client.cut = false;
    await restarted.reconnected();
    const [record] = await stored();
    const { played, offline: wasOffline } = JSON.parse((record as { text: string }).text) as { played: number; offline: boolean };
    expect(played).toBeGreaterThanOrEqual(54 * SECOND);
    expect(played).toBeLessThanOrEqual(60 * SECOND);
    expect(wasOffline).toBe(true);
    expect(await plays()).toBe(1);
    // The note is gone with its record: the next start counts nothing again.
    expect((await client.restart()).usage.pending).toBe(0);
  });

  it('B140: a record that was changed, removed or moved on the device breaks nothing silently: the service is told that the chain began anew', async () => {
    const damage: ((texts: Map<string, string>) => void)[] = [
      (texts) => {
        for (const [key, text] of texts) if (key.endsWith('000000000002')) texts.set(key, text.replace('"offline":true', '"offline":false'));
      },
      (texts) => {
        for (const key of texts.keys()) if (key.endsWith('000000000003')) texts.delete(key);
      },
      (texts) => void texts.delete('usage-head'),
      (texts) => {
        for (const key of [...texts.keys()]) if (key.startsWith('usage')) texts.delete(key);
      },
    ];
    for (const harm of damage) {
      world = await createOfflineWorld();
      client = await world.client();
      const offline = await equipped(client);
      client.cut = false;
      await watch(offline, 35);
      await offline.usage.flush();
      client.cut = true;
      for (let count = 0; count < 3; count++) await watch(offline, 35);
      harm(client.storage.texts);
      const restarted = await client.restart();
      client.cut = false;
      await watch(restarted, 35);
      await restarted.reconnected();
      await restarted.usage.flush();
      expect(restarted.usage.pending).toBe(0);
      expect(world.told.filter(({ kind }) => kind === 'usage.chain-lost' || kind === 'usage.chain-broken').length).toBeGreaterThan(0);
      // What was acknowledged before is still there and counted once.
      expect(await plays()).toBeGreaterThanOrEqual(2);
      expect(await plays()).toBeLessThanOrEqual(5);
    }
  });

  it('B139: a play is on disk before the app has its session, and a full disk gives none', async () => {
    const offline = await equipped(client);
    let broken = false;
    const { write } = client.storage.records;
    (client.storage.records as { write: typeof write }).write = async (entries) => {
      if (broken) throw Object.assign(new Error('full'), { code: 'storage-full' });
      await write(entries);
    };
    broken = true;
    await expect(offline.play(FILM)).rejects.toMatchObject({ code: 'storage-full' });
    broken = false;
    expect((await offline.play(FILM)).ok).toBe(true);
    expect([...client.storage.texts.keys()].some((key) => key.startsWith('usage/open/'))).toBe(true);
  });

  it('whatever is left of the storage, the app opens, renews and plays', async () => {
    const keys = new Set<string>();
    const offline = await equipped(client);
    await watch(offline, 40, { stop: false });
    await watch(offline, 40);
    await offline.stops.due({ sid: 'A'.repeat(24), at: 1, proof: 'x' } as never);
    client.storage.texts.set(`download/${FILM}`, JSON.stringify({ state: 'paused', wanted: null, priority: 'now', added: 1, trouble: null }));
    client.storage.texts.set(`file/${FILM}/manifest.mpd`, '10.x');
    const good = new Map(client.storage.texts);
    for (const key of good.keys()) keys.add(key);
    expect(keys.size).toBeGreaterThan(9);
    for (const garbage of ['', 'x', '{}', '[]', 'null', '{"state":7}', '.', '\u0000']) {
      for (const key of keys) {
        client.storage.texts.clear();
        for (const [name, text] of good) client.storage.texts.set(name, text);
        client.storage.texts.set(key, garbage);
        const again = await client.restart();
        await again.reconnected();
        await again.subscriptions.refresh();
        await again.subscriptions.fetchLeaves({ titles: [FILM] });
        const playing = await again.play(FILM);
        expect(playing.ok, `${key} = ${garbage}`).toBe(true);
        if (playing.ok) await playing.session.stop();
        await again.close();
      }
    }
  });

  it('no playhead that a player may report makes a record that the service refuses', async () => {
    const offline = await equipped(client);
    for (const odd of [0.25, -3.7, Number.NaN, Number.POSITIVE_INFINITY, 1e300, -0]) {
      const playing = await offline.play(FILM);
      if (!playing.ok) throw new Error(playing.denial.detail);
      const followed = await offline.follow(playing.session, 'family');
      followed.playhead(odd as Micros);
      await world.clock.advance(1);
      followed.playhead((odd + 0.4) as Micros);
      await followed.stop();
    }
    expect(await offline.usage.flush()).toBe(true);
    expect(await stored()).toHaveLength(12);
  });

  it('says by how much the clock may be wrong, and that a play was offline', async () => {
    const offline = await equipped(client);
    client.cut = true;
    await world.clock.advance(20 * DAY);
    await watch(offline, 35);
    client.cut = false;
    await watch(offline, 35);
    await offline.usage.flush();
    const records = (await stored()).map(({ text }) => JSON.parse(text) as { seq: number; certain: number; offline: boolean }).sort((a, b) => a.seq - b.seq);
    expect(records.map((each) => each.offline)).toEqual([true, false]);
    expect(records[0]?.certain).toBeGreaterThan(100 * SECOND);
  });
});

describe('the meter', () => {
  it('B138: counts media that was played, at any speed; no seek, no pause, no waiting', () => {
    let at = 0;
    const meter = createPlayMeter({ monotonic: () => at as never });
    const go = (seconds: number, rate: number, from: number): number => {
      let media = from;
      for (let step = 0; step < seconds * 4; step++) {
        at += 250;
        media += rate / 4;
        meter.playhead(Math.round(media * SECOND) as Micros);
      }
      return media;
    };
    meter.playhead((100 * SECOND) as Micros);
    let media = go(10, 1, 100);
    expect(meter.played).toBe(10 * SECOND);
    expect(meter.from).toBe(100 * SECOND);
    media = go(10, 2, media);
    expect(meter.played).toBe(30 * SECOND);
    // A jump forward and one back; then the picture stands for want of media.
    meter.playhead(((media = 500) * SECOND) as Micros);
    meter.playhead(((media = 20) * SECOND) as Micros);
    go(60, 0, media);
    expect(meter.played).toBe(30 * SECOND);
    // Paused, the viewer drags the playhead along.
    meter.playing(false);
    media = go(20, 1, media);
    expect(meter.played).toBe(30 * SECOND);
    meter.playing(true);
    go(5, 0.5, media);
    expect(meter.played).toBe(32.5 * SECOND);
    // A thousand reports in one instant add nothing.
    for (let step = 0; step < 1000; step++) meter.playhead(((media + 2.5 + step / 10) * SECOND) as Micros);
    expect(meter.played).toBe(32.5 * SECOND);
  });
});
