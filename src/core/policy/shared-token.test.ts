// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressPrefix, sharedTokenSigns } from '#core/policy/shared-token.ts';

const row = (session: string, prefix: string, agent: string, bytes: number) => ({ session, prefix, agent, bytes });

describe('signs of a shared token', () => {
  it('none: one client, also at several edges; two sessions of an account; stray requests', () => {
    expect(sharedTokenSigns([])).toEqual({ shared: false, networks: 0, clients: 0 });
    expect(sharedTokenSigns([row('s1', 'a', 'x', 500), row('s1', 'a', 'x', 900)])).toEqual({ shared: false, networks: 1, clients: 1 });
    expect(sharedTokenSigns([row('s1', 'a', 'x', 500), row('s2', 'b', 'y', 900)]).shared).toBe(false);
    expect(sharedTokenSigns([row('s1', 'a', 'x', 1_000_000), row('s1', 'b', 'y', 5000), row('s1', 'c', 'x', 0)]).shared).toBe(false);
  });
  it('two networks, or two kinds of client, on one session', () => {
    expect(sharedTokenSigns([row('s1', 'a', 'x', 500), row('s1', 'b', 'x', 500)])).toEqual({ shared: true, networks: 2, clients: 1 });
    expect(sharedTokenSigns([row('s1', 'a', 'x', 500), row('s1', 'a', 'y', 500)])).toEqual({ shared: true, networks: 1, clients: 2 });
  });
});

describe('address prefixes', () => {
  it.each([
    ['203.0.113.77', '203.0.113.0/24'],
    ['::ffff:203.0.113.77', '203.0.113.0/24'],
    ['2001:0db8:0001:2:3:4:5:6', '2001:db8:1::/48'],
    ['2001:db8::1', '2001:db8:0::/48'],
    ['::1', '0:0:0::/48'],
    ['fe80::1%eth0', 'fe80:0:0::/48'],
    ['', 'unknown'],
    ['not an address', 'unknown'],
    ['[::1]', 'unknown'],
  ])('%s is of %s', (address, prefix) => expect(addressPrefix(address)).toBe(prefix));
  it('never hold more than three groups or three bytes, whatever they are made from', () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), (address) => /^(?:unknown|\d+\.\d+\.\d+\.0\/24|[0-9a-f.]+:[0-9a-f.]+:[0-9a-f.]+::\/48)$/.test(addressPrefix(address))));
  });
});
