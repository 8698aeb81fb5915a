// SPDX-License-Identifier: Apache-2.0
/**
 * Small gray frames of a video, for comparing a suspect with its reference.
 *
 * Suspect files come from strangers: local file only, containers that open nothing else, no picture above 8K, CPU time
 * bounded. `scale` with `area` averages whole pixels, so the same picture at any size gives the same cells.
 * Invariant: every frame handed out is complete; a decoder that fails ends the iteration with its error.
 */
import type { Readable } from 'node:stream';
import type { FrameTool } from '#ports';
import { findTool, localInput, run } from './process.ts';

/** CPU seconds one decoding may use. */
const CPU_SECONDS = 1800;
/** 8192 x 4320 with room for other aspect ratios. */
const MAX_PIXELS = 8192 * 8192;

/** The frame tool of this machine. Looks for ffmpeg when it is first used. */
export const createFfmpegFrames = (): FrameTool => ({
  async *grayFrames({ file, width, height, framesPerSecond, limit, signal }) {
    const { child, done } = run(
      findTool('ffmpeg'),
      [
        '-nostdin',
        '-hide_banner',
        '-loglevel',
        'error',
        '-timelimit',
        String(CPU_SECONDS),
        '-max_pixels',
        String(MAX_PIXELS),
        ...(limit === undefined ? [] : ['-t', String(limit / 1_000_000)]),
        ...localInput(file),
        '-map',
        '0:v:0',
        '-vf',
        `fps=fps=${framesPerSecond}:start_time=0:round=up,scale=${width}:${height}:flags=area,format=yuv420p,extractplanes=y`,
        '-f',
        'rawvideo',
        '-pix_fmt',
        'gray',
        'pipe:1',
      ],
      { signal },
    );
    const size = width * height;
    let frame = new Uint8Array(size);
    let filled = 0;
    try {
      for await (const part of child.stdout as Readable) {
        const bytes = part as Uint8Array;
        for (let at = 0; at < bytes.length; ) {
          const taken = Math.min(size - filled, bytes.length - at);
          frame.set(bytes.subarray(at, at + taken), filled);
          at += taken;
          filled += taken;
          if (filled < size) continue;
          yield frame;
          frame = new Uint8Array(size);
          filled = 0;
        }
      }
      await done;
    } finally {
      child.kill('SIGKILL');
    }
  },
});
