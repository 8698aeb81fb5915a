// SPDX-License-Identifier: Apache-2.0
/**
 * The published package: packed, installed into an empty folder, imported through every door, run by its command.
 *
 * Node does not strip types under node_modules, so this is the only place where the built code runs.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string; exports: Record<string, unknown> };
const DOORS = Object.keys(MANIFEST.exports).filter((door) => door !== './package.json');
/** Doors that must work without Node: in browsers or in Cloudflare's runtime. */
const NODE_FREE = ['./client', './player', './edge', './worker-edge', './renewal', './watermark'].filter((door) => DOORS.includes(door));
/** A packed package beyond this has taken something in that it should not. */
const LARGEST_TARBALL_BYTES = 8_000_000;

type Result = { readonly code: number | null; readonly out: string; readonly err: string };
const run = (command: string, args: readonly string[], cwd: string, timeoutMillis = 120_000): Promise<Result> =>
  new Promise((done, failed) => {
    // This Node first, as for a user who has a suitable one; and none of npm's settings for the surrounding `npm test`.
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(?:package|lifecycle|config_local_prefix|command)/.test(name)));
    const env = { ...inherited, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter), NO_COLOR: '1' };
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMillis, killSignal: 'SIGKILL' });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('error', failed);
    child.on('close', (code) => done({ code, out, err }));
  });

let folder = '';
let installed = '';
let packed: { readonly filename: string; readonly size: number; readonly files: readonly { readonly path: string }[] };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-package-'));
  const pack = await run('npm', ['pack', '--json', '--pack-destination', folder], ROOT);
  expect(pack.code, pack.err).toBe(0);
  packed = (JSON.parse(pack.out.slice(pack.out.indexOf('['))) as (typeof packed)[])[0] as typeof packed;
  const project = join(folder, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'a-user', private: true, type: 'module' }));
  // The pinned Node is optional and 200 MB: `bin.test.ts` covers starting on it.
  const install = await run(
    'npm',
    ['install', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename)],
    project,
    300_000,
  );
  expect(install.code, install.err).toBe(0);
  installed = join(project, 'node_modules', 'sealcast');
}, 480_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the tarball', () => {
  it('holds built code, declarations and the dashboard, and no sources, tests or data', () => {
    const paths = packed.files.map(({ path }) => path);
    for (const needed of ['bin/sealcast.js', 'dist/cli/main.js', 'dist/dashboard/watch.html', 'dist/dashboard/control.html', 'README.md', 'LICENSE', 'package.json'])
      expect(paths).toContain(needed);
    expect(paths.filter((path) => /(?:^|\/)(?:src|test|bench|scripts|sealcast-data|node_modules)\/|(?<!\.d)\.ts$|\.test\.|tsbuildinfo$|tsconfig/.test(path))).toEqual([]);
    expect(packed.size).toBeLessThan(LARGEST_TARBALL_BYTES);
  });

  it('has code and types behind every door', () => {
    for (const door of DOORS) {
      const { types, default: code } = MANIFEST.exports[door] as { types: string; default: string };
      expect(existsSync(join(installed, code)), code).toBe(true);
      expect(existsSync(join(installed, types)), types).toBe(true);
    }
  });
});

describe('importing', () => {
  it('works through every door, with something behind it', async () => {
    const lines = DOORS.map((door) => `console.log(${JSON.stringify(door)}, Object.keys(await import(${JSON.stringify(`sealcast${door.slice(1)}`)})).length);`);
    writeFileSync(join(folder, 'project', 'doors.mjs'), lines.join('\n'));
    const { code, out, err } = await run(process.execPath, ['doors.mjs'], join(folder, 'project'));
    expect(code, err).toBe(0);
    const counts = Object.fromEntries(
      out
        .trim()
        .split('\n')
        .map((line) => line.split(' ')),
    ) as Record<string, string>;
    expect(Object.keys(counts)).toEqual(DOORS);
    // Ports are types: nothing at run time.
    expect(Object.entries(counts).filter(([door, count]) => (Number(count) === 0) !== (door === './ports'))).toEqual([]);
  });

  it('has no other door', async () => {
    writeFileSync(join(folder, 'project', 'inside.mjs'), "await import('sealcast/dist/cli/main.js');");
    const { code, err } = await run(process.execPath, ['inside.mjs'], join(folder, 'project'));
    expect(code).not.toBe(0);
    expect(err).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  it('type-checks for a user in strict mode', async () => {
    const project = join(folder, 'project');
    const uses = DOORS.map((door, index) => `import * as door${index} from 'sealcast${door.slice(1)}';\nexport type Door${index} = typeof door${index};`);
    writeFileSync(
      join(project, 'uses.ts'),
      `${uses.join('\n')}\nimport { createMemoryStores } from 'sealcast/adapters/memory';\nimport type { Stores } from 'sealcast/ports';\nexport const stores: Stores = createMemoryStores();\n`,
    );
    const compilerOptions = {
      strict: true,
      module: 'NodeNext',
      target: 'ES2024',
      lib: ['ES2024', 'DOM', 'DOM.Iterable'],
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules', '@types')],
      noEmit: true,
      skipLibCheck: false,
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['uses.ts'] }));
    const { out } = await run(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', '.'], project);
    // Other packages' declarations are theirs to mend.
    expect(out.split('\n').filter((line) => /^(?:uses\.ts|node_modules\/sealcast\/)/.test(line))).toEqual([]);
  });

  it('needs nothing of Node behind the doors for browsers and workers', async () => {
    const seen = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const statements = /^\s*(?:import|export)\b[^;'"]*?\bfrom\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm;
      for (const [, named, bare, dynamic] of readFileSync(file, 'utf8').matchAll(statements)) {
        const specifier = named ?? bare ?? dynamic ?? '';
        expect(specifier, file).not.toMatch(/^node:/);
        if (specifier.startsWith('.')) visit(join(dirname(file), specifier));
      }
    };
    for (const door of NODE_FREE) visit(join(installed, (MANIFEST.exports[door] as { default: string }).default));
    expect(seen.size).toBeGreaterThan(NODE_FREE.length);
  });
});

describe('the command', () => {
  it('is found by npx and knows its version', async () => {
    const { code, out, err } = await run('npx', ['--no-install', 'sealcast', '--version'], join(folder, 'project'));
    expect(code, err).toBe(0);
    expect(out.trim()).toBe(MANIFEST.version);
  });

  it('prints and checks a configuration', async () => {
    const project = join(folder, 'project');
    const printed = await run('npx', ['--no-install', 'sealcast', 'config', 'default'], project);
    writeFileSync(join(project, 'sealcast.yaml'), printed.out);
    const good = await run('npx', ['--no-install', 'sealcast', 'config', 'check', 'sealcast.yaml', '--json'], project);
    expect(JSON.parse(good.out), good.err).toEqual({ ok: true, file: 'sealcast.yaml', problems: [] });
    writeFileSync(join(project, 'bad.yaml'), 'listen: { prot: 1 }\n');
    const bad = await run('npx', ['--no-install', 'sealcast', 'config', 'check', 'bad.yaml'], project);
    expect(bad.code).toBe(1);
    expect(bad.out).toContain('did you mean `port`?');
  });

  it('plays the core story from the installed package', { timeout: 300_000 }, async () => {
    const { code, out, err } = await run('npx', ['--no-install', 'sealcast', 'demo', '--once', '--json'], join(folder, 'project'), 280_000);
    expect(code, err).toBe(0);
    const report = JSON.parse(out) as { ok: boolean; chapters: { name: string; ok: boolean; figures: Record<string, unknown> }[] };
    expect(report.ok).toBe(true);
    expect(report.chapters.length).toBeGreaterThan(0);
    for (const chapter of report.chapters) {
      expect(chapter.ok, chapter.name).toBe(true);
      expect(Object.keys(chapter.figures).length, chapter.name).toBeGreaterThan(0);
    }
  });
});
