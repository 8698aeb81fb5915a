// SPDX-License-Identifier: Apache-2.0
/**
 * Collections, roots, usage and secure stops as operators may see them, and usage sums as CSV for payouts.
 *
 * docs/wire/subscription.md; RFC 4180. Invariant: members are picked one by one, and a cell that a spreadsheet would run as a
 * formula is quoted as text.
 */
import type { Micros } from '#core/time.ts';
import type { DeviceRecord, Membership, RootRecord, SessionRecord, StoredUsage, UsageChain, UsageKey, UsageTotal } from '#ports';
import type { AccountDeviceView, MembershipView, RootView, StopView, UsageRecordView, UsageTotalView } from '#operations/api.ts';

/** A title's place in a collection. */
export const membershipView = ({ collection, asset, published, scope, actions, owner }: Membership): MembershipView => ({ collection, asset, published, scope, actions, ...(owner !== undefined && { owner }) });

/** A root without its keys, and what it is worth at `now`. */
export const rootView = (root: RootRecord, now: Micros): RootView => ({
  account: root.account,
  device: root.device,
  plan: root.plan,
  collection: root.collection,
  issuedAt: root.issuedAt,
  begin: root.begin,
  ...(root.end !== undefined && { end: root.end }),
  renewals: root.renewals,
  state: root.revoked ? 'revoked' : root.end !== undefined && now >= root.end ? 'ended' : now < root.begin ? 'coming' : 'good',
});

/** A device, what it holds, and where its usage chain stands. */
export const accountDeviceView = (device: DeviceRecord, roots: readonly RootRecord[], chain: UsageChain | undefined, now: Micros): AccountDeviceView => ({
  device: device.device,
  name: device.name,
  registeredAt: device.registeredAt,
  ...(device.revokedAt !== undefined && { revokedAt: device.revokedAt }),
  roots: roots.filter((root) => root.device === device.device).map((root) => rootView(root, now)),
  ...(chain !== undefined && { usage: { records: chain.seq, reportedAt: chain.updatedAt, lost: chain.chain - 1 } }),
});

/** Sums of one title, account or owner. */
export const usageTotalView = ({ key, plays, offlinePlays, uncertain, downloads, played }: UsageTotal): UsageTotalView => ({ key, plays, offlinePlays, uncertain, downloads, played });

/** A usage record without its chain's bytes. */
export const usageRecordView = ({ account, device, title, owner, action, plan, started, played, offline, counted, uncertain, receivedAt }: StoredUsage): UsageRecordView => ({ account, device, title, owner, action, plan, started, played, offline, counted, uncertain, receivedAt });

/** A session that its viewer stopped. */
export const stopView = ({ session, account, device, deviceName, asset, startedAt, endedAt }: SessionRecord): StopView => ({ session, account, device, deviceName, asset, startedAt, endedAt: endedAt ?? startedAt });

const cell = (value: string | number): string => {
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** CSV with a header line, seconds with three decimals. */
export const usageCsv = (by: UsageKey, rows: readonly UsageTotal[]): string =>
  [[by, 'plays', 'offline_plays', 'uncertain_plays', 'downloads', 'played_seconds'], ...rows.map(({ key, plays, offlinePlays, uncertain, downloads, played }) => [key, plays, offlinePlays, uncertain, downloads, (played / 1_000_000).toFixed(3)])]
    .map((row) => `${row.map(cell).join(',')}\r\n`)
    .join('');
