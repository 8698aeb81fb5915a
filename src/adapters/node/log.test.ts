// SPDX-License-Identifier: Apache-2.0
/** The log never prints a secret, in either format, wherever it hides. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SealcastError } from '#core/errors.ts';
import { createLog } from './log.ts';
import { isSecretName, redactFields, redactText } from './redact.ts';

const SECRET = 'c0ffee00c0ffee00c0ffee00c0ffee00';
const JWT = `eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.${'s'.repeat(86)}`;
const JWE = `eyJhbGciOiJFQ0RILUVTIn0..${'a'.repeat(16)}.${'b'.repeat(40)}.${'c'.repeat(22)}`;
const OPERATOR_TOKEN = `so_${'Zz9-_'.repeat(9).slice(0, 43)}`;

const written = (format: 'json' | 'lines', message: string, fields?: Record<string, unknown>): string => {
  let text = '';
  createLog({ format, level: 'debug', write: (line) => void (text += line) }).error(message, fields);
  return text;
};

describe('log', () => {
  const names = ['key', 'token', 'authorization', 'Authorization', 'license', 'licence', 'entitlement', 'credential', 'proof', 'contentKey', 'content_key', 'mediaToken', 'ingest-credential', 'grantKeys', 'sealedEntryKey', 'tokenHash', 'signingKeyJwk', 'password', 'cookie', 'rk', 'nonce'];
  for (const name of names) {
    it(`hides a field named ${name} in both formats, at any depth`, () => {
      for (const format of ['json', 'lines'] as const) {
        const text = written(format, 'something', { [name]: SECRET, nested: { list: [{ [name]: { value: SECRET } }] }, asset: 'cup' });
        expect(text).not.toContain(SECRET);
        expect(text).toContain('[redacted]');
        expect(text).toContain('cup');
      }
    });
  }

  it('keeps what only speaks of a secret', () => {
    for (const name of ['keyGroup', 'keyServer', 'kid', 'tokenKind', 'licenseCount', 'sid', 'asset', 'outcome', 'monkey', 'stateful']) expect(isSecretName(name)).toBe(false);
    expect(redactFields({ keyGroup: 'video', state: 'degraded', hasToken: true, licenseServer: 'up' })).toEqual({ keyGroup: 'video', state: 'degraded', hasToken: true, licenseServer: 'up' });
  });

  it('hides tokens inside messages, addresses, errors and causes', () => {
    const error = new SealcastError('internal', `fetch of https://edge.example/media/${JWT}/cup/manifest.mpd failed`, { cause: new Error(`Authorization: Bearer ${SECRET}`) });
    for (const format of ['json', 'lines'] as const) {
      const text = written(format, `token was ${JWT} and ${OPERATOR_TOKEN}`, { error, url: `https://edge.example/x?token=${SECRET}&a=1`, body: JWE });
      for (const secret of [JWT, JWE, SECRET, OPERATOR_TOKEN]) expect(text).not.toContain(secret);
      expect(text).toContain('manifest.mpd');
      expect(text).toContain('a=1');
    }
  });

  it('prints no bytes, whatever their name', () => {
    const bytes = new Uint8Array(16).fill(0xc0);
    expect(redactFields({ payload: bytes, buffer: bytes.buffer, list: [bytes] })).toEqual({ payload: '[16 bytes]', buffer: '[16 bytes]', list: ['[16 bytes]'] });
  });

  it('survives anything', () => {
    const loop: Record<string, unknown> = { asset: 'cup' };
    loop['self'] = loop;
    expect(written('json', 'loop', loop)).toContain('[deeper]');
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.anything()), (fields) => written('json', 'any', fields) !== '' && written('lines', 'any', fields).endsWith('\n')), { seed: 7, numRuns: 200 });
  });

  it('writes one JSON object per line, with level, time and message', () => {
    const line = JSON.parse(written('json', 'edge ready', { asset: 'cup' })) as Record<string, unknown>;
    expect(line).toMatchObject({ level: 'error', message: 'edge ready', asset: 'cup' });
    expect(String(line['time'])).toMatch(/^\d{4}-\d\d-\d\dT/);
  });

  it('obeys the level', () => {
    for (const format of ['json', 'lines'] as const) {
      const lines: string[] = [];
      const log = createLog({ format, level: 'warn', write: (line) => lines.push(line) });
      log.debug('a');
      log.info('b');
      log.warn('c');
      log.error('d');
      expect(lines.length).toBe(2);
    }
  });

  it('leaves plain text alone', () => {
    fc.assert(fc.property(fc.stringMatching(/^[a-z ,;0-9]{0,60}$/), (text) => /\b(bearer|basic)\s/.test(text) || redactText(text) === text), { seed: 7 });
  });
});
