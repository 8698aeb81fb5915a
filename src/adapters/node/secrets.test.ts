// SPDX-License-Identifier: Apache-2.0
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { nodeKeyWrapper } from './key-wrap.ts';
import { nodeLadderHash } from './ladder-hash.ts';
import { createSecretBox, loadKeyEncryptionKey } from './secret-box.ts';

const kek = new Uint8Array(32).map((_, i) => i);
const warnings: string[] = [];
const log = { debug: () => undefined, info: () => undefined, warn: (message: string) => void warnings.push(message), error: () => undefined };

describe('AES key wrap', () => {
  it('matches RFC 3394 section 4.3 and 4.6', () => {
    const wrap = (key: string) => encodeHex(nodeKeyWrapper.wrap(kek, decodeHex(key)));
    expect(wrap('00112233445566778899aabbccddeeff')).toBe('64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7');
    expect(wrap('00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f')).toBe('28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21');
  });
  it('rejects a wrong key, any changed byte and any truncation', () => {
    const key = new Uint8Array(32).fill(6);
    const wrapped = nodeKeyWrapper.wrap(kek, key);
    expect(nodeKeyWrapper.unwrap(kek, wrapped)).toEqual(key);
    expect(nodeKeyWrapper.unwrap(new Uint8Array(32), wrapped)).toBeUndefined();
    fc.assert(fc.property(fc.nat(39), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const altered = wrapped.slice();
      altered[at] = (altered[at] ?? 0) ^ by;
      expect(nodeKeyWrapper.unwrap(kek, altered)).toBeUndefined();
      expect(nodeKeyWrapper.unwrap(kek, wrapped.subarray(0, at))).toBeUndefined();
    }));
  });
  it('takes keys of the right sizes only', () => {
    expect(() => nodeKeyWrapper.wrap(new Uint8Array(16), new Uint8Array(32))).toThrow(RangeError);
    expect(() => nodeKeyWrapper.wrap(kek, new Uint8Array(12))).toThrow(RangeError);
    expect(() => nodeKeyWrapper.unwrap(new Uint8Array(16), new Uint8Array(40))).toThrow(RangeError);
  });
});

describe('ladder hashes', () => {
  it('are those of the portable code, byte for byte', () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(fc.property(bytes, bytes, bytes, fc.integer({ min: 1, max: 64 }), (a, b, c, length) => {
      expect(encodeHex(nodeLadderHash.hmac(a, b))).toBe(encodeHex(ladderHash.hmac(a, b)));
      expect(encodeHex(nodeLadderHash.sha256(a))).toBe(encodeHex(ladderHash.sha256(a)));
      expect(encodeHex(nodeLadderHash.hkdf(a, b, c, length))).toBe(encodeHex(ladderHash.hkdf(a, b, c, length)));
    }));
  });
});

describe('secret box', () => {
  it('opens what it sealed, each time sealed differently', async () => {
    const box = createSecretBox(kek);
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.string(), async (plain, context) => {
      const [a, b] = [await box.seal(plain, context), await box.seal(plain, context)];
      expect(await box.open(a, context)).toEqual(plain);
      expect(encodeHex(a)).not.toBe(encodeHex(b));
    }), { numRuns: 50 });
  });
  it('opens under no other key, context, byte or length, and names neither', async () => {
    const box = createSecretBox(kek);
    const sealed = await box.seal(new Uint8Array(32).fill(0xee), 'title-key/film/1');
    await expect(createSecretBox(new Uint8Array(32)).open(sealed, 'title-key/film/1')).rejects.toMatchObject({ code: 'config-invalid' });
    await expect(box.open(sealed, 'title-key/film/2')).rejects.toMatchObject({ code: 'config-invalid' });
    for (let at = 0; at < sealed.length; at++) {
      const altered = sealed.slice();
      altered[at] = (altered[at] ?? 0) ^ 1;
      await expect(box.open(altered, 'title-key/film/1')).rejects.toMatchObject({ code: 'config-invalid' });
      await expect(box.open(sealed.subarray(0, at), 'title-key/film/1')).rejects.toMatchObject({ code: 'config-invalid' });
    }
  });
  it('refuses key-encryption keys of another size', () => {
    expect(() => createSecretBox(new Uint8Array(16))).toThrow('32 bytes; got 16');
  });
});

describe('the key-encryption key', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sealcast-kek-'));
    warnings.length = 0;
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('comes from a file or an environment variable, in any of three spellings', async () => {
    for (const text of [kek, encodeHex(kek), `${encodeHex(kek).toUpperCase()}\n`, encodeBase64url(kek)]) {
      await writeFile(join(folder, 'kek'), text);
      expect(await loadKeyEncryptionKey({ file: join(folder, 'kek') }, log)).toEqual({ kek, development: false });
    }
    expect((await loadKeyEncryptionKey({ environment: encodeBase64url(kek) }, log)).kek).toEqual(kek);
    expect(warnings).toEqual([]);
  });
  it('is refused missing, in a wrong size, or given twice, without being quoted', async () => {
    const refused = async (source: object): Promise<string> => loadKeyEncryptionKey(source, log).then(() => 'taken', (error: Error) => error.message);
    expect(await refused({ file: join(folder, 'none') })).toContain('cannot be read');
    expect(await refused({ environment: 'hunter2' })).toMatch(/32 bytes.*got 7 bytes/);
    expect(await refused({ environment: 'hunter2' })).not.toContain('hunter2');
    expect(await refused({ file: 'a', environment: 'b' })).toContain('not both');
    expect(await refused({})).toContain('required');
  });
  it('is made for development once, private, and warns at every start', async () => {
    const first = await loadKeyEncryptionKey({ developmentFolder: join(folder, 'data') }, log);
    const second = await loadKeyEncryptionKey({ developmentFolder: join(folder, 'data') }, log);
    expect(second).toEqual(first);
    expect(first.development).toBe(true);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('DEVELOPMENT KEY');
    expect((await stat(join(folder, 'data', 'development-kek'))).mode & 0o777).toBe(0o600);
    expect(warnings.join()).not.toContain((await readFile(join(folder, 'data', 'development-kek'), 'utf8')).trim());
  });
  it('is the same for processes that start at once, and leaves nothing beside it', async () => {
    const loaded = await Promise.all(Array.from({ length: 8 }, () => loadKeyEncryptionKey({ developmentFolder: folder }, log)));
    expect(new Set(loaded.map((item) => encodeHex(item.kek))).size).toBe(1);
    expect(await readdir(folder)).toEqual(['development-kek']);
  });
});
