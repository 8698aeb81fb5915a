// SPDX-License-Identifier: Apache-2.0
/**
 * Kill -9 at any moment loses no acknowledged write, in any durable store.
 *
 * A child writes to all stores and acknowledges on stdout; it is killed after a seeded number of acknowledgements and a
 * seeded delay, so that kills fall before, inside and after groups of writes, folder creation and journal rewrites.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFileObjectStore, openJournalledHeartbeats } from '#adapters/files/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { assetKeyRecord, at, asset, bytes, catalogueEntry, device, deviceRecord, session, sessionRecord } from '../contracts/values.ts';
import { never, sealAudit } from './kill-nine-values.ts';

const ROUNDS = 16;
const WRITER = fileURLToPath(new URL('kill-nine-writer.ts', import.meta.url));
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-kill-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** xorshift32: the same kills in every run. */
const seeded =
  (seed: number) =>
  (below: number): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };

type Write = { readonly kind: string; readonly number: number };

const writeUntilKilled = (first: number, killAfter: number, delayMillis: number): Promise<Write[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--no-warnings', WRITER, folder, String(first)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let complaints = '';
    let condemned = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (condemned || output.split('\n').length <= killAfter) return;
      condemned = true;
      setTimeout(() => child.kill('SIGKILL'), delayMillis);
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') return reject(new Error(`the writer ended by itself: ${complaints}`));
      const lines = output.slice(0, output.lastIndexOf('\n')).split('\n');
      resolve(lines.map((line) => ({ kind: line.split(' ')[0] ?? '', number: Number(line.split(' ')[1]) })));
    });
  });

it('loses no acknowledged write', { timeout: 120_000 }, async () => {
  const random = seeded(0x5ea1ca57);
  const acknowledged: Write[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    acknowledged.push(...(await writeUntilKilled(round * 100_000, 1 + random(round % 3 === 0 ? 5 : 300), random(25))));

    const stores = createSqliteStores({ path: join(folder, 'sealcast.db') });
    const objects = createFileObjectStore({ root: join(folder, 'objects') });
    const heartbeats = await openJournalledHeartbeats({ path: join(folder, 'heartbeats.ndjson'), clock: systemClock });
    const live = new Map((await heartbeats.live({}, at(0))).map((each) => [each.session, each.at]));
    const audited = await stores.audit.read(0, 1_000_000);
    const auditTargets = new Set(audited.map(({ target }) => target));

    const present: Readonly<Record<string, (number: number) => Promise<void>>> = {
      assetKeys: async (n) => expect(await stores.assetKeys.get(asset(`a${n}`))).toEqual(assetKeyRecord(`a${n}`, { sealedTitleKeys: [{ gen: 0, sealed: bytes(40, n) }] })),
      catalogue: async (n) => expect(await stores.catalogue.get(asset(`c${n}`))).toEqual(catalogueEntry(`c${n}`)),
      devices: async (n) => expect(await stores.devices.get(device(n))).toEqual(deviceRecord(n, `account-${n}`)),
      sessions: async (n) => expect(await stores.sessions.get(session(n))).toEqual(sessionRecord(n)),
      singleUse: async (n) => expect(await stores.singleUse.claim(`jti-${n}`, never, at(1))).toBe(false),
      secrets: async (n) => expect(await stores.secrets.get(`secret-${n}`)).toEqual(bytes(32, n)),
      audit: async (n) => expect(auditTargets.has(`t${n}`)).toBe(true),
      objects: async (n) => expect(await objects.get(`titles/t${n % 7}/segment-${n}`)).toEqual(bytes(2000 + (n % 5000), n)),
      // A later heartbeat of the same session may have replaced this one.
      heartbeats: async (n) => expect(live.get(session(n % 200)) ?? 0).toBeGreaterThanOrEqual(at(n)),
    };
    const fresh = acknowledged.filter(({ number }) => number >= round * 100_000);
    // Everything of this round, and a sample of what earlier rounds left.
    for (const { kind, number } of [...fresh, ...acknowledged.filter((_, index) => index % 29 === round % 29)]) await present[kind]?.(number);

    let previous = '';
    for (const [index, { hash, ...entry }] of audited.entries()) {
      expect(entry.seq).toBe(index + 1);
      expect(hash).toBe(sealAudit(previous, entry));
      previous = hash;
    }
    // An object that was never acknowledged may exist, but only whole.
    for (const path of await objects.list('titles/')) {
      const number = Number(path.split('-')[1]);
      expect(await objects.size(path)).toBe(2000 + (number % 5000));
    }
    await heartbeats.close();
    stores.close();
  }
  expect(acknowledged.length).toBeGreaterThan(ROUNDS * 5);
  expect(new Set(acknowledged.map(({ kind }) => kind)).size).toBe(9);
  expect(readdirSync(folder)).toContain('sealcast.db');
});
