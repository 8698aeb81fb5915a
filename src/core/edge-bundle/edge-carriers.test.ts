// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_CARRIERS_PER_REQUEST, parseEdgeCarriers } from '#core/edge-bundle/edge-carriers.ts';

const row = { session: 'BwMAAQIDBAUGBwgJCgsMDQ4P', prefix: '203.0.113.0/24', agent: '9f86d081884c7d65', bytes: 4096, from: 5, to: 9 };

describe('what an edge tells of ended sessions', () => {
  it('is taken as it is', () => {
    expect(parseEdgeCarriers([row, { ...row, prefix: '2001:db8:1::/48', agent: '' }, { ...row, prefix: 'unknown', to: 5 }])).toHaveLength(3);
    expect(parseEdgeCarriers([])).toEqual([]);
  });
  it.each([
    ['no list', row],
    ['too many', Array.from({ length: MAX_CARRIERS_PER_REQUEST + 1 }, () => row)],
    ['a full address', [{ ...row, prefix: '203.0.113.77' }]],
    ['an agent in clear', [{ ...row, agent: 'Mozilla/5.0' }]],
    ['another member', [{ ...row, token: 'x' }]],
    ['a session that is none', [{ ...row, session: '../..' }]],
    ['time that runs back', [{ ...row, to: 4 }]],
    ['bytes below zero', [{ ...row, bytes: -1 }]],
    ['bytes that are no number', [{ ...row, bytes: Number.NaN }]],
  ])('with %s is refused', (_name, value) => expect(() => parseEdgeCarriers(value)).toThrow(expect.objectContaining({ code: 'credential-invalid' })));
  it('whatever comes is refused with a code or bounded', () => {
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.array(fc.record(Object.fromEntries(Object.keys(row).map((name) => [name, fc.jsonValue()]))))), (value) => {
        try {
          return parseEdgeCarriers(value).length <= MAX_CARRIERS_PER_REQUEST;
        } catch (error) {
          return (error as { code?: string }).code === 'credential-invalid';
        }
      }),
    );
  });
});
