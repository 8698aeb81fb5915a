// SPDX-License-Identifier: Apache-2.0
/** Webhooks: signature, order, at least once with growing pauses, bounds. Pausing and time are by a hand-driven clock. */
import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Micros, Millis } from '#core/time.ts';
import { createWebhooks, parseWebhookSecret, webhookSignature } from '#operations/webhooks.ts';
import type { Clock, OperationalEvent } from '#ports';

const SECRET = new Uint8Array(32).fill(7);
const alert = (message: string, at = 1_800_000_000_000_000): OperationalEvent => ({ at: at as Micros, kind: 'concurrency.emergency', severity: 'alert', message, data: { cause: 'timeout' } });
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done));
};

const setUp = (answer: (request: Request, n: number) => Promise<Response>, targets = 1) => {
  let now = 1_800_000_000_000_000;
  let timers: { at: number; run: () => void }[] = [];
  const pauses: number[] = [];
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
  const hooks = createWebhooks({
    targets: Array.from({ length: targets }, (_, i) => ({ url: `https://ops${i}.example/hook`, secret: SECRET })),
    async fetch(request) {
      seen.push({ id: request.headers.get('webhook-id'), body: await request.clone().text(), signature: request.headers.get('webhook-signature'), timestamp: request.headers.get('webhook-timestamp'), url: request.url, redirect: request.redirect });
      return answer(request, seen.length);
    },
    clock,
    random: { bytes: (length) => new Uint8Array(length).fill(seen.length) },
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { count: (_name, _help, labels = {}) => void (counts[labels['outcome'] ?? ''] = (counts[labels['outcome'] ?? ''] ?? 0) + 1), gauge: () => undefined, observe: () => undefined },
  });
  const advance = async (millis: number): Promise<void> => {
    now += millis * 1000;
    const due = timers.filter(({ at }) => at <= now);
    timers = timers.filter(({ at }) => at > now);
    for (const { run } of due) run();
    await settle();
  };
  return { hooks, seen, counts, pauses, advance };
};
const ok = async (): Promise<Response> => new Response(null, { status: 204 });

test('an alert is posted once, signed as Standard Webhooks say; other events are not posted', async () => {
  const { hooks, seen, counts } = setUp(ok);
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
  const { hooks, seen, advance, pauses } = setUp(async (_request, n) => (n <= 3 ? (n === 2 ? Promise.reject(new Error('refused')) : new Response(null, { status: n === 1 ? 500 : 302 })) : new Response(null)));
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
  const { hooks, seen, advance } = setUp((request) => (request.url.includes('ops0') ? new Promise((_, reject) => request.signal.addEventListener('abort', () => reject(new Error('aborted')))) : ok()), 2);
  hooks.take(alert('one'));
  await settle();
  expect([seen.length, hooks.waiting()]).toEqual([2, 1]);
  await advance(10_000);
  await advance(1000);
  expect(seen.filter(({ url }) => url.includes('ops0'))).toHaveLength(2);
  hooks.close();
  await advance(100_000);
  expect(seen).toHaveLength(3);
});

test('the queue holds a thousand and drops the oldest; after a day an alert is no news', async () => {
  const { hooks, counts, advance } = setUp(async () => new Response(null, { status: 503 }));
  for (let i = 0; i < 1005; i++) hooks.take(alert(`alert ${i}`));
  await settle();
  expect([hooks.waiting(), counts['dropped']]).toEqual([1000, 5]);
  await advance(25 * 3600 * 1000);
  expect([hooks.waiting(), counts['dropped']]).toEqual([999, 6]);
  hooks.close();
});

test('secrets are read in the forms that tools write them, and short ones are refused without being repeated', () => {
  const text = Buffer.from(SECRET).toString('base64');
  for (const form of [text, `whsec_${text}\n`, Buffer.from(SECRET).toString('base64url')]) expect(parseWebhookSecret(form, 'x')).toEqual(SECRET);
  for (const bad of ['', 'short', 'whsec_AAAA', 'not base64 !!'.repeat(4), Buffer.alloc(65).toString('base64')]) expect(() => parseWebhookSecret(bad, 'webhooks: file')).toThrow(/webhooks: file must hold a secret of 24-64 bytes/);
  expect(webhookSignature(SECRET, 'a', 1, '{}')).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/);
});
