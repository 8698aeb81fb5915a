// SPDX-License-Identifier: Apache-2.0
/** The client guide's excerpts are lines of the example files they name, and the example session runs, here without a browser. */
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { ConflictingSession, Session } from '#client/session-types.ts';
import type { SessionOptions } from '#client/start-session.ts';
import { openDevice } from '#client/device.ts';
import { micros } from '#core/time.ts';
import { createFakeClock } from './fake-clock.ts';
import { createFakeService, problem } from './fake-service.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const guide = readFileSync(join(root, 'docs/guide/client.md'), 'utf8');
const excerpts = [...guide.matchAll(/\]\(\.\.\/\.\.\/(examples\/[\w.-]+)\):\n\n```js\n([\s\S]*?)```/g)].map(([, file = '', code = '']): [string, string] => [file, code]);
const linesOf = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter((line) => line !== '');

test('every block of code in the guide names the example it is from', () => {
  expect(excerpts).toHaveLength(guide.split('```js').length - 1);
});
test.each(excerpts)('the excerpt of %s is in it, line after line', (file, code) => {
  const lines = linesOf(readFileSync(normalize(join(root, file)), 'utf8'));
  const wanted = linesOf(code);
  const at = lines.indexOf(wanted[0] ?? '');
  expect(lines.slice(at, at + wanted.length)).toEqual(wanted);
});

test('the example session offers the other streams, ends the chosen one, and speaks the viewer\'s language', async () => {
  const { startHere } = (await import(join(root, 'examples/one-session.js'))) as {
    startHere(options: Omit<SessionOptions, 'texts'> & { language: string; choose(others: readonly ConflictingSession[]): unknown; show(text: string | undefined): void }): Promise<Session | undefined>;
  };
  const clock = createFakeClock();
  const service = await createFakeService({ clock: { ...clock, now: () => micros(Math.round(1_800_000_000_000_000 + clock.monotonic() * 1000)) } });
  const conflict = { sid: 'A'.repeat(24), deviceName: 'Kitchen', asset: 'film-1', startedAt: 1, terminationCode: 'code-1' };
  service.intercept = async (request) => (request.method === 'POST' && request.url.endsWith('/v1/sessions') && !(await request.clone().text()).includes('code-1') ? problem(409, 'concurrency-limit', { limit: 1, conflicts: [conflict] }) : undefined);
  const shown: (string | undefined)[] = [];
  const offered: readonly ConflictingSession[][] = [];
  const options = { servers: ['https://tv.example'], asset: service.asset, device: await openDevice(), entitlement: async () => 'e', fetch: service.fetch, clock, language: 'de', show: (text: string | undefined) => void shown.push(text) };
  expect(await startHere({ ...options, choose: () => undefined })).toBeUndefined();
  expect(shown).toEqual(['Über Ihr Konto laufen zu viele Wiedergaben.']);
  const session = await startHere({ ...options, choose: (others) => ((offered as ConflictingSession[][]).push([...others]), others[0]) });
  expect(offered[0]?.[0]).toMatchObject({ deviceName: 'Kitchen', terminationCode: 'code-1' });
  expect(session?.state).toBe('active');
  service.verdict = { act: 'end', reason: 'replaced' };
  await clock.advance(6000);
  expect(shown.at(-1)).toBe('Die Wiedergabe wurde auf einem anderen Gerät fortgesetzt.');
});
