// SPDX-License-Identifier: Apache-2.0
/** What the killed writer and the test that checks it agree on. */
import { createHash } from 'node:crypto';
import type { Micros } from '#core/time.ts';
import type { AuditEntry } from '#ports';
import { at } from '../contracts/values.ts';

/** An expiry far beyond any clock of a test machine. */
export const never = 8_000_000_000_000_000 as Micros;
export const auditEntry = (number: number) => ({ at: at(0), actor: 'writer', action: 'test.write', target: `t${number}`, detail: { number } });
export const sealAudit = (previous: string, entry: Omit<AuditEntry, 'hash'>): string =>
  createHash('sha256')
    .update(JSON.stringify([previous, entry.seq, entry.target]))
    .digest('base64url');
