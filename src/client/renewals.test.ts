// SPDX-License-Identifier: Apache-2.0
/** When a session renews, where it asks, what it repeats and what it says; time is fake, cryptography is real. */
import { describe, expect, test } from 'vitest';
import { encodeHex } from '#core/bytes/hex.ts';
import { ERRORS } from '#core/errors.ts';
import { micros, type Millis } from '#core/time.ts';
import { problem } from '../../test/interop/fake-service.ts';
import { countOf, paths, SERVER, setUp, started } from '../../test/interop/fake-session.ts';
import { createServerTime } from './clock.ts';
import { orderAddresses } from './server-address.ts';
import type { Session } from './session-types.ts';
import { de } from './texts/de.ts';
import { es } from './texts/es.ts';
import { fr } from './texts/fr.ts';
import { textOf } from './texts/texts.ts';

const millis = (value: number): Millis => value as Millis;
const hostOf = ({ url }: { readonly url: string }): string => new URL(url).host;

describe('when to renew', () => {
  test('B003 B015 the plan is public, never later than the newest interval, and follows every answer', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    expect(session.groupLength).toBe(6_000_000);
    const planned = (): number => ((session.renewsAt ?? 0) - session.now()) / 1000;
    expect(planned()).toBeGreaterThanOrEqual(5400);
    expect(planned()).toBeLessThanOrEqual(6000);
    service.terms = { interval: 2000, duration: 20_000 };
    await clock.advance(6000);
    expect(planned()).toBeLessThanOrEqual(2000);
    const before = countOf(service, '/v1/renew');
    await clock.advance(10_000);
    expect(countOf(service, '/v1/renew') - before).toBe(5);
    await session.stop();
    expect(session.renewsAt).toBeUndefined();
  });

  /** Plays a title at `speed`, reporting as a player does; answers for how long its next frame had no key, in ms. */
  const playAt = async (speed: number, terms: { interval: number; duration: number }, seconds: number): Promise<{ stalled: number; service: Awaited<ReturnType<typeof setUp>>['service'] }> => {
    const { service, start, clock } = await setUp({ kind: 'title', ...terms, horizonGroups: 400 });
    const session = await started(start());
    session.playing(true);
    let at = 0;
    let stalled = 0;
    for (let elapsed = 0; elapsed < seconds * 1000; elapsed += 250) {
      const key = await session.key(service.truth(Math.floor(at / 2e6), 'video').kid, micros(at));
      if (key === undefined) stalled += 250;
      else at += 250_000 * speed;
      session.playhead(micros(at));
      await clock.advance(250);
    }
    await session.stop();
    return { stalled, service };
  };

  test.each([
    ['1', { interval: 5000, duration: 2_430_000 }],
    ['2', { interval: 5000, duration: 60_000 }],
    ['3', { interval: 18_000, duration: 30_000 }],
  ])('B016 at level %s a viewer at 2x never waits for a key', async (_, terms) => {
    const { stalled, service } = await playAt(2, terms, 120);
    expect([stalled, service.issued]).toEqual([0, 1]);
  });

  test('B014 at normal speed nobody waits and no licence but the first is asked for', async () => {
    const { stalled, service } = await playAt(1, { interval: 18_000, duration: 30_000 }, 120);
    expect([stalled, service.issued]).toEqual([0, 1]);
    expect(countOf(service, '/v1/renew')).toBeLessThanOrEqual(8);
  });
});

describe('nobody watches', () => {
  test('B022 a pause longer than the limit ends renewals; the licence lapses; playing on goes on at once', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start({ idleAfter: millis(30_000) }));
    const log: string[] = [];
    session.on('idle', () => log.push('idle'));
    session.on('renewed', () => log.push('renewed'));
    session.playing(true);
    session.playing(false);
    await clock.advance(29_000);
    expect(log).not.toContain('idle');
    await clock.advance(7000);
    expect(session).toMatchObject({ state: 'idle', renewsAt: undefined, notice: undefined });
    const quiet = service.seen.length;
    await clock.advance(3_600_000);
    expect(service.seen).toHaveLength(quiet);
    expect(await session.renew()).toBe(false);
    expect(log.filter((line) => line === 'idle')).toHaveLength(1);
    expect(session.expiresAt).toBeLessThanOrEqual(session.now());
    // The servers' rule for a state older than two terms: a new licence, which also counts the session anew.
    service.verdict = { act: 'relicense', reason: 'state-old' };
    session.playing(true);
    await clock.advance(1);
    expect(service.issued).toBe(2);
    expect(session.state).toBe('active');
    expect(session.expiresAt).toBeGreaterThan(session.now());
    await session.stop();
  });

  test('a session that waits for its first play renews nothing, however short its terms', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    session.playing(false);
    await clock.advance(60_000);
    expect(session.state).toBe('idle');
    expect(countOf(service, '/v1/renew')).toBe(0);
    session.playing(true);
    await clock.advance(1);
    expect([session.state, countOf(service, '/v1/renew')]).toEqual(['active', 1]);
    await session.stop();
  });

  test('a playhead that stands in opened content is a pause, one that stands at its end is an outage', async () => {
    const { service, start, clock } = await setUp({ kind: 'title' });
    const session = await started(start({ idleAfter: millis(20_000) }));
    const watch = async (at: (elapsed: number) => number, milliseconds: number): Promise<void> => {
      for (let elapsed = 0; elapsed < milliseconds; elapsed += 500) {
        session.playhead(micros(at(elapsed)));
        await clock.advance(500);
      }
    };
    await watch((elapsed) => elapsed * 1000, 4000);
    await watch(() => 4e6, 30_000);
    expect(session.state).toBe('idle');
    await watch((elapsed) => 4e6 + elapsed * 1000, 1000);
    expect(session.state).toBe('active');
    service.intercept = () => new Response('', { status: 503 });
    const edge = session.openedRange.to;
    await watch((elapsed) => Math.min(5e6 + elapsed * 1000, edge - 40_000), 60_000);
    expect(session.state).toBe('expired');
    service.intercept = () => undefined;
    await clock.advance(10_001);
    expect(session.state).toBe('active');
    await session.stop();
  });
});

describe('where to ask', () => {
  const dead: Readonly<Record<string, (request: Request) => Promise<Response>>> = {
    'a connection that is reset': () => Promise.reject(new TypeError('connection reset')),
    'a server that answers 503': async () => new Response('', { status: 503 }),
    'a black hole': () => new Promise(() => undefined),
    'a slow drip': async () => Object.assign(new Response(), { arrayBuffer: () => new Promise<ArrayBuffer>(() => undefined) }),
    'a captive portal with a bare 403': async () => new Response('<h1>Pay first</h1>', { status: 403, headers: { 'content-type': 'text/html' } }),
  };
  test.each(Object.keys(dead))('B091 B092 B094 B095 B096 with four of five addresses dead (%s) start and renewal succeed before expiry at strict terms', async (kind) => {
    // The source's strict terms, five minutes for three, a hundred times faster.
    const { service, start, clock } = await setUp({ interval: 1800, duration: 3000, schedule: { period: micros(500_000), periodsPerGroup: 1 } });
    const die = dead[kind] as (request: Request) => Promise<Response>;
    service.intercept = (request) => (hostOf(request).startsWith('dead') ? die(request) : undefined);
    const deadOnes = [1, 2, 3, 4].map((n) => `https://dead${n}.example`);
    service.renewUrls = [...deadOnes.map((url) => `${url}/v1/renew`), `${SERVER}v1/renew`];
    let stood = 0;
    const pending = started(start({ servers: [...deadOnes, SERVER], timeout: millis(300) }));
    await clock.advance(2500);
    const session = await pending;
    session.on('expired', () => stood++);
    const expiries: number[] = [];
    session.on('renewed', ({ expiresAt }) => expiries.push(expiresAt));
    for (let elapsed = 0; elapsed < 12_000; elapsed += 100) {
      await clock.advance(100);
      if (session.expiresAt <= session.now()) stood++;
    }
    expect(stood).toBe(0);
    expect(session.state).toBe('active');
    expect(expiries.length).toBeGreaterThanOrEqual(4);
    expect(new Set(service.seen.map(hostOf)).size).toBe(5);
    await session.stop();
  });

  test('B094 dead addresses may not use up what is left: with the usual deadline of five seconds and twelve seconds open, the fifth is still asked in time', async () => {
    const { service, start, clock } = await setUp({ interval: 6000, duration: 12_000, schedule: { period: micros(1_000_000), periodsPerGroup: 1 } });
    service.renewUrls = ['https://a.example/v1/renew', 'https://b.example/v1/renew', 'https://c.example/v1/renew', 'https://d.example/v1/renew', `${SERVER}v1/renew`];
    service.intercept = (request) => (/^[a-d]\.example/.test(hostOf(request)) ? new Promise(() => undefined) : undefined);
    const session = await started(start({ timeout: millis(5000) }));
    let lowest = Number.POSITIVE_INFINITY;
    for (let elapsed = 0; elapsed < 60_000; elapsed += 250) {
      await clock.advance(250);
      lowest = Math.min(lowest, (session.expiresAt - session.now()) / 1e6);
    }
    expect(lowest).toBeGreaterThan(0);
    await session.stop();
  });

  test('B092 B093 the app\'s own renewal servers are asked after the service\'s, and new licences fall back to all of its servers', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start({ servers: [SERVER, 'https://second.example'], renewalServers: ['https://far.example'] }));
    service.intercept = (request) => (/tv\.example|core\.example/.test(hostOf(request)) ? Promise.reject(new TypeError('down')) : undefined);
    await clock.advance(6000);
    expect(service.seen.filter(({ path }) => path === '/v1/renew').map(hostOf)).toEqual(['tv.example', 'core.example', 'far.example']);
    expect(session.state).toBe('active');
    service.verdict = { act: 'relicense', reason: 'horizon' };
    await clock.advance(6000);
    // Its nonce came from the second server, so that is asked first.
    expect(service.seen.filter(({ path }) => path === '/v1/licenses').map(hostOf)).toEqual(['second.example']);
    expect(service.issued).toBe(2);
    await session.stop();
  });

  test('B093 weights share the load, priorities order it, and plain lists stay as they are', () => {
    let seed = 1;
    const random = { bytes: (length: number) => Uint8Array.from({ length }, () => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) >>> 16) };
    expect(orderAddresses(['https://a/', 'https://b/', 'https://c/'], random)).toEqual(['https://a/', 'https://b/', 'https://c/']);
    const firsts = { 'https://near-1/': 0, 'https://near-2/': 0 };
    for (let i = 0; i < 2000; i++) {
      const order = orderAddresses([{ url: 'https://far', priority: 2 }, { url: 'https://near-1', priority: 1, weight: 3 }, { url: 'https://near-2', priority: 1, weight: 1 }, { url: 'https://spare', priority: 1, weight: 0 }], random);
      firsts[order[0] as keyof typeof firsts] += 1;
      expect(order.slice(2)).toEqual(['https://spare/', 'https://far/']);
    }
    expect(firsts['https://near-1/'] / 2000).toBeGreaterThan(0.7);
    expect(firsts['https://near-1/'] / 2000).toBeLessThan(0.8);
    expect(orderAddresses(['/v1/renew'], random, 'https://edge.example/x')).toEqual(['https://edge.example/v1/renew']);
    for (const bad of ['ftp://a/', 'nonsense', { url: 'https://a/', weight: -1 }, { url: 'https://a/', priority: 0.5 }]) expect(() => orderAddresses([bad], random)).toThrow(/server addresses/);
  });
});

describe('what is repeated', () => {
  test.each([
    [400, 'bad-request', 1],
    [403, 'device-revoked', 1],
    [409, 'device-limit', 1],
    [401, 'token-expired', 2],
    [408, undefined, 4],
    [425, 'too-early', 4],
    [429, 'rate-limited', 4],
    [500, 'internal', 4],
    [503, 'store-unavailable', 4],
  ] as const)('B096 a start that is answered %i %s is tried %i times', async (status, code, times) => {
    const { service, start, clock } = await setUp();
    service.intercept = (request) => (request.method === 'POST' ? (code === undefined ? new Response('', { status }) : problem(status, code)) : undefined);
    let asked = 0;
    const pending = start({ entitlement: async () => `entitlement-${asked++}` });
    await clock.advance(60_000);
    expect((await pending).ok).toBe(false);
    expect(service.seen.filter(({ path, body }) => path === '/v1/sessions' && body.length > 0)).toHaveLength(times);
    expect(asked).toBe(times);
  });

  test('a 401 asks the app for a fresh entitlement once, and the start goes on with it', async () => {
    const { service, start } = await setUp();
    service.intercept = async (request) => (request.method === 'POST' && (await request.clone().text()).includes('stale') ? problem(401, 'entitlement-expired') : undefined);
    let asked = 0;
    const session = await started(start({ entitlement: async () => (asked++ === 0 ? 'stale' : 'fresh') }));
    expect(asked).toBe(2);
    await session.stop();
  });

  test('B004 B086 a request whose answer was lost is asked again for the same right', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    const bodies = (): string[] => service.seen.filter(({ path }) => path === '/v1/renew').map(({ body }) => encodeHex(body));
    // The node dies after it worked: both addresses lose their answer once.
    let lost = 0;
    const answered: number[] = [];
    service.intercept = async (request) => {
      if (new URL(request.url).pathname !== '/v1/renew' || lost++ >= 2) return undefined;
      answered.push(lost);
      throw new TypeError('connection reset');
    };
    await clock.advance(7000);
    expect(session.state).toBe('active');
    // One round is one request, byte for byte, so that a node which saw it counts it once.
    expect(bodies()[0]).toBe(bodies()[1]);
    expect(answered).toEqual([1, 2]);
    await session.stop();
  });
});

describe('what the viewer reads', () => {
  const CONFLICT = { sid: 'A'.repeat(24), deviceName: 'Living room', asset: 'film-1', startedAt: 1_800_000_000_000_000, terminationCode: 'end-1' };

  test('B046 B047 a concurrency denial lists the other sessions, and one call ends the chosen one and starts here', async () => {
    const { service, start } = await setUp();
    service.intercept = async (request) =>
      request.method === 'POST' && !(await request.clone().text()).includes('"ends":["end-1"]') ? problem(409, 'concurrency-limit', { limit: 3, conflicts: [CONFLICT, { sid: 'odd' }] }) : undefined;
    const denied = await start();
    if (denied.ok) throw new Error('not denied');
    expect(denied.denial).toMatchObject({ code: 'concurrency-limit', retry: 'never', limit: 3, text: 'Too many streams are playing on your account.' });
    expect(denied.denial.conflicts).toEqual([{ session: CONFLICT.sid, deviceName: 'Living room', asset: 'film-1', startedAt: CONFLICT.startedAt, terminationCode: 'end-1' }]);
    const session = await started(start({ end: denied.denial.conflicts?.map(({ terminationCode }) => terminationCode) ?? [] }));
    expect(session.state).toBe('active');
    await session.stop();
  });

  const ended = async (by: 'renewal' | 'licence', texts = {}): Promise<Session> => {
    const { service, start, clock } = await setUp();
    const session = await started(start({ texts }));
    service.verdict = by === 'renewal' ? { act: 'end', reason: 'replaced' } : { act: 'relicense', reason: 'horizon' };
    service.intercept = (request) => (new URL(request.url).pathname === '/v1/licenses' ? problem(403, 'session-ended', { reason: 'replaced', viewer: 'x', by: 'B'.repeat(24) }) : undefined);
    await clock.advance(6000);
    return session;
  };
  test('B006 B047 the ended one learns that another took its place, and which', async () => {
    expect((await ended('renewal')).end).toMatchObject({ code: 'replaced', text: 'Playback was continued on another device.' });
    expect((await ended('licence')).end).toMatchObject({ code: 'replaced', by: 'B'.repeat(24) });
  });
  test('reasons are worded as the app wants them', async () => {
    expect((await ended('renewal', de)).notice).toBe('Die Wiedergabe wurde auf einem anderen Gerät fortgesetzt.');
    expect((await ended('renewal', { ...de, replaced: 'Drüben geht es weiter.' })).notice).toBe('Drüben geht es weiter.');
  });
  test.each(Object.entries({ de, fr, es }))('the %s catalogue has a sentence of its own for every code', (_, catalogue) => {
    const codes = [...new Set([...Object.keys(ERRORS), ...Object.keys(de)])] as (keyof typeof de)[];
    for (const code of codes) {
      expect(textOf(code), code).toMatch(/^[A-Z].*\.$/);
      expect(catalogue[code], code).toMatch(/^\p{Lu}.*\.$/u);
      expect(textOf(code, catalogue), code).not.toBe(textOf(code));
    }
  });
});

describe('a page that closes', () => {
  test('the stop is on its way before the call returns, as a simple request that outlives the page', async () => {
    const { service, start, clock } = await setUp();
    const session = await started(start());
    await clock.advance(100);
    const seen: Request[] = [];
    service.intercept = (request) => {
      seen.push(request);
      return undefined;
    };
    const before = service.seen.length;
    const stopping = session.stop();
    expect(session.state).toBe('ended');
    expect(await stopping).toBe(true);
    expect(paths(service.seen.slice(before))).toEqual(['/v1/stop']);
    expect(seen[0]?.keepalive).toBe(true);
    expect(seen[0]?.headers.get('content-type') ?? '').not.toContain('json');
    // What arrives is signed: the fake service checks the proof before it acknowledges.
  });
});

test('a device that slept learns the true time from the next answer', () => {
  let monotonic = 0;
  const time = createServerTime({ now: () => micros(0), monotonic: () => millis(monotonic), after: () => () => undefined });
  time.sample(micros(1_000_000_000), millis(0), millis(2));
  monotonic = 1000;
  expect(time.now()).toBeGreaterThan(1_000_900_000);
  // Eight hours passed, and the monotonic clock stood still.
  time.sample(micros(30_000_000_000), millis(1000), millis(1400));
  monotonic = 1400;
  expect(Math.abs(time.now() - 30_000_200_000)).toBeLessThan(1000);
});
