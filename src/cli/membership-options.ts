// SPDX-License-Identifier: Apache-2.0
/**
 * Flags that say how a title is in a collection, for `collection add` and `title add`.
 *
 * docs/guide/subscriptions.md. Dates are UTC: `2026-11-01` or an ISO 8601 instant.
 */
import { usageError } from './command.ts';

/** The flags. */
export const membershipArgs = {
  published: { type: 'string', description: 'when it joined, e.g. 2026-11-01: plans open the months that they cover (default: now)', valueHint: 'DATE' },
  scope: { type: 'enum', options: ['account', 'shared'] as ('account' | 'shared')[], description: 'account: leaves are made per account; shared: one leaf beside the content, for caches (default: account)' },
  actions: { type: 'enum', options: ['play', 'play,download'] as ('play' | 'play,download')[], description: 'what a root may open it for (default: play,download)' },
  owner: { type: 'string', description: 'who is paid for its plays', valueHint: 'NAME' },
} as const;

type Flags = { readonly published?: string | undefined; readonly scope?: string | undefined; readonly actions?: string | undefined; readonly owner?: string | undefined };

/** Microseconds of a date; throws a usage error. */
export const dateOption = (name: string, text: string): number => {
  const millis = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]{5,12}Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isFinite(millis)) throw usageError(`--${name} must be a date such as 2026-11-01, or an instant such as 2026-11-01T20:00:00Z`);
  return millis * 1000;
};

/** Day of an instant, UTC. */
export const dateText = (micros: number): string => new Date(micros / 1000).toISOString().slice(0, 10);

/** Members of a request body. Throws usage errors. */
export const membershipMembers = ({ published, scope, actions, owner }: Flags): Readonly<Record<string, string | number>> => ({
  ...(published !== undefined && { published: dateOption('published', published) }),
  ...(scope !== undefined && { scope }),
  ...(actions !== undefined && { actions }),
  ...(owner !== undefined && { owner }),
});
