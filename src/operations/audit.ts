// SPDX-License-Identifier: Apache-2.0
/**
 * The hash chain over operator actions: an altered, removed or reordered entry shows.
 *
 * hash = base64url(SHA-256(UTF-8 of the JSON array [previous hash, seq, at, actor, action, target, detail as sorted pairs])).
 * Invariant: the encoding has one text per entry, so that two different entries never share an input.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { AuditEntry, AuditStore } from '#ports';

/** Hash before the first entry. */
export const AUDIT_GENESIS = '';

/** Computes an entry's hash from the previous entry's; the `seal` of `AuditStore.append`. */
export const sealAuditEntry = (previous: string, entry: Omit<AuditEntry, 'hash'>): string => {
  const detail = Object.entries(entry.detail).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const text = JSON.stringify([previous, entry.seq, entry.at, entry.actor, entry.action, entry.target, detail]);
  return encodeBase64url(sha256(encodeUtf8(text)));
};

/** `head` is the hash of the last entry, which the next part continues from. */
export type AuditVerdict = { readonly ok: true; readonly entries: number; readonly head: string } | { readonly ok: false; readonly brokenAt: number };

/**
 * Checks that `entries` follow on `previous` (the head of what was checked before) without a gap.
 * `brokenAt` is the first sequence number that does not fit.
 */
export const verifyAuditEntries = (entries: readonly AuditEntry[], previous: { readonly seq: number; readonly hash: string } = { seq: 0, hash: AUDIT_GENESIS }): AuditVerdict => {
  let { seq, hash } = previous;
  for (const entry of entries) {
    if (entry.seq !== seq + 1 || sealAuditEntry(hash, entry) !== entry.hash) return { ok: false, brokenAt: seq + 1 };
    ({ seq, hash } = entry);
  }
  return { ok: true, entries: seq, head: hash };
};

/** What a whole log looks like: its last sequence number, and the first one that does not fit the chain. */
export type AuditSurvey = { readonly last: number; readonly brokenAt?: number };

/** Reads and checks the whole log, `batch` entries at a time; goes on to the end after a break, so that `last` is right. */
export const surveyAudit = async (store: AuditStore, batch = 1000): Promise<AuditSurvey> => {
  let head = { seq: 0, hash: AUDIT_GENESIS };
  let brokenAt: number | undefined;
  for (;;) {
    const entries = await store.read(head.seq, batch);
    const newest = entries.at(-1);
    if (newest === undefined) return { last: head.seq, ...(brokenAt === undefined ? {} : { brokenAt }) };
    if (brokenAt === undefined) {
      const verdict = verifyAuditEntries(entries, head);
      if (!verdict.ok) brokenAt = verdict.brokenAt;
    }
    head = { seq: newest.seq, hash: newest.hash };
  }
};
