// SPDX-License-Identifier: Apache-2.0
/**
 * The built dashboard on disk: beside the sources in a clone, beside the built code in the package.
 *
 * Invariant: read once and kept; names are checked by the pages function before they get here.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const CANDIDATES: readonly string[] = ['../../dashboard/dist/', '../dashboard/'];

/** Folder of the built dashboard; undefined where it has not been built. */
export const dashboardFolder = (): string | undefined =>
  CANDIDATES.map((relative) => fileURLToPath(new URL(relative, import.meta.url))).find((folder) => existsSync(`${folder}watch.html`));

/** Reads files of the dashboard by the names that the pages function allows; answers undefined for what is not there. */
export const createDashboardReader = (folder: string | undefined): ((path: string) => Promise<Uint8Array | undefined>) => {
  const kept = new Map<string, Uint8Array>();
  return async (path) => {
    const known = kept.get(path);
    if (known !== undefined || folder === undefined) return known;
    try {
      const bytes = await readFile(`${folder}${path}`);
      kept.set(path, bytes);
      return bytes;
    } catch {
      return undefined;
    }
  };
};
