// SPDX-License-Identifier: Apache-2.0
/** Roots, leaves and usage from outside (docs/wire/subscription.md): honest devices, and ones that forge, replay, reorder and copy. */
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { contentKey, grantKey, leafWrapKey } from '#core/keys/ladder.ts';
import { createUnlocker } from '#core/keys/unlock.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { leafTagMatches, parseLeaf } from '#core/subscription/leaf.ts';
import { parseRootClaims, parseSealedRoot, type RootClaims, ROOT_TYPE } from '#core/subscription/root.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import { EMPTY_CHAIN, encodeUsageRecord, encodeUsageReport, USAGE_ACKNOWLEDGEMENT_TYPE, USAGE_TYPE, type UsageRecord, usageRecordHash } from '#core/subscription/usage.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { importVerifyKey, openSealed, signJws, verifyJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { createWorld, FILM, makeDevice, SCHEDULE, SECOND, START, type TestDevice, type World } from './license-world.ts';

const DAY = 86_400;
const NOW = START / SECOND;
const MONTH = monthAt(START);
const device: TestDevice = await makeDevice();
const stranger: TestDevice = await makeDevice();
const plan = (changes: Record<string, unknown> = {}) => ({ plan: 'family', collection: 'films', months: [MONTH - 3, MONTH + 2], begin: NOW - DAY, end: NOW + 30 * DAY, actions: ['play', 'download'], ...changes });

let world: World;
const ask = async (by: TestDevice, plans: readonly unknown[], claims: Record<string, unknown> = {}) => {
  const entitlement = await world.entitlement({ assets: undefined, plans, ...claims });
  const { asset: _asset, ...body } = await world.startBody(by, '' as AssetId, { entitlement, proofTyp: 'root-proof+jwt' });
  return world.post('/v1/roots', body);
};
const register = async (by: TestDevice, account = 'account-1'): Promise<void> => {
  const { asset: _asset, ...body } = await world.startBody(by, FILM, { entitlement: await world.entitlement({ sub: account }), proofTyp: 'device-proof+jwt' });
  expect((await world.post('/v1/devices', body)).status).toBe(201);
};
const licenseKey = async () => {
  const [jwk] = (await world.get('/v1/licenses/keys')).body['keys'] as PublicJwk[];
  return importVerifyKey(jwk as PublicJwk);
};
const readRoot = async (token: string, by: TestDevice): Promise<{ claims: RootClaims; nodes: ReturnType<typeof parseSealedRoot> }> => {
  const claims = parseRootClaims(await verifyJws(token, { typ: ROOT_TYPE, key: await licenseKey() }));
  const plain = await openSealed(claims.sealed, by.agreeKey);
  return { claims, nodes: parseSealedRoot(plain ?? '', claims.months) };
};
const titleKey = (nodes: ReturnType<typeof parseSealedRoot>, text: string): Uint8Array | undefined => {
  const leaf = parseLeaf(text);
  const unlocker = createUnlocker(hash);
  unlocker.add(nodes);
  for (const wrap of leaf.wraps) {
    const key = unlocker.unlockKey(wrap.month);
    if (key !== undefined && leafTagMatches(hash, key, leaf, wrap)) return nodeKeyWrapper.unwrap(leafWrapKey(hash, key, leaf.title, leaf.gen), wrap.wrap);
  }
  return undefined;
};
const rootsOf = async (by: TestDevice, plans: readonly unknown[] = [plan()]): Promise<string[]> => {
  const answer = await ask(by, plans);
  expect(answer.status).toBe(201);
  return answer.body['roots'] as string[];
};
const leavesOf = async (root: string, titles: readonly string[] = [FILM]): Promise<string[]> => (await world.post('/v1/leaves', { root, titles })).body['leaves'] as string[];

beforeEach(async () => {
  world = await createWorld();
  await register(device);
  await world.stores.collections.put({ collection: 'films', asset: FILM, published: START, scope: 'account', actions: ['play', 'download'], owner: 'Studio' });
});

describe('roots and leaves', () => {
  it('B118 B119: the root is all that is fetched at renewal; the same leaf bytes open with it', async () => {
    const [first] = await rootsOf(device);
    const leaves = await leavesOf(first as string);
    await world.clock.advance(29 * DAY);
    const renewed = await ask(device, [plan({ end: NOW + 60 * DAY })]);
    const [second] = renewed.body['roots'] as string[];
    expect(JSON.stringify(renewed.body).length).toBeLessThan(4096);
    expect(await leavesOf(second as string)).toEqual(leaves);
    const opened = await readRoot(second as string, device);
    const key = titleKey(opened.nodes, leaves[0] as string);
    const [content] = await world.keyServer.contentKeys({ asset: FILM, keyGroup: 'video', from: 4 as CryptoPeriod, to: 5 as CryptoPeriod });
    const keying = await world.keyServer.keying(FILM);
    expect(contentKey(hash, grantKey(hash, key as Uint8Array, FILM, 1, 1), { ...keying }, 4, 'video')).toEqual(content?.key);
    expect(opened.claims).toMatchObject({ begin: (NOW - DAY) * SECOND, end: (NOW + 60 * DAY) * SECOND, actions: ['play', 'download'] });
    expect((await world.stores.roots.list({ limit: 9 })).map(({ renewals }) => renewals)).toEqual([1]);
  });

  it('fault 21: a root renewed for 10,000 leaves is one request; no leaf changes, all open, and after its end there is none to be had', async () => {
    const titles = Array.from({ length: 10_000 }, (_, index) => assetId(`song-${index}`));
    await Promise.all(
      titles.map(async (asset, index) => {
        await world.keyServer.createAsset({ asset, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule: SCHEDULE });
        await world.stores.catalogue.create({ asset, kind: 'title', name: asset, state: 'ready', createdAt: START, duration: SECOND as Micros, clearKey: 'off' });
        await world.stores.collections.put({ collection: 'films', asset, published: (START - (index % 3) * 30 * DAY * SECOND) as Micros, scope: 'account', actions: ['play'] });
      }),
    );
    const [first] = await rootsOf(device);
    const leaves = await leavesOf(first as string, titles);
    expect(leaves).toHaveLength(10_000);
    await world.clock.advance(29 * DAY);
    const renewed = await ask(device, [plan({ end: NOW + 60 * DAY })]);
    const [second] = renewed.body['roots'] as string[];
    await world.clock.advance(2 * DAY);
    expect((await world.post('/v1/leaves', { root: first, titles: [FILM] })).body['code']).toBe('token-expired');
    expect(await leavesOf(second as string, titles)).toEqual(leaves);
    const { nodes } = await readRoot(second as string, device);
    expect(leaves.filter((leaf) => titleKey(nodes, leaf) === undefined)).toEqual([]);
    await world.clock.advance(30 * DAY);
    expect((await world.post('/v1/leaves', { root: second, titles: [FILM] })).body['code']).toBe('token-expired');
  }, 60_000);

  it('B123: a plan that was cancelled gets no next root; one that was refunded a root that is over, without keys', async () => {
    const late = await ask(device, [plan({ end: NOW - 1 }), plan({ plan: 'sports', collection: 'sports' })]);
    expect(late.body).toMatchObject({ refused: [{ plan: 'family', code: 'entitlement-expired' }] });
    expect(late.body['roots']).toHaveLength(1);
    const [revoked] = await rootsOf(device, [plan({ revoked: true })]);
    const claims = parseRootClaims(await verifyJws(revoked as string, { typ: ROOT_TYPE, key: await licenseKey() }));
    expect(claims.end).toBe(START);
    expect(JSON.parse((await openSealed(claims.sealed, device.agreeKey)) as string)).toEqual({ nodes: [] });
    expect((await world.post('/v1/leaves', { root: revoked, titles: [FILM] })).body['code']).toBe('token-expired');
  });

  it('B122: two plans hold the title, either opens it; B121: leaves name nobody', async () => {
    await world.stores.collections.put({ collection: 'archive', asset: FILM, published: (START - 40 * DAY * SECOND) as Micros, scope: 'shared', actions: ['play'] });
    const [films, archive] = await rootsOf(device, [plan(), plan({ plan: 'old', collection: 'archive', scope: 'shared' })]);
    const [leaf] = await leavesOf(films as string);
    expect(await leavesOf(archive as string)).toEqual([leaf]);
    const keys = await Promise.all([films, archive].map(async (root) => titleKey((await readRoot(root as string, device)).nodes, leaf as string)));
    expect(keys[0]).toHaveLength(32);
    expect(keys[1]).toEqual(keys[0]);
    expect(leaf).not.toContain('account-1');
  });

  it('B111 B113: one answer holds as many leaves as are asked for, and names what there is none of', async () => {
    const titles = Array.from({ length: 40 }, (_, index) => assetId(`song-${index}`));
    for (const asset of titles) {
      await world.keyServer.createAsset({ asset, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule: SCHEDULE });
      await world.stores.catalogue.create({ asset, kind: 'title', name: asset, state: 'ready', createdAt: START, duration: SECOND as Micros, clearKey: 'off' });
      await world.stores.collections.put({ collection: 'films', asset, published: START, scope: 'account', actions: ['play'] });
    }
    const [root] = await rootsOf(device);
    const answer = (await world.post('/v1/leaves', { root, titles: [...titles, 'unknown', FILM] })).body;
    expect(answer['leaves']).toHaveLength(41);
    expect(answer['missing']).toEqual(['unknown']);
    const whole = (await world.post('/v1/leaves', { root, collection: 'films' })).body;
    expect(new Set(whole['leaves'] as string[])).toEqual(new Set(answer['leaves'] as string[]));
  });

  it('refuses devices that are unknown, revoked or another account\'s, and roots that are none', async () => {
    expect((await ask(stranger, [plan()])).body['code']).toBe('device-unknown');
    expect((await ask(device, [plan()], { sub: 'account-2' })).body['code']).toBe('device-unknown');
    const [root] = await rootsOf(device);
    await world.licenses.revokeDevice(device.id as never);
    expect((await ask(device, [plan()])).body['code']).toBe('device-revoked');
    expect((await world.post('/v1/leaves', { root, titles: [FILM] })).body['code']).toBe('device-revoked');
    for (const wrong of ['x', `${(root as string).slice(0, -6)}AAAAAA`]) expect((await world.post('/v1/leaves', { root: wrong, titles: [FILM] })).body['code']).toBe('token-invalid');
  });

  it('reads plans strictly, and an entitlement serves once', async () => {
    for (const plans of [[], [plan({ months: [5, 4] })], [plan({ collection: '../films' })], [plan({ extra: 1 })], 'all']) expect((await ask(device, plans as unknown[])).body['code']).toBe('entitlement-invalid');
    const entitlement = await world.entitlement({ assets: undefined, plans: [plan()], jti: 'once' });
    const again = async () => {
      const { asset: _asset, ...body } = await world.startBody(device, '' as AssetId, { entitlement, proofTyp: 'root-proof+jwt' });
      return world.post('/v1/roots', body);
    };
    expect((await again()).status).toBe(201);
    expect((await again()).body['code']).toBe('entitlement-used');
    const start = await world.post('/v1/sessions', await world.startBody(device, FILM, { entitlement: await world.entitlement({ assets: undefined, plans: [plan()] }) }));
    expect(start.body['code']).toBe('token-wrong-asset');
  });
});

describe('usage', () => {
  const account = hash.sha256(encodeUtf8('account-1'));
  const record = (seq: number, prev: Uint8Array, more: Partial<UsageRecord> = {}): string =>
    encodeUsageRecord({ seq, prev, title: FILM, gen: 1, action: 'play', plan: 'family', started: START, ended: (START + 60 * SECOND) as Micros, played: (60 * SECOND) as Micros, from: 0 as Micros, offline: true, certain: 0 as Micros, ...more });
  const chainOf = (count: number, more: (seq: number) => Partial<UsageRecord> = () => ({})): string[] => {
    const texts: string[] = [];
    let prev = EMPTY_CHAIN.head;
    for (let seq = 1; seq <= count; seq++) {
      texts.push(record(seq, prev, more(seq)));
      prev = usageRecordHash(hash, texts.at(-1) as string);
    }
    return texts;
  };
  const report = async (records: readonly string[], first = 1, { signer = device, lost = false, owner = account }: { signer?: TestDevice; lost?: boolean; owner?: Uint8Array } = {}) =>
    world.post('/v1/usage', {
      device: device.id,
      report: await signJws(encodeUsageReport({ account: owner, transaction: new Uint8Array(randomBytes(16)), first, records, head: usageRecordHash(hash, records.at(-1) as string), lost }), { typ: USAGE_TYPE, key: signer.sign }),
    });
  const plays = async () => (await world.stores.usage.totals('title', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 9 }))[0]?.plays ?? 0;

  it('B139: acknowledges what is stored, signed, and counts what arrives again once', async () => {
    const texts = chainOf(3);
    const answer = await report(texts);
    expect(answer.body).toMatchObject({ ack: 3, head: encodeBase64url(usageRecordHash(hash, texts[2] as string)) });
    expect(await verifyJws(String(answer.body['signature']), { typ: USAGE_ACKNOWLEDGEMENT_TYPE, key: await licenseKey() })).toMatchObject({ device: device.id, ack: 3 });
    for (const again of [await report(texts), await report(texts.slice(1), 2)]) expect(again.body).toMatchObject({ ack: 3 });
    expect(await plays()).toBe(3);
    const both = await Promise.all([report(chainOf(5)), report(chainOf(5))]);
    expect(both.map(({ body }) => body['ack'])).toEqual([5, 5]);
    expect(await plays()).toBe(5);
    expect(await world.stores.usage.totals('owner', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 9 })).toMatchObject([{ key: 'Studio', plays: 5, offlinePlays: 5 }]);
  });

  it('B140: a gap, an altered and a moved record are refused with what is expected, and told of once', async () => {
    const texts = chainOf(6);
    await report(texts.slice(0, 2));
    const expected = { seq: 3, head: encodeBase64url(usageRecordHash(hash, texts[1] as string)) };
    const wrong = [
      await report(texts.slice(3), 4),
      await report([texts[0] as string, record(2, EMPTY_CHAIN.head)]),
      await report([...texts.slice(0, 2), texts[3] as string, texts[2] as string]),
      await report([...texts.slice(0, 2), (texts[2] as string).replace('"offline":true', '"offline":false'), texts[3] as string]),
    ];
    for (const { status, body } of wrong) expect([status, body['code'], body['expected']]).toEqual([409, 'usage-chain-broken', expected]);
    expect(world.told.filter(({ kind }) => kind === 'usage.chain-broken')).toHaveLength(1);
    expect(await plays()).toBe(2);
    expect((await report(texts.slice(2), 3)).body).toMatchObject({ ack: 6 });
  });

  it('a device that lost its records begins again, once, and shows as one that did', async () => {
    await report(chainOf(2));
    const fresh = chainOf(1, () => ({ played: (45 * SECOND) as Micros }));
    expect((await report(fresh)).body['code']).toBe('usage-chain-broken');
    expect((await report(fresh, 1, { lost: true })).body).toMatchObject({ ack: 1 });
    expect((await report(fresh, 1, { lost: true })).body).toMatchObject({ ack: 1 });
    expect((await world.stores.usage.chain(device.id as never))?.chain).toBe(2);
    expect(await plays()).toBe(3);
    expect(world.told.filter(({ kind }) => kind === 'usage.chain-lost')).toHaveLength(1);
  });

  it('B153: a report signed by another device, or for another account, is refused', async () => {
    expect((await report(chainOf(1), 1, { signer: stranger })).body['code']).toBe('proof-invalid');
    expect(world.told.filter(({ kind }) => kind === 'usage.forged')).toHaveLength(1);
    expect((await report(chainOf(1), 1, { owner: new Uint8Array(32) })).body['code']).toBe('proof-invalid');
    expect((await world.post('/v1/usage', { device: stranger.id, report: 'x' })).body['code']).toBe('device-unknown');
    expect(await plays()).toBe(0);
  });

  it('a revoked device still reports; a clock that is far off is counted apart; short plays do not count', async () => {
    await world.licenses.revokeDevice(device.id as never);
    await report(chainOf(3, (seq) => (seq === 1 ? { certain: (7200 * SECOND) as Micros } : seq === 2 ? { played: SECOND as Micros } : { action: 'download', played: 0 as Micros })));
    expect((await world.stores.usage.totals('title', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 9 }))[0]).toMatchObject({ plays: 1, uncertain: 1, downloads: 1 });
  });

  it('gives nothing away: no token, key or record text is logged or told', async () => {
    const [root] = await rootsOf(device);
    const [leaf] = await leavesOf(root as string);
    await report(chainOf(2));
    const told = JSON.stringify([world.logged, world.told, world.counted]);
    const { nodes } = await readRoot(root as string, device);
    const secrets = [root, leaf, encodeBase64url(titleKey(nodes, leaf as string) as Uint8Array), ...nodes.map(({ key }) => encodeBase64url(key)), chainOf(1)[0]];
    for (const secret of secrets) expect(told).not.toContain(secret);
    expect(decodeBase64url(encodeBase64url(account))).toEqual(account);
  });
});
