// SPDX-License-Identifier: Apache-2.0
/**
 * Kill -9 between a usage report and its acknowledgement, and a disk that fills up: nothing acknowledged is lost, nothing counts twice.
 *
 * Facts 4.9, fault 22. A child takes reports into SQLite; it is killed at seeded moments while reports are on their way.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#adapters/node/clock.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AccountId, AssetId, DeviceId } from '#core/ids.ts';
import { type ChainHead, EMPTY_CHAIN, encodeUsageRecord, encodeUsageReport, USAGE_TYPE, usageRecordHash } from '#core/subscription/usage.ts';
import type { Micros } from '#core/time.ts';
import { importSigningKey, makeKeyPair, signJws, thumbprint } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';

const SERVER = fileURLToPath(new URL('usage-server.ts', import.meta.url));
const ACCOUNT = 'ann' as AccountId;
const REPORTS = 40;
const RECORDS = 50;
let folder = '';
let child: ChildProcess | undefined;

const start = (pages = 0): Promise<string> =>
  new Promise((resolve, reject) => {
    const own = spawn(process.execPath, ['--no-warnings', SERVER, folder, String(pages)], { stdio: ['ignore', 'pipe', 'inherit'] });
    child = own;
    own.once('error', reject);
    own.once('exit', (code, signal) => reject(new Error(`the server ended: ${code ?? signal}`)));
    own.stdout.once('data', (port: Buffer) => resolve(`http://127.0.0.1:${port.toString().trim()}`));
  });
const kill = (): Promise<void> =>
  new Promise((resolve) => {
    const own = child;
    child = undefined;
    if (own === undefined || own.exitCode !== null || own.signalCode !== null) return resolve();
    own.once('exit', () => resolve());
    own.kill('SIGKILL');
  });

/** A device of the account, known to the store, and its reports in order. */
const prepare = async (): Promise<readonly { body: string; head: ChainHead }[]> => {
  const [pair, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
  const device = (await thumbprint(pair.publicJwk)) as DeviceId;
  const stores = createSqliteStores({ path: join(folder, 'usage.sqlite') });
  await stores.devices.register({ device, account: ACCOUNT, name: 'phone', sign: pair.publicJwk as never, agree: agree.publicJwk as never, registeredAt: systemClock.now() }, 5);
  stores.close();
  const key = await importSigningKey(pair.privateJwk);
  const reports: { body: string; head: ChainHead }[] = [];
  let head: ChainHead = EMPTY_CHAIN;
  for (let number = 0; number < REPORTS; number++) {
    const first = head.seq + 1;
    const texts = Array.from({ length: RECORDS }, (_, index) => {
      const seq = first + index;
      const text = encodeUsageRecord({ seq, prev: head.head, title: `title-${seq % 7}` as AssetId, gen: 1, action: 'play', plan: 'family', started: (1e15 + seq) as Micros, ended: (1e15 + seq) as Micros, played: 60_000_000 as Micros, from: 0 as Micros, offline: true, certain: 0 as Micros });
      head = { seq, head: usageRecordHash(hash, text) };
      return text;
    });
    const report = encodeUsageReport({ account: hash.sha256(encodeUtf8(ACCOUNT)), transaction: crypto.getRandomValues(new Uint8Array(16)), first, records: texts, head: head.head, lost: false });
    reports.push({ head, body: JSON.stringify({ device, report: await signJws(report, { typ: USAGE_TYPE, key }) }) });
  }
  return reports;
};
const send = async (url: string, body: string): Promise<{ status: number; ack?: number; code?: string }> => {
  const response = await fetch(`${url}/v1/usage`, { method: 'POST', body, signal: AbortSignal.timeout(20_000) });
  return { status: response.status, ...((await response.json()) as { ack?: number; code?: string }) };
};
const plays = async (): Promise<{ plays: number; records: number }> => {
  const stores = createSqliteStores({ path: join(folder, 'usage.sqlite') });
  const [totals] = await stores.usage.totals('account', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 9 });
  const records = (await stores.usage.list({ account: ACCOUNT, limit: 1_000_000 })).length;
  stores.close();
  return { plays: totals?.plays ?? 0, records };
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-usage-'));
});
afterEach(async () => {
  await kill();
  rmSync(folder, { recursive: true, force: true });
});

it('fault 22: killed after a report was sent and before its acknowledgement, the report sent again counts once', async () => {
  const reports = await prepare();
  let url = await start();
  let seed = 20_261_121;
  const random = (below: number): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) % below;
  let kills = 0;
  let acknowledged = 0;
  for (const [index, { body, head }] of reports.entries()) {
    const struck = index % 4 === 1;
    for (;;) {
      if (struck && kills <= index / 4) {
        kills += 1;
        const sending = send(url, body).catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, random(25)));
        await kill();
        const answer = await sending;
        // Whatever came back came back for good.
        if (answer?.ack !== undefined) acknowledged = answer.ack;
        expect((await plays()).records).toBeGreaterThanOrEqual(acknowledged);
        url = await start();
        continue;
      }
      const answer = await send(url, body);
      expect(answer).toMatchObject({ status: 200, ack: head.seq });
      acknowledged = head.seq;
      break;
    }
  }
  await kill();
  expect(kills).toBeGreaterThanOrEqual(9);
  expect(await plays()).toEqual({ plays: REPORTS * RECORDS, records: REPORTS * RECORDS });
}, 120_000);

it('fault 23: on a full disk a report is refused with 503 and nothing of it is kept; with room again it is taken', async () => {
  const reports = await prepare();
  let url = await start(90);
  let taken = 0;
  let refusal: Awaited<ReturnType<typeof send>> | undefined;
  for (const { body, head } of reports) {
    const answer = await send(url, body);
    if (answer.status !== 200) {
      refusal = answer;
      break;
    }
    taken = head.seq;
  }
  expect(refusal).toMatchObject({ status: 503, code: 'store-unavailable' });
  await kill();
  expect(await plays()).toEqual({ plays: taken, records: taken });
  url = await start();
  for (const { body } of reports) await send(url, body);
  await kill();
  expect(await plays()).toEqual({ plays: REPORTS * RECORDS, records: REPORTS * RECORDS });
}, 120_000);
