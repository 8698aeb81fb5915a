// SPDX-License-Identifier: Apache-2.0
/**
 * The licensing chapters of the demo as a user plays them: `sealcast demo --chapter NAME --json` exits 0 and every step held.
 *
 * Issue 4, point 8. Each takes less than a minute on an idle machine; figures are checked for what they claim, not for speed.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));

type Report = { readonly ok: boolean; readonly chapters: readonly { readonly name: string; readonly ok: boolean; readonly seconds: number; readonly figures: Readonly<Record<string, number | string | boolean>>; readonly steps: readonly { readonly name: string; readonly ok: boolean }[] }[] };

const play = (chapter: string): Promise<{ code: number | null; report: Report }> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, 'demo', '--chapter', chapter, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.once('error', reject);
    child.once('close', (code) => {
      try {
        resolve({ code, report: JSON.parse(out) as Report });
      } catch {
        reject(new Error(`ended with ${code}: ${err}`));
      }
    });
  });

/** The one chapter, with its failed steps in the message if there are any. */
const held = async (name: string, steps: readonly string[]): Promise<Report['chapters'][number]['figures']> => {
  const { code, report } = await play(name);
  const [chapter] = report.chapters;
  expect(chapter?.steps.filter(({ ok }) => !ok), JSON.stringify(chapter?.figures)).toEqual([]);
  expect(chapter?.steps.map((step) => step.name)).toEqual(steps);
  expect([code, report.ok, chapter?.name]).toEqual([0, true, name]);
  return chapter?.figures ?? {};
};

test('outage: the record is cut off and nothing stops', async () => {
  const figures = await held('outage', ['on-air', 'before', 'cut', 'during', 'database', 'after']);
  expect(figures).toMatchObject({ 'cut.alerts': 1, 'during.faults': 0, 'database.refusedWith': 'store-unavailable', 'database.faults': 0, 'database.alerts': 1, 'after.faults': 0, 'after.counted': 8, 'after.alerts': 2 });
  expect(figures['cut.secondsToEmergency']).toBeGreaterThan(0);
}, 150_000);

test('levels: a client that blocks renewals stops by its level', async () => {
  const figures = await held('levels', ['film', 'level-1', 'level-2', 'level-3']);
  expect(figures).toMatchObject({ 'level-1.time': 'scaled x150', 'level-1.decryptedMinutes': 20, 'level-1.termMinutes': 50, 'level-2.termMinutes': 10, 'level-3.termMinutes': 5 });
  expect(Number(figures['level-3.decryptedMinutes'])).toBeLessThan(Number(figures['level-2.decryptedMinutes']));
}, 150_000);

test('leak: published, traced, accused, cut off; B194 B202 B203 its session, account and bytes', async () => {
  const figures = await held('leak', ['on-air', 'leaked', 'traced', 'cut-off', 'denied', 'others']);
  expect(figures).toMatchObject({ 'traced.verdict': 'accuse', 'traced.account': 'zoe', 'cut-off.sessionsEnded': 1, 'denied.reason': 'leak', 'others.othersWatching': 2, 'others.signOfSharedToken': false });
  expect(Number(figures['traced.evidenceNats'])).toBeGreaterThanOrEqual(Number(figures['traced.boundNats']));
  expect(Number(figures['traced.viewersSearched'])).toBeGreaterThanOrEqual(1_000_000);
  expect(Number(figures['cut-off.denialsAnswered'])).toBeGreaterThan(0);
}, 240_000);

test('limit: a fourth stream on a limit of three, in each mode', async () => {
  const figures = await held('limit', ['on-air', 'deny-new', 'choose', 'terminate-oldest', 'detection-only']);
  expect(figures).toMatchObject({
    'deny-new.status': 409, 'deny-new.conflicts': 3, 'choose.endedDevice': 'kitchen', 'choose.reason': 'replaced',
    'terminate-oldest.endedDevice': 'living room', 'terminate-oldest.reason': 'concurrency', 'detection-only.running': 4,
  });
}, 150_000);

test('race: hacked players against honest viewers; B163 B165 B169 nobody before T, all screens together, the log proves it', async () => {
  const figures = await held('race', ['on-air', 'audience', 'race', 'fair', 'proof']);
  expect(figures).toMatchObject({ 'on-air.periodMs': 100, 'on-air.deltaMs': 150, 'race.early': 0, 'race.boundMs': 250, 'proof.early': 0, 'proof.faults': 0 });
  expect(Number(figures['race.advantageMaxMs'])).toBeLessThanOrEqual(250.2);
  expect(Number(figures['race.pullsRefusedTooEarly'])).toBeGreaterThan(0);
}, 200_000);

test('offline: a subscription on the train; B134 B135 B137 watched 1 online, 2 and 3 offline: counted, 4 not', async () => {
  const figures = await held('offline', ['series', 'online', 'offline', 'restart', 'count', 'again', 'refund']);
  expect(figures).toMatchObject({
    'online.pushed': 3, 'online.downloaded': 3, 'offline.requestsTried': 0, 'count.counted': 'episode-1 episode-2 episode-3', 'count.offline': 2, 'count.paidToOwner': 3, 'count.recordsWaiting': 0,
    'again.plays': 3, 'again.changed': 'proof-invalid', 'refund.before': 'plays', 'refund.after': 'license-expired',
  });
}, 200_000);
