// SPDX-License-Identifier: Apache-2.0
/**
 * Key records, master secrets and named secrets in memory: for tests, and for roles that must forget at exit.
 *
 * Invariant: callers never share memory with the store; records are copied on the way in and on the way out.
 */
import type { AssetKeyStore, MasterSecretStore, SecretStore } from '#ports';

/** Key server's asset records in memory. */
export const createMemoryAssetKeys = (): AssetKeyStore => {
  const records = new Map<string, Awaited<ReturnType<AssetKeyStore['list']>>[number]>();
  let revision = 0;
  return {
    revision: async () => revision,
    async create(record) {
      if (records.has(record.asset)) return false;
      records.set(record.asset, structuredClone(record));
      revision += 1;
      return true;
    },
    get: async (asset) => structuredClone(records.get(asset)),
    getMany: async (assets) => assets.map((asset) => structuredClone(records.get(asset))),
    list: async () => structuredClone([...records.values()]),
    async replace(record, expectedGen) {
      if (records.get(record.asset)?.gen !== expectedGen) return false;
      records.set(record.asset, structuredClone(record));
      revision += 1;
      return true;
    },
  };
};

/** Master secrets by epoch, in memory. */
export const createMemoryMasterSecrets = (): MasterSecretStore => {
  const records = new Map<number, Awaited<ReturnType<MasterSecretStore['list']>>[number]>();
  return {
    async create(record) {
      if (records.has(record.epoch)) return false;
      records.set(record.epoch, structuredClone(record));
      return true;
    },
    list: async () => structuredClone([...records.values()].sort((a, b) => a.epoch - b.epoch)),
    async remove(epoch) {
      records.delete(epoch);
    },
  };
};

/** Named sealed secrets in memory. */
export const createMemorySecrets = (): SecretStore => {
  const secrets = new Map<string, Uint8Array>();
  return {
    get: async (name) => secrets.get(name)?.slice(),
    async putIfAbsent(name, sealed) {
      const kept = secrets.get(name) ?? sealed.slice();
      secrets.set(name, kept);
      return kept.slice();
    },
  };
};
