// SPDX-License-Identifier: Apache-2.0
/** Records for the contract suites: distinct, complete, and typed by the ports. */
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { AssetKeyRecord, CatalogueEntry, DeviceRecord, Heartbeat, SessionRecord } from '#ports';

/** Bytes that differ by seed. */
export const bytes = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 31 + seed * 17) & 0xff);
export const at = (second: number): Micros => (1_790_000_000_000_000 + second * 1_000_000) as Micros;
export const asset = (name: string): AssetId => name as AssetId;
export const account = (name: string): AccountId => name as AccountId;
export const device = (number: number): DeviceId => String(number).padStart(43, 'd') as DeviceId;
export const session = (number: number): SessionId => String(number).padStart(24, 's') as SessionId;
const jwk = (number: number) => ({ kty: 'EC', crv: 'P-256', x: `x${number}`, y: `y${number}` });

export const assetKeyRecord = (name: string, change: Partial<AssetKeyRecord> = {}): AssetKeyRecord => ({
  asset: asset(name),
  kind: 'event',
  scheme: 'cbcs',
  mode: 'untimed',
  gen: 0,
  salt: bytes(16, 1),
  periodMicros: 2_000_000,
  periodsPerGroup: 3,
  entryKid: bytes(16, 2),
  sealedEntryKey: bytes(60, 3),
  sealedTitleKeys: [{ gen: 0, sealed: bytes(76, 4) }],
  importedKeys: [],
  createdAt: at(0),
  ...change,
});
export const catalogueEntry = (name: string, change: Partial<CatalogueEntry> = {}): CatalogueEntry => ({
  asset: asset(name),
  kind: 'event',
  name: `Event “${name}” ✓`,
  state: 'created',
  createdAt: at(0),
  clearKey: 'off',
  ...change,
});
export const deviceRecord = (number: number, owner: string, change: Partial<DeviceRecord> = {}): DeviceRecord => ({
  device: device(number),
  account: account(owner),
  name: `Living room ${number}`,
  sign: jwk(number),
  agree: jwk(number + 1000),
  registeredAt: at(number),
  ...change,
});
export const sessionRecord = (number: number, change: Partial<SessionRecord> = {}): SessionRecord => ({
  session: session(number),
  account: account('ann'),
  device: device(1),
  deviceName: 'Phone',
  sign: jwk(1),
  agree: jwk(2),
  asset: asset('final'),
  startedAt: at(number),
  entitledUntil: at(number + 3600),
  terms: { interval: 60_000 },
  ...change,
});
export const heartbeat = (number: number, change: Partial<Heartbeat> = {}): Heartbeat => ({
  session: session(number),
  account: account('ann'),
  device: device(1),
  asset: asset('final'),
  at: at(0),
  expiresAt: at(300),
  kind: 'initial',
  ...change,
});
