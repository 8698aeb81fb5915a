// SPDX-License-Identifier: Apache-2.0
/** Searches everything that is logged, told, counted, stored unsealed or answered in plain for the secrets of an installation. */
import { expect, it } from 'vitest';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import type { CryptoPeriod, GrantGroup } from '#core/time.ts';
import { createWorld, FILM, LIVE, liveGroup, makeDevice, SECOND, settle, type World } from './license-world.ts';

/** Every spelling in which a secret could turn up. */
const spellings = (secret: Uint8Array): string[] => [encodeBase64url(secret), encodeHex(secret), Buffer.from(secret).toString('base64').replace(/=+$/, ''), [...secret].join(',')];

const exercise = async (world: World) => {
  const [device, other] = [await makeDevice(), await makeDevice()];
  const [good, used] = [await world.entitlement(), await world.entitlement()];
  const tokens = [good, used];
  const answers: string[] = [];
  const post = async (path: string, body: unknown): Promise<void> => {
    const answer = await world.post(path, body);
    if (answer.status >= 400) answers.push(JSON.stringify(answer.body));
  };
  const viewer = await world.start(device, LIVE, { entitlement: good });
  const film = await world.start(device, FILM);
  await post('/v1/sessions', await world.startBody(device, LIVE, { entitlement: good }));
  await post('/v1/sessions', await world.startBody(device, LIVE, { entitlement: used, signer: other.sign }));
  await post('/v1/sessions', await world.startBody(device, LIVE, { entitlement: `${used}x` }));
  await post('/v1/sessions', await world.startBody(device, LIVE, { entitlement: used, body: { asset: 'nothing' } }));
  await post('/v1/sessions', await world.startBody(device, 'nothing' as typeof LIVE));
  await post('/v1/sessions', `{"entitlement":"${used}"`);
  await post('/v1/licenses', await world.relicenseBody(viewer, { signer: other.sign }));
  await post('/v1/stop', { sid: viewer.sid, at: 1, proof: used });
  await post(`/v1/clearkey?asset=nothing&token=${viewer.mediaToken}`, { kids: [] });
  await world.clock.advance(20);
  const position = liveGroup(world.clock.now());
  world.renewOn(world.renewal, viewer, position);
  const bad = viewer.request(position).bytes.slice();
  bad[40] = (bad[40] ?? 0) ^ 1;
  const refused = await world.renewal.handler(new Request('https://e.example/v1/renew', { method: 'POST', body: bad as BodyInit }));
  answers.push(await refused.text());
  await world.licenses.endSession(viewer.sid, 'leak');
  world.renewOn(world.renewal, viewer, position);
  // A fault whose message quotes a key must not reach anybody.
  const leak = encodeHex(film.sealed.renewalKey);
  const failing = await world.licenseNode({ catalogue: { get: () => Promise.reject(new Error(`boom ${leak}`)), getMany: () => Promise.reject(new Error(`boom ${leak}`)) } });
  const fault = await failing.handler(new Request('https://x.example/v1/sessions', { method: 'POST', body: JSON.stringify(await world.startBody(device, FILM)) }));
  answers.push(await fault.text());
  failing.close();
  await settle();
  return { viewer, film, tokens, answers, device };
};

it('no log, event, metric, problem document or session record holds a key, a token or a licence body', async () => {
  const world = await createWorld();
  const { viewer, film, tokens, answers, device } = await exercise(world);
  const zone = world.licenses.zoneKeys(1, 0, world.clock.now());
  const grants = await world.keyServer.grantKeys({ asset: LIVE, from: viewer.claims.horizon.from, to: (viewer.claims.horizon.from + 40) as GrantGroup });
  const contents = await world.keyServer.contentKeys({ asset: FILM, keyGroup: 'video', from: 0 as CryptoPeriod, to: 20 as CryptoPeriod });
  const secrets = [
    viewer.sealed.renewalKey,
    film.sealed.renewalKey,
    ...viewer.sealed.nodes.map(({ key }) => key),
    ...grants.map(({ key }) => key),
    ...contents.map(({ key }) => key),
    (await world.keyServer.entryKey(FILM)).key,
    zone?.zoneKey ?? new Uint8Array(),
    zone?.mediaTokenKey ?? new Uint8Array(),
    world.hmacSecret,
    decodeBase64url(device.privateText),
  ];
  const texts = [...secrets.flatMap(spellings), ...tokens.flatMap((token) => [token, token.split('.')[2] ?? token]), viewer.mediaToken, viewer.claims.sealed.slice(-60)];
  expect(texts.every((text) => text.length >= 20)).toBe(true);
  const sessions = await world.stores.sessions.list({ limit: 100 });
  const haystack = JSON.stringify([world.logged, world.told, world.counted, answers, sessions, await world.stores.heartbeats.live({}, world.clock.now())]);
  expect(answers.length).toBeGreaterThan(9);
  expect(haystack.length).toBeGreaterThan(3000);
  expect(texts.filter((text) => haystack.includes(text))).toEqual([]);
  expect(haystack).not.toContain('boom');
  expect(world.logged).toContainEqual(expect.objectContaining({ message: 'licence request failed', error: 'Error' }));
});

it('a started session can be found by operators, with names but no secrets', async () => {
  const world = await createWorld();
  await world.start(await makeDevice(), FILM, { body: { position: 30 * SECOND } });
  expect(world.told.find(({ kind }) => kind === 'session.started')).toMatchObject({ asset: FILM, account: 'account-1' });
});
