// SPDX-License-Identifier: Apache-2.0
/** Configuration: defaults, refusals that help, rules between options, and documents in step with the schema. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import { checkConfig, type Config, defaultYaml, enforcementPolicy, loadConfig, problemLine, referenceMarkdown } from './index.ts';
import type { AnyOption } from './option.ts';
import { SCHEMA } from './schema.ts';
import { nearestName } from './validate.ts';

const problemsOf = (text: string): string[] => {
  const checked = checkConfig(text);
  return 'problems' in checked ? checked.problems.map(problemLine) : [];
};

const each = (option: AnyOption, at = ''): { at: string; option: AnyOption }[] => {
  const children: readonly [string, AnyOption][] = option.is === 'value' ? [] : Object.entries((option.is === 'list' ? option.item : option).options);
  return [{ at, option }, ...children.flatMap(([name, child]) => each(child, at === '' ? name : `${at}.${name}`))];
};

describe('defaults', () => {
  it('need no file and describe one process on loopback', () => {
    const config = loadConfig(undefined);
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.roles).toHaveLength(6);
    expect(config.edges).toEqual([]);
    expect(config.metrics.public).toBe(false);
    expect(config).not.toHaveProperty('adminListen');
    expect(config).not.toHaveProperty('publicUrl');
    expect(config.zones).toEqual([]);
  });

  it('B050: accounts start with detection only, unless a service asks for strict terms', () => {
    expect(loadConfig(undefined).licensing.levels).toBe('adaptive');
    expect(loadConfig(undefined, { licensing: { levels: 'strict' } }).licensing.levels).toBe('strict');
  });

  it('B063: every figure of the levels is an option, and by default the documented one', () => {
    const { enforcement, licensing } = loadConfig(undefined);
    expect(enforcementPolicy(enforcement, licensing)).toEqual(ENFORCEMENT_DEFAULTS);
    const { config } = checkConfig('enforcement: { slackSeconds: 60, lightShare: 0.25, licenses: 9, devices: 3, windowSeconds: 600, lateShare: 0.9, relaxAfterSeconds: 86400 }') as { config: Config };
    expect(enforcementPolicy(config.enforcement, config.licensing)).toMatchObject({ slack: 60_000_000, lightShare: 0.25, suppression: { licenses: 9, devices: 3, window: 600_000_000 }, lateRenewals: { share: 0.9 }, relaxAfter: 86_400_000_000 });
    expect(problemsOf('enforcement: { lightShare: 2 }')[0]).toContain('enforcement.lightShare must be a number from 0.05 to 1');
  });

  it('are what the generated file says', () => {
    expect(checkConfig(defaultYaml())).toEqual({ config: loadConfig(undefined) });
  });

  it('have examples beside them that are valid', () => {
    for (const { at, option } of each(SCHEMA)) {
      if (option.is === 'value' && option.example !== undefined) expect(option.read(option.example), at).toHaveProperty('value');
      if (option.is === 'list') {
        const nested = at.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), option.example);
        const checked = checkConfig(JSON.stringify({ zone: { name: 'core' }, ...(nested as object) }));
        expect('config' in checked, at).toBe(true);
      }
    }
  });
});

describe('refusals', () => {
  it('find every problem at once, with lines and without values', () => {
    const secret = 'hunter2-hunter2-hunter2';
    const problems = problemsOf(`licensing:\n  intervalSecond: 3\n  durationSeconds: ${secret}\nport: 3\nzones: {}\nlog: { level: loud }\n`);
    expect(problems).toEqual([
      'line 4: port is not an option; did you mean `listen.port`?',
      'line 5: zones must be a list; got a section',
      'line 2: licensing.intervalSecond is not an option; did you mean `intervalSeconds`?',
      'line 3: licensing.durationSeconds must be an integer from 2 to 86400; got a text of 23 characters',
      'line 6: log.level must be one of `debug`, `info`, `warn`, `error`; got a text of 4 characters',
    ]);
    expect(problems.join()).not.toContain(secret);
  });

  it('name the option that was probably meant', () => {
    const names = ['segmentSeconds', 'chunkMillis', 'windowSeconds'];
    expect(nearestName('segmentSecond', names)).toBe('segmentSeconds');
    expect(nearestName('sgementSeconds', names)).toBe('segmentSeconds');
    expect(nearestName('chunk', names)).toBe('chunkMillis');
    expect(nearestName('colour', names)).toBeUndefined();
  });

  it('cover broken YAML, duplicate keys, alias bombs and wrong roots', () => {
    expect(problemsOf('listen: [')[0]).toMatch(/^line \d+: the file is not valid YAML/);
    expect(problemsOf('data: a\ndata: b\n')[0]).toMatch(/^line 2: the file is not valid YAML \(DUPLICATE_KEY\)/);
    expect(problemsOf('- 1\n')).toEqual(['the file must be a section; got a list of 1']);
    const bomb = `a: &a [1,1,1,1,1,1,1,1,1,1]\n${Array.from('bcdefgh')
      .map((name, index) => `${name}: &${name} [${Array(10).fill(`*${'abcdefg'[index]}`).join(',')}]`)
      .join('\n')}\n`;
    expect(problemsOf(bomb)).toEqual(['the file has too many aliases']);
    expect(problemsOf('x'.repeat(1_000_001))).toEqual(['the file is larger than 1000000 characters']);
  });

  it('keep prototype names out', () => {
    expect(problemsOf('{"__proto__": {"data": "x"}, "constructor": 1, "listen": {"toString": 1}}')).toHaveLength(3);
  });

  it.each([
    ['licensing: { intervalSeconds: 200, durationSeconds: 100 }', 'licensing.durationSeconds must be at least'],
    ['licensing: { horizonSeconds: 100 }', 'licensing.horizonSeconds must be at least'],
    ['licensing: { maxLiveGrantSeconds: 100 }', 'licensing.maxLiveGrantSeconds must be at least'],
    ['packager: { periodSeconds: 0.5, groupPeriods: 1 }', 'licensing.horizonSeconds spans 28800 grant groups'],
    ['packager: { periodSeconds: 3 }', 'packager.periodSeconds must be a whole multiple or fraction'],
    ['packager: { chunkMillis: 2001 }', 'packager.chunkMillis must not exceed'],
    ['packager: { segmentSeconds: 2.0001 }', 'packager.segmentSeconds must be a number from'],
    ['tls: { mode: files }', 'tls mode `files` needs'],
    ['tls: { certFile: a, keyFile: b }', 'tls.mode must be `files`'],
    ['keyEncryptionKey: { file: a, env: B }', 'keyEncryptionKey takes `file` or `env`'],
    ['zones: [{ index: 3, name: x }]', 'zones must contain `zone`'],
    ['zones: [{ index: 0, name: default }, { index: 0, name: y }]', 'zones has an index twice'],
    ['entitlements: { keys: [{ kid: a }] }', 'entitlements.keys[0].alg is required'],
    ['entitlements: { keys: [{ kid: a, alg: ES256 }] }', 'entitlements.keys[0] needs exactly one of'],
    ['entitlements: { keys: [{ kid: a, alg: HS256, jwkFile: f }] }', 'entitlements.keys[0] uses secretFile with HS256'],
    ['entitlements: { keys: [{ kid: a, alg: ES256, jwk: { kty: EC, d: x } }] }', 'entitlements.keys[0].jwk holds a private'],
    ['entitlements: { keys: [{ kid: a, alg: HS256, secretFile: f }, { kid: a, alg: HS256, secretFile: g }] }', 'entitlements.keys has a kid twice'],
    ['publicUrl: "https://user:pw@example.com"', 'publicUrl must be an http or https URL without credentials'],
    ['roles: []', 'roles must be a list of one or more'],
    ['roles: [edge, edge]', 'roles must be a list of one or more'],
    ['listen: { host: "not a host" }', 'listen.host must be a host name'],
  ])('%s', (text, problem) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });

  it('never throw, whatever the file holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string({ maxLength: 300 })), (text) => {
        const checked = checkConfig(text);
        expect('config' in checked || checked.problems.length > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('loading', () => {
  it('lays overrides over the file and validates the result', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealcast-config-'));
    try {
      const file = join(folder, 'sealcast.json');
      writeFileSync(file, JSON.stringify({ listen: { host: '::1', port: 1 }, zones: [{ index: 0, name: 'default' }] }));
      expect(loadConfig(file, { listen: { port: 2 }, roles: ['edge'] })).toMatchObject({ listen: { host: '::1', port: 2 }, roles: ['edge'] });
      expect(() => loadConfig(file, { listen: { port: 70_000 } })).toThrow('listen.port must be an integer from 0 to 65535');
      expect(loadConfig(undefined, { adminListen: { port: 9 } }).adminListen).toEqual({ host: '127.0.0.1', port: 9 });
      try {
        loadConfig(join(folder, 'absent.yaml'));
        expect.unreachable();
      } catch (error) {
        expect(isSealcastError(error, 'config-invalid')).toBe(true);
        expect(String(error)).toContain('ENOENT');
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('does not let an override hide a broken section of the file', () => {
    const checked = checkConfig('listen: 8080', { listen: { port: 1 } });
    expect('problems' in checked && checked.problems[0]?.problem).toBe('must be a section; got the number 8080');
  });
});

describe('documents', () => {
  it('the reference page is what the schema says', () => {
    expect(readFileSync(new URL('../../../docs/reference/configuration.md', import.meta.url), 'utf8'), 'run: node scripts/build-reference.ts').toBe(referenceMarkdown());
  });

  it('every option is documented, and every number with a dimension names its unit', () => {
    for (const { at, option } of each(SCHEMA)) {
      expect(option.doc, at).toMatch(/\.$/);
      if (option.is !== 'value') continue;
      expect(option.default !== undefined || option.example !== undefined || /^entitlements|^tls/.test(at), `${at} shows a default or an example`).toBe(true);
      if (/(?:Seconds|Millis|Hours|Percent|Megabytes)$/.test(at)) expect(option.unit, at).toBeTypeOf('string');
    }
  });
});
