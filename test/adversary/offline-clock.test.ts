// SPDX-License-Identifier: Apache-2.0
/** The trusted clock against owners of devices: set back, set forward, drifting, asleep, copied, edited, over restarts. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Micros } from '#core/time.ts';
import { createMemoryOfflineStorage } from '#client/offline/memory-storage.ts';
import { FILM, SECOND, START } from './license-world.ts';
import { createOfflineWorld, DAY, equipped, NOW, type OfflineClient, type OfflineWorld, verdict } from './offline-world.ts';

let world: OfflineWorld;
let client: OfflineClient;
beforeEach(async () => {
  world = await createOfflineWorld();
  client = await world.client();
});

const play = async (offline: Awaited<ReturnType<OfflineClient['open']>>): Promise<string> => {
  const playing = await offline.play(FILM);
  if (playing.ok) await playing.session.stop();
  return verdict(playing);
};

describe('the trusted clock', () => {
  it('B124: a device that never heard a server plays nothing that has dates, and all that has none', async () => {
    await world.stores.collections.put({ collection: 'owned', asset: FILM, published: START, scope: 'account', actions: ['play'] });
    const offline = await equipped(client);
    expect(await play(offline)).toBe('plays');
    client.storage.texts.delete('clock');
    const bare = await client.restart();
    expect(bare.clock.state).toBe('never-confirmed');
    expect(await play(bare)).toBe('clock-unconfirmed');
    expect(bare.subscriptions.plans[0]?.notice).toContain('time of this device has to be confirmed');
    client.bought.plans = [world.plan(), world.plan({ plan: 'owned', collection: 'owned', begin: 0, end: undefined, actions: ['play'] })];
    const bought = await client.restart();
    await bought.subscriptions.refresh();
    client.storage.texts.delete('clock');
    client.cut = true;
    expect(await play(await client.restart())).toBe('plays');
  });

  it('B156: a wall clock set back is refused until a server has answered, now and after a restart', async () => {
    let offline = await equipped(client);
    client.cut = true;
    await world.clock.advance(3600);
    expect(await play(offline)).toBe('plays');
    client.clock.set(-DAY);
    expect(offline.clock.state).toBe('set-back');
    expect(await play(offline)).toBe('clock-unconfirmed');
    await offline.clock.save();
    offline = await client.restart();
    expect(await play(offline)).toBe('clock-unconfirmed');
    expect((await offline.reconnected()).time).toBe(false);
    expect(await play(offline)).toBe('clock-unconfirmed');
    client.cut = false;
    expect((await offline.reconnected()).time).toBe(true);
    expect(await play(offline)).toBe('plays');
    // The clock is still a day behind; the servers' time is what counts.
    expect(offline.clock.now()).toBe(world.clock.now());
  });

  it('B156: less than 30 s is daylight; a right that is over does not come back with the clock set just so far', async () => {
    let offline = await equipped(client);
    client.cut = true;
    await world.clock.advance(100);
    client.clock.set(-29);
    expect(await play(offline)).toBe('plays');
    expect(offline.clock.now()).toBe((START + 100 * SECOND) as Micros);
    client.clock.set(29);
    await world.clock.advance(30 * DAY);
    expect(await play(offline)).toBe('license-expired');
    client.clock.set(-31 * DAY);
    expect(await play(offline)).toBe('clock-unconfirmed');
    await offline.close();
    offline = await client.restart();
    expect(await play(offline)).toBe('clock-unconfirmed');
  });

  it('B157: set forward a month, rights are over; set right again they open, and after a resync in any case', async () => {
    let offline = await equipped(client);
    client.cut = true;
    client.clock.set(40 * DAY);
    expect(await play(offline)).toBe('license-expired');
    await offline.close();
    offline = await client.restart();
    expect(await play(offline)).toBe('license-expired');
    // The mark did not follow the wall clock: what the owner did by mistake he can undo.
    client.clock.set(-40 * DAY);
    expect(await play(offline)).toBe('plays');
    client.clock.set(40 * DAY);
    client.cut = false;
    await offline.reconnected();
    expect(await play(offline)).toBe('plays');
    offline = await client.restart();
    expect(await play(offline)).toBe('plays');
    // Forward gives no grant beyond server time either: a plan that begins tomorrow stays closed once a server has answered.
    client.bought.plans = [world.plan({ plan: 'next', begin: NOW + DAY })];
    await offline.subscriptions.refresh();
    await offline.subscriptions.forget('family');
    expect(await play(offline)).toBe('not-yet-valid');
  });

  it('B158: half the round trip is the bound; a slow answer does not spoil a good one; beyond 30 s a server is asked', async () => {
    const offline = await equipped(client);
    client.between = async (request, forward) => {
      await world.clock.advance(4);
      return forward(request);
    };
    expect(offline.clock.uncertainty()).toBeLessThan(SECOND);
    await offline.reconnected();
    expect(offline.clock.uncertainty()).toBeLessThan(SECOND);
    client.storage.texts.delete('clock');
    const slow = await client.restart();
    await slow.reconnected();
    expect(slow.clock.uncertainty()).toBeGreaterThanOrEqual(2 * SECOND);
    expect(slow.clock.needsSync).toBe(false);
    client.cut = true;
    await world.clock.advance(5 * DAY);
    expect(slow.clock.uncertainty()).toBeGreaterThan(30 * SECOND);
    expect(slow.clock.needsSync).toBe(true);
    expect(slow.subscriptions.due).toBe(true);
  });

  it('B158: an answer that is older than the question, unsigned or for another question confirms nothing', async () => {
    const offline = await equipped(client);
    let kept: string | undefined;
    client.between = async (request, forward) => {
      const answer = await forward(request);
      if (new URL(request.url).pathname !== '/v1/time') return answer;
      kept ??= await answer.text();
      return new Response(kept, { headers: { 'content-type': 'application/json' } });
    };
    await offline.reconnected();
    await world.clock.advance(40 * DAY);
    client.clock.set(-41 * DAY);
    expect((await offline.reconnected()).time).toBe(false);
    expect(await play(offline)).toBe('clock-unconfirmed');
    kept = JSON.stringify({ time: START, nonce: 'x', signature: 'a.b.c' });
    expect((await offline.reconnected()).time).toBe(false);
  });

  it('fault 7 and B157: a clock that drifts by 10 % neither stretches a right by more nor loses it for good', async () => {
    const offline = await equipped(client);
    client.cut = true;
    client.clock.drift(0.9);
    await world.clock.advance(200);
    expect(await play(offline)).toBe('plays');
    await world.clock.advance(3600);
    // The monotonic clock of the running process knows better.
    expect(await play(offline)).toBe('clock-unconfirmed');
    client.cut = false;
    await offline.reconnected();
    expect(await play(offline)).toBe('plays');
    client.clock.drift(1.1);
    await world.clock.advance(28 * DAY);
    expect(await play(offline)).toBe('license-expired');
    await offline.reconnected();
    expect(await play(offline)).toBe('plays');
  });

  it('a device that slept counts its sleep', async () => {
    const offline = await equipped(client);
    client.cut = true;
    // Asleep the wall clock goes on and the monotonic one does not.
    client.clock.set(31 * DAY);
    expect(await play(offline)).toBe('license-expired');
  });

  it('B156: copied storage is refused on another device, and an edited clock record counts as none', async () => {
    await equipped(client);
    const copy = createMemoryOfflineStorage();
    for (const [key, text] of client.storage.texts) copy.texts.set(key, text);
    const thief = await world.client({ account: 'account-2', storage: copy });
    thief.cut = true;
    const theirs = await thief.open();
    expect(theirs.clock.state).toBe('never-confirmed');
    expect(theirs.subscriptions.plans).toEqual([]);
    expect(verdict(await theirs.play(FILM))).toBe('license-missing');
    const record = client.storage.texts.get('clock') as string;
    client.cut = true;
    for (const edited of [record.replace(/"mark":(\d+)/, (_, mark: string) => `"mark":${Number(mark) - DAY * SECOND}`), record.slice(4), '', 'x.{}']) {
      client.storage.texts.set('clock', edited);
      const offline = await client.restart();
      expect(offline.clock.state).toBe('never-confirmed');
      expect(await play(offline)).toBe('clock-unconfirmed');
    }
    // An older record of its own device is what a copied folder amounts to: it never reaches further than its root.
    client.storage.texts.set('clock', record);
    await world.clock.advance(31 * DAY);
    expect(await play(await client.restart())).toBe('license-expired');
  });
});
