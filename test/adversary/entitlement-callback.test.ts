// SPDX-License-Identifier: Apache-2.0
/** Entitlement by callback: a backend that answers, says no, is slow, dead, or lies (docs/wire/session.md). */
import { describe, expect, it } from 'vitest';
import type { Millis } from '#core/time.ts';
import { callbackSignature } from '#license-server/entitlement-callback.ts';
import { createWorld, FILM, LIVE, makeDevice, manualClock, settle, type TestDevice, type World } from './license-world.ts';

const device: TestDevice = await makeDevice();
const SECRET = new Uint8Array(32).fill(5);
const URL_ = 'https://backend.example/may-watch';
type Question = { readonly id: string; readonly token: string; readonly asset?: string };
type Backend = (question: Question, request: Request) => Promise<Response> | Response;

const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status });
const withBackend = async (backend: Backend) => {
  const clock = manualClock();
  const asked: Question[] = [];
  const signatures: boolean[] = [];
  let answering = backend;
  const world = await createWorld({
    clock,
    entitlementCallback: {
      url: URL_, secret: SECRET, timeout: 300 as Millis,
      fetch: async (request) => {
        const text = await request.clone().text();
        const question = JSON.parse(text) as Question;
        asked.push(question);
        const [, t = '', id = '', mac = ''] = /^t=(\d+),id=([\w-]+),v1=([\w-]+)$/.exec(request.headers.get('sealcast-signature') ?? '') ?? [];
        signatures.push(id === question.id && mac === callbackSignature(SECRET, id, Number(t), text));
        return answering(question, request);
      },
    },
  });
  const start = async (token: string, asset = FILM) => world.post('/v1/sessions', await world.startBody(device, asset, { entitlement: token }));
  return { world, clock, asked, signatures, start, use: (next: Backend) => void (answering = next) };
};
const yes: Backend = ({ id }) => json({ id, allowed: true, account: 'account-9' });
const refusal = (answer: Awaited<ReturnType<World['post']>>) => [answer.status, answer.body.code];

describe('entitlement by callback', () => {
  it('B102 a yes starts the session of the account that the backend names; the question is signed', async () => {
    const { start, asked, signatures, world } = await withBackend(yes);
    const answer = await start('app-session-1');
    expect(answer.status).toBe(201);
    expect(asked).toMatchObject([{ token: 'app-session-1', asset: FILM }]);
    expect(signatures).toEqual([true]);
    expect((await world.stores.sessions.get(answer.body['sid'] as never))?.account).toBe('account-9');
  });

  it('its terms tighten those of the service', async () => {
    const { start, world } = await withBackend(({ id }) => json({ id, allowed: true, account: 'account-9', terms: { interval: 5, duration: 9 } }));
    const viewer = await world.open((await start('app-session-1')).body, device);
    expect(viewer.claims.terms).toEqual({ interval: 5000, duration: 9000 });
  });

  it('signed entitlements go on without it, and a bad signature is no question for the backend', async () => {
    const { start, asked, world } = await withBackend(yes);
    const signed = await world.entitlement();
    expect((await start(signed)).status).toBe(201);
    expect(refusal(await start(`${(await world.entitlement()).slice(0, -4)}AAAA`))).toEqual([403, 'entitlement-invalid']);
    expect(asked).toEqual([]);
  });

  it('a no names its reason, is remembered for 10 s per asset, and asked about again', async () => {
    const { start, asked, clock, use } = await withBackend(({ id }) => json({ id, allowed: false, reason: 'not-subscribed' }));
    for (let i = 0; i < 3; i++) {
      const answer = await start('app-session-1');
      expect([...refusal(answer), answer.body['reason']]).toEqual([403, 'entitlement-invalid', 'not-subscribed']);
    }
    expect(asked).toHaveLength(1);
    use(yes);
    expect((await start('app-session-1', LIVE)).status).toBe(201);
    await clock.advance(10);
    expect((await start('app-session-1')).status).toBe(201);
  });

  it('B090 a slow one costs a start its time budget and no more', async () => {
    const { start, clock } = await withBackend(() => new Promise(() => undefined));
    const answer = start('app-session-1');
    while (clock.pending === 0) await settle();
    // Background work of the server waits, too: only the budget's timer is due by then.
    let status = 0;
    void answer.then((got) => (status = got.status));
    while (status === 0) {
      await settle();
      await clock.advance(0.1);
    }
    expect(refusal(await answer)).toEqual([503, 'store-unavailable']);
  });

  it('B090 a dead one is not asked any more after five failures, is tried every 5 s, and alerted about once', async () => {
    const { start, asked, clock, world, use } = await withBackend(() => Promise.reject(new TypeError('connection refused')));
    for (let i = 0; i < 12; i++) expect(refusal(await start(`token-${i}`))).toEqual([503, 'store-unavailable']);
    expect(asked).toHaveLength(5);
    expect(world.told.filter(({ kind, severity }) => kind === 'entitlements.down' && severity === 'alert')).toHaveLength(1);
    use(yes);
    for (let probe = 0; probe < 3; probe++) {
      await clock.advance(5);
      expect((await start(`probe-${probe}`)).status).toBe(201);
    }
    expect((await start('back')).status).toBe(201);
    expect(world.told.filter(({ kind }) => kind === 'entitlements.up')).toHaveLength(1);
  });

  it.each<readonly [string, Backend]>([
    ['answers another question', () => json({ id: 'AAAAAAAAAAAAAAAAAAAAAA', allowed: true, account: 'account-9' })],
    ['says neither yes nor no', ({ id }) => json({ id, allowed: 'yes', account: 'account-9' })],
    ['names no account', ({ id }) => json({ id, allowed: true })],
    ['names an impossible account', ({ id }) => json({ id, allowed: true, account: 'a b' })],
    ['adds members', ({ id }) => json({ id, allowed: true, account: 'account-9', admin: true })],
    ['answers with a page', () => new Response('<html>sign in</html>')],
    ['redirects', () => new Response(null, { status: 302, headers: { Location: 'https://elsewhere.example' } })],
    ['answers 201', ({ id }) => json({ id, allowed: true, account: 'account-9' }, 201)],
    ['answers without end', () => new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(4096).fill(32)) }))],
    ['gives impossible terms', ({ id }) => json({ id, allowed: true, account: 'account-9', terms: { interval: -1 } })],
  ])('a lying one that %s starts nothing', async (_name, backend) => {
    const { start, world } = await withBackend(backend);
    const answer = await start('app-session-1');
    expect(refusal(answer)).toEqual([503, 'store-unavailable']);
    expect(JSON.stringify([world.logged, world.told, world.counted, answer.body])).not.toContain('app-session-1');
  });

  it('a right that is over is said to be over', async () => {
    const { start } = await withBackend(({ id }) => json({ id, allowed: true, account: 'account-9', until: 1 }));
    expect((await start('app-session-1')).body.code).toBe('entitlement-expired');
  });
});
