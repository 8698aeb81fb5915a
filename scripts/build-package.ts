// SPDX-License-Identifier: Apache-2.0
/**
 * Builds `dist/` for the published package: plain JavaScript with declarations, and the dashboard. `npm pack` runs it.
 *
 * Sources import each other as `#core/x.ts`, which works in a clone only: Node does not strip types under
 * node_modules. Here every such address becomes a relative `.js` one, in code and declarations alike.
 * Invariant: nothing in `dist/` refers to `src/`, to a `.ts` file or to a `#` import; the build fails otherwise.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SOURCE = join(ROOT, 'src');
const DIST = join(ROOT, 'dist');
const PROJECT = join(ROOT, 'build', 'tsconfig.package.json');

const run = (command: string, args: readonly string[], cwd: string): void => {
  const env = { ...process.env, PATH: [join(ROOT, 'node_modules', '.bin'), process.env['PATH']].join(delimiter) };
  // stdout belongs to whoever runs `npm pack --json`.
  const { status, error } = spawnSync(join(ROOT, 'node_modules', '.bin', command), args, { cwd, env, stdio: ['ignore', 2, 2] });
  if (error !== undefined || status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? `exit code ${status}`}`);
};

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** Types were checked by `tsc -b`, layer by layer, with each layer's own libraries; this only emits. */
const emit = (): void => {
  mkdirSync(dirname(PROJECT), { recursive: true });
  const compilerOptions = {
    rootDir: '../src',
    outDir: '../dist',
    composite: false,
    incremental: false,
    tsBuildInfoFile: null,
    emitDeclarationOnly: false,
    noCheck: true,
    rewriteRelativeImportExtensions: true,
    lib: ['ES2024', 'DOM', 'DOM.Iterable'],
    types: ['node'],
  };
  writeFileSync(PROJECT, JSON.stringify({ extends: '../tsconfig.base.json', compilerOptions, include: ['../src/**/*.ts'], exclude: ['../src/**/*.test.ts'] }));
  run('tsc', ['-p', PROJECT], ROOT);
};

const SPECIFIER = /(\bfrom\s*|\bimport\s*\(\s*|\bimport\s*|\bnew URL\(\s*)(["'])(#[\w-]+(?:\/[^"']+)?|\.{1,2}\/[^"']+)\2/g;

/** The relative address of what `specifier` means, seen from a file in `dist/`. */
const addressOf = (specifier: string, file: string): string => {
  if (!specifier.startsWith('#')) return specifier.replace(/\.ts$/, '.js');
  const target = join(DIST, specifier === '#ports' ? 'ports.js' : specifier.slice(1).replace(/\.ts$/, '.js'));
  const path = relative(dirname(file), target).split(sep).join('/');
  return path.startsWith('.') ? path : `./${path}`;
};

const rewrite = (): void => {
  for (const file of filesIn(DIST).filter((name) => /\.(?:js|d\.ts)$/.test(name))) {
    const built = readFileSync(file, 'utf8');
    const text = built.replace(SPECIFIER, (_, before: string, quote: string, specifier: string) => `${before}${quote}${addressOf(specifier, file)}${quote}`);
    for (const [, before, , specifier] of text.matchAll(SPECIFIER)) {
      const isAsset = before?.startsWith('new URL') === true;
      if (specifier?.startsWith('#') || specifier?.endsWith('.ts')) throw new Error(`${file} still refers to ${specifier}`);
      if (!isAsset && !existsSync(join(dirname(file), specifier ?? ''))) throw new Error(`${file} refers to ${specifier}, which does not exist`);
    }
    if (text !== built) writeFileSync(file, text);
  }
};

/** Files beside the sources that the code reads at run time. */
const copyOthers = (): void => {
  for (const file of filesIn(SOURCE).filter((name) => !/\.(?:ts|tsx)$|tsconfig\.json$/.test(name))) {
    const target = join(DIST, relative(SOURCE, file));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(file, target);
  }
};

rmSync(DIST, { recursive: true, force: true });
emit();
rewrite();
copyOthers();
run('vite', ['build', '--logLevel', 'error', '--outDir', join(DIST, 'dashboard'), '--emptyOutDir'], join(ROOT, 'dashboard'));
