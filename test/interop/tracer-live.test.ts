// SPDX-License-Identifier: Apache-2.0
/**
 * Live events on real video: their reference is what the packager keeps of them, and a copy on air is followed to the verdict.
 *
 * The event's variants are those of a packed film, sent through the packager's own live side, so that what is traced is what
 * it kept. Commands are run as a person would run them.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { type AccountId, assetId, type DeviceId, type RepresentationId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { createLiveOriginals, variantName } from '#packager/index.ts';
import { startSchedule } from '#core/watermark/index.ts';
import { makeFilm, pirate, sealcast } from './tracer-clips.ts';

vi.setConfig({ testTimeout: 120_000 });

const EVENT = assetId('cup');
const SECONDS = 34;
const KEPT = 30;
let folder: string;
let film: string;
let number: number;
const at = (name: string): string => join(folder, name);
const servers: Server[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-live-trace-'));
  film = makeFilm(at('film.mp4'), SECONDS);
  const packed = await sealcast('pack', at('film.mp4'), '-o', at('packed'), '--title', EVENT, '--variants', '5', '--segment', '1', '--scheme', 'none', '--data', at('data'), '--json');
  expect(packed, packed.stderr).toMatchObject({ code: 0 });
  // Of the packed title only the variants are used: its own reference goes.
  await rm(at(`data/tracing/${EVENT}`), { recursive: true });
  const marking = { sequencing: true, representations: ['v720', 'v180'], names: 'letters', pace: 'number', alphabet: 5, book: 'aligned', schedule: startSchedule({ alphabet: 5, viewers: 1_000_000 }), segment: 1_000_000 as Micros } as const;
  const faults: unknown[] = [];
  const originals = createLiveOriginals({ store: createFileObjectStore({ root: at('data/tracing') }), asset: EVENT, marking, keep: (KEPT * 1_000_000) as Micros, onFault: (error) => faults.push(error) });
  expect(originals.track('v720' as RepresentationId, new Uint8Array())).toBeUndefined();
  for (let variant = 0; variant < 5; variant++) {
    const name = (variant === 0 ? 'v180' : `v180.${variantName(variant)}`) as RepresentationId;
    const track = originals.track(name, new Uint8Array(readFileSync(at('packed/v180/init.mp4'))));
    for (let segment = 0; segment < SECONDS; segment++) {
      const bytes = new Uint8Array(readFileSync(at(`packed/v180/${variantName(variant)}/${segment}.m4s`)));
      track?.chunk(segment, bytes);
    }
  }
  await originals.flush();
  expect(faults).toEqual([]);
  const stores = createSqliteStores({ path: at('data/sealcast.sqlite') });
  for (let n = 0; n < 40; n++) number = await stores.viewerNumbers.give({ asset: EVENT, account: `account-${n}` as AccountId, device: `${n}`.padStart(43, 'd') as DeviceId });
  stores.close();
  const marked = await markedCopy();
  expect(marked, marked.stderr).toMatchObject({ code: 0 });
}, 120_000);
afterAll(async () => {
  for (const server of servers) server.closeAllConnections();
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  await rm(folder, { recursive: true, force: true });
});

/** One viewer's copy, put together as its edge would. */
const markedCopy = async (): Promise<{ code: number; stderr: string }> => {
  const copy = await sealcast('pack', at('film.mp4'), '-o', at('again'), '--title', EVENT, '--variants', '5', '--segment', '1', '--scheme', 'none', '--data', at('data'), '--json');
  if (copy.code !== 0) return copy;
  const made = await sealcast('mark', at('again'), '--title', EVENT, '--viewer', String(number), '-o', at('copy.mp4'), '--data', at('data'));
  await rm(at(`data/tracing/${EVENT}/reference.json`));
  return made;
};

test('keeps the smallest video in all variants, in the clear, and no longer than it should', async () => {
  const store = createFileObjectStore({ root: at('data/tracing') });
  const kept = await store.list(`${EVENT}/live/v180.c/`);
  const numbers = kept.flatMap((path) => /(\d+)\.m4s$/.exec(path)?.[1] ?? []).map(Number);
  expect([Math.max(...numbers), numbers.length >= KEPT && numbers.length < KEPT + 5]).toEqual([SECONDS - 1, true]);
  expect((await store.list(`${EVENT}/live/`)).some((path) => path.includes('v720'))).toBe(false);
});

test('B202 a file of a live event is traced to its account, searched among the numbers that were given out', async () => {
  pirate(at('copy.mp4'), at('pirate.mkv'), ['-ss', '6.37'], ['-vf', 'scale=-2:144', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '27']);
  const { code, stdout, stderr } = await sealcast('trace', at('pirate.mkv'), '--event', EVENT, '--data', at('data'), '--json');
  expect([film, code, stderr]).toEqual([film, 0, '']);
  const answer = JSON.parse(stdout) as Record<string, unknown>;
  expect(answer).toMatchObject({ title: EVENT, verdict: 'accuse', viewer: number, account: 'account-39', device: '39'.padStart(43, 'd'), viewers: 16 + 40 });
  // Fewer viewers than there are would make the bound too small.
  expect(await sealcast('trace', at('pirate.mkv'), '--event', EVENT, '--data', at('data'), '--viewers', '50')).toMatchObject({ code: 2 });
});

test('B203 a copy on air is followed: evidence grows until the verdict, in lines on stderr', async () => {
  pirate(at('copy.mp4'), at('air.ts'), ['-ss', '4.7'], ['-vf', 'scale=-2:144', '-c:v', 'libx264', '-preset', 'veryfast', '-g', '25', '-crf', '27', '-f', 'mpegts']);
  const bytes = readFileSync(at('air.ts'));
  const server = createServer((request, answer) => {
    answer.writeHead(200, { 'content-type': 'video/mp2t' });
    // About four times as fast as it was made.
    let sent = 0;
    const part = Math.ceil(bytes.length / 70);
    const timer = setInterval(() => {
      answer.write(bytes.subarray(sent, sent + part));
      sent += part;
      if (sent < bytes.length) return;
      clearInterval(timer);
      answer.end();
    }, 100);
    request.once('close', () => clearInterval(timer));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { code, stdout, stderr } = await sealcast('trace', '--follow', `http://127.0.0.1:${port}/live.ts`, '--event', EVENT, '--data', at('data'), '--json', '-o', at('air.observation.ndjson'));
  expect([code, stderr.includes('"nothing":"the'), stdout === '']).toEqual([0, false, false]);
  expect(JSON.parse(stdout)).toMatchObject({ verdict: 'accuse', viewer: number, account: 'account-39' });
  const looks = stderr.trim().split('\n').map((line) => JSON.parse(line) as { observed: number; verdict: string; evidence: number | null });
  expect(looks.length).toBeGreaterThan(1);
  expect(looks.map(({ observed }) => observed)).toEqual(looks.map(({ observed }) => observed).toSorted((a, b) => a - b));
  expect(looks.at(-1)?.verdict).toBe('accuse');
  expect(readFileSync(at('air.observation.ndjson'), 'utf8').split('\n')[0]).toContain('"asset":"cup"');
});

test('what is not a stream, and a command that names none or two suspects', async () => {
  const server = createServer((_request, answer) => void answer.writeHead(200, { 'content-type': 'text/html' }).end('<html>nothing to see</html>'));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const { code, stdout } = await sealcast('trace', '--follow', address, '--event', EVENT, '--data', at('data'), '--json');
  expect([code, JSON.parse(stdout)]).toEqual([1, expect.objectContaining({ verdict: 'none', account: null, observed: 0 })]);
  for (const args of [[], [at('pirate.mkv'), '--follow', address], ['--follow', 'file:///etc/passwd'], [at('pirate.mkv'), '--limit', '3']]) {
    expect(await sealcast('trace', ...args, '--event', EVENT, '--data', at('data')), args.join(' ')).toMatchObject({ code: 2, stdout: '' });
  }
});

test('reading mark keys is in the audit log before anything is known', async () => {
  const stores = createSqliteStores({ path: at('data/sealcast.sqlite') });
  const entries = await stores.audit.read(0, 100);
  stores.close();
  const actions = entries.map(({ action }) => action);
  expect(actions).toContain('mark');
  expect(actions.filter((action) => action === 'trace').length).toBeGreaterThanOrEqual(3);
  for (const [index, action] of actions.entries()) if (action === 'trace') expect(actions.slice(0, index)).toContain('mark-keys.read');
  expect(entries.find(({ action, detail }) => action === 'trace' && detail['verdict'] === 'accuse')?.detail).toMatchObject({ viewer: number, account: 'account-39' });
});
