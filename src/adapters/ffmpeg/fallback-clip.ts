// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the clip that ships with the package, for machines where ffmpeg is neither installed nor installable.
 *
 * `scripts/make-fallback-clip.ts` makes it: 8 s, so that 200 frames, four segments and 375 AAC frames all end together.
 */
import { readFile } from 'node:fs/promises';

/** Tracks in the form `createClipLoop` of the packager takes. */
export type FallbackTrack = { readonly name: string; readonly type: 'video/mp4' | 'audio/mp4'; readonly bytes: Uint8Array };

/** Where the clip lies, in the repository and in the published package alike. */
export const FALLBACK_FOLDER: URL = new URL('../../../assets/fallback/', import.meta.url);
/** Length of the clip: whole segments, whole AAC frames. */
export const FALLBACK_SECONDS = 8;

/** The three tracks of the clip. Rejects when the package was installed without them. */
export const readFallbackClip = async (): Promise<readonly FallbackTrack[]> =>
  Promise.all(
    (
      [
        ['v720.cmfv', 'video/mp4'],
        ['v360.cmfv', 'video/mp4'],
        ['a.cmfa', 'audio/mp4'],
      ] as const
    ).map(async ([name, type]) => ({ name, type, bytes: new Uint8Array(await readFile(new URL(name, FALLBACK_FOLDER))) })),
  );
