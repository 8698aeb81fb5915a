// SPDX-License-Identifier: Apache-2.0
/** The memory adapter against every contract. */
import { describe } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { heartbeatStoreContract } from './heartbeat-store-contract.ts';
import { objectStoreContract } from './object-store-contract.ts';
import { durableStoresContract } from './stores-contract.ts';

describe('memory', () => {
  durableStoresContract(async () => createMemoryStores());
  describe('heartbeats', () => heartbeatStoreContract(async () => createMemoryStores().heartbeats));
  describe('objects', () => objectStoreContract(async () => createMemoryStores().objects));
});
