// SPDX-License-Identifier: Apache-2.0
/**
 * Sends the chain of usage records to the service in signed reports, and removes what it has acknowledged.
 *
 * docs/wire/subscription.md, "Usage" (B139-B141): at reconnection, then by schedule; an interrupted report goes out again under its
 * own transaction. Invariant: nothing is removed without the service's signature over exactly that record.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { membersOf } from '#core/license/shape.ts';
import { decodeChainHash, encodeUsageReport, MAX_REPORT_RECORDS, USAGE_ACKNOWLEDGEMENT_TYPE, USAGE_TYPE } from '#core/subscription/usage.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, OfflineRecords, Random } from '#ports';
import type { Device } from '../device.ts';
import { backoff } from '../transport.ts';
import type { ServiceLink } from './service-link.ts';
import type { TrustedClock } from './trusted-clock.ts';
import type { UsageLog } from './usage-log.ts';

/** Reports on one device. */
export type UsageReporter = {
  /** Sends what is pending now; true once all of it is acknowledged. Calls at the same time share one round. */
  flush(): Promise<boolean>;
  /** Sends now and then every `interval`, sooner again after a failure. */
  start(): void;
  stop(): void;
};

/** Reports that are refused as a broken chain begin one new chain, not an endless row of them. */
const MAX_ROUNDS = 1000;
const TRANSACTION = 'usage-transaction';
const DEFAULT_INTERVAL = 900_000 as Millis;
/** Text of one report: escaped, signed and in base64url it stays below the service's 256 KiB. */
const CHARACTERS = 100_000;

/** A reporter that waits to be told. */
export const createUsageReporter = (options: {
  readonly log: UsageLog;
  readonly link: ServiceLink;
  readonly trusted: TrustedClock;
  readonly device: Device;
  readonly account: () => Uint8Array | undefined;
  readonly records: OfflineRecords;
  readonly clock: Clock;
  readonly random: Random;
  readonly interval?: Millis;
}): UsageReporter => {
  const { log, link, trusted, device, records, clock, random } = options;
  let running: Promise<boolean> | undefined;
  let cancel: (() => void) | undefined;
  let failures = 0;

  /** The same run of records keeps its transaction until it is acknowledged. */
  const transactionOf = async (first: number, head: Uint8Array): Promise<Uint8Array> => {
    const run = `${first}.${encodeBase64url(head)}`;
    const [stored, id] = ((await records.get(TRANSACTION)) ?? '').split('/');
    if (stored === run && id !== undefined) return decodeBase64url(id);
    const fresh = random.bytes(16);
    await records.write([[TRANSACTION, `${run}/${encodeBase64url(fresh)}`]]);
    return fresh;
  };

  const sendOne = async (): Promise<'done' | 'more' | 'failed'> => {
    const run = log.oldest({ records: MAX_REPORT_RECORDS, characters: CHARACTERS });
    const account = options.account();
    if (run === undefined) return 'done';
    if (account === undefined) return 'failed';
    const transaction = await transactionOf(run.first, run.head);
    const report = await device.prove('usage+jwt', encodeUsageReport({ account, transaction, ...run }));
    const answer = await link.post('/v1/usage', { device: device.id, report }, async (body) => {
      const payload = await link.verify(String(body['signature']), USAGE_ACKNOWLEDGEMENT_TYPE);
      if (payload === undefined || payload['device'] !== device.id) throw new SealcastError('bad-request', `usage: not acknowledged by this service for this ${USAGE_TYPE}`);
      const ack = membersOf(payload, 'acknowledgement', 'bad-request', ['ack', 'head', 'time'], [], true);
      if (!(await log.acknowledged(ack.integer('ack', 0, Number.MAX_SAFE_INTEGER), decodeChainHash(ack.text('head', { most: 64 }))))) throw new SealcastError('bad-request', 'usage: acknowledged something else');
      await trusted.raise(ack.integer('time', 0, Number.MAX_SAFE_INTEGER) as Micros);
    });
    if (answer.ok) return log.pending === 0 ? 'done' : 'more';
    if (answer.code === 'usage-chain-broken' && !run.lost) {
      await log.beginAnew();
      return 'more';
    }
    return 'failed';
  };

  const flush = async (): Promise<boolean> => {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const outcome = await sendOne();
      if (outcome !== 'more') return outcome === 'done';
    }
    return false;
  };

  const reporter: UsageReporter = {
    flush: () => {
      running ??= flush().finally(() => {
        running = undefined;
      });
      return running;
    },
    start() {
      cancel?.();
      cancel = () => undefined;
      const round = (): void => {
        void reporter.flush().then(
          (ok) => (failures = ok ? 0 : failures + 1),
          () => (failures += 1),
        ).then(() => {
          if (cancel !== undefined) cancel = clock.after(failures === 0 ? (options.interval ?? DEFAULT_INTERVAL) : backoff(failures, random, undefined, 60_000), round);
        });
      };
      round();
    },
    stop() {
      cancel?.();
      cancel = undefined;
    },
  };
  return reporter;
};
