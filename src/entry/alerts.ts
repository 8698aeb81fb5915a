// SPDX-License-Identifier: Apache-2.0
/**
 * What an alert is besides its line in the control room: a metric, a log line, and a signed POST to each of the operator's webhooks.
 *
 * Invariant: one event in, one of each out, in every process, also in those without a control room; roles do not log alerts themselves.
 */
import { readFile } from 'node:fs/promises';
import { SealcastError } from '#core/errors.ts';
import { createWebhooks, parseWebhookSecret } from '#operations/index.ts';
import type { Clock, EventSink, Log, Metrics, OutboxStore, Random } from '#ports';
import type { Config } from './config/index.ts';

const secretOf = async (path: string): Promise<Uint8Array> => {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new SealcastError('config-invalid', `webhooks: ${path} cannot be read`, { cause });
  }
  return parseWebhookSecret(text, `webhooks: ${path}`);
};

/** Reads the secrets; throws `config-invalid` naming the file. */
export const openAlerts = async (options: { config: Config; outbox: OutboxStore; clock: Clock; random: Random; log: Log; metrics: Metrics }): Promise<{ readonly take: EventSink; close(): Promise<void> }> => {
  const { config, outbox, clock, random, log, metrics } = options;
  const targets = await Promise.all(config.webhooks.map(async ({ url, secretFile }) => ({ url, secret: await secretOf(secretFile) })));
  const webhooks = await createWebhooks({ targets, outbox, fetch: (request) => fetch(request), clock, random, log, metrics });
  return {
    take(event) {
      if (event.severity !== 'alert') return;
      metrics.count('sealcast_alerts_total', 'Alerts raised, by kind.', { kind: event.kind });
      const { message, kind, asset, account, session, data } = event;
      log.error(message, { alert: kind, ...(asset && { asset }), ...(account && { account }), ...(session && { session }), ...data });
      webhooks.take(event);
    },
    close: () => webhooks.close(),
  };
};
