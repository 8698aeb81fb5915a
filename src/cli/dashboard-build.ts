// SPDX-License-Identifier: Apache-2.0
/**
 * Builds the dashboard when a clone has none, or one older than its sources. The package brings it built.
 *
 * Invariant: a failed build is told and does not stop the platform; the pages then say that they are missing.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const newest = (folder: string): number =>
  Math.max(0, ...readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs));

/** Builds if need be. Quick: well under a second when the sources are unchanged, a few seconds otherwise. */
export const prepareDashboard = async (say: (line: string) => void): Promise<void> => {
  const sources = join(ROOT, 'dashboard', 'src');
  if (!existsSync(sources)) return;
  const built = join(ROOT, 'dashboard', 'dist', 'watch.html');
  const changed = Math.max(newest(sources), newest(join(ROOT, 'src', 'client')), newest(join(ROOT, 'src', 'player')), newest(join(ROOT, 'src', 'core')));
  if (existsSync(built) && statSync(built).mtimeMs >= changed) return;
  say('building the dashboard ...');
  try {
    const vite = join(dirname(createRequire(join(ROOT, 'dashboard', 'package.json')).resolve('vite/package.json')), 'bin', 'vite.js');
    await promisify(execFile)(process.execPath, [vite, 'build', '--logLevel', 'error'], { cwd: join(ROOT, 'dashboard'), maxBuffer: 16 * 2 ** 20 });
  } catch (error) {
    say(`the dashboard could not be built: ${error instanceof Error ? error.message.split('\n').slice(0, 6).join('\n') : String(error)}`);
  }
};
