// SPDX-License-Identifier: Apache-2.0
/** package.json and its lock: complete for every platform, free of addresses, exact, and in step with the folders. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow, ROOT, textOf } from './sources.ts';

type LockEntry = { readonly resolved?: string; readonly link?: boolean; readonly hasInstallScript?: boolean; readonly optionalDependencies?: Readonly<Record<string, string>> };
const lock = JSON.parse(textOf('package-lock.json')) as { readonly packages: Readonly<Record<string, LockEntry>> };
const manifest = JSON.parse(textOf('package.json')) as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly imports: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
};

describe('the lock file', () => {
  it('has an entry for every optional dependency, or `npm ci` fails on other platforms', () => {
    const missing = Object.entries(lock.packages).flatMap(([at, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => lock.packages[`node_modules/${name}`] === undefined && lock.packages[`${at}/node_modules/${name}`] === undefined),
    );
    expect(missing).toEqual([]);
  });

  it('has no addresses, so that every registry serves it', () => {
    expect(Object.entries(lock.packages).filter(([, { resolved, link }]) => resolved !== undefined && link !== true)).toEqual([]);
  });
});

describe('package.json', () => {
  it('pins exact versions', () => {
    const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies };
    expect(Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([]);
  });

  it('names every runtime dependency, with its reason, in CONTRIBUTING', () => {
    const reasons = textOf('CONTRIBUTING.md').split('## Runtime dependencies')[1] ?? '';
    expect(Object.keys(manifest.dependencies).filter((name) => !reasons.includes(name))).toEqual([]);
  });

  it('hands signals to node instead of a shell in between', () => {
    for (const name of ['start', 'test']) expect(manifest.scripts[name]).toMatch(/^exec node /);
  });

  it('exports exactly the doors that exist', () => {
    const sourceOf = (built: string): string => built.replace('./dist/', 'src/').replace(/(?:\.d)?\.(?:js|ts)$/, '.ts');
    for (const [door, target] of Object.entries(manifest.exports)) {
      if (typeof target === 'string') continue;
      expect(existsSync(join(ROOT, sourceOf(target.default))), `${door}: ${sourceOf(target.default)}`).toBe(true);
      expect(sourceOf(target.types), door).toBe(sourceOf(target.default));
      expect(door.includes('*'), door).toBe(false);
    }
    const roles = filesBelow('src').flatMap((path) => /^src\/(packager|key-server|license-server|renewal|edge|tracer|operations|client|player)\/index\.ts$/.exec(path)?.[1] ?? []);
    expect(roles.filter((role) => manifest.exports[`./${role}`] === undefined)).toEqual([]);
  });

  it('maps # imports to every folder of src', () => {
    const folders = new Set(filesBelow('src').flatMap((path) => /^src\/([a-z-]+)\//.exec(path)?.[1] ?? []));
    expect([...folders].filter((folder) => manifest.imports[`#${folder}/*`] !== `./src/${folder}/*`)).toEqual([]);
  });

  it('is tested by CI with exactly the command of the README', () => {
    expect(textOf('.ci/run').trimEnd().split('\n').at(-1)).toBe('npm ci && npm test');
    expect(textOf('README.md')).toContain('npm ci && npm test');
  });
});
