// SPDX-License-Identifier: Apache-2.0
/**
 * The one rule for object paths, shared by every object store.
 *
 * Invariant: a path that passed here cannot leave the store's root, name a temporary file, or mean two things on any
 * file system: no empty, dotted or absolute parts, no separators other than `/`, no control characters, no Unicode forms.
 */
import { SealcastError } from './errors.ts';

const OBJECT_PATH = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127})(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,15}$/;

/** The path itself, or throws `bad-request` naming the rule; the path is not repeated, as it may come from a request. */
export const checkObjectPath = (path: string): string => {
  if (typeof path !== 'string' || !OBJECT_PATH.test(path)) {
    throw new SealcastError(
      'bad-request',
      `object path must be 1-16 names of A-Z, a-z, 0-9, ., _ and -, not starting with a dot, joined by /; got ${typeof path === 'string' ? `${path.length} characters` : typeof path}`,
    );
  }
  return path;
};
