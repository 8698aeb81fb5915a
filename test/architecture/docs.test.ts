// SPDX-License-Identifier: Apache-2.0
/** Documents point at things that exist: links, anchors, and paths of the repository in code font. */
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow, ROOT, textOf } from './sources.ts';

const documents = (): string[] => filesBelow().filter((path) => path.endsWith('.md'));
const withoutCode = (markdown: string): string => markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
/** Anchors as GitHub makes them from headings. */
const anchorsOf = (path: string): Set<string> =>
  new Set(
    [...textOf(path).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[`*_]/g, '')
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .replace(/[^\p{L}\p{N}\s-]/gu, '')
        .trim()
        .replace(/\s/g, '-'),
    ),
  );

describe('documents', () => {
  it('link to files and headings that exist', () => {
    const broken: string[] = [];
    for (const path of documents()) {
      for (const [, link = ''] of withoutCode(textOf(path)).matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)) {
        if (/^[a-z][a-z0-9+.-]*:/i.test(link)) continue;
        const [file = '', anchor] = link.split('#');
        const target = file === '' ? path : posix.normalize(posix.join(posix.dirname(path), decodeURI(file)));
        if (!existsSync(join(ROOT, target))) broken.push(`${path}: ${link}`);
        else if (anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)) broken.push(`${path}: ${link} (no such heading)`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('name files and folders of the repository that exist', () => {
    const broken: string[] = [];
    for (const path of documents()) {
      for (const [, code = ''] of textOf(path)
        .replace(/^```[\s\S]*?^```/gm, '')
        .matchAll(/`((?:src|test|docs|bench|scripts|examples|dashboard|bin)\/[^`\s]*)`/g)) {
        // Patterns and placeholders are not names.
        if (/[*<>{}…]|\.\.\./.test(code)) continue;
        if (!existsSync(join(ROOT, code.replace(/[#:].*$/, '').replace(/\/$/, '')))) broken.push(`${path}: ${code}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('use plain addresses only over https', () => {
    expect(documents().filter((path) => /\]\(http:\/\/(?!localhost|127\.)/.test(textOf(path)))).toEqual([]);
  });
});
