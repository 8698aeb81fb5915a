// SPDX-License-Identifier: Apache-2.0
/** The audit chain: intact logs verify, every altered field, order or gap does not. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Micros } from '#core/time.ts';
import { AUDIT_GENESIS, sealAuditEntry, verifyAuditEntries } from '#operations/audit.ts';
import type { AuditEntry } from '#ports';

const chain = (bodies: readonly Omit<AuditEntry, 'seq' | 'hash'>[]): AuditEntry[] => {
  let hash = AUDIT_GENESIS;
  return bodies.map((body, i) => {
    const entry = { ...body, seq: i + 1 };
    hash = sealAuditEntry(hash, entry);
    return { ...entry, hash };
  });
};

const body = fc.record({
  at: fc.nat().map((value) => value as Micros),
  actor: fc.string({ maxLength: 8 }),
  action: fc.constantFrom('event.create', 'session.end'),
  target: fc.string({ maxLength: 8 }),
  detail: fc.dictionary(fc.string({ maxLength: 4 }), fc.oneof(fc.string({ maxLength: 4 }), fc.integer(), fc.boolean()), { maxKeys: 3, noNullPrototype: true }),
});

describe('audit chain', () => {
  it('equals a hash computed by hand', () => {
    const entry = { seq: 1, at: 5 as Micros, actor: 'otto', action: 'event.end', target: 'cup', detail: { b: 1, a: 'x' } };
    // printf '%s' '["",1,5,"otto","event.end","cup",[["a","x"],["b",1]]]' | openssl dgst -sha256 -binary | basenc --base64url | tr -d =
    expect(sealAuditEntry(AUDIT_GENESIS, entry)).toBe('cQdAhAEgdYkFTdTdzIq-PaMTv6nqo4NVk451MmtSsRc');
    expect(sealAuditEntry(AUDIT_GENESIS, { ...entry, detail: { a: 'x', b: 1 } })).toBe('cQdAhAEgdYkFTdTdzIq-PaMTv6nqo4NVk451MmtSsRc');
    // printf '%s' '["p",2,6,"ann","session.end","s",[]]' | openssl dgst -sha256 -binary | basenc --base64url | tr -d =
    expect(sealAuditEntry('p', { seq: 2, at: 6 as Micros, actor: 'ann', action: 'session.end', target: 's', detail: {} })).toBe('mJl2wRq19ZAF5SWtqUQhcIzT25tscM_mH89Uv7F-rQU');
  });

  it('verifies what it sealed, whole and in parts', () => {
    fc.assert(
      fc.property(fc.array(body, { maxLength: 8 }), fc.nat(8), (bodies, cut) => {
        const entries = chain(bodies);
        const verdict = verifyAuditEntries(entries);
        expect(verdict).toMatchObject({ ok: true, entries: entries.length });
        const first = verifyAuditEntries(entries.slice(0, cut));
        if (!first.ok) throw new Error('the first part has to verify');
        expect(verifyAuditEntries(entries.slice(cut), { seq: first.entries, hash: first.head })).toEqual(verdict);
      }),
      { seed: 20261121 },
    );
  });

  it('finds one altered field, a removed, a repeated and a moved entry', () => {
    fc.assert(
      fc.property(fc.array(body, { minLength: 3, maxLength: 6 }), fc.nat(), fc.constantFrom('at', 'actor', 'action', 'target', 'detail', 'hash', 'seq'), (bodies, pick, field) => {
        const entries = chain(bodies);
        const at = pick % entries.length;
        const victim = entries[at] as AuditEntry;
        const changed = field === 'at' || field === 'seq' ? victim[field] + 1 : field === 'detail' ? { ...victim.detail, added: true } : `${victim[field]}x`;
        expect(verifyAuditEntries(entries.with(at, { ...victim, [field]: changed } as AuditEntry))).toEqual({ ok: false, brokenAt: at + 1 });
        if (at < entries.length - 1) expect(verifyAuditEntries(entries.toSpliced(at, 1)).ok).toBe(false);
        expect(verifyAuditEntries(entries.toSpliced(at, 0, victim)).ok).toBe(false);
        expect(verifyAuditEntries(entries.toReversed()).ok).toBe(false);
      }),
      { seed: 20261121 },
    );
  });
});
