// SPDX-License-Identifier: Apache-2.0
/**
 * Catalogue, operators and the audit chain in memory.
 *
 * Invariant: audit entries are numbered 1, 2, 3... without gaps and each is sealed over its predecessor's hash.
 */
import type { AuditEntry, AuditStore, CatalogueEntry, CatalogueStore, OperatorRecord, OperatorStore } from '#ports';

/** Events and titles in memory. */
export const createMemoryCatalogue = (): CatalogueStore => {
  const entries = new Map<string, CatalogueEntry>();
  return {
    async create(entry) {
      if (entries.has(entry.asset)) return false;
      entries.set(entry.asset, structuredClone(entry));
      return true;
    },
    get: async (asset) => structuredClone(entries.get(asset)),
    getMany: async (assets) => assets.map((asset) => structuredClone(entries.get(asset))),
    list: async () => structuredClone([...entries.values()]),
    async update(entry) {
      if (!entries.has(entry.asset)) return false;
      entries.set(entry.asset, structuredClone(entry));
      return true;
    },
  };
};

/** Operators in memory. */
export const createMemoryOperators = (): OperatorStore => {
  const operators = new Map<string, OperatorRecord>();
  return {
    async create(record) {
      if (operators.has(record.name)) return false;
      operators.set(record.name, { ...record });
      return true;
    },
    byTokenHash: async (tokenHash) => [...operators.values()].find((record) => record.tokenHash === tokenHash),
    list: async () => [...operators.values()].map((record) => ({ ...record })),
  };
};

/** Audit chain in memory. */
export const createMemoryAudit = (): AuditStore => {
  const entries: AuditEntry[] = [];
  return {
    async append(entry, seal) {
      const numbered = structuredClone({ ...entry, seq: entries.length + 1 });
      const sealed: AuditEntry = { ...numbered, hash: seal(entries.at(-1)?.hash ?? '', numbered) };
      entries.push(sealed);
      return structuredClone(sealed);
    },
    read: async (afterSeq, limit) => structuredClone(entries.slice(Math.max(0, afterSeq), Math.max(0, afterSeq) + limit)),
  };
};
