// SPDX-License-Identifier: Apache-2.0
/** The contract suites of all durable stores, for adapters that bring every one of them. */
import { describe } from 'vitest';
import type { DurableStores } from '#ports';
import { accountStoreContract } from './account-store-contract.ts';
import { assetKeyStoreContract } from './asset-key-store-contract.ts';
import { auditStoreContract } from './audit-store-contract.ts';
import { catalogueStoreContract } from './catalogue-store-contract.ts';
import { deviceStoreContract } from './device-store-contract.ts';
import { outboxStoreContract } from './outbox-store-contract.ts';
import { leakStoreContract } from './leak-store-contract.ts';
import { masterSecretStoreContract, operatorStoreContract, secretStoreContract } from './secret-stores-contract.ts';
import { sessionStoreContract } from './session-store-contract.ts';
import { singleUseStoreContract } from './single-use-store-contract.ts';
import { collectionStoreContract, rootStoreContract, usageStoreContract } from './subscription-stores-contract.ts';
import { viewerNumberStoreContract } from './viewer-number-store-contract.ts';

/** `open` answers fresh, empty stores at each call. */
export const durableStoresContract = (open: () => Promise<DurableStores>): void => {
  describe('asset keys', () => assetKeyStoreContract(async () => (await open()).assetKeys));
  describe('catalogue', () => catalogueStoreContract(async () => (await open()).catalogue));
  describe('devices', () => deviceStoreContract(async () => (await open()).devices));
  describe('sessions', () => sessionStoreContract(async () => (await open()).sessions));
  describe('single use', () => singleUseStoreContract(async () => (await open()).singleUse));
  describe('master secrets', () => masterSecretStoreContract(async () => (await open()).masterSecrets));
  describe('secrets', () => secretStoreContract(async () => (await open()).secrets));
  describe('operators', () => operatorStoreContract(async () => (await open()).operators));
  describe('accounts', () => accountStoreContract(async () => (await open()).accounts));
  describe('outbox', () => outboxStoreContract(async () => (await open()).outbox));
  describe('viewer numbers', () => viewerNumberStoreContract(async () => (await open()).viewerNumbers));
  describe('leaks', () => leakStoreContract(async () => (await open()).leaks));
  describe('collections', () => collectionStoreContract(async () => (await open()).collections));
  describe('roots', () => rootStoreContract(async () => (await open()).roots));
  describe('usage', () => usageStoreContract(async () => (await open()).usage));
  describe('audit', () => auditStoreContract(async () => (await open()).audit));
};
