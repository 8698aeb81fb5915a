// SPDX-License-Identifier: Apache-2.0
/** Webhooks: signature, order, at least once with growing pauses, bounds. Pausing and time are by a hand-driven clock. */
import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Micros, Millis } from '#core/time.ts';
import { createWebhooks, parseWebhookSecret, webhookSignature, webhookTarget } from '#operations/webhooks.ts';
import { createMemoryOutbox } from '#adapters/memory/index.ts';
import type { Clock, OperationalEvent, OutboxStore } from '#ports';

const SECRET = new Uint8Array(32).fill(7);
const alert = (message: string, at = 1_800_000_000_000_000): OperationalEvent => ({ at: at as Micros, kind: 'concurrency.emergency', severity: 'alert', message, data: { cause: 'timeout' } });
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done));
};

const setUp = async (answer: (request: Request, n: number) => Promise<Response>, targets = 1, outbox: OutboxStore = createMemoryOutbox()) => {
  let now = 1_800_000_000_000_000;
  let timers: { at: number; run: () => void }[] = [];
  const pauses: number[] = [];
  let drawn = 0;
  const clock: Clock = {
    now: () => now as Micros,
    monotonic: () => (now / 1000) as Millis,
    after(delay, run) {
      const timer = { at: now + delay * 1000, run };
      if (delay !== 10_000) pauses.push(delay);
      timers.push(timer);
      return () => void (timers = timers.filter((each) => each !== timer));
    },
  };
  const seen: { id: string | null; body: string; signature: string | null; timestamp: string | null; url: string; redirect: string }[] = [];
  const counts: Record<string, number> = {};
  const warned: string[] = [];
  const hooks = await createWebhooks({
    outbox,
    targets: Array.from({ length: targets }, (_, i) => ({ url: `https://ops${i}.example/hook`, secret: SECRET })),
    async fetch(request) {
      seen.push({ id: request.headers.get('webhook-id'), body: await request.clone().text(), signature: request.headers.get('webhook-signature'), timestamp: request.headers.get('webhook-timestamp'), url: request.url, redirect: request.redirect });
      return answer(request, seen.length);
    },
    clock,
    random: { bytes: (length) => new Uint8Array(length).fill(drawn++) },
    log: { debug: () => undefined, info: () => undefined, warn: (message) => void warned.push(message), error: () => undefined },
    metrics: { count: (_name, _help, labels = {}) => void (counts[labels['outcome'] ?? ''] = (counts[labels['outcome'] ?? ''] ?? 0) + 1), gauge: () => undefined, observe: () => undefined },
  });
  const advance = async (millis: number): Promise<void> => {
    now += millis * 1000;
    const due = timers.filter(({ at }) => at <= now);
    timers = timers.filter(({ at }) => at > now);
    for (const { run } of due) run();
    await settle();
  };
  return { hooks, seen, counts, pauses, advance, outbox, warned };
};
const ok = async (): Promise<Response> => new Response(null, { status: 204 });

test('an alert is posted once, signed as Standard Webhooks say; other events are not posted', async () => {
  const { hooks, seen, counts } = await setUp(ok);
  hooks.take({ ...alert('only a warning'), severity: 'warning' });
  hooks.take(alert('cut off'));
  await settle();
  expect(seen).toHaveLength(1);
  const [{ id, body, timestamp, signature, redirect }] = seen as [(typeof seen)[number]];
  expect(signature).toBe(`v1,${createHmac('sha256', SECRET).update(`${id}.${timestamp}.${body}`).digest('base64')}`);
  expect([timestamp, redirect]).toEqual(['1800000000', 'manual']);
  expect(JSON.parse(body)).toEqual({ type: 'concurrency.emergency', timestamp: '2027-01-15T08:00:00.000Z', id, severity: 'alert', message: 'cut off', data: { cause: 'timeout' } });
  expect([counts, hooks.waiting()]).toEqual([{ delivered: 1 }, 0]);
});

test('what is not taken is sent again with the same id, after growing pauses, and those behind it wait their turn', async () => {
  const { hooks, seen, advance, pauses } = await setUp(async (_request, n) => (n <= 3 ? (n === 2 ? Promise.reject(new Error('refused')) : new Response(null, { status: n === 1 ? 500 : 302 })) : new Response(null)));
  hooks.take(alert('one'));
  await settle();
  hooks.take(alert('two'));
  await settle();
  expect(seen).toHaveLength(1);
  for (let i = 0; i < 3; i++) await advance(10_000);
  expect(seen.map(({ body }) => (JSON.parse(body) as { message: string }).message)).toEqual(['one', 'one', 'one', 'one', 'two']);
  expect(new Set(seen.slice(0, 4).map(({ id }) => id)).size).toBe(1);
  expect(pauses).toHaveLength(3);
  for (const [i, pause] of pauses.entries()) expect(pause).toBeGreaterThanOrEqual(500 * 2 ** i);
  expect(hooks.waiting()).toBe(0);
});

test('an address that hangs is given up after ten seconds and tried again; another address is not held up', async () => {
  const { hooks, seen, advance } = await setUp((request) => (request.url.includes('ops0') ? new Promise((_, reject) => request.signal.addEventListener('abort', () => reject(new Error('aborted')))) : ok()), 2);
  hooks.take(alert('one'));
  await settle();
  expect([seen.length, hooks.waiting()]).toEqual([2, 1]);
  await advance(10_000);
  await advance(1000);
  expect(seen.filter(({ url }) => url.includes('ops0'))).toHaveLength(2);
  await hooks.close();
  await advance(100_000);
  expect(seen).toHaveLength(3);
});

test('the queue holds a thousand and drops the oldest; after a day an alert is no news', async () => {
  const { hooks, counts, advance } = await setUp(async () => new Response(null, { status: 503 }));
  for (let i = 0; i < 1005; i++) hooks.take(alert(`alert ${i}`));
  await settle();
  expect([hooks.waiting(), counts['dropped']]).toEqual([1000, 5]);
  await advance(25 * 3600 * 1000);
  expect([hooks.waiting(), counts['dropped']]).toEqual([999, 6]);
  await hooks.close();
});

test('what waited when the process ended goes out after the next start: the same ids, in order, before what is new', async () => {
  const first = await setUp(async () => new Response(null, { status: 503 }));
  first.hooks.take(alert('one'));
  first.hooks.take(alert('two'));
  await settle();
  await first.hooks.close();
  const ids = (await first.outbox.list(webhookTarget('https://ops0.example/hook'), 10)).map(({ id }) => id);
  expect(ids).toHaveLength(2);

  const second = await setUp(ok, 1, first.outbox);
  second.hooks.take(alert('three'));
  await settle();
  expect(second.seen.map(({ body }) => (JSON.parse(body) as { message: string }).message)).toEqual(['one', 'two', 'three']);
  expect(second.seen.slice(0, 2).map(({ id }) => id)).toEqual(ids);
  expect(await second.outbox.list(webhookTarget('https://ops0.example/hook'), 10)).toEqual([]);
  // Another address gets nothing of it, and what nobody asks for any more does not stay for ever.
  await second.outbox.push({ target: 'gone', id: 'msg_x', at: (1_800_000_000_000_000 - 25 * 3600 * 1e6) as Micros, body: '{}' }, 1000);
  await setUp(ok, 1, first.outbox);
  expect(await second.outbox.list('gone', 10)).toEqual([]);
});

test('B099 an outbox that cannot be written holds no alert back, and is complained about once', async () => {
  const broken: OutboxStore = { push: () => Promise.reject(new Error('disk full')), remove: () => Promise.reject(new Error('disk full')), list: () => Promise.reject(new Error('disk full')), prune: () => Promise.reject(new Error('disk full')) };
  const { hooks, seen, warned } = await setUp(ok, 1, broken);
  for (const message of ['one', 'two', 'three']) hooks.take(alert(message));
  await settle();
  await settle();
  expect(seen).toHaveLength(3);
  expect(warned).toEqual(['the outbox of alerts cannot be read', 'the outbox of alerts cannot be written; they go out, but would not survive a restart']);
  await hooks.close();
});

test('secrets are read in the forms that tools write them, and short ones are refused without being repeated', () => {
  const text = Buffer.from(SECRET).toString('base64');
  for (const form of [text, `whsec_${text}\n`, Buffer.from(SECRET).toString('base64url')]) expect(parseWebhookSecret(form, 'x')).toEqual(SECRET);
  for (const bad of ['', 'short', 'whsec_AAAA', 'not base64 !!'.repeat(4), Buffer.alloc(65).toString('base64')]) expect(() => parseWebhookSecret(bad, 'webhooks: file')).toThrow(/webhooks: file must hold a secret of 24-64 bytes/);
  expect(webhookSignature(SECRET, 'a', 1, '{}')).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/);
});
