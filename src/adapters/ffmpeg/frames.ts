// SPDX-License-Identifier: Apache-2.0
/**
 * Decoded pictures: small gray frames for finding a suspect's place, luma at full size for reading its marks.
 *
 * Suspect files come from strangers: local file only, containers that open nothing else, no picture above 8K, CPU time
 * bounded. `scale` with `area` averages whole pixels, so the same picture at any size gives the same cells. Luma is the Y plane
 * of 4:2:0 as it was decoded: a conversion to gray would stretch its range and round it again.
 * Invariant: every frame handed out is complete; a decoder that fails ends the iteration with its error.
 */
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { FrameTool, PictureBuffer, PictureTool } from '#ports';
import { findTool, localInput, run, type Running } from './process.ts';

/** CPU seconds one decoding may use. */
const CPU_SECONDS = 1800;
/** 8192 x 4320 with room for other aspect ratios. */
const MAX_PIXELS = 8192 * 8192;
const QUIET = ['-nostdin', '-hide_banner', '-loglevel', 'error', '-timelimit', String(CPU_SECONDS), '-max_pixels', String(MAX_PIXELS)] as const;
const RAW = ['-fps_mode', 'passthrough', '-f', 'rawvideo', '-pix_fmt', 'gray', 'pipe:1'] as const;
const LUMA = 'format=yuv420p,extractplanes=y';

/** Whole frames of a child's output; ends the child when nobody reads on. */
async function* framesOf({ child, done }: Running, size: number, buffer: PictureBuffer = () => new Uint8Array(size)): AsyncGenerator<Uint8Array> {
  let n = 0;
  let frame = buffer(n);
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
        frame = buffer(++n);
        filled = 0;
      }
    }
    await done;
  } finally {
    child.kill('SIGKILL');
  }
}

/** Writes the parts one after another; a reader that went away says "enough". */
const feed = async (child: ChildProcess, fd: number, parts: Iterable<Uint8Array>): Promise<void> => {
  const pipe = child.stdio[fd] as unknown as Writable;
  let closed = false;
  const over = new Promise<void>((resolve) => {
    for (const event of ['error', 'close'] as const) {
      pipe.once(event, () => {
        closed = true;
        resolve();
      });
    }
  });
  pipe.on('error', () => undefined);
  for (const part of parts) {
    if (closed) return;
    if (!pipe.write(part)) await Promise.race([over, new Promise<void>((resolve) => pipe.once('drain', resolve))]);
  }
  pipe.end();
};

/** The frame tool of this machine. Looks for ffmpeg when it is first used. */
export const createFfmpegFrames = (): FrameTool & PictureTool => ({
  grayFrames({ file, width, height, framesPerSecond, limit, signal }) {
    const filters = `fps=fps=${framesPerSecond}:start_time=0:round=up,scale=${width}:${height}:flags=area,${LUMA}`;
    return framesOf(run(findTool('ffmpeg'), [...QUIET, ...timeLimit(limit), ...localInput(file), '-map', '0:v:0', '-vf', filters, ...RAW], { signal }), width * height);
  },
  filePictures({ file, width, height, framesPerSecond, from = 0, limit, buffer, signal }) {
    // Transport streams are entered between key frames, and all up to the next one is lost: so enter early and drop what comes before.
    const lead = Math.min(from, SEEK_LEAD);
    const filters = `fps=fps=${framesPerSecond}:start_time=${lead / 1_000_000}:round=up,setpts=PTS-STARTPTS,scale=${width}:${height}:flags=bicubic,${LUMA}`;
    const seek = from > lead ? ['-ss', String((from - lead) / 1_000_000)] : [];
    return framesOf(run(findTool('ffmpeg'), [...QUIET, ...seek, ...timeLimit(limit === undefined ? undefined : limit + lead), ...localInput(file), '-map', '0:v:0', '-vf', filters, ...RAW], { signal }), width * height, buffer);
  },
  codedPictures({ parts, width, height, buffer, signal }) {
    // Padding starts at the origin: elsewhere ffmpeg rounds its place, which would move the picture by a pixel.
    const running = run(
      findTool('ffmpeg'),
      [...QUIET, '-protocol_whitelist', 'pipe', '-probesize', '65536', '-f', 'h264', '-i', 'pipe:3', '-map', '0:v:0', '-vf', `pad=${width}:${height}:0:0,${LUMA}`, ...RAW],
      { pipes: 1, signal },
    );
    void feed(running.child, 3, parts);
    return framesOf(running, width * height, buffer);
  },
});

/** Longer than the usual distance of key frames. */
const SEEK_LEAD = 12_000_000;
const timeLimit = (limit: number | undefined): readonly string[] => (limit === undefined ? [] : ['-t', String(limit / 1_000_000)]);
