// SPDX-License-Identifier: Apache-2.0
/**
 * Alerts to the operator's own systems: one signed POST per alert and address, repeated until it is taken.
 *
 * The form is that of Standard Webhooks 1.0 (headers `webhook-id`, `webhook-timestamp`, `webhook-signature`), so that ready-made
 * libraries verify it. What waits is in the outbox too, so that a restart loses no alert; an outbox that cannot be written does not
 * hold back an alert, which may be about just that. Invariants: at least once, in order per address, the same id at every try;
 * the queue is bounded and what it drops is counted; nobody waits for a webhook.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { Clock, EventSink, Fetch, Log, Metrics, OperationalEvent, OutboxStore, Random } from '#ports';

/** Where alerts go; `secret` has 24-64 bytes. */
export type WebhookTarget = { readonly url: string; readonly secret: Uint8Array };

/** What `createWebhooks` is built from. */
export type WebhookOptions = {
  readonly targets: readonly WebhookTarget[];
  /** Keeps what waits over a restart. */
  readonly outbox: OutboxStore;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** The running deliveries. */
export type Webhooks = {
  /** Takes an event; only those of severity `alert` are sent. Never throws and never waits. */
  readonly take: EventSink;
  /** Alerts not yet taken by every address. */
  readonly waiting: () => number;
  /** Gives up the tries under way; what waits stays in the outbox. Resolves once that is written. */
  close(): Promise<void>;
};

/** Alerts waiting per address; the oldest are dropped beyond it. */
const QUEUE = 1000;
const TIMEOUT = 10_000 as Millis;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 300_000;
/** µs after which an alert is no news any more. */
const STALE = 24 * 3600 * 1_000_000;

const base64 = (bytes: Uint8Array): string => {
  const text = encodeBase64url(bytes).replaceAll('-', '+').replaceAll('_', '/');
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
};

/** `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`. */
export const webhookSignature = (secret: Uint8Array, id: string, timestamp: number, body: string): string => `v1,${base64(ladderHash.hmac(secret, encodeUtf8(`${id}.${timestamp}.${body}`)))}`;

/** Under which name the outbox knows an address: its hash, since it may hold a secret of the receiver's. */
export const webhookTarget = (url: string): string => encodeBase64url(sha256(encodeUtf8(url)));

/** A secret as its file holds it: base64 or base64url, with or without `whsec_`. Throws `config-invalid` naming `where`. */
export const parseWebhookSecret = (text: string, where: string): Uint8Array => {
  const coded = text.trim().replace(/^whsec_/, '').replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  let bytes: Uint8Array | undefined;
  try {
    bytes = decodeBase64url(coded);
  } catch {
    bytes = undefined;
  }
  if (bytes === undefined || bytes.length < 24 || bytes.length > 64) throw new SealcastError('config-invalid', `${where} must hold a secret of 24-64 bytes as base64, e.g. whsec_...; it holds ${text.trim().length} characters`);
  return bytes;
};

const bodyOf = (id: string, { at, kind, severity, message, asset, account, session, data }: OperationalEvent): string =>
  JSON.stringify({ type: kind, timestamp: new Date(at / 1000).toISOString(), id, severity, message, ...(asset && { asset }), ...(account && { account }), ...(session && { session }), data: data ?? {} });

type Delivery = Omit<Webhooks, 'take'> & { readonly push: (alert: Waiting) => void };
type Waiting = { readonly id: string; readonly at: Micros; readonly body: string };

const deliverTo = (target: WebhookTarget, kept: readonly Waiting[], options: Omit<WebhookOptions, 'targets'>): Delivery => {
  const { outbox, fetch, clock, random, log, metrics } = options;
  const queue: Waiting[] = [...kept];
  const name = webhookTarget(target.url);
  const host = new URL(target.url).host;
  const count = (outcome: 'delivered' | 'failed' | 'dropped'): void => metrics.count('sealcast_webhook_deliveries_total', 'Alerts to webhooks, by outcome of each try.', { outcome });
  let busy = false;
  let closed = false;
  let failures = 0;
  let cancel = (): void => undefined;
  let written: Promise<unknown> = Promise.resolve();
  let outboxFails = false;

  /** One change after the other, so that what was taken is never written after it was removed. */
  const write = (change: () => Promise<unknown>): void => {
    written = written.then(change).then(
      () => void (outboxFails = false),
      () => {
        if (!outboxFails) log.warn('the outbox of alerts cannot be written; they go out, but would not survive a restart', { host });
        outboxFails = true;
      },
    );
  };
  const forget = ({ id }: Waiting): void => write(() => outbox.remove(name, id));

  const post = async ({ id, body }: Waiting): Promise<boolean> => {
    const timestamp = Math.floor(clock.now() / 1_000_000);
    const controller = new AbortController();
    const cancelTimeout = clock.after(TIMEOUT, () => controller.abort());
    try {
      const response = await fetch(new Request(target.url, {
        method: 'POST', body, signal: controller.signal, redirect: 'manual',
        headers: { 'Content-Type': 'application/json', 'User-Agent': 'sealcast', 'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': webhookSignature(target.secret, id, timestamp, body) },
      }));
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    } finally {
      cancelTimeout();
    }
  };
  /** Half to all of the doubling pause, so that many processes do not come back together. */
  const pause = (): Millis => {
    const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(20, failures - 1));
    return Math.ceil(longest * (0.5 + (random.bytes(1)[0] ?? 0) / 510)) as Millis;
  };
  const next = async (): Promise<void> => {
    const [alert] = queue;
    if (busy || closed || alert === undefined) return;
    busy = true;
    const taken = await post(alert);
    busy = false;
    if (closed) return;
    count(taken ? 'delivered' : 'failed');
    const given = !taken && clock.now() - alert.at > STALE;
    if (given) count('dropped');
    // The queue may have dropped it meanwhile.
    if ((taken || given) && queue[0] === alert) queue.shift();
    if (taken || given) forget(alert);
    if (taken) {
      failures = 0;
      void next();
      return;
    }
    failures += 1;
    if (failures === 1) log.warn('a webhook did not take an alert; it is tried again', { host });
    cancel = clock.after(pause(), () => {
      cancel = () => undefined;
      void next();
    });
  };
  void next();
  return {
    push(alert) {
      queue.push(alert);
      write(() => outbox.push({ target: name, ...alert }, QUEUE));
      if (queue.length > QUEUE) {
        queue.splice(busy ? 1 : 0, 1);
        count('dropped');
      }
      // While it is waiting for another try, that try comes first.
      if (failures === 0) void next();
    },
    waiting: () => queue.length,
    close() {
      closed = true;
      cancel();
      return written.then(() => undefined);
    },
  };
};

/** What an earlier process could not deliver, without what is no news any more. Nothing, if the outbox cannot be read. */
const keptFor = async ({ url }: WebhookTarget, { outbox, clock, log }: Pick<WebhookOptions, 'outbox' | 'clock' | 'log'>): Promise<readonly Waiting[]> => {
  try {
    await outbox.prune((clock.now() - STALE) as Micros);
    return (await outbox.list(webhookTarget(url), QUEUE)).map(({ id, at, body }) => ({ id, at, body }));
  } catch {
    log.warn('the outbox of alerts cannot be read', { host: new URL(url).host });
    return [];
  }
};

/** Starts with what the outbox kept. */
export const createWebhooks = async ({ targets, ...options }: WebhookOptions): Promise<Webhooks> => {
  const deliveries = await Promise.all(targets.map(async (target) => deliverTo(target, await keptFor(target, options), options)));
  return {
    take(event) {
      if (event.severity !== 'alert' || deliveries.length === 0) return;
      const id = `msg_${encodeBase64url(options.random.bytes(15))}`;
      const alert = { id, at: event.at, body: bodyOf(id, event) };
      for (const delivery of deliveries) delivery.push(alert);
    },
    waiting: () => deliveries.reduce((sum, delivery) => sum + delivery.waiting(), 0),
    async close() {
      await Promise.all(deliveries.map((delivery) => delivery.close()));
    },
  };
};
