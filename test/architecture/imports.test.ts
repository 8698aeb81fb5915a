// SPDX-License-Identifier: Apache-2.0
/** Who may import what (CONTRIBUTING rules 2 and 3). The compiler enforces most of it; this says it in one table. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { folderOf, importsOf, isTest, ROOT, sources, filesBelow } from './sources.ts';

const ROLES = ['packager', 'key-server', 'license-server', 'renewal', 'edge', 'tracer', 'operations'];
const CORE = [
  'core',
  'core/bytes',
  'core/isobmff',
  'core/avc',
  'core/cenc',
  'core/keys',
  'core/release',
  'core/token',
  'core/license',
  'core/watermark',
  'core/trace',
  'core/manifest',
  'core/edge-bundle',
  'core/pace',
  'core/picture',
  'core/policy',
  'core/mark',
  'core/subscription',
  'core/websocket',
];
/** The base that every part of core may use; files directly in `src/core` use nothing but each other. */
const BASE = ['core', 'core/bytes'];

/** Folder to the folders it may import; each may also import itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  'core/bytes': ['core'],
  'core/isobmff': BASE,
  'core/avc': BASE,
  'core/cenc': [...BASE, 'core/isobmff', 'core/avc'],
  'core/keys': BASE,
  // Messages are read with licensing's strict reader.
  'core/release': [...BASE, 'core/keys', 'core/license'],
  'core/subscription': [...BASE, 'core/keys', 'core/license'],
  'core/mark': [...BASE, 'core/isobmff', 'core/keys'],
  'core/websocket': BASE,
  'core/token': BASE,
  'core/policy': BASE,
  // Decisions on licences and renewals apply the policies.
  'core/license': [...BASE, 'core/keys', 'core/token', 'core/policy'],
  // Bundles carry public keys (their one strict parser is licensing's) and code books (watermark).
  'core/edge-bundle': [...BASE, 'core/token', 'core/license', 'core/watermark', 'core/mark'],
  'core/manifest': BASE,
  'core/pace': [...BASE, 'core/token'],
  'core/watermark': [...BASE, 'core/keys'],
  'core/picture': [...BASE, 'core/keys', 'core/watermark'],
  // Tracing reads JSON from outside with the strict reader that tokens are read with.
  // How an edge chose copies (the delivery plan) decides what an observation can say.
  'core/trace': [...BASE, 'core/watermark', 'core/token', 'core/edge-bundle'],
  crypto: CORE,
  ports: CORE,
  ...Object.fromEntries(ROLES.map((role) => [role, [...CORE, 'crypto', 'ports']])),
  client: [...CORE, 'crypto', 'ports'],
  player: [...CORE, 'crypto', 'ports', 'client'],
  ...Object.fromEntries(['sqlite', 'postgres', 'redis', 'ffmpeg', 'http', 'node', 'workers', 'memory', 'guarded'].map((name) => [`adapters/${name}`, [...CORE, 'crypto', 'ports']])),
  // The journal of heartbeats keeps the live ones in the memory adapter.
  'adapters/files': [...CORE, 'crypto', 'ports', 'adapters/memory'],
  entry: ['*'],
  cli: ['*'],
};
const NEVER_IMPORTED_BY: Readonly<Record<string, readonly string[]>> = { entry: ['cli'] };

/** Packages that a layer may import. */
const PACKAGES: readonly (readonly [layer: RegExp, allowed: RegExp])[] = [
  [/^core/, /^$/],
  [/^ports$/, /^$/],
  [/^crypto$/, /^(?:cbor2|jose|@noble\/hashes\/[\w.]+)$/],
  [new RegExp(`^(?:${ROLES.join('|')})$`), /^(?:hono(?:\/.*)?|jose)$/],
  [/^client$/, /^(?:jose)$/],
  [/^player$/, /^$/],
  [/^adapters\/workers$/, /^$/],
  [/^adapters\/(?:memory)$/, /^$/],
];

describe('imports', () => {
  it('follow the table', () => {
    const wrong: string[] = [];
    for (const path of sources()) {
      const from = folderOf(path);
      const allowed = MAY_IMPORT[from];
      if (allowed === undefined) wrong.push(`${path}: folder ${from} has no row in this table`);
      for (const { target, specifier } of importsOf(path)) {
        if (target === undefined || allowed === undefined) continue;
        const to = folderOf(target);
        const denied = (!allowed.includes('*') && to !== from && !allowed.includes(to)) || NEVER_IMPORTED_BY[from]?.includes(to) === true;
        if (denied) wrong.push(`${path} imports ${specifier}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('name existing files by their whole name, and other folders by #', () => {
    const wrong: string[] = [];
    for (const path of [...sources(), ...filesBelow('test').filter((file) => file.endsWith('.ts'))]) {
      for (const { target, specifier } of importsOf(path)) {
        if (target === undefined) continue;
        if (!existsSync(join(ROOT, target))) wrong.push(`${path}: ${specifier} does not exist`);
        else if (path.startsWith('src/') && specifier.startsWith('../../')) wrong.push(`${path}: ${specifier} leaves its folder; use #`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('leave other packages and the runtime to the layers that may know them', () => {
    const wrong: string[] = [];
    for (const path of sources()) {
      const from = folderOf(path);
      const rule = PACKAGES.find(([layer]) => layer.test(from));
      for (const { target, specifier } of importsOf(path)) {
        if (target === undefined && rule !== undefined && !rule[1].test(specifier)) wrong.push(`${path} imports ${specifier}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('of ports are types only', () => {
    expect(importsOf('src/ports.ts').filter(({ typeOnly }) => !typeOnly)).toEqual([]);
  });

  it('have no cycles, not even of types', () => {
    const graph = new Map(sources().map((path) => [path, importsOf(path).flatMap(({ target }) => (target === undefined ? [] : [target]))]));
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      if (done.has(path) || trail.includes(path)) return;
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    expect(cycles).toEqual([]);
  });

  it('of tests stay out of the sources', () => {
    expect(
      sources().filter((path) =>
        importsOf(path).some(({ target, specifier }) => specifier === 'vitest' || (target !== undefined && (isTest(target) || !target.startsWith('src/')))),
      ),
    ).toEqual([]);
  });
});
