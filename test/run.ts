// SPDX-License-Identifier: Apache-2.0
/**
 * `npm test`: sets up the tools, then types, lint, dashboard and all tests, saying what it does and how long it took.
 *
 * `npm test -- src/core test/contracts` runs only the tests under those paths, without types, lint and dashboard.
 * Invariant: the last line is `N passed, N failed` (`, N skipped` if any), and the exit code is 0 only if nothing failed;
 * a failed step counts as one failure, so that a green line always means everything.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { ensureTool, type Tool } from '../src/adapters/node/setup.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RESULTS = join(ROOT, 'build', `test-results-${process.pid}.json`);
const filters = process.argv.slice(2);
// The tools' scripts start with `env node`: that has to be the Node that runs this file.
const env: NodeJS.ProcessEnv = { ...process.env, PATH: [join(ROOT, 'node_modules', '.bin'), process.env['PATH']].join(delimiter) };

const say = (line: string): void => console.log(line);
const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs a tool of the repository; `quiet` keeps its output for the case that it fails. */
const run = (command: string, args: readonly string[], options: { cwd?: string; quiet: boolean }): Promise<{ ok: boolean; output: string }> =>
  new Promise((done) => {
    const child = spawn(join(ROOT, 'node_modules', '.bin', command), args, { cwd: options.cwd ?? ROOT, env, stdio: ['ignore', options.quiet ? 'pipe' : 'inherit', options.quiet ? 'pipe' : 'inherit'] });
    let output = '';
    const keep = (text: Buffer): void => {
      output += text.toString();
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    const stop = (): void => {
      child.kill('SIGTERM');
    };
    process.once('SIGTERM', stop);
    child.on('error', (error) => done({ ok: false, output: error.message }));
    child.on('close', (code) => {
      process.off('SIGTERM', stop);
      done({ ok: code === 0, output });
    });
  });

const setUp = async (tools: readonly Tool[]): Promise<void> => {
  for (const tool of tools) {
    const outcome = await ensureTool(tool, { output: process.stdout });
    say('path' in outcome ? `   ${tool}: ${outcome.path}` : `   ${tool}: missing (${outcome.reason}). Tests that need it will fail; install it with: ${outcome.missing}`);
    if (tool === 'chromium' && 'path' in outcome) env['SEALCAST_CHROMIUM'] = outcome.path;
  }
};

type Report = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly name: string; readonly status: string; readonly assertionResults: readonly { readonly status: string }[] }[];
};

/** A file that could not be loaded has no tests to count; it is one failure. */
const readReport = (): { passed: number; failed: number; skipped: number } => {
  if (!existsSync(RESULTS)) return { passed: 0, failed: 0, skipped: 0 };
  const report = JSON.parse(readFileSync(RESULTS, 'utf8')) as Report;
  const unloaded = report.testResults.filter(({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed')).length;
  return { passed: report.numPassedTests, failed: report.numFailedTests + unloaded, skipped: report.numPendingTests + report.numTodoTests };
};

const started = performance.now();
let failedSteps = 0;
const steps: readonly { name: string; command: string; args: readonly string[]; cwd?: string }[] = [
  { name: 'types (tsc -b)', command: 'tsc', args: ['-b'] },
  { name: 'lint (oxlint --type-aware)', command: 'oxlint', args: ['--type-aware', 'src', 'test', 'bench', 'scripts', 'bin'].filter((arg) => arg.startsWith('-') || existsSync(join(ROOT, arg))) },
  { name: 'dashboard (vite build)', command: 'vite', args: ['build', '--logLevel', 'error'], cwd: join(ROOT, 'dashboard') },
];

say(`sealcast tests on Node ${process.version}`);
say('1. tools: ffmpeg with a font, and Chromium, from PATH or from the system packages');
await setUp(['ffmpeg', 'font', 'chromium']);
if (filters.length > 0) {
  say('2. types, lint and dashboard: left out, because only some tests were asked for');
} else {
  for (const [index, { name, command, args, cwd }] of steps.entries()) {
    const since = performance.now();
    const { ok, output } = await run(command, args, { quiet: true, ...(cwd === undefined ? {} : { cwd }) });
    say(`2.${index + 1} ${name}: ${ok ? 'ok' : 'FAILED'} (${seconds(since)})`);
    if (ok) continue;
    failedSteps += 1;
    say(output.trimEnd());
  }
}

say(`3. tests (vitest)${filters.length > 0 ? ` under ${filters.join(', ')}` : ''}`);
mkdirSync(join(ROOT, 'build'), { recursive: true });
const { ok } = await run('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${RESULTS}`, ...filters], { quiet: false });
const counted = readReport();
rmSync(RESULTS, { force: true });
// Vitest also fails for faults outside any test, such as an unhandled rejection or a path that matches nothing.
const failed = counted.failed + failedSteps + (ok || counted.failed > 0 ? 0 : 1);
say(`${failedSteps > 0 ? `${failedSteps} of the steps before the tests failed, see above. ` : ''}Took ${seconds(started)}.`);
say(`${counted.passed} passed, ${failed} failed${counted.skipped > 0 ? `, ${counted.skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;
