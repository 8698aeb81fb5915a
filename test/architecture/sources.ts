// SPDX-License-Identifier: Apache-2.0
/** Reads the repository as text for the architecture tests: its files, and what each source imports. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
const NOT_OURS = new Set(['node_modules', 'dist', 'build', '.git', 'sealcast-data', 'coverage']);

/** Paths of all files below a folder of the repository, with `/`, relative to the root; nothing installed or built. */
export const filesBelow = (folder = '.'): string[] => {
  const found: string[] = [];
  const walk = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      // Hidden folders and hidden TypeScript are scratch, such as what `runner.test.ts` runs; no tool of ours looks at them.
      if (NOT_OURS.has(entry.name) || /^\.(?!ci$).*/.test(entry.isDirectory() ? entry.name : '') || /^\..*\.tsx?$/.test(entry.name)) continue;
      const path = join(at, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile()) found.push(relative(ROOT, path).split(sep).join('/'));
    }
  };
  walk(join(ROOT, folder));
  return found.sort();
};

export const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
export const isTest = (path: string): boolean => path.endsWith('.test.ts') || path.endsWith('.test.tsx');
/** TypeScript below `src`, without tests. */
export const sources = (): string[] => filesBelow('src').filter((path) => path.endsWith('.ts') && !isTest(path));

/** Code without comments; strings stay, as imports are strings. */
export const withoutComments = (code: string): string => code.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[\s;{}(),])\/\/.*$/gm, '$1');

export type Import = { readonly specifier: string; readonly typeOnly: boolean /** Path in the repository, for our own files. */; readonly target: string | undefined };

const targetOf = (specifier: string, from: string): string | undefined => {
  if (specifier === '#ports') return 'src/ports.ts';
  if (specifier.startsWith('#')) return `src/${specifier.slice(1)}`;
  return specifier.startsWith('.') ? posix.normalize(posix.join(posix.dirname(from), specifier)) : undefined;
};

/** Everything a file imports or re-exports, statically or by `import()`. */
export const importsOf = (path: string): Import[] => {
  const code = withoutComments(textOf(path));
  const statics = [...code.matchAll(/^\s*(import|export)\s+(type\s+)?(?:[\w*${}\s,]+?\s+from\s+)?'([^']+)'/gm)].map((match) => ({
    specifier: match[3] ?? '',
    typeOnly: match[2] !== undefined,
  }));
  const dynamics = [...code.matchAll(/\bimport\(\s*'([^']+)'/g)].map((match) => ({ specifier: match[1] ?? '', typeOnly: false }));
  return [...statics, ...dynamics].map((each) => ({ ...each, target: targetOf(each.specifier, path) }));
};

/** `core/cenc`, `adapters/sqlite`, `edge`, `ports`, `core` for files directly in `src/core`. */
export const folderOf = (path: string): string => {
  const [, layer = '', ...rest] = path.replace(/\.ts$/, '').split('/');
  return (layer === 'core' || layer === 'adapters') && rest.length > 1 ? `${layer}/${rest[0]}` : layer;
};
