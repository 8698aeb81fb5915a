// SPDX-License-Identifier: Apache-2.0
/**
 * A video tool that knows one file only, the bundled clip: the demo's film where ffmpeg is missing.
 *
 * Invariant: whatever path it is asked for, it gives the clip; it is never used for operators' titles.
 */
import { readFallbackClip } from '#adapters/ffmpeg/index.ts';
import { SealcastError } from '#core/errors.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import type { VideoTool } from '#ports';

const SECONDS = 8;

async function* once(bytes: Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield await bytes;
}

/** A video tool for the demo only. */
export const createClipTool = (): VideoTool => {
  const track = async (name: string): Promise<Uint8Array> => {
    const found = (await readFallbackClip()).find((each) => each.name === name);
    if (found === undefined) throw new SealcastError('not-found', `the bundled clip has no ${name}`);
    return found.bytes;
  };
  return {
    probe: async () => ({
      duration: microsFromSeconds(SECONDS),
      streams: [
        { index: 0, kind: 'video', codec: 'h264', profile: 'High', pixelFormat: 'yuv420p', width: 640, height: 360, frameRate: { numerator: 25, denominator: 1 }, language: 'und', captions: false },
        { index: 1, kind: 'audio', codec: 'aac', profile: 'LC', sampleRate: 48_000, channels: 2, language: 'und', captions: false },
      ],
    }),
    toCmaf: ({ tracks }) => ({ offset: 0 as Micros, tracks: tracks.map(({ kind }) => once(track(kind === 'video' ? 'v360.cmfv' : 'a.cmfa'))) }),
    toWebVtt: async () => {
      throw new SealcastError('media-unsupported', 'the bundled clip has no subtitles');
    },
  };
};
