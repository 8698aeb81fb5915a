// SPDX-License-Identifier: Apache-2.0
/**
 * Every store port in memory: the reference the other adapters are compared with in `test/contracts`.
 *
 * Invariant: no timers, no files, no shared state between two calls of `createMemoryStores`.
 */
import type { Stores } from '#ports';
import { createMemoryAccounts } from './accounts.ts';
import { createMemoryConcurrency } from './concurrency.ts';
import { createMemoryHeartbeats } from './heartbeats.ts';
import { createMemoryAssetKeys, createMemoryMasterSecrets, createMemorySecrets } from './keys.ts';
import { createMemoryLeaks } from './leaks.ts';
import { createMemoryObjects } from './objects.ts';
import { createMemoryAudit, createMemoryCatalogue, createMemoryOperators } from './operations.ts';
import { createMemoryOutbox } from './outbox.ts';
import { createMemoryCollections, createMemoryRoots, createMemoryUsage } from './subscription.ts';
import { createMemoryViewerNumbers } from './viewer-numbers.ts';
import { createMemoryDevices, createMemorySessions, createMemorySingleUse } from './viewers.ts';

export { createMemoryConcurrency, createMemoryHeartbeats, createMemoryObjects, createMemoryOutbox };

/** A fresh set of empty stores; nothing survives the process. */
export const createMemoryStores = (): Stores => ({
  assetKeys: createMemoryAssetKeys(),
  catalogue: createMemoryCatalogue(),
  devices: createMemoryDevices(),
  sessions: createMemorySessions(),
  singleUse: createMemorySingleUse(),
  masterSecrets: createMemoryMasterSecrets(),
  secrets: createMemorySecrets(),
  operators: createMemoryOperators(),
  audit: createMemoryAudit(),
  accounts: createMemoryAccounts(),
  viewerNumbers: createMemoryViewerNumbers(),
  leaks: createMemoryLeaks(),
  collections: createMemoryCollections(),
  roots: createMemoryRoots(),
  usage: createMemoryUsage(),
  outbox: createMemoryOutbox(),
  heartbeats: createMemoryHeartbeats(),
  objects: createMemoryObjects(),
});
