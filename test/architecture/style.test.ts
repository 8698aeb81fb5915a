// SPDX-License-Identifier: Apache-2.0
/** The house rules that a program can check (CONTRIBUTING rules 1, 3, 4, 7): headers, lengths, names, purity, docblocks, secrets. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow, isTest, ROOT, sources, textOf, withoutComments } from './sources.ts';

const typescript = (): string[] => filesBelow().filter((path) => /\.tsx?$/.test(path) && !path.endsWith('.d.ts'));
const header = (path: string): string => /^(?:#!.*\n)?\/\/ SPDX[^\n]*\n(\/\*\*[\s\S]*?\*\/)/.exec(textOf(path))?.[1] ?? '';

describe('files', () => {
  it('open with one SPDX line and, unless they are tests beside sources, a block that says what they are', () => {
    const files = [...typescript(), ...filesBelow('bin')];
    expect(files.filter((path) => !/^(?:#!.*\n)?\/\/ SPDX-License-Identifier: Apache-2\.0\n/.test(textOf(path)) && path !== 'vitest.config.ts')).toEqual([]);
    expect(files.filter((path) => !/^(?:#!.*\n)?\/\/.*\n\/\*\*?[\s\S]{20,}?\*\//.test(textOf(path)) && !isTest(path) && path !== 'vitest.config.ts')).toEqual([]);
  });

  it('over 400 lines say why, in a header line that starts with `Length:`', () => {
    expect(typescript().filter((path) => textOf(path).split('\n').length > 400 && !/^ \* Length: .{20,}/m.test(header(path)))).toEqual([]);
  });

  it('are named after what they hold', () => {
    expect(filesBelow().filter((path) => /(?:^|\/)(?:utils?|helpers?|common|misc|shared|stuff)(?:\/|\.\w+$)/i.test(path))).toEqual([]);
    expect(sources().filter((path) => !/^src(?:\/[a-z0-9]+(?:-[a-z0-9]+)*)+\.ts$/.test(path))).toEqual([]);
  });

  it('hold nothing unfinished and switch no test off', () => {
    // Put together from pieces, or this file would find itself.
    const unfinished = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`);
    const off = new RegExp(`\\b(?:it|test|describe)(?:\\.\\w+)*\\.(?:${['sk' + 'ip', 'on' + 'ly', 'to' + 'do', 'sk' + 'ipIf', 'run' + 'If'].join('|')})\\b`);
    expect(typescript().filter((path) => unfinished.test(textOf(path)))).toEqual([]);
    expect(typescript().filter((path) => off.test(withoutComments(textOf(path))))).toEqual([]);
  });
});

describe('core', () => {
  it('takes time, randomness and I/O as arguments and is synchronous', () => {
    const impure = /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\basync\b|\bawait\b|\bPromise\b|\bconsole\.|\bsetTimeout\b|\bperformance\.|\bcrypto\.|\bfetch\(|\bprocess\./;
    const wrong = sources()
      .filter((path) => path.startsWith('src/core/'))
      .flatMap((path) => {
        const found = impure.exec(withoutComments(textOf(path)));
        return found === null ? [] : [`${path}: ${found[0]}`];
      });
    expect(wrong).toEqual([]);
  });

  it('is followed by every role, the client and crypto: clocks and randomness come through ports', () => {
    const impure = /\bDate\.now\b|\bMath\.random\b|\bsetTimeout\(|\bsetInterval\(|\bperformance\.now\b|\bprocess\.\w|\bBuffer\.\w|\bgetRandomValues\b/;
    const wrong = sources()
      .filter((path) => /^src\/(?:crypto|packager|key-server|license-server|renewal|edge|tracer|operations|client)\//.test(path))
      // The one place where the client reads the clock and randomness of browsers, workers and Node alike.
      .filter((path) => path !== 'src/client/clock.ts')
      .flatMap((path) => {
        const found = impure.exec(withoutComments(textOf(path)));
        return found === null ? [] : [`${path}: ${found[0]}`];
      });
    expect(wrong).toEqual([]);
  });
});

/** The name that a line declares and exports. */
const declared = (line: string): string | undefined =>
  /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type|enum)\s+([\w$]+)/.exec(line)?.[1];

describe('exports', () => {
  it('have a doc comment of their own', () => {
    const wrong: string[] = [];
    for (const path of sources().filter((each) => !each.endsWith('/index.ts'))) {
      const lines = textOf(path).split('\n');
      const documented = new Set<string>();
      for (const [index, line] of lines.entries()) {
        const name = declared(line);
        if (name === undefined || documented.has(name)) continue;
        let above = index - 1;
        while (above >= 0 && /^\/\/ (?:biome|oxlint)-/.test(lines[above] ?? '')) above -= 1;
        let start = above;
        while (start > 0 && !(lines[start] ?? '').startsWith('/**')) start -= 1;
        // The block at line 2 belongs to the file.
        const hasOwn = (lines[above] ?? '').endsWith('*/') && start > 1;
        // One-line exports in one run share the comment above the first.
        const shares = documented.has(declared(lines[index - 1] ?? '') ?? '');
        if (hasOwn || shares) documented.add(name);
        else wrong.push(`${path}:${index + 1} ${name}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('the repository', () => {
  const texts = (): string[] =>
    filesBelow().filter((path) => !/\.(?:mp4|m4s|cmf[vat]|png|jpe?g|webp|gif|woff2?|bin|ico|tgz)$/.test(path) && statSync(join(ROOT, path)).size < 2_000_000);

  it('holds no private key outside the published test vectors', () => {
    const pem = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{60,}/;
    const jwk = /["']?\bd["']?\s*:\s*["'][A-Za-z0-9_-]{42,}["']/;
    expect(texts().filter((path) => !path.startsWith('test/vectors/') && (pem.test(textOf(path)) || jwk.test(textOf(path))))).toEqual([]);
  });

  it('names no path of one machine', () => {
    // Put together from pieces, or this file would find itself.
    const paths = new RegExp(
      [
        ['/work', '/(?:main|shared)\\b'],
        ['/home', '/[a-z]'],
        ['/Us', 'ers/[a-z]'],
        ['/tmp', '/brief'],
      ]
        .map((pieces) => pieces.join(''))
        .join('|'),
    );
    expect(texts().filter((path) => paths.test(textOf(path)))).toEqual([]);
  });
});
