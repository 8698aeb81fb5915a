// SPDX-License-Identifier: Apache-2.0
/** What a device may play of which plans, when, and what its viewer reads when not: renewals, several plans, rentals, migration. */
import { beforeEach, describe, expect, it } from 'vitest';
import { de } from '#client/texts/de.ts';
import { es } from '#client/texts/es.ts';
import { fr } from '#client/texts/fr.ts';
import { textOf } from '#client/texts/texts.ts';
import type { ErrorCode } from '#core/errors.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { FILM, SECOND, START } from './license-world.ts';
import { createOfflineWorld, DAY, equipped, MONTH, NOW, type OfflineClient, type OfflineWorld, verdict } from './offline-world.ts';

let world: OfflineWorld;
let client: OfflineClient;
beforeEach(async () => {
  world = await createOfflineWorld();
  client = await world.client();
});

/** Plays the film's fifth period and compares its key with the key server's. */
const opens = async (offline: Awaited<ReturnType<OfflineClient['open']>>): Promise<string> => {
  const playing = await offline.play(FILM);
  if (!playing.ok) return verdict(playing);
  const [expected] = await world.keyServer.contentKeys({ asset: FILM, keyGroup: 'video', from: 4 as CryptoPeriod, to: 5 as CryptoPeriod });
  const key = await playing.session.key((expected as { kid: Uint8Array }).kid, (9 * SECOND) as Micros);
  await playing.session.stop();
  return key !== undefined && encodeHex(key) === encodeHex((expected as { key: Uint8Array }).key) ? 'plays' : 'wrong key';
};

describe('roots and leaves on a device', () => {
  it('B114 B115 B117 B118 B119: a root that ends closes every leaf; its renewal opens all of them, no leaf is asked for and none changes', async () => {
    const titles = await world.addTitles(Array.from({ length: 30 }, (_, index) => `song-${index}`));
    const offline = await equipped(client, [FILM, ...titles]);
    const before = titles.map((title) => offline.catalogue.text(title));
    expect(before.every((text) => text !== undefined && !/begin|end"|exp/.test(text))).toBe(true);
    expect(await opens(offline)).toBe('plays');
    client.cut = true;
    await world.clock.advance(30 * DAY);
    expect(await opens(offline)).toBe('license-expired');
    for (const title of titles) expect(verdict(offline.subscriptions.allows(title, 'play'))).toBe('license-expired');
    client.cut = false;
    client.asked.length = 0;
    client.bought.plans = [world.plan({ end: NOW + 60 * DAY })];
    expect((await offline.reconnected()).roots).toBe(true);
    expect(client.asked.filter((path) => path === 'POST /v1/roots')).toHaveLength(1);
    expect(client.asked.filter((path) => path === 'POST /v1/leaves')).toHaveLength(0);
    expect(await opens(offline)).toBe('plays');
    for (const title of titles) expect(verdict(offline.subscriptions.allows(title, 'play'))).toBe('plays');
    expect(titles.map((title) => offline.catalogue.text(title))).toEqual(before);
    client.bought.plans = [world.plan({ plan: 'later', begin: NOW + 90 * DAY, end: NOW + 99 * DAY })];
    await offline.subscriptions.refresh();
    await offline.subscriptions.forget('family');
    expect(await opens(offline)).toBe('not-yet-valid');
  });

  it('B125: what was paid for is the backend\'s business: it is asked before every root, and its word alone makes one', async () => {
    const offline = await equipped(client);
    client.bought.plans = [world.plan({ plan: 'other', collection: 'sports' })];
    await offline.subscriptions.refresh();
    expect(offline.subscriptions.plans.map(({ plan }) => plan)).toEqual(['family', 'other']);
    const silent = await client.restart({ entitlement: async () => Promise.reject(new Error('the shop is closed')) });
    await expect(silent.subscriptions.refresh()).rejects.toThrow('the shop is closed');
    expect(await opens(silent)).toBe('plays');
    const forged = await client.restart({ entitlement: async () => 'a.b.c' });
    expect(verdict(await forged.subscriptions.refresh())).toBe('entitlement-invalid');
  });

  it('B110 B111: one title or many come in one answer', async () => {
    const titles = await world.addTitles(['one', 'two', 'three']);
    const offline = await equipped(client, [titles[0] as never]);
    expect(offline.catalogue.size).toBe(1);
    client.asked.length = 0;
    expect(await offline.subscriptions.fetchLeaves({ titles: [...titles, 'none' as never] })).toEqual({ ok: true, missing: ['none'] });
    expect(offline.catalogue.size).toBe(3);
    expect(client.asked).toEqual(['POST /v1/leaves']);
  });

  it('B120: an action is allowed only where leaf and root both allow it', async () => {
    await world.stores.collections.put({ collection: 'films', asset: FILM, published: START, scope: 'account', actions: ['play'] });
    const offline = await equipped(client);
    expect(verdict(offline.subscriptions.allows(FILM, 'play'))).toBe('plays');
    expect(verdict(offline.subscriptions.allows(FILM, 'download'))).toBe('forbidden');
    expect(verdict(await offline.downloads.add(FILM))).toBe('forbidden');
    // What another collection sells widens nothing for those who have not bought it.
    await world.stores.collections.put({ collection: 'archive', asset: FILM, published: START, scope: 'shared', actions: ['play', 'download'] });
    const renewed = await offline.subscriptions.fetchLeaves({ titles: [FILM] });
    expect(renewed.ok).toBe(true);
    expect(verdict(offline.subscriptions.allows(FILM, 'download'))).toBe('forbidden');
    const other = await createOfflineWorld();
    const streaming = await other.client({ plans: [other.plan({ actions: ['play'] })] });
    const theirs = await equipped(streaming);
    expect(verdict(theirs.subscriptions.allows(FILM, 'download'))).toBe('forbidden');
    expect(verdict(theirs.subscriptions.allows(FILM, 'play'))).toBe('plays');
  });

  it('B121: a leaf made for everybody opens with the root of somebody who came later; changed, it opens with none', async () => {
    await world.stores.collections.put({ collection: 'archive', asset: FILM, published: START, scope: 'shared', actions: ['play'] });
    await world.stores.collections.remove('films', FILM);
    client.bought.plans = [world.plan({ plan: 'old', collection: 'archive', scope: 'shared' })];
    const first = await equipped(client);
    const later = await world.client({ account: 'account-9', plans: client.bought.plans });
    const offline = await later.open();
    await offline.subscriptions.refresh();
    await offline.catalogue.add([first.catalogue.text(FILM) as string]);
    expect(await opens(offline)).toBe('plays');
    const leaf = first.catalogue.text(FILM) as string;
    for (const changed of [leaf.replace('"actions":["play"]', '"actions":["play","download"]'), leaf.replace(/"duration":\d+/, '"duration":1'), leaf.replace('"scope":"shared"', '"scope":"account"')]) {
      expect(changed).not.toBe(leaf);
      await offline.catalogue.add([changed]);
      expect(await opens(offline)).toBe('license-missing');
    }
  });

  it('B122: two plans hold a title, one valid root is enough, and the better refusal is shown when neither is', async () => {
    await world.stores.collections.put({ collection: 'archive', asset: FILM, published: (START - 40 * DAY * SECOND) as Micros, scope: 'shared', actions: ['play'] });
    client.bought.plans = [world.plan({ end: NOW + 10 * DAY }), world.plan({ plan: 'old', collection: 'archive', scope: 'shared', end: NOW + 20 * DAY })];
    const offline = await equipped(client);
    client.cut = true;
    expect(await opens(offline)).toBe('plays');
    await world.clock.advance(11 * DAY);
    expect(offline.subscriptions.plans.map(({ plan, state }) => [plan, state])).toEqual([['family', 'license-expired'], ['old', 'valid']]);
    expect(await opens(offline)).toBe('plays');
    await world.clock.advance(10 * DAY);
    expect(await opens(offline)).toBe('license-expired');
  });

  it('B123: a plan that covers no further month opens nothing that came out later', async () => {
    const [later] = await world.addTitles(['later'], { published: ((NOW + 45 * DAY) * SECOND) as Micros });
    client.bought.plans = [world.plan({ months: [MONTH - 3, MONTH + 1] })];
    const offline = await equipped(client, [FILM, later as never]);
    expect(await opens(offline)).toBe('plays');
    expect(verdict(await offline.play('later'))).toBe('license-missing');
  });

  it('B126: a rental is the same documents with other terms: hours from the first play, also over restarts', async () => {
    client.bought.plans = [world.plan({ plan: 'rent', first: 48 * 3600 })];
    let offline = await equipped(client);
    client.cut = true;
    await world.clock.advance(20 * DAY);
    expect(await opens(offline)).toBe('plays');
    await offline.close();
    offline = await client.restart();
    await world.clock.advance(47 * 3600);
    expect(await opens(offline)).toBe('plays');
    await world.clock.advance(3600);
    expect(await opens(offline)).toBe('license-expired');
    // A purchase: no end, but a root all the same.
    client.cut = false;
    client.bought.plans = [world.plan({ plan: 'owned', end: undefined, months: [MONTH - 3, MONTH + 2] })];
    await offline.subscriptions.refresh();
    client.cut = true;
    await world.clock.advance(300 * DAY);
    expect(await opens(offline)).toBe('plays');
  });

  it('a right that ends in the middle of a play takes the keys along, and says so', async () => {
    const offline = await equipped(client);
    client.cut = true;
    await world.clock.advance(30 * DAY - 60);
    const playing = await offline.play(FILM);
    if (!playing.ok) throw new Error(playing.denial.detail);
    const { session } = playing;
    const ended: string[] = [];
    session.on('ended', ({ code }) => ended.push(code));
    expect(await session.keysBetween(0 as Micros, (10 * SECOND) as Micros)).toHaveLength(10);
    await world.clock.advance(59);
    expect(session.state).toBe('active');
    await world.clock.advance(2);
    expect(ended).toEqual(['license-expired']);
    expect(await session.keysBetween(0 as Micros, (10 * SECOND) as Micros)).toEqual([]);
    expect(session.notice).toBe(textOf('license-expired'));
    await session.stop();
    expect(offline.usage.pending).toBe(1);
  });

  it('a root renewed in the middle of a play lets it go on; a clock set back in the middle ends it', async () => {
    const offline = await equipped(client);
    await world.clock.advance(30 * DAY - 60);
    const playing = await offline.play(FILM);
    if (!playing.ok) throw new Error(playing.denial.detail);
    client.bought.plans = [world.plan({ end: NOW + 60 * DAY })];
    await offline.subscriptions.refresh();
    await world.clock.advance(3600);
    expect(playing.session.state).toBe('active');
    client.clock.set(-DAY);
    playing.session.playhead((30 * SECOND) as Micros);
    expect(playing.session.end?.code).toBe('clock-unconfirmed');
  });

  it('reads roots and leaves of strangers as not being there', async () => {
    const offline = await equipped(client);
    const other = await world.client({ account: 'account-2' });
    await equipped(other);
    for (const [key, text] of other.storage.texts) if (key.startsWith('root/')) client.storage.texts.set(key, text);
    const restarted = await client.restart();
    expect(restarted.subscriptions.plans).toEqual([]);
    for (const text of ['{}', 'leaf', '{"v":1,"title":"film-1",\n"x":1}']) await expect(offline.catalogue.add([text])).rejects.toMatchObject({ code: 'bad-request' });
  });
});

describe('migration of rights', () => {
  const LANGUAGES = { de, fr, es, en: {} } as const;
  const READS = { 'license-expired': /abgelaufen|pris fin|ha terminado|has ended/, 'device-revoked': /entfernt|retiré|eliminó|eliminado|retirado|quit|removed/, 'license-missing': /keine Lizenz|pas de licence|no hay licencia|no licence/ } as const;
  const readable = (code: ErrorCode & keyof typeof READS): void => {
    for (const texts of Object.values(LANGUAGES)) expect(textOf(code, texts)).toMatch(READS[code]);
    expect(new Set(Object.values(LANGUAGES).map((texts) => textOf(code, texts))).size).toBe(4);
  };

  it('a lost device gets no next root; what it holds dies at its end; the new one has everything at once', async () => {
    const lost = await equipped(client);
    await world.licenses.revokeDevice(client.device.id);
    expect(await opens(lost)).toBe('plays');
    client.bought.plans = [world.plan({ end: NOW + 60 * DAY })];
    expect(verdict(await lost.subscriptions.refresh())).toBe('device-revoked');
    expect(verdict(await lost.subscriptions.fetchLeaves({ titles: ['other' as never] }))).toBe('device-revoked');
    const fresh = await world.client();
    expect(await opens(await equipped(fresh))).toBe('plays');
    await world.clock.advance(30 * DAY);
    expect(await opens(lost)).toBe('license-expired');
    readable('device-revoked');
    readable('license-expired');
    // The roots that are over stay as what they are: sealed, without use, and forgotten on request.
    await lost.subscriptions.forget('family');
    expect([...client.storage.texts.keys()].filter((key) => key.startsWith('root/'))).toEqual([]);
    expect(await opens(lost)).toBe('license-missing');
    readable('license-missing');
  });

  it('cancelled, a plan runs out at its end; resumed, everything opens again without a new leaf', async () => {
    const offline = await equipped(client);
    await world.clock.advance(28 * DAY);
    expect(offline.subscriptions.due).toBe(true);
    // The backend names a plan that is not paid any more with its old end: it is refused, and the old root lives on.
    await world.clock.advance(2 * DAY);
    const refreshed = await offline.subscriptions.refresh();
    expect(refreshed).toMatchObject({ ok: true, refused: [{ plan: 'family', code: 'entitlement-expired', text: textOf('entitlement-expired') }] });
    expect(await opens(offline)).toBe('license-expired');
    await world.clock.advance(100 * DAY);
    client.bought.plans = [world.plan({ end: NOW + 160 * DAY, months: [MONTH - 3, MONTH + 6] })];
    client.asked.length = 0;
    await offline.subscriptions.refresh();
    expect(await opens(offline)).toBe('plays');
    expect(client.asked).not.toContain('POST /v1/leaves');
  });

  it('refunded, the root that says so ends everything on the device at once, and no old root brings it back', async () => {
    const offline = await equipped(client);
    const old = client.storage.texts.get('root/family') as string;
    await world.clock.advance(DAY);
    client.bought.plans = [world.plan({ revoked: true })];
    expect(await offline.subscriptions.refresh()).toEqual({ ok: true, refused: [] });
    expect(await opens(offline)).toBe('license-expired');
    expect(offline.subscriptions.plans[0]).toMatchObject({ state: 'license-expired', notice: textOf('license-expired') });
    const restarted = await client.restart();
    expect(await opens(restarted)).toBe('license-expired');
    expect(client.storage.texts.get('root/family')).not.toBe(old);
    expect(await restarted.tidy()).toEqual([]);
    // Bought again, it plays again.
    await world.clock.advance(DAY);
    client.bought.plans = [world.plan()];
    await restarted.subscriptions.refresh();
    expect(await opens(restarted)).toBe('plays');
  });

  it('two plans on one account: the end of one takes only what the other does not hold', async () => {
    const [song] = await world.addTitles(['song'], { collection: 'music' });
    client.bought.plans = [world.plan(), world.plan({ plan: 'music', collection: 'music', end: NOW + 5 * DAY })];
    const offline = await equipped(client, [FILM, song as never]);
    await world.clock.advance(6 * DAY);
    expect(await opens(offline)).toBe('plays');
    expect(verdict(await offline.play('song'))).toBe('license-expired');
  });
});
