// SPDX-License-Identifier: Apache-2.0
/** `sealcast audit verify`: a good event is proven, an early release is named, and not one altered byte goes unnoticed, wherever it is. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditFiles } from '#cli/auditing.ts';
import { type EventFiles, makeEventFiles } from '../../bench/release/event-log.ts';

let folder: string;
let files: EventFiles;
const path = (name: string): string => join(folder, name);
const names = ['log.jsonl', 'receipts.jsonl', 'run.bin', 'keys.json'];

const put = async (of: EventFiles, changed: Partial<Record<'log' | 'receipts' | 'run', Uint8Array>> = {}): Promise<void> => {
  await writeFile(path('log.jsonl'), changed.log ?? of.log);
  await writeFile(path('receipts.jsonl'), changed.receipts ?? of.receipts);
  await writeFile(path('run.bin'), changed.run ?? of.run);
  await writeFile(path('keys.json'), JSON.stringify({ keys: of.keys }));
};
const verdict = async (): Promise<boolean> => {
  try {
    return (await auditFiles(names.map(path))).ok;
  } catch {
    // Not even read as what it was: noticed.
    return false;
  }
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-audit-'));
  files = await makeEventFiles(12);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the proof of a timed event', () => {
  test('B178: a good event is proven: every release on time, every secret committed before, every receipt agreed', async () => {
    await put(files);
    const audit = await auditFiles(names.map(path));
    expect(audit.faults).toEqual([]);
    expect(audit).toMatchObject({ ok: true, releases: 120, early: 0, secretsProven: 120, unsigned: 0, receipts: { onTime: 120, early: 0, undecided: 0, probes: ['probe-1'] } });
    expect(audit.edges).toMatchObject([{ edge: 'edge-1', event: 'final', periods: 120, gaps: [], clocks: ['sync'], uncommitted: 0, lateness: { p50: 430, most: 430 } }]);
  });

  test('B178: one altered byte is found, in every kind of line and every member of it', async () => {
    const bytes = { log: Buffer.from(files.log), receipts: Buffer.from(files.receipts), run: Buffer.from(files.run) };
    // One offset inside every member of one line of each kind, so that no region is left to chance.
    const regions: [keyof typeof bytes, number][] = [];
    for (const which of ['log', 'receipts'] as const) {
      const text = files[which];
      for (const kind of ['start', 'release', 'schedule', 'signature', 'receipt']) {
        const at = text.lastIndexOf(`{"t":"${kind}"`);
        if (at < 0) continue;
        const line = text.slice(at, text.indexOf('\n', at) + 1);
        for (const member of line.matchAll(/"[a-z]+":(?:"|\[")?./g)) regions.push([which, at + member.index + 1], [which, at + member.index + member[0].length - 1]);
        regions.push([which, at + line.length - 1], [which, at]);
      }
      regions.push([which, text.length - 1], [which, text.length - 4]);
    }
    for (const header of [0, 1, 3, 5, 7, 15, 23, 27, 31, 32, 47, bytes.run.length - 1]) regions.push(['run', header]);
    expect(regions.length).toBeGreaterThan(80);
    const altered = async (which: keyof typeof bytes, at: number, flip: number): Promise<boolean> => {
      const copy = Buffer.from(bytes[which]);
      copy[at] = (copy[at] as number) ^ flip;
      await put(files, { [which]: copy });
      return verdict();
    };
    for (const [which, at] of regions) for (const flip of [1, 0x20]) expect(await altered(which, at, flip), `${which} byte ${at} ^ ${flip}`).toBe(false);
    const anywhere = fc.constantFrom(...(['log', 'receipts', 'run'] as const)).chain((which) => fc.record({ which: fc.constant(which), at: fc.nat(bytes[which].length - 1), flip: fc.integer({ min: 1, max: 255 }) }));
    await fc.assert(fc.asyncProperty(anywhere, async ({ which, at, flip }) => !(await altered(which, at, flip))), { numRuns: 200 });
  }, 60_000);

  test('B178: a removed, repeated or swapped line is found, and so is the removal of everything after a line but a signature', async () => {
    const lines = files.log.split('\n').slice(0, -1);
    const texts: string[][] = [lines.toSpliced(7, 1), lines.toSpliced(7, 0, lines[7] as string), lines.toSpliced(7, 2, lines[8] as string, lines[7] as string), lines.slice(1)];
    for (const text of texts) {
      await put(files, { log: Buffer.from(`${text.join('\n')}\n`) });
      expect(await verdict()).toBe(false);
    }
    // Cut in the middle of a second: what is unsigned proves nothing and is said.
    await put(files, { log: Buffer.from(`${lines.slice(0, 20).join('\n')}\n`) });
    const cut = await auditFiles(names.map(path));
    expect(cut.unsigned).toBeGreaterThan(0);
    expect(cut.releases).toBeLessThan(20);
  });

  test('B163 B178: an early release is named with its line, whoever signed it', async () => {
    await put(await makeEventFiles(3, { early: 17 }));
    const audit = await auditFiles(names.map(path));
    expect(audit).toMatchObject({ ok: false, early: 1 });
    expect(audit.faults.map(({ what }) => what).join()).toContain('before its instant');
  });

  test('B178: a log that was rewritten or cut after a key server kept its head is found', async () => {
    await put(files);
    const signatures = files.log.split('\n').filter((line) => line.startsWith('{"t":"signature"')).map((line) => JSON.parse(line) as { jws: string });
    const at = Number(/"at":(\d+)/.exec(files.log)?.[1]) + 5_000_000;
    const head = (jws: string, when: number): string => `${JSON.stringify({ edge: 'edge-1', at: when, jws })}\n`;
    const audit = async (text: string): Promise<{ ok: boolean; heads: { agreed: number; elsewhere: number } }> => {
      await writeFile(path('heads.jsonl'), text);
      return auditFiles([...names, 'heads.jsonl'].map(path));
    };
    expect(await audit(signatures.map(({ jws }) => head(jws, at)).join(''))).toMatchObject({ ok: true, heads: { agreed: 12, elsewhere: 0 } });
    expect(await audit(head(signatures[0]?.jws ?? '', 1))).toMatchObject({ ok: true, heads: { agreed: 0, elsewhere: 1 } });
    const last = files.log.lastIndexOf('\n', files.log.lastIndexOf('{"t":"signature"') - 300);
    await put(files, { log: Buffer.from(files.log.slice(0, files.log.lastIndexOf('\n', last) + 1)) });
    expect(await audit(head(signatures.at(-1)?.jws ?? '', at))).toMatchObject({ ok: false });
    expect(await audit(head(`${signatures[0]?.jws ?? ''}A`, at))).toMatchObject({ ok: false });
  });

  test('keys of somebody else prove nothing', async () => {
    await put(files);
    await writeFile(path('keys.json'), JSON.stringify({ keys: (await makeEventFiles(1)).keys }));
    expect((await auditFiles(names.map(path))).ok).toBe(false);
    await writeFile(path('keys.json'), JSON.stringify({ keys: files.keys.slice(1) }));
    expect((await auditFiles(names.map(path))).faults[0]?.what).toContain('no public key was given');
  });

  test('the command says what was proven, prints who released a period, and its exit code is the verdict', async () => {
    await put(files);
    const period = Number(/"p":(\d+)/.exec(files.log)?.[1]);
    const run = (args: readonly string[]): Promise<{ code: number; out: string; err: string }> =>
      new Promise((resolve) => execFile(process.execPath, [fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url)), 'audit', 'verify', ...args], (error, out, err) => resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err })));
    const good = await run([...names.map(path), '--period', String(period)]);
    expect(good).toMatchObject({ code: 0 });
    expect(good.out).toContain('proven: 120 releases, 0 early');
    expect(good.out).toMatch(new RegExp(`period ${period} of final: edge-1 worker 0, instant 2\\d{3}-.*first write`));
    const json = await run([...names.map(path), '--json']);
    expect(JSON.parse(json.out)).toMatchObject({ ok: true, releases: 120 });
    await writeFile(path('log.jsonl'), files.log.replace('"sent":1000', '"sent":1001'));
    expect(await run(names.map(path))).toMatchObject({ code: 1, out: expect.stringContaining('NOT proven') });
    expect(await run([path('keys.json')])).toMatchObject({ code: 2 });
    expect(await run([path('nothing')])).toMatchObject({ code: 2, err: expect.stringContaining('cannot be read') });
  }, 30_000);
});
