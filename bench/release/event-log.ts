// SPDX-License-Identifier: Apache-2.0
/**
 * The release log of a timed event as the real writer writes it, with the signed schedules and the receipts of a probe: input of audits.
 *
 * Secrets, times and orders come from a seed; the log goes through `createReleaseLog`, so that a change of the writer shows here.
 */
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId } from '#core/ids.ts';
import { releaseCommitment } from '#core/keys/ladder.ts';
import { AUDIT_GENESIS, lineHash } from '#core/release/audit.ts';
import { encodeRun } from '#core/release/block.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { encodeReceiptLine, type ReceiptLine, RECEIPTS_FORMAT } from '#core/release/receipts.ts';
import { type BlockSchedule, encodeBlockSchedule, firstOfBlock, periodsPerBlock, SCHEDULE_TYPE } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { importJwsKey, makeKeyPair, signJws } from '#crypto/jose.ts';
import { createReleaseLog } from '#edge/release/release-log.ts';

/** Files of one event as an auditor gets them. */
export type EventFiles = { readonly log: string; readonly receipts: string; readonly keys: readonly object[]; readonly run: Uint8Array; readonly releases: number };

const PERIOD = 100_000 as Micros;
const EVENT = 'final' as AssetId;
const FIRST_BLOCK = 180_000_000;

const ed25519 = async (kid: string): Promise<{ key: CryptoKey; jwk: object }> => {
  const pair = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify'])) as CryptoKeyPair;
  return { key: pair.privateKey, jwk: { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid } };
};

/** An event of so many seconds at P = 100 ms; `early`: a period (from the first) that the edge wrote too early and said so. */
export const makeEventFiles = async (seconds: number, options: { readonly early?: number } = {}): Promise<EventFiles> => {
  const [edge, probe, server] = [await ed25519('edge-1.log'), await ed25519('probe-1'), await makeKeyPair('sign')];
  const schedule = { event: EVENT, version: 1, mode: 'standard' as const, firstRelease: 4_850_000 as Micros, period: PERIOD, delta: 150_000 as Micros };
  const perBlock = periodsPerBlock(PERIOD);
  const secretOf = (period: number): Uint8Array => nodeLadderHash.sha256(encodeUtf8(`secret ${period}`)).subarray(0, 16);
  const serverKey = await importJwsKey(server.privateJwk, 'ES256');
  let log = '';
  let fire = (): void => undefined;
  let written: () => void = () => undefined;
  const first = firstOfBlock(FIRST_BLOCK, perBlock);
  let now = (releaseInstant(schedule, first) - 2_000_000) as Micros;
  const writer = createReleaseLog({
    edge: 'edge-1', kid: 'edge-1.log', hash: nodeLadderHash, now: () => now, log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    sign: (payload) => signJws(payload, { typ: 'release-log+jwt', key: { alg: 'EdDSA', key: edge.key }, kid: 'edge-1.log' }),
    append: async (text) => {
      log += text;
      written();
    },
    timers: { now: () => now, monotonic: () => 0 as never, after: (_millis: unknown, run: () => void) => ((fire = run), () => undefined) } as never,
  });
  writer.start();
  const batch = (): Promise<void> =>
    new Promise((resolve) => {
      written = resolve;
      fire();
    });
  let receipts = '';
  let head: string = AUDIT_GENESIS;
  let lines = 0;
  const receipt = (line: ReceiptLine): void => {
    const text = encodeReceiptLine(line);
    head = lineHash(nodeLadderHash, text);
    lines++;
    receipts += `${text}\n`;
  };
  receipt({ kind: 'start', format: RECEIPTS_FORMAT, probe: 'probe-1', at: now, kid: 'probe-1', prev: head });
  for (let second = 0; second < seconds; second++) {
    for (let tenth = 0; tenth < 10; tenth++) {
      const period = (first + second * 10 + tenth) as CryptoPeriod;
      if (period % perBlock === 0) {
        const block = period / perBlock;
        const commitments = new Uint8Array(perBlock * 32);
        for (let at = 0; at < perBlock; at++) commitments.set(releaseCommitment(nodeLadderHash, { eventId: EVENT, version: 1, period: (period + at) as CryptoPeriod, releaseAt: releaseInstant(schedule, (period + at) as CryptoPeriod) }, secretOf(period + at)), at * 32);
        const made: BlockSchedule = { ...schedule, block, from: period, commitments };
        writer.schedule(EVENT, block, now, await signJws(encodeBlockSchedule(made), { typ: SCHEDULE_TYPE, key: serverKey, kid: 'keys-1.schedule' }));
      }
      const at = releaseInstant(schedule, period);
      const shift = options.early === period - first ? -2_000 : 0;
      const secretHash = encodeBase64url(nodeLadderHash.sha256(secretOf(period)));
      now = (at + 400) as Micros;
      writer.released({ event: EVENT, version: 1, period, releaseAt: at, earliest: (at + 12 + shift) as Micros, latest: (at + 812) as Micros, first: (at + 430 + shift) as Micros, last: (at + 21_000) as Micros, sent: 1000, skipped: period % 97 === 0 ? 1 : 0, status: 'sync', sources: ['keys-1', 'keys-2', 'edge-2'], seed: encodeBase64url(secretOf(period + 1_000_000)), secretHash, worker: 0 });
      receipt({ kind: 'receipt', edge: 'edge-1', event: EVENT, version: 1, period, earliest: (at + 1_500) as Micros, latest: (at + 3_500) as Micros, secretHash, committed: true, prev: head });
    }
    await batch();
    const jws = await signJws({ probe: 'probe-1', lines, head }, { typ: 'release-receipts+jwt', key: { alg: 'EdDSA', key: probe.key }, kid: 'probe-1' });
    receipt({ kind: 'signature', lines, head, jws, prev: head });
  }
  const secrets = new Uint8Array(Math.min(seconds * 10, 60 * perBlock) * 16);
  for (let at = 0; at * 16 < secrets.length; at++) secrets.set(secretOf(first + at), at * 16);
  const run = encodeRun({ from: first, releaseAt: releaseInstant(schedule, first), period: PERIOD, version: 1, secrets });
  return { log, receipts, keys: [edge.jwk, probe.jwk, { ...server.publicJwk, kid: 'keys-1.schedule' }], run, releases: seconds * 10 };
};
