// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { isSealcastError } from '../errors.ts';
import type { AssetId, DeviceId, KeyId } from '../ids.ts';
import { createUnlocker } from '../keys/unlock.ts';
import type { GrantGroup, Micros } from '../time.ts';
import { encodeBundleLeaf, parseBundleLeaf } from './bundle-leaf.ts';
import { encodeLeaf, type Leaf, leafTag, leafTagMatches, parseLeaf } from './leaf.ts';
import { parsePlans } from './plans.ts';
import { encodeRootClaims, encodeSealedRoot, parseRootClaims, parseSealedRoot, type RootClaims, rootAllows } from './root.ts';
import { monthAt, rootKey, rootNodes, scopedRootSecret, startOfMonth } from './root-keys.ts';
import { countsAsPlay, EMPTY_CHAIN, encodeUsageRecord, encodeUsageReport, extendChain, parseUsageRecord, parseUsageReport, type UsageRecord, usageRecordHash } from './usage.ts';

const hash = ladderHash;
const secret = new Uint8Array(32).fill(7);
const account = hash.sha256(new TextEncoder().encode('someone'));
const MAY_2026 = 12 * 2026 + 4;
const month = fc.integer({ min: 12 * 2000, max: 12 * 2100 });

const claims: RootClaims = {
  issuer: 'sealcast', device: 'A'.repeat(43) as DeviceId, jti: 'x', issuedAt: 1_780_000_000_000_000 as Micros, expiresAt: 1_790_000_000_000_000 as Micros, account, plan: 'family', collection: 'films',
  scope: 'account', months: { from: MAY_2026, to: MAY_2026 + 13 }, begin: 1_780_000_000_000_000 as Micros, end: 1_790_000_000_000_000 as Micros, first: undefined, actions: ['play', 'download'],
  refresh: 1_789_000_000_000_000 as Micros, sealed: 'a.b.c.d.e', time: 1_780_000_000_000_000 as Micros,
};

const leafOf = (key: Uint8Array): Leaf => {
  const open = { title: 'film' as AssetId, gen: 1, scheme: 'cbcs' as const, salt: new Uint8Array(16).fill(1), entryKid: new Uint8Array(16).fill(2) as KeyId, schedule: { period: 30_000_000 as Micros, periodsPerGroup: 1 }, keyGroups: ['video', 'audio'] as const, duration: 60_000_000 as Micros };
  const wrap = { collection: 'films', scope: 'account' as const, month: MAY_2026, actions: ['play'] as const };
  return { ...open, wraps: [{ ...wrap, wrap: new Uint8Array(40).fill(3), tag: leafTag(hash, key, open, wrap) }] };
};

describe('root keys', () => {
  it('B119: a root opens exactly the months of its plan', () => {
    fc.assert(
      fc.property(month, fc.integer({ min: 1, max: 400 }), fc.integer({ min: -300, max: 700 }), (from, length, offset) => {
        const scoped = scopedRootSecret(hash, secret, 'account', account);
        const unlocker = createUnlocker(hash);
        const nodes = rootNodes(hash, scoped, from, from + length);
        expect(nodes.length).toBeLessThanOrEqual(18);
        unlocker.add(nodes);
        const asked = from + offset;
        const inside = offset >= 0 && offset < length;
        expect(unlocker.unlockKey(asked)).toEqual(inside ? rootKey(hash, scoped, asked) : undefined);
      }),
      { seed: 11, numRuns: 100 },
    );
  });

  it('differ by account, and the shared scope is nobody\'s', () => {
    const other = hash.sha256(new TextEncoder().encode('other'));
    const keys = [scopedRootSecret(hash, secret, 'account', account), scopedRootSecret(hash, secret, 'account', other), scopedRootSecret(hash, secret, 'shared', account)];
    expect(new Set(keys.map((key) => key.join())).size).toBe(3);
  });

  it('knows the month of an instant', () => {
    expect(monthAt(startOfMonth(MAY_2026))).toBe(MAY_2026);
    expect(monthAt((startOfMonth(MAY_2026) - 1) as Micros)).toBe(MAY_2026 - 1);
  });
});

describe('leaf', () => {
  const key = rootKey(hash, scopedRootSecret(hash, secret, 'account', account), MAY_2026);

  it('B117: carries no date, and its text is a function of its content', () => {
    const text = encodeLeaf(leafOf(key));
    expect(encodeLeaf(parseLeaf(text))).toBe(text);
    expect(text).not.toMatch(/begin|end|exp|iat|time/);
  });

  it('B120: an altered open part or the key of another month matches no tag', () => {
    const leaf = leafOf(key);
    const wrap = leaf.wraps[0] as Leaf['wraps'][number];
    expect(leafTagMatches(hash, key, leaf, wrap)).toBe(true);
    expect(leafTagMatches(hash, key, leaf, { ...wrap, actions: ['play', 'download'] })).toBe(false);
    expect(leafTagMatches(hash, key, { ...leaf, duration: 1 as Micros }, wrap)).toBe(false);
    expect(leafTagMatches(hash, key, leaf, { ...wrap, month: MAY_2026 + 1 })).toBe(false);
    expect(leafTagMatches(hash, rootKey(hash, secret, MAY_2026), leaf, wrap)).toBe(false);
  });

  it('refuses whatever is not exactly a leaf, with a typed error', () => {
    const text = encodeLeaf(leafOf(key));
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('', '"', '}', '9', ',"x":1', '\u0000'), (at, put) => {
        const mangled = text.slice(0, at) + put + text.slice(at + 1);
        try {
          parseLeaf(mangled);
        } catch (error) {
          expect(isSealcastError(error)).toBe(true);
        }
      }),
      { seed: 3, numRuns: 400 },
    );
  });

  it('B127: an in-band leaf reads back exactly, and nothing else reads', () => {
    const leaf = { collection: 'bundle', month: MAY_2026, group: 91 as GrantGroup, wrap: new Uint8Array(40).fill(9) };
    const bytes = encodeBundleLeaf(leaf);
    expect(parseBundleLeaf(bytes)).toEqual(leaf);
    for (const wrong of [bytes.subarray(1), bytes.subarray(0, -1), Uint8Array.of(...bytes, 0), new Uint8Array(0)]) expect(() => parseBundleLeaf(wrong)).toThrow(/bundle leaf/);
  });
});

describe('root', () => {
  it('reads back what it says', () => {
    expect(parseRootClaims(encodeRootClaims(claims))).toEqual(claims);
    expect(parseRootClaims(encodeRootClaims({ ...claims, end: undefined, first: 5 as Micros }))).toEqual({ ...claims, end: undefined, first: 5 });
  });

  it('takes no nodes but those of its months', () => {
    const nodes = rootNodes(hash, secret, claims.months.from, claims.months.to);
    expect(parseSealedRoot(encodeSealedRoot(nodes), claims.months)).toEqual(nodes);
    expect(() => parseSealedRoot(encodeSealedRoot(rootNodes(hash, secret, 0, 256)), claims.months)).toThrow(/exactly its months/);
  });

  it('B119: allows nothing before its begin and from its end on; B124: nothing dated without a trusted clock', () => {
    expect(rootAllows(claims, 'play', (claims.begin - 1) as Micros, undefined)).toBe('not-yet-valid');
    expect(rootAllows(claims, 'play', claims.begin, undefined)).toBeUndefined();
    expect(rootAllows(claims, 'play', claims.end, undefined)).toBe('license-expired');
    expect(rootAllows(claims, 'play', undefined, undefined)).toBe('clock-unconfirmed');
    expect(rootAllows({ ...claims, actions: ['play'] }, 'download', claims.begin, undefined)).toBe('not-allowed');
    expect(rootAllows({ ...claims, begin: 0 as Micros, end: undefined }, 'play', undefined, undefined)).toBeUndefined();
  });

  it('B126: a rental is the same document with a time from the first play', () => {
    const rental = { ...claims, first: 48 * 3_600_000_000 as Micros };
    const played = (claims.begin + 1_000_000) as Micros;
    expect(rootAllows(rental, 'play', (played + rental.first - 1) as Micros, played)).toBeUndefined();
    expect(rootAllows(rental, 'play', (played + rental.first) as Micros, played)).toBe('license-expired');
  });
});

describe('plans', () => {
  const plan = { plan: 'family', collection: 'films', months: [MAY_2026, MAY_2026 + 1], begin: 1_780_000_000, end: 1_790_000_000, actions: ['play'] };
  it('reads them strictly', () => {
    expect(parsePlans([plan])[0]).toMatchObject({ plan: 'family', scope: 'account', revoked: false, first: undefined });
    const wrong = [[], [plan, plan], [{ ...plan, end: plan.begin }], [{ ...plan, actions: [] }], [{ ...plan, actions: ['fly'] }], [{ ...plan, months: [5, 4] }], [{ ...plan, collection: '../x' }], [{ ...plan, extra: 1 }], 'plans'];
    for (const bad of wrong) expect(() => parsePlans(bad)).toThrow();
  });
});

describe('usage', () => {
  const chain = (count: number): string[] => {
    const texts: string[] = [];
    let prev = EMPTY_CHAIN.head;
    for (let seq = 1; seq <= count; seq++) {
      const record: UsageRecord = { seq, prev, title: `film-${seq}` as AssetId, gen: 0, action: 'play', plan: 'family', started: (seq * 10) as Micros, ended: (seq * 10 + 5) as Micros, played: 5 as Micros, from: 0 as Micros, offline: seq % 2 === 0, certain: 1 as Micros };
      const text = encodeUsageRecord(record);
      expect(parseUsageRecord(text)).toEqual(record);
      texts.push(text);
      prev = usageRecordHash(hash, text);
    }
    return texts;
  };
  const texts = chain(9);
  const hashes = texts.map((text) => usageRecordHash(hash, text));
  const report = (from: number, to: number): { first: number; records: string[]; head: Uint8Array } => ({ first: from, records: texts.slice(from - 1, to), head: hashes[to - 1] as Uint8Array });
  const stored = (seq: number): Uint8Array | undefined => hashes[seq - 1];
  const headAt = (seq: number): typeof EMPTY_CHAIN => (seq === 0 ? EMPTY_CHAIN : { seq, head: hashes[seq - 1] as Uint8Array });

  it('B139: counts what was reported before only once, however reports overlap', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 8 })), { maxLength: 12 }), (reports) => {
        let known = EMPTY_CHAIN;
        let counted = 0;
        for (const [from, more] of reports) {
          const outcome = extendChain(hash, known, report(from, Math.min(9, from + more)), (seq) => (seq <= known.seq ? stored(seq) : undefined));
          expect(outcome.fits).toBe(from <= known.seq + 1);
          if (!outcome.fits) continue;
          counted += outcome.fresh.length;
          known = outcome.head;
          expect(known).toEqual(headAt(known.seq));
        }
        expect(counted).toBe(known.seq);
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  it('B140: a record left out, altered, moved or appended by another is noticed', () => {
    const all = report(1, 9);
    const without = { ...all, records: all.records.toSpliced(4, 1) };
    const moved = { ...all, records: [texts[1], texts[0], ...texts.slice(2)] as string[] };
    const altered = { ...all, records: all.records.with(3, (texts[3] as string).replace('"offline":true', '"offline":false')) };
    for (const wrong of [without, moved, altered, { ...all, head: hashes[0] as Uint8Array }]) expect(extendChain(hash, EMPTY_CHAIN, wrong, stored).fits).toBe(false);
    expect(extendChain(hash, headAt(3), { ...report(2, 3), records: [texts[1] as string, altered.records[3] as string] }, stored).fits).toBe(false);
    expect(extendChain(hash, headAt(2), report(5, 6), stored)).toEqual({ fits: false, because: 'gap' });
  });

  it('reads reports strictly', () => {
    const full = { account, transaction: new Uint8Array(16), ...report(1, 2), lost: false };
    expect(parseUsageReport(encodeUsageReport(full))).toEqual(full);
    expect(parseUsageReport(encodeUsageReport({ ...full, lost: true })).lost).toBe(true);
    for (const wrong of [{ ...full, records: [] }, { ...full, records: Array.from({ length: 501 }, () => 'x') }, { ...full, records: ['x'.repeat(513)] }]) expect(() => parseUsageReport(encodeUsageReport(wrong))).toThrow(/usage report/);
  });

  it('B138: a play counts from 30 s on, or half of a shorter title', () => {
    const seconds = (value: number): Micros => (value * 1_000_000) as Micros;
    expect(countsAsPlay({ action: 'play', played: seconds(29) }, undefined, seconds(30))).toBe(false);
    expect(countsAsPlay({ action: 'play', played: seconds(30) }, undefined, seconds(30))).toBe(true);
    expect(countsAsPlay({ action: 'play', played: seconds(10) }, seconds(20), seconds(30))).toBe(true);
    expect(countsAsPlay({ action: 'download', played: seconds(90) }, undefined, seconds(30))).toBe(false);
  });
});

describe('records as devices write them', () => {
  it('are read the same in one pass as member by member', () => {
    const micros = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(
        fc.record({
          seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), prev: fc.uint8Array({ minLength: 32, maxLength: 32 }), title: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,39}$/), gen: fc.integer({ min: 0, max: 0xffff }),
          action: fc.constantFrom('play', 'download', 'delete'), plan: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/), started: micros, ended: micros, played: micros, from: micros, offline: fc.boolean(), certain: micros,
        }),
        (made) => {
          const text = encodeUsageRecord(made as never);
          // White space sends it the long way, member by member.
          const outcome = (source: string): unknown => {
            try {
              return parseUsageRecord(source);
            } catch (error) {
              return (error as { code?: string }).code;
            }
          };
          expect(outcome(text)).toEqual(text.length < 512 ? outcome(` ${text}`) : outcome(text));
          if (made.ended >= made.started && text.length <= 512) expect(outcome(text)).toEqual(made);
        },
      ),
    );
  });

  it.each([['a number too large', '"certain":9007199254740993}'], ['a leading zero', '"certain":01}'], ['a repeated member', '"certain":1,"certain":1}'], ['an exponent', '"certain":1e99}'], ['a negative number', '"certain":-1}']])('refuses %s', (_name, end) => {
    const text = encodeUsageRecord({ seq: 1, prev: new Uint8Array(32), title: 'film' as never, gen: 1, action: 'play', plan: 'p', started: 1 as never, ended: 2 as never, played: 1 as never, from: 0 as never, offline: false, certain: 7 as never });
    expect(() => parseUsageRecord(text.replace('"certain":7}', end))).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
});
