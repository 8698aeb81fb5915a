// SPDX-License-Identifier: Apache-2.0
/** `npm test` itself: its last line and exit code tell the truth, also when nothing ran or a file could not be loaded. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
let folder = '';
beforeAll(() => {
  // Below `test/`, where the runner looks; named so that the surrounding run, which has listed its files, never meets it.
  folder = mkdtempSync(join(ROOT, 'test', 'e2e', '.runner-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const npmTest = (...filters: string[]): Promise<{ code: number; last: string; out: string }> =>
  new Promise((done) => {
    execFile(process.execPath, [join(ROOT, 'test', 'run.ts'), ...filters], { cwd: ROOT }, (error, out) => {
      done({ code: error === null ? 0 : Number(error.code), last: out.trimEnd().split('\n').at(-1) ?? '', out });
    });
  });
const write = (name: string, body: string): string => {
  const file = join(folder, `${name}.test.ts`);
  writeFileSync(file, `import { expect, it } from 'vitest';\n${body}\n`);
  return relative(ROOT, file);
};

it('counts what passed and failed, and says what it does', async () => {
  const good = write('good', "it('a', () => expect(1).toBe(1));\nit('b', () => expect(2).toBe(2));");
  const passed = await npmTest(good);
  expect(passed).toMatchObject({ code: 0, last: '2 passed, 0 failed' });
  expect(passed.out).toMatch(/^sealcast tests on Node v\d/);
  expect(passed.out).toMatch(/ {3}ffmpeg: \S/);
  const bad = write('bad', "it('a', () => expect(1).toBe(2));");
  expect(await npmTest(good, bad)).toMatchObject({ code: 1, last: '2 passed, 1 failed' });
});

it('counts a file that cannot be loaded, a fault outside tests, and a filter that finds nothing as failures', async () => {
  expect(await npmTest(write('broken', "throw new Error('at load');"))).toMatchObject({ code: 1, last: '0 passed, 1 failed' });
  expect(await npmTest(write('stray', "it('a', () => { void Promise.reject(new Error('stray')); });"))).toMatchObject({ code: 1, last: '1 passed, 1 failed' });
  expect(await npmTest('test/no-such-folder')).toMatchObject({ code: 1, last: '0 passed, 1 failed' });
});

it('does not hide skipped tests', async () => {
  const skipping = ['sk', 'ip'].join('');
  expect(await npmTest(write('skipping', `it('a', () => {});\nit.${skipping}('b', () => {});`))).toMatchObject({ code: 0, last: '1 passed, 0 failed, 1 skipped' });
});
