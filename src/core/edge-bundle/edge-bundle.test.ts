// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EdgeBundle, encodeEdgeBundle, parseEdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import type { TokenKey } from '#core/edge-bundle/token-key.ts';
import { isSealcastError } from '#core/errors.ts';
import { assetId, deviceId, sessionId } from '#core/ids.ts';
import { micros } from '#core/time.ts';
import { startSchedule } from '#core/watermark/index.ts';

const bundle: EdgeBundle = {
  version: 12,
  issuedAt: micros(1_800_000_000_000_000),
  edge: 'edge-1',
  zone: { index: 3, name: 'eu' },
  epochs: [
    { epoch: 7, mediaTokenKey: new Uint8Array(32).fill(0xaa), zoneKey: new Uint8Array(32).fill(0xbb), notBefore: micros(1), notAfter: micros(9) },
    { epoch: 8, mediaTokenKey: new Uint8Array(32).fill(0xcc), notBefore: micros(5), notAfter: micros(20) },
  ],
  revokedSessions: [{ session: sessionId('BwMAAQIDBAUGBwgJCgsMDQ4P'), until: micros(9), reason: 'leak-traced' }],
  revokedDevices: [{ device: deviceId('A'.repeat(43)), until: micros(9) }],
  validUntil: micros(1_800_000_600_000_000),
};
type Wire = Record<string, unknown> & { epochs: Record<string, unknown>[]; revokedSessions: Record<string, unknown>[] };
const wire = (change: (value: Wire) => void): string => {
  const value = JSON.parse(encodeEdgeBundle(bundle)) as Wire;
  change(value);
  return JSON.stringify(value);
};
const failure = (plain: string): unknown => {
  try {
    return parseEdgeBundle(plain);
  } catch (error) {
    return error;
  }
};

const jwk = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) } as const;
const tokenKeys: TokenKey[] = [
  { format: 'cwt', kid: '', alg: 'HS256', key: new Uint8Array(32).fill(0xaa) },
  { format: 'jwt', kid: 'k', alg: 'ES256', key: jwk, issuer: 'i', audience: 'a', asset: assetId('cup') },
  { format: 'cwt', kid: 'p', alg: 'A128GCM', key: new Uint8Array(16) },
  { format: 'cwt', kid: 'p', alg: 'ECDH-SS+A128KW', key: { ...jwk, d: 'A'.repeat(43) } },
];

describe('keys of other makers\' tokens', () => {
  const withKeys = (keys: unknown): string => wire((value) => (value['tokenKeys'] = keys));
  it('round-trip', () => {
    expect(parseEdgeBundle(encodeEdgeBundle({ ...bundle, tokenKeys }))).toEqual({ ...bundle, tokenKeys });
  });
  const good = { format: 'cwt', kid: 'k', alg: 'HS256', key: 'q'.repeat(42) + 'o' };
  it.each<[string, unknown]>([
    ['no list', {}],
    ['one twice', [good, good]],
    ['an unknown format', [{ ...good, format: 'saml' }]],
    ['an unknown algorithm', [{ ...good, alg: 'HS512' }]],
    ['a short secret', [{ ...good, key: 'qqqq' }]],
    ['a secret where a public key belongs', [{ ...good, alg: 'ES256' }]],
    ['a public key where a secret belongs', [{ ...good, key: jwk }]],
    ['a private key for verifying', [{ ...good, alg: 'ES256', key: { ...jwk, d: 'A'.repeat(43) } }]],
    ['a public key for agreeing', [{ ...good, alg: 'ECDH-SS+A128KW', key: jwk }]],
    ['a key id with a line break', [{ ...good, kid: 'a\nb' }]],
    ['an asset that is a path', [{ ...good, asset: '../x' }]],
    ['an empty issuer', [{ ...good, issuer: '' }]],
  ])('refuses %s', (_name, keys) => {
    const error = failure(withKeys(keys));
    expect(isSealcastError(error, 'key-unavailable')).toBe(true);
    expect(String(error)).not.toContain('qqqq');
  });
});

const plan: MarkPlan = {
  asset: assetId('cup'), sequencing: true, representations: ['v720'], names: 'letters', pace: 'number', alphabet: 5, book: 'aligned',
  schedule: startSchedule({ alphabet: 5, viewers: 1e6 }), keys: [{ epoch: 0, key: new Uint8Array(32).fill(0xaa) }], viewerKeys: [{ version: 1, key: new Uint8Array(32).fill(0xaa) }],
};

describe('marks', () => {
  it('round-trip', () => {
    expect(parseEdgeBundle(encodeEdgeBundle({ ...bundle, marks: [plan] }))).toEqual({ ...bundle, marks: [plan] });
  });
  it.each<[string, Record<string, unknown>]>([
    ['an alphabet of 1', { alphabet: 1 }],
    ['an alphabet of 9', { alphabet: 9 }],
    ['no schedule', { schedule: [] }],
    ['a schedule that overlaps', { schedule: [{ from: 0, length: 9 }, { from: 4, length: 9 }] }],
    ['a short key', { keys: [{ epoch: 0, key: 'qqqq' }] }],
    ['an unknown book', { book: 'mine' }],
    ['an unknown pace', { pace: 'always' }],
    ['a representation that is a path', { representations: ['../v'] }],
    ['sequencing as text', { sequencing: 'yes' }],
    ['an asset that is a path', { asset: '../x' }],
  ])('refuse %s', (_name, change) => {
    const written = JSON.parse(encodeEdgeBundle({ ...bundle, marks: [plan] })) as { marks: object[] };
    const error = failure(JSON.stringify({ ...written, marks: [{ ...written.marks[0], ...change }] }));
    expect(isSealcastError(error)).toBe(true);
    expect(String(error)).not.toContain('qqqq');
  });
  const inBand: MarkPlan = { ...plan, alphabet: 2, schedule: [{ from: 0 as never, length: 48 }], inBand: { slots: 16, boxKeys: [{ epoch: 3, key: new Uint8Array(32).fill(0xbb) }] } };
  it('inside the bitstream round-trip', () => {
    expect(parseEdgeBundle(encodeEdgeBundle({ ...bundle, marks: [inBand] }))).toEqual({ ...bundle, marks: [inBand] });
  });
  it.each<[string, Record<string, unknown>]>([
    ['with three symbols', { alphabet: 3, schedule: [{ from: 0, length: 9 }] }],
    ['at the pace of an origin', { pace: 'origin' }],
    ['without slots', { inBand: { slots: 0, boxKeys: [] } }],
    ['with more slots than a profile names', { inBand: { slots: 129, boxKeys: [] } }],
    ['without box keys', { inBand: { slots: 16 } }],
    ['with a short box key', { inBand: { slots: 16, boxKeys: [{ epoch: 0, key: 'qqqq' }] } }],
    ['with an epoch that is no u32', { inBand: { slots: 16, boxKeys: [{ epoch: 2 ** 32, key: 'q'.repeat(42) + 'o' }] } }],
  ])('inside the bitstream refuse %s', (_name, change) => {
    const written = JSON.parse(encodeEdgeBundle({ ...bundle, marks: [inBand] })) as { marks: object[] };
    const error = failure(JSON.stringify({ ...written, marks: [{ ...written.marks[0], ...change }] }));
    expect(isSealcastError(error)).toBe(true);
    expect(String(error)).not.toContain('qqqq');
  });
  it('refuse an asset twice', () => {
    expect(isSealcastError(failure(encodeEdgeBundle({ ...bundle, marks: [plan, plan] })), 'key-unavailable')).toBe(true);
  });
});

describe('edge bundle', () => {
  it('round-trips', () => {
    expect(parseEdgeBundle(encodeEdgeBundle(bundle))).toEqual(bundle);
  });
  it('has the members of docs/wire/edge-bundle.md', () => {
    expect(JSON.parse(encodeEdgeBundle(bundle))).toEqual({
      version: 12,
      issuedAt: 1_800_000_000_000_000,
      edge: 'edge-1',
      zone: { index: 3, name: 'eu' },
      epochs: [
        { epoch: 7, mediaTokenKey: 'qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo', zoneKey: 'u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7s', notBefore: 1, notAfter: 9 },
        { epoch: 8, mediaTokenKey: 'zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMw', notBefore: 5, notAfter: 20 },
      ],
      revokedSessions: [{ sid: 'BwMAAQIDBAUGBwgJCgsMDQ4P', until: 9, reason: 'leak-traced' }],
      revokedDevices: [{ device: 'A'.repeat(43), until: 9 }],
      validUntil: 1_800_000_600_000_000,
    });
  });
  it('ignores members of a newer server', () => {
    expect(parseEdgeBundle(wire((value) => Object.assign(value, { markKeys: [1] })))).toEqual(bundle);
  });

  it.each<[string, (value: Wire) => void]>([
    ['no version', (value) => delete value['version']],
    ['a negative version', (value) => (value['version'] = -1)],
    ['a fractional instant', (value) => (value['validUntil'] = 1.5)],
    ['an instant as text', (value) => (value['issuedAt'] = '1')],
    ['a zone index beyond u8', (value) => (value['zone'] = { index: 256, name: 'eu' })],
    ['no zone name', (value) => (value['zone'] = { index: 1 })],
    ['epochs that are no list', (value) => Object.assign(value, { epochs: {} })],
    ['an epoch twice', (value) => value.epochs.push({ ...value.epochs[0] })],
    ['a key of 31 bytes', (value) => Object.assign(value.epochs[0] ?? {}, { mediaTokenKey: 'A'.repeat(42) })],
    ['a key that is not base64url', (value) => Object.assign(value.epochs[0] ?? {}, { mediaTokenKey: '+'.repeat(43) })],
    ['a zone key of the wrong length', (value) => Object.assign(value.epochs[0] ?? {}, { zoneKey: 'AAAA' })],
    ['an epoch that ends before it starts', (value) => Object.assign(value.epochs[0] ?? {}, { notAfter: 0 })],
    ['a revoked session without a reason', (value) => delete value.revokedSessions[0]?.['reason']],
    ['a revoked session that is none', (value) => Object.assign(value.revokedSessions[0] ?? {}, { sid: 'x' })],
    ['a revoked device that is none', (value) => (value['revokedDevices'] = [{ device: 'x', until: 1 }])],
    ['a revocation that is no object', (value) => (value['revokedDevices'] = [1])],
  ])('refuses %s without repeating a secret', (_name, change) => {
    const error = failure(wire(change));
    expect(isSealcastError(error)).toBe(true);
    expect(String(error)).not.toContain('qqqqqq');
  });
  it('refuses what is not one JSON object', () => {
    for (const text of ['', '[]', 'null', '{"version":1,"version":2}']) expect(isSealcastError(failure(text), 'key-unavailable')).toBe(true);
  });
  it('answers any JSON object with a bundle or a SealcastError', () => {
    fc.assert(fc.property(fc.dictionary(fc.constantFrom(...Object.keys(bundle)), fc.jsonValue()), (value) => isSealcastError(failure(JSON.stringify(value)))));
  });
});
