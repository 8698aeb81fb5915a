// SPDX-License-Identifier: Apache-2.0
/** A session against a service that works, lies, dies and denies; time is fake, cryptography is real. */
import { describe, expect, test } from 'vitest';
import { encodeHex } from '#core/bytes/hex.ts';
import { groupAt, groupLength, micros } from '#core/time.ts';
import type { Micros } from '#core/time.ts';
import { createFakeClock } from '../../test/interop/fake-clock.ts';
import { createFakeService, problem } from '../../test/interop/fake-service.ts';
import { paths, SERVER, setUp, started } from '../../test/interop/fake-session.ts';
import { memoryDeviceStorage, openDevice } from './device.ts';
import { createEmitter } from './emitter.ts';
import type { SessionEnd } from './session-types.ts';

describe('start', () => {
  test('opens the first term and nothing beyond it, with the true keys', async () => {
    const { clock, service, start } = await setUp();
    const session = await started(start());
    expect(session).toMatchObject({ kind: 'event', scheme: 'cenc', state: 'active', asset: service.asset, mediaToken: 'token-1', notice: undefined });
    const { from, to } = session.openedRange;
    expect(from).toBe(groupAt(clock.now(), service.schedule) * groupLength(service.schedule));
    const keys = await session.keysBetween(0 as Micros, micros(to + 600e6));
    const periods = (to - from) / service.schedule.period;
    expect(keys).toHaveLength(periods * 2);
    for (const key of keys) {
      const truth = service.truth(key.from / service.schedule.period, key.keyGroup);
      expect(encodeHex(key.kid)).toBe(encodeHex(truth.kid));
      expect(encodeHex(key.key)).toBe(encodeHex(truth.key));
    }
    const beyond = service.truth(to / service.schedule.period, 'video');
    expect(await session.key(beyond.kid, to)).toBeUndefined();
    const within = service.truth(from / service.schedule.period, 'audio');
    expect(encodeHex((await session.key(within.kid, from)) ?? new Uint8Array())).toBe(encodeHex(within.key));
    await session.stop();
  });

  test.each([
    ['another audience', { aud: 'A'.repeat(43) }],
    ['another asset', { asset: 'other' }],
    ['another session', { sid: 'B'.repeat(24) }],
    ['the past', { exp: 1_700_000_000 }],
  ])('refuses a signed licence for %s', async (_, change) => {
    const { service, start } = await setUp();
    service.tamper.claims = (claims) => ({ ...claims, ...change });
    const outcome = await start({ attempts: 1 });
    expect(outcome).toMatchObject({ ok: false, denial: { code: 'service-unreachable' } });
  });

  test('refuses a licence of another type, though the signature is good', async () => {
    const { service, start } = await setUp();
    service.tamper.typ = 'stop+jwt';
    expect((await start({ attempts: 1 })).ok).toBe(false);
  });

  test('refuses a licence that another key signed', async () => {
    const { service, start } = await setUp();
    const other = await createFakeService({ clock: createFakeClock() });
    service.intercept = (request) => (request.url.endsWith('/v1/licenses/keys') ? other.fetch(request) : undefined);
    expect((await start({ attempts: 1 })).ok).toBe(false);
  });

  test('a denial names its code, the viewer text and what the server added', async () => {
    const { service, start } = await setUp();
    service.intercept = (request) => (request.method === 'POST' ? problem(409, 'concurrency-limit', { sessions: ['s1'] }) : undefined);
    const outcome = await start();
    expect(outcome).toMatchObject({ ok: false, denial: { code: 'concurrency-limit', retry: 'never', extra: { sessions: ['s1'] } } });
    expect(paths(service.seen).filter((path) => path === '/v1/sessions')).toHaveLength(2);
  });

  test('a used entitlement is asked for again, a used nonce fetched again', async () => {
    const { service, start } = await setUp();
    const refusals = [problem(409, 'nonce-invalid'), problem(409, 'entitlement-used')];
    service.intercept = (request) => (request.method === 'POST' ? refusals.shift() : undefined);
    let asked = 0;
    const session = await started(start({ entitlement: async () => `entitlement-${asked++}` }));
    expect(asked).toBe(3);
    await session.stop();
  });

  test('a dead server is passed over; a bare 403 is no refusal of ours', async () => {
    const { service, start, clock } = await setUp();
    service.intercept = (request) => {
      const { host } = new URL(request.url);
      if (host === 'dead.example') throw new TypeError('connection refused');
      return host === 'portal.example' ? new Response('pay first', { status: 403 }) : undefined;
    };
    const session = await started(start({ servers: ['https://dead.example', 'https://portal.example', SERVER] }));
    expect(session.state).toBe('active');
    expect(clock.monotonic()).toBe(0);
    await session.stop();
  });

  test('a black hole counts as a failure after the deadline', async () => {
    const { service, start, clock } = await setUp();
    service.intercept = (request) => (new URL(request.url).host === 'hole.example' ? new Promise(() => undefined) : undefined);
    const pending = started(start({ servers: ['https://hole.example', SERVER] }));
    await clock.advance(1001);
    const session = await pending;
    expect(session.state).toBe('active');
    await session.stop();
  });
});

test('an answer whose body never ends counts as a failure after the deadline', async () => {
  const { service, start, clock } = await setUp();
  service.intercept = (request) => (new URL(request.url).host === 'drip.example' ? Object.assign(new Response(), { arrayBuffer: () => new Promise<ArrayBuffer>(() => undefined) }) : undefined);
  const pending = started(start({ servers: ['https://drip.example', SERVER] }));
  await clock.advance(1001);
  const session = await pending;
  expect(service.seen.map(({ url }) => new URL(url).host)).toEqual(['drip.example', 'tv.example', 'tv.example', 'tv.example']);
  await session.stop();
});

describe('renewals', () => {
  test('follow the newest answer, extend what is open and refresh the token', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const before = session.openedRange.to;
    const renewed: number[] = [];
    session.on('renewed', ({ expiresAt }) => renewed.push(expiresAt));
    await clock.advance(5399);
    expect(paths(service.seen)).not.toContain('/v1/renew');
    await clock.advance(700);
    expect(paths(service.seen).filter((path) => path === '/v1/renew')).toHaveLength(1);
    expect(session.mediaToken).toMatch(/^token-renewed-/);
    expect(renewed).toHaveLength(1);
    await clock.advance(6000);
    expect(session.openedRange.to).toBeGreaterThan(before);
    const newest = service.truth(session.openedRange.to / service.schedule.period - 1, 'video');
    expect(encodeHex((await session.key(newest.kid, (session.openedRange.to - 1) as Micros)) ?? new Uint8Array())).toBe(encodeHex(newest.key));
    await clock.advance(60_000);
    expect(renewed.length).toBeGreaterThanOrEqual(10);
    expect(session.state).toBe('active');
    await session.stop();
    const count = service.seen.length;
    await clock.advance(60_000);
    expect(service.seen).toHaveLength(count);
  });

  test('a request is small and an answer carries no content key', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    await clock.advance(6000);
    const request = service.seen.find(({ path }) => path === '/v1/renew');
    expect(request?.body.length).toBeLessThanOrEqual(256);
    await session.stop();
  });

  test('a slow device clock, a fast one and one that jumps change nothing', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    clock.step(86_400_000);
    await clock.advance(6000);
    clock.step(-30 * 86_400_000);
    await clock.advance(6000);
    expect(session.state).toBe('active');
    expect(paths(service.seen).filter((path) => path === '/v1/renew')).toHaveLength(2);
    expect(Math.abs(session.now() - (1_800_000_000_000 + clock.monotonic()) * 1000)).toBeLessThan(1000);
    await session.stop();
  });

  test('when every address is dead the session degrades, then expires, and recovers', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const log: string[] = [];
    session.on('degraded', () => log.push('degraded'));
    session.on('expired', ({ text }) => log.push(`expired: ${text}`));
    session.on('renewed', () => log.push('renewed'));
    service.intercept = () => new Response('', { status: 503 });
    const bound = session.openedRange.to;
    await clock.advance(6100);
    expect(session.state).toBe('degraded');
    expect(service.seen.some(({ url }) => url === 'https://core.example/v1/renew')).toBe(true);
    await clock.advance((bound - clock.now()) / 1000 + 1);
    expect(session.state).toBe('expired');
    expect(session.notice).toMatch(/connection/);
    expect(log.filter((line) => line.startsWith('expired'))).toHaveLength(1);
    service.intercept = () => undefined;
    await clock.advance(10_001);
    expect(session.state).toBe('active');
    expect(session.notice).toBeUndefined();
    expect(log.at(-1)).toBe('renewed');
    await session.stop();
  });

  test('failing requests pause longer and longer, up to 10 s', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const pauses: number[] = [];
    session.on('degraded', ({ retryAfter }) => pauses.push(retryAfter));
    service.intercept = (request) => (request.url.includes('/v1/renew') ? new Response('', { status: 429, headers: pauses.length === 1 ? { 'retry-after': '20' } : {} }) : undefined);
    await clock.advance(120_000);
    expect(pauses[0]).toBeLessThanOrEqual(500);
    expect(pauses[0]).toBeGreaterThanOrEqual(250);
    expect(pauses[1]).toBeGreaterThanOrEqual(20_000);
    expect(pauses[1]).toBeLessThanOrEqual(21_000);
    expect(Math.max(...pauses.slice(2))).toBeLessThanOrEqual(10_000);
    await session.stop();
  });

  test('an answer whose MAC is wrong is a failure of that address, not an extension', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const before = session.openedRange.to;
    service.intercept = (request) => (new URL(request.url).pathname === '/v1/renew' ? new Response(new Uint8Array(96), { status: 200 }) : undefined);
    await clock.advance(6000);
    expect(session.state).toBe('degraded');
    expect(session.openedRange.to).toBe(before);
    await session.stop();
  });

  test('act end ends the session: reason, viewer text, no keys left', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const ends: SessionEnd[] = [];
    session.on('ended', (end) => ends.push(end));
    const { from, to } = session.openedRange;
    service.verdict = { act: 'end', reason: 'concurrency' };
    await clock.advance(6000);
    expect(ends).toEqual([{ code: 'concurrency', text: 'Too many streams are playing on your account.', at: expect.any(Number) as number }]);
    expect(session).toMatchObject({ state: 'ended', end: ends[0], notice: ends[0]?.text });
    expect(await session.keysBetween(from, to)).toEqual([]);
    expect(await session.key(service.truth(from / service.schedule.period, 'video').kid, from)).toBeUndefined();
    expect(await session.renew()).toBe(false);
  });

  test.each(['renewal-invalid', 'epoch-unknown'] as const)('a refused renewal (%s) and act relicense both get a new licence for the same session', async (code) => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const { id } = session;
    service.verdict = { act: 'relicense', reason: 'state-old' };
    await clock.advance(6000);
    expect(service.issued).toBe(2);
    service.verdict = { act: 'extend', reason: 'none' };
    let refused = 0;
    service.intercept = (request) => (new URL(request.url).pathname === '/v1/renew' && refused++ === 0 ? problem(403, code) : undefined);
    await clock.advance(6000);
    expect(service.issued).toBe(3);
    expect(session).toMatchObject({ id, state: 'active', mediaToken: 'token-3' });
    await clock.advance(6000);
    expect(session.openedRange.to).toBeGreaterThan(clock.now());
    await session.stop();
  });

  test('a new licence that is refused ends the session with the code', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    service.verdict = { act: 'relicense', reason: 'horizon' };
    service.intercept = (request) => (new URL(request.url).pathname === '/v1/licenses' ? problem(403, 'device-revoked') : undefined);
    await clock.advance(6000);
    expect(session.end).toMatchObject({ code: 'device-revoked', text: 'This device was removed from your account.' });
  });
});

describe('the playhead', () => {
  test('content left asks for a renewal before time does, as soon as it can open more', async () => {
    const { service, start, clock } = await setUp({ kind: 'title' });
    const session = await started(start());
    const renewals = (): number => paths(service.seen).filter((path) => path === '/v1/renew').length;
    session.playhead(micros(1e6));
    await clock.advance(3000);
    expect(renewals()).toBe(0);
    session.playhead(micros(9e6));
    session.playhead(micros(9e6));
    await clock.advance(1);
    session.playhead(micros(9.1e6));
    await clock.advance(1);
    expect(renewals()).toBe(1);
    expect(session.openedRange.to).toBe(18e6);
    // Playing faster than time, the anchor holds the server back: the client asks to move it.
    await clock.advance(1000);
    session.playhead(micros(17e6));
    await clock.advance(1);
    expect([renewals(), service.issued]).toEqual([2, 1]);
    expect(session.openedRange).toEqual({ from: 0, to: 24e6 });
    await session.stop();
  });

  test('a seek outside the opened range of a title opens what is there, and costs no licence', async () => {
    const { service, start, clock } = await setUp({ kind: 'title' });
    const session = await started(start());
    await clock.advance(1500);
    session.playhead(micros(300e6));
    await clock.advance(1);
    expect(service.issued).toBe(1);
    expect(paths(service.seen).filter((path) => path === '/v1/renew')).toHaveLength(1);
    expect(session.openedRange.from).toBe(300e6);
    const there = service.truth(150, 'video');
    expect(await session.key(there.kid, micros(300e6))).toEqual(there.key);
    // What was open before stays open: the player may seek back at once.
    const back = service.truth(0, 'video');
    expect(await session.key(back.kid, micros(0))).toEqual(back.key);
    await session.stop();
  });

  test('old groups of an event are forgotten', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start({ keepBehind: micros(12e6) }));
    const first = session.openedRange.from;
    await clock.advance(60_000);
    expect(session.openedRange.from).toBeGreaterThan(first);
    expect(await session.keysBetween(first, micros(first + 6e6))).toEqual([]);
    expect(await session.key(service.truth(first / service.schedule.period, 'video').kid, first)).toBeUndefined();
    await session.stop();
  });
});

describe('stop', () => {
  test('drops the keys first, then tells the server with a signed stop, and may be repeated', async () => {
    const { service, start } = await setUp();
    const session = await started(start());
    const { from, to } = session.openedRange;
    const stopping = session.stop();
    expect(session.state).toBe('ended');
    expect(await session.keysBetween(from, to)).toEqual([]);
    expect(await stopping).toBe(true);
    expect(await session.stop()).toBe(true);
    expect(session.end?.code).toBe('viewer');
    service.intercept = () => new Response('', { status: 500 });
    expect(await session.stop()).toBe(false);
  });
});

test('a listener that throws holds up neither the others nor the emitter', () => {
  const reported: unknown[] = [];
  const emitter = createEmitter<{ tick: number }>((error) => reported.push(error));
  const heard: number[] = [];
  emitter.on('tick', () => {
    throw new Error('listener');
  });
  const off = emitter.on('tick', (value) => heard.push(value));
  emitter.emit('tick', 1);
  off();
  emitter.emit('tick', 2);
  expect(heard).toEqual([1]);
  expect(reported).toHaveLength(2);
});

describe('device', () => {
  test('keeps its id in a storage and plays without one', async () => {
    const storage = memoryDeviceStorage();
    const first = await openDevice({ storage });
    const second = await openDevice({ storage });
    expect(second.id).toBe(first.id);
    expect(first.stored).toBe(true);
    const broken = await openDevice({ storage: { extractable: false, load: () => Promise.reject(new Error('private window')), save: () => Promise.reject(new Error('private window')) } });
    expect(broken.stored).toBe(false);
    expect(broken.id).not.toBe(first.id);
    await expect(crypto.subtle.exportKey('pkcs8', broken.agreeKey)).rejects.toThrow();
  });
});
