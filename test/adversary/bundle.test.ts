// SPDX-License-Identifier: Apache-2.0
/**
 * A live event of a bundle from ingest to picture: in-band leaves, key changes without a request, and what becomes of it afterwards.
 *
 * docs/wire/subscription.md, "In-band leaf". The viewer here holds a root and reads media from the origin; everything it asks of
 * the licence server is counted.
 */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { parsePssh, SEALCAST_SYSTEM_ID } from '#core/cenc/pssh.ts';
import { type AssetId, assetId, type ContentKey, type KeyGroup, type KeyId } from '#core/ids.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { durationOf, parseFragment } from '#core/isobmff/fragment.ts';
import { retimeFragment } from '#core/isobmff/fragment-writer.ts';
import { contentKey, grantKey, keyIdOf, leafWrapKey } from '#core/keys/ladder.ts';
import { createUnlocker, type Unlocker } from '#core/keys/unlock.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { parseBundleLeaf } from '#core/subscription/bundle-leaf.ts';
import { leafTagMatches, parseLeaf } from '#core/subscription/leaf.ts';
import { parseRootClaims, parseSealedRoot, ROOT_TYPE } from '#core/subscription/root.ts';
import { groupLeafWrapKey, monthAt } from '#core/subscription/root-keys.ts';
import { firstPeriodOf, groupAt, type Micros } from '#core/time.ts';
import { importVerifyKey, openSealed, verifyJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { createCollections } from '#entry/collections.ts';
import { createOperatorActions } from '#entry/operator-actions.ts';
import type { OperationsActions } from '#operations/index.ts';
import { createPackager, type Packager } from '#packager/index.ts';
import type { AssetKeying, ObjectStore } from '#ports';
import { openSegment } from '../e2e/ingest-decrypt.ts';
import { smallClip } from '../vectors/clips.ts';
import { createWorld, FILM, makeDevice, SCHEDULE, SECOND, START, type TestDevice, type World } from './license-world.ts';

const CHANNEL: AssetId = assetId('channel-1');
const CREDENTIAL = 'ingest-credential';
const SEGMENT = 2 * SECOND;
const MONTH = monthAt(START);
const device: TestDevice = await makeDevice();
const clips = { video: smallClip('avc'), audio: smallClip('aac') };

let world: World;
let media: ObjectStore;
let packager: Packager;
let actions: OperationsActions;
let asked: string[];

const ownWorld = async (): Promise<void> => {
  world = await createWorld();
  media = createMemoryObjects();
  const { catalogue } = world.stores;
  packager = createPackager({
    keys: world.keyServer, store: media, aes: nodeSampleAes, random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) }, clock: world.clock,
    log: { debug() {}, info() {}, warn() {}, error() {} }, events: (event) => void world.told.push(event), metrics: { count() {}, gauge() {}, observe() {} },
    ingestAccess: async () => ({ credentialHash: createHash('sha256').update(CREDENTIAL).digest('base64url'), open: true }),
    bundle: async (asset) => (await catalogue.get(asset))?.bundle,
    times: { window: (6 * SECOND) as Micros },
  });
  const collections = createCollections({ catalogue, collections: world.stores.collections, keys: world.keyServer, media });
  actions = createOperatorActions({
    catalogue, sessions: world.stores.sessions, devices: world.stores.devices, keyServer: world.keyServer, licenseServer: world.licenses, packager, collections,
    schedules: { event: SCHEDULE, title: SCHEDULE, segment: SEGMENT as Micros }, ingestBase: () => 'https://in.example', clock: world.clock, random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
  });
};

/** Sends `count` seconds of the clips from now on, in step with the clock. */
const broadcast = async (asset: AssetId, seconds: number): Promise<void> => {
  const put = async (track: string, body: Uint8Array): Promise<void> => {
    const response = await packager.ingestHandler(new Request(`https://in.example/ingest/${asset}/${track}.mp4`, { method: 'PUT', body: body as BodyInit, headers: { authorization: `Bearer ${CREDENTIAL}` } }));
    expect(response.status, await response.clone().text()).toBe(200);
  };
  const { video } = clips;
  await put('v', video.init);
  const length = 2 * SECOND;
  for (let at = 0; at < seconds * SECOND; at += length) {
    const begin = world.clock.now();
    for (const fragment of video.fragments) {
      const first = parseFragment(fragment, [video.track]);
      const shift = (BigInt(begin) * BigInt(video.track.timescale)) / 1_000_000n;
      await put('v', retimeFragment(fragment, { shift: () => shift }));
      expect(durationOf(first.tracks[0] as never)).toBeGreaterThan(0);
    }
    await world.clock.advance(length / SECOND);
  }
};

const origin = async (path: string): Promise<Uint8Array> => {
  const response = await packager.originHandler(new Request(`https://o.example/origin/${path}`));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
};

/** A root of the collection on the device: its unlocked months. */
const rootOf = async (collection: string, months: readonly [number, number], scope = 'shared'): Promise<{ token: string; unlocker: Unlocker }> => {
  const entitlement = await world.entitlement({ assets: undefined, plans: [{ plan: 'tv', collection, months, begin: START / SECOND - 86_400, end: START / SECOND + 30 * 86_400, actions: ['play'], scope }] });
  const { asset: _asset, ...body } = await world.startBody(device, '' as AssetId, { entitlement, proofTyp: 'root-proof+jwt' });
  const [token] = (await world.post('/v1/roots', body)).body['roots'] as string[];
  const [jwk] = (await world.get('/v1/licenses/keys')).body['keys'] as PublicJwk[];
  const claims = parseRootClaims(await verifyJws(token as string, { typ: ROOT_TYPE, key: await importVerifyKey(jwk as PublicJwk) }));
  const unlocker = createUnlocker(hash);
  unlocker.add(parseSealedRoot((await openSealed(claims.sealed, device.agreeKey)) ?? '', claims.months));
  return { token: token as string, unlocker };
};

const leafBoxes = (segment: Uint8Array) =>
  readBoxes(segment).flatMap((box) => (box.type === 'moof' ? [readBoxes(box.body).filter(({ type }) => type === 'pssh').flatMap(({ bytes }) => parsePssh(bytes))] : []));

/** What a subscriber's player does with media alone: leaves out of it, keys out of leaves. */
const keysFrom = (segment: Uint8Array, keying: AssetKeying, unlocker: Unlocker, keyGroup: KeyGroup = 'video'): Map<string, ContentKey> => {
  const keys = new Map<string, ContentKey>();
  for (const { systemId, data } of leafBoxes(segment).flat()) {
    if (encodeHex(systemId) !== encodeHex(SEALCAST_SYSTEM_ID)) continue;
    const leaf = parseBundleLeaf(data);
    const root = unlocker.unlockKey(leaf.month);
    const grant = root && nodeKeyWrapper.unwrap(groupLeafWrapKey(hash, root, keying.asset, keying.gen, leaf.group), leaf.wrap);
    if (grant === undefined) continue;
    const first = firstPeriodOf(leaf.group, keying.schedule);
    for (let p = first as number; p < first + keying.schedule.periodsPerGroup; p++) keys.set(encodeHex(keyIdOf(hash, keying.salt, keying, p, keyGroup)), contentKey(hash, grant as never, keying, p, keyGroup) as ContentKey);
  }
  return keys;
};

beforeEach(async () => {
  await ownWorld();
  const { asset: _asset, ...body } = await world.startBody(device, FILM, { proofTyp: 'device-proof+jwt' });
  expect((await world.post('/v1/devices', body)).status).toBe(201);
  await actions.createEvent({ asset: CHANNEL, name: 'Channel', scheme: 'cenc', clearKey: 'off', bundle: 'tv', owner: 'League' });
  asked = [];
});

describe('in-band leaves', () => {
  it('B127: a subscriber opens a channel across five key changes and asks the licence server for nothing', async () => {
    const { unlocker } = await rootOf('tv', [MONTH, MONTH + 1]);
    const counter = { post: world.post, get: world.get };
    Object.assign(world, { post: (...args: Parameters<World['post']>) => (asked.push(args[0]), counter.post(...args)), get: (path: string) => (asked.push(path), counter.get(path)) });
    await broadcast(CHANNEL, 30);
    const keying = await world.keyServer.keying(CHANNEL);
    const init = await origin(`${CHANNEL}/v/init.mp4`);
    const groups = new Set<number>();
    for (let number = START / SEGMENT; number < START / SEGMENT + 15; number++) {
      const segment = await origin(`${CHANNEL}/v/${number}.m4s`);
      const keys = keysFrom(segment, keying, unlocker);
      const opened = openSegment(init, segment, (kid) => keys.get(encodeHex(kid)));
      expect(opened.samples.length).toBeGreaterThan(0);
      groups.add(groupAt((number * SEGMENT) as Micros, SCHEDULE));
    }
    expect([groups.size, asked]).toEqual([5, []]);
  });

  it('only the first chunk of a segment and of a group carries it, with the key ids of its own group', async () => {
    await broadcast(CHANNEL, 8);
    const keying = await world.keyServer.keying(CHANNEL);
    for (let number = START / SEGMENT; number < START / SEGMENT + 4; number++) {
      const [first, ...others] = leafBoxes(await origin(`${CHANNEL}/v/${number}.m4s`));
      expect([first?.length, others.flat()]).toEqual([1, []]);
      const group = groupAt((number * SEGMENT) as Micros, SCHEDULE);
      expect(parseBundleLeaf(first?.[0]?.data ?? new Uint8Array())).toMatchObject({ collection: 'tv', month: MONTH, group });
      expect(first?.[0]?.kids).toEqual([0, 1, 2].map((index) => keyIdOf(hash, keying.salt, keying, firstPeriodOf(group, SCHEDULE) + index, 'video')));
    }
  });

  it('B119: a root of another collection, another month or one account opens none of it', async () => {
    await broadcast(CHANNEL, 2);
    const keying = await world.keyServer.keying(CHANNEL);
    const segment = await origin(`${CHANNEL}/v/${START / SEGMENT}.m4s`);
    for (const root of [await rootOf('films', [MONTH, MONTH + 1]), await rootOf('tv', [MONTH - 2, MONTH]), await rootOf('tv', [MONTH, MONTH + 1], 'account')]) expect(keysFrom(segment, keying, root.unlocker).size).toBe(0);
  });

  it('the key server gives in-band leaves of untimed events with derived keys only, and content keys as before', async () => {
    const at = Math.floor(START / SCHEDULE.period) as never;
    const plain = await world.keyServer.contentKeys({ asset: CHANNEL, keyGroup: 'video', from: at, to: (at + 3) as never });
    const bundled = await world.keyServer.contentKeys({ asset: CHANNEL, keyGroup: 'video', from: at, to: (at + 3) as never, bundle: 'tv' });
    expect(plain.every(({ leaf }) => leaf === undefined)).toBe(true);
    expect(bundled.map(({ leaf: _leaf, ...key }) => key)).toEqual(plain);
    await world.keyServer.importKeys(CHANNEL, [{ kid: new Uint8Array(16), key: new Uint8Array(16), keyGroup: 'audio', from: 0, to: 2 ** 40 }]);
    await expect(world.keyServer.contentKeys({ asset: CHANNEL, keyGroup: 'audio', from: at, to: (at + 1) as never, bundle: 'tv' })).rejects.toMatchObject({ code: 'bad-request' });
    await expect(world.keyServer.contentKeys({ asset: CHANNEL, keyGroup: 'video', from: at, to: (at + 1) as never, bundle: '../tv' })).rejects.toMatchObject({ code: 'bad-request' });
  });

  it('an event without a bundle carries none', async () => {
    await actions.createEvent({ asset: assetId('plain'), name: 'Plain', scheme: 'cbcs', clearKey: 'off' });
    await broadcast(assetId('plain'), 2);
    expect(leafBoxes(await origin(`plain/v/${START / SEGMENT}.m4s`)).flat()).toEqual([]);
  });
});

describe('after its end', () => {
  const ended = async (): Promise<void> => {
    await broadcast(CHANNEL, 30);
    await actions.endEvent(CHANNEL);
  };
  const first = START / SEGMENT;

  it('B128: the archived programme opens for a subscriber by its leaf, and for a buyer by one licence, with the same keys', async () => {
    await ended();
    const { token, unlocker } = await rootOf('tv', [MONTH, MONTH + 1]);
    const keying = await world.keyServer.keying(CHANNEL);
    const [text] = (await world.post('/v1/leaves', { root: token, titles: [CHANNEL] })).body['leaves'] as string[];
    const leaf = parseLeaf(text as string);
    const [wrap] = leaf.wraps;
    const root = unlocker.unlockKey(wrap?.month ?? 0) as Uint8Array;
    expect([leafTagMatches(hash, root, leaf, wrap as never), leaf.duration]).toEqual([true, 30 * SECOND]);
    const titleKey = nodeKeyWrapper.unwrap(leafWrapKey(hash, root, CHANNEL, keying.gen), wrap?.wrap as Uint8Array) as Uint8Array;
    const bought = await world.start(device, CHANNEL, { entitlement: await world.entitlement({ sub: 'buyer', assets: [CHANNEL] }) });
    const g = groupAt(START, SCHEDULE);
    expect(bought.claims.horizon).toMatchObject({ from: g, to: g + 5 });
    expect(bought.opens(g)).toBe(true);
    expect(bought.grant(g)).toEqual(grantKey(hash, titleKey, CHANNEL, keying.gen, g));
    // All of it is still there, although the window of the live event was 6 s.
    const init = await origin(`${CHANNEL}/v/init.mp4`);
    for (let number = first; number < first + 15; number++) {
      const opened = openSegment(init, await origin(`${CHANNEL}/v/${number}.m4s`), (kid: KeyId) => {
        const p = Array.from({ length: 15 }, (_, index) => firstPeriodOf(g, SCHEDULE) + index).find((period) => encodeHex(keyIdOf(hash, keying.salt, keying, period, 'video')) === encodeHex(kid));
        return p === undefined ? undefined : (contentKey(hash, grantKey(hash, titleKey, CHANNEL, keying.gen, Math.floor(p / SCHEDULE.periodsPerGroup)), keying, p, 'video') as ContentKey);
      });
      expect(opened.samples.length).toBeGreaterThan(0);
    }
    expect(decodeUtf8(await origin(`${CHANNEL}/v/playlist.m3u8`)).match(/^\d+\.m4s$/gm)).toHaveLength(15);
  });

  it('a buyer may start anywhere in it, and nowhere behind it', async () => {
    await ended();
    const start = async (position: number) => world.post('/v1/sessions', await world.startBody(device, CHANNEL, { body: { position } }));
    const answer = await start(START + 20 * SECOND);
    expect((await world.open(answer.body, device)).claims.horizon.from).toBe(groupAt((START + 20 * SECOND) as Micros, SCHEDULE));
    expect((await start(START + 31 * SECOND)).body['code']).toBe('bad-request');
  });

  it('B121: the shared leaf lies beside the content, names nobody, and goes when the title leaves the collection', async () => {
    await ended();
    const leaf = parseLeaf(decodeUtf8(await origin(`${CHANNEL}/leaf.json`)));
    expect(leaf.wraps.map(({ collection, scope }) => [collection, scope])).toEqual([['tv', 'shared']]);
    expect(decodeUtf8(await origin(`${CHANNEL}/leaf.json`))).not.toContain('account-1');
    await actions.setMembership?.({ collection: 'films', asset: CHANNEL, published: START, scope: 'account', actions: ['play'] });
    expect(parseLeaf(decodeUtf8(await origin(`${CHANNEL}/leaf.json`)))).toEqual(leaf);
    expect(await actions.removeMembership?.('tv', CHANNEL)).toBe(true);
    await expect(origin(`${CHANNEL}/leaf.json`)).rejects.toThrow('404');
    expect(await actions.removeMembership?.('tv', CHANNEL)).toBe(false);
  });

  it('an event without a bundle stays over', async () => {
    await actions.createEvent({ asset: assetId('plain'), name: 'Plain', scheme: 'cbcs', clearKey: 'off' });
    await broadcast(assetId('plain'), 2);
    await actions.endEvent(assetId('plain'));
    expect((await world.post('/v1/sessions', await world.startBody(device, assetId('plain')))).body['code']).toBe('session-ended');
  });
});
