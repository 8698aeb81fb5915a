// SPDX-License-Identifier: Apache-2.0
/**
 * The video tool port by ffmpeg: probe, CMAF tracks over pipes, WebVTT.
 *
 * One ffmpeg process per title writes every track to a pipe of its own, so the source is read once and nothing is stored twice.
 * All output is 10 s late on purpose (`output_ts_offset`): the fragmented MP4 muxer cannot write the negative time stamps of
 * audio priming, and dropping them would move sound against picture. `frag_discont` makes it write the true times.
 */
import type { Readable, Writable } from 'node:stream';
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { TrackConversion, VideoTool } from '#ports';
import { findTool, localInput, run } from './process.ts';
import { probe } from './probe.ts';
import { feedMarks, markingGraph, marksInput, scaling } from './variants.ts';

const OFFSET = 10_000_000 as Micros;
/** CPU seconds one conversion may use: a safety net against a file made to keep the decoder busy. */
const CPU_SECONDS = 6 * 3600;
const WEBVTT_TIMEOUT_MILLIS = 300_000;
const WEBVTT_LIMIT = 32 * 1024 * 1024;
const PIPE_BLOCK = 256 * 1024;

/** Fragmented CMAF with true time stamps: one fragment per GOP (video) or per `fragment` (audio). */
const muxing = (conversion: TrackConversion, fragment: Micros): readonly string[] => [
  '-avoid_negative_ts',
  'disabled',
  '-output_ts_offset',
  String(OFFSET / 1_000_000),
  '-f',
  'mp4',
  '-movflags',
  `+cmaf+empty_moov+default_base_moof+separate_moof+skip_trailer+frag_discont${conversion.kind === 'video' ? '+frag_keyframe' : ''}`,
  ...(conversion.kind === 'audio' ? ['-frag_duration', String(fragment)] : []),
];

const coding = (conversion: TrackConversion, marked: boolean): readonly string[] => {
  if (conversion.copy) return ['-c', 'copy'];
  if (conversion.kind === 'audio') return ['-c:a', 'aac', '-b:a', String(conversion.bitRate), '-ac', '2', '-ar', '48000'];
  const seconds = conversion.keyFrameEvery / 1_000_000;
  return [
    // Marked video has been scaled in the graph of all variants.
    ...(marked ? [] : ['-vf', scaling(conversion.width, conversion.height)]),
    '-c:v',
    'libx264',
    '-preset',
    'veryfast',
    '-profile:v',
    'high',
    '-sc_threshold',
    '0',
    '-g',
    '100000',
    '-x264-params',
    'open-gop=0',
    '-force_key_frames',
    `expr:gte(t,n_forced*${seconds})`,
    '-b:v',
    String(conversion.bitRate),
    '-maxrate',
    String(Math.round(conversion.bitRate * 1.25)),
    '-bufsize',
    String(conversion.bitRate * 2),
  ];
};

/** Reads one pipe; ends only after the process ended well, so a crash is an error and not a short track. */
async function* track(pipe: Readable, done: Promise<string>): AsyncGenerator<Uint8Array> {
  for await (const part of pipe) yield part as Uint8Array;
  await done;
}

/** The video tool of this machine. Looks for ffmpeg when it is first used, not before. */
export const createFfmpegTool = (): VideoTool => ({
  probe,
  toCmaf({ file, tracks, fragment, marks, signal }) {
    const marking = marks === undefined ? undefined : markingGraph(tracks, marks);
    const outputs = tracks.flatMap((conversion, index) => {
      const label = marking?.labels.get(index);
      return [
        '-map',
        label ?? `0:${conversion.stream}`,
        '-map_metadata',
        '-1',
        ...coding(conversion, label !== undefined),
        ...muxing(conversion, fragment),
        '-blocksize',
        String(PIPE_BLOCK),
        `pipe:${index + 3}`,
      ];
    });
    const marksFd = tracks.length + 3;
    const { child, done } = run(
      findTool('ffmpeg'),
      [
        '-nostdin',
        '-hide_banner',
        '-loglevel',
        'error',
        '-timelimit',
        String(CPU_SECONDS),
        ...localInput(file),
        ...(marks === undefined || marking === undefined ? [] : [...marksInput(marks, marksFd), '-filter_complex', marking.graph]),
        ...outputs,
      ],
      { pipes: tracks.length + (marks === undefined ? 0 : 1), signal },
    );
    child.stdout?.resume();
    if (marks !== undefined) void feedMarks(child.stdio[marksFd] as unknown as Writable, marks);
    return { offset: OFFSET, tracks: tracks.map((_, index) => track(child.stdio[index + 3] as Readable, done)) };
  },
  async toWebVtt({ file, stream, signal }) {
    const { child, done } = run(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'error', ...localInput(file), '-map', `0:${stream}`, '-f', 'webvtt', 'pipe:1'], {
      signal,
      timeoutMillis: WEBVTT_TIMEOUT_MILLIS,
    });
    let document = '';
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      document += part;
      if (document.length > WEBVTT_LIMIT) child.kill('SIGKILL');
    });
    await done;
    if (!document.startsWith('WEBVTT')) throw new SealcastError('media-malformed', 'the subtitle stream could not be written as WebVTT');
    return document;
  },
});
