// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const VECTOR = '0YRDoQEFoFgqpwFmc2lnbmV0BBpxP7MABhprSdIAGQEsARkBLQAZAS4YIBkBMEQKCwwNWCC-68vUvLf391F-DY55K7GKQP3_ktSaAJEfbtp8lUzNRA';
const CLAIMS = { iss: 'signet', exp: 1_900_000_000, iat: 1_800_000_000, wmver: 1, wmvnd: 0, wmpatlen: 32, wmpattern: 'CgsMDQ' };
const SECRET = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8';

let folder: string;
const file = (name: string, value: unknown): string => {
  const path = join(folder, name);
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
  return path;
};
const run = (args: readonly string[], input: string): { code: number | null; out: string; err: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'token', ...args], { input, encoding: 'utf8' });
  return { code: status, out: stdout.trim(), err: stderr };
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-token-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('sealcast token', () => {
  it('mints and verifies the published CWT vector', () => {
    const key = file('hs.json', { format: 'cwt', kid: '', alg: 'HS256', key: SECRET });
    expect(run(['mint', '--key', key], JSON.stringify(CLAIMS))).toMatchObject({ code: 0, out: VECTOR });
    const { code, out } = run(['verify', '--json', '--at', '1850000000', '--key', key], `${VECTOR}\n`);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({ ok: true, format: 'cwt', claims: { issuer: 'signet', exp: 1_900_000_000, iat: 1_800_000_000, mark: { version: 1, vendor: 0, patternLength: 32, pattern: 'CgsMDQ' } } });
    expect(run(['verify', '--at', '1900000000', '--key', key], VECTOR)).toMatchObject({ code: 1, out: '', err: expect.stringContaining('token-expired') });
  });
  it('signs with a private key and verifies with the public one alone', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const common = { format: 'jwt', kid: 'k', alg: 'ES256' };
    const both = file('private.json', { ...common, key: privateKey.export({ format: 'jwk' }) });
    const open = file('public.json', { ...common, key: publicKey.export({ format: 'jwk' }) });
    const { token } = JSON.parse(run(['mint', '--json', '--key', both], JSON.stringify({ ...CLAIMS, wmid: 'v1', wmpattern: undefined })).out) as { token: string };
    expect(run(['verify', '--json', '--at', '1850000000', '--key', open], token)).toMatchObject({ code: 0, out: expect.stringContaining('"id":"v1"') });
    expect(run(['mint', '--key', open], JSON.stringify(CLAIMS)).code).toBe(2);
  });
  it('says what is wrong, without repeating a key or a token', () => {
    const short = file('short.json', { format: 'cwt', kid: '', alg: 'HS256', key: 'c2VjcmV0' });
    const refused = run(['mint', '--key', short], '{}');
    expect([refused.code, refused.err.includes('c2VjcmV0')]).toEqual([1, false]);
    const key = file('hs.json', { format: 'cwt', kid: '', alg: 'HS256', key: SECRET });
    expect(run(['mint', '--key', key], '{"exp":1,"exp":2}')).toMatchObject({ code: 1, err: expect.stringContaining('repeated names') });
    expect(run(['mint', '--key', key], '{"asset":"cup"}')).toMatchObject({ code: 1, err: expect.stringContaining('no claim asset') });
    const bad = run(['verify', '--json', '--key', key], `${VECTOR.slice(0, -4)}AAAA`);
    expect([bad.code, JSON.parse(bad.out)]).toEqual([1, { ok: false, code: 'token-invalid', detail: 'the signature does not match' }]);
    expect(run(['verify', '--key', join(folder, 'none')], '').code).toBe(2);
  });
});
