// SPDX-License-Identifier: Apache-2.0
/**
 * Objects in memory: for tests and for caches that may forget.
 *
 * Invariant: what a caller passed in or got out may be changed without changing the stored object.
 */
import type { ObjectStore } from '#ports';
import { checkObjectPath } from '#core/object-path.ts';

/** An object store in memory. */
export const createMemoryObjects = (): ObjectStore => {
  const objects = new Map<string, Uint8Array>();
  return {
    async put(path, bytes) {
      objects.set(checkObjectPath(path), bytes.slice());
    },
    get: async (path) => objects.get(checkObjectPath(path))?.slice(),
    range: async (path, start, end) => objects.get(checkObjectPath(path))?.slice(start, end),
    size: async (path) => objects.get(checkObjectPath(path))?.length,
    list: async (prefix) => [...objects.keys()].filter((path) => path.startsWith(prefix)).sort(),
    async remove(path) {
      objects.delete(checkObjectPath(path));
    },
  };
};
