// SPDX-License-Identifier: Apache-2.0
/**
 * Finds ffmpeg and runs it as a child with limits.
 *
 * Inputs are named by `file:` addresses with a protocol and a demuxer white list: without them a "video" that is really a
 * playlist or a concat script makes ffmpeg read other files or call out to the network.
 * Invariant: a child never outlives the abort of its signal, and what it says on stderr is kept only as a short tail.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { SealcastError } from '#core/errors.ts';

/** What brings ffmpeg and the font of the drawn clock onto a Debian machine. */
export const INSTALL_COMMAND = 'apt-get install -y ffmpeg fonts-dejavu-core';

/** Path of a tool: `SEALCAST_FFMPEG` (ffprobe is looked for beside it) wins over PATH. Throws `tool-missing`. */
export const findTool = (name: 'ffmpeg' | 'ffprobe', env: Readonly<Record<string, string | undefined>> = process.env): string => {
  const chosen = env['SEALCAST_FFMPEG'];
  const candidates =
    chosen !== undefined && chosen !== ''
      ? [name === 'ffmpeg' ? resolve(chosen) : join(resolve(chosen), '..', 'ffprobe')]
      : (env['PATH'] ?? '')
          .split(delimiter)
          .filter((folder) => folder !== '')
          .map((folder) => join(folder, name));
  for (const path of candidates) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next folder may have it
    }
  }
  throw new SealcastError('tool-missing', `${name} was not found ${chosen ? 'where SEALCAST_FFMPEG says' : 'on PATH'}; install it with: ${INSTALL_COMMAND}`, {
    extra: { tool: name, install: INSTALL_COMMAND },
  });
};

/** Demuxers of media containers; none of them opens further files. */
export const CONTAINERS = 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mp3,aac,flac,wav,w64,ogg,h264,srt,webvtt,ass';

/** Arguments that open a local media file and nothing else. */
export const localInput = (file: string): readonly string[] => ['-protocol_whitelist', 'file', '-format_whitelist', CONTAINERS, '-i', `file:${resolve(file)}`];

const TAIL = 2_000;

/** A started child and its end. */
export type Running = {
  readonly child: ChildProcess;
  /** Resolves with the end of stderr when the child ended well; rejects with `media-malformed` otherwise. */
  readonly done: Promise<string>;
};

/** Starts a tool whose standard input is written to. */
export const runFed = (path: string, args: readonly string[]): Running => watched(spawn(path, [...args], { stdio: ['pipe', 'pipe', 'pipe'] }));

/** Starts a tool. `pipes` extra file descriptors (3, 4, ...) are readable as `child.stdio`. */
export const run = (path: string, args: readonly string[], options: { pipes?: number; signal?: AbortSignal | undefined; timeoutMillis?: number } = {}): Running => {
  return watched(spawn(path, [...args], {
    stdio: ['ignore', 'pipe', 'pipe', ...Array.from({ length: options.pipes ?? 0 }, () => 'pipe' as const)],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.timeoutMillis === undefined ? {} : { timeout: options.timeoutMillis, killSignal: 'SIGKILL' as const }),
  }));
};

const watched = (child: ChildProcess): Running => {
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL);
  });
  const done = new Promise<string>((settle, fail) => {
    child.once('error', (error) =>
      fail(new SealcastError('tool-missing', `the video tool could not be started: ${(error as NodeJS.ErrnoException).code ?? error.name}`, { cause: error })),
    );
    child.once('close', (code, signal) => {
      if (code === 0) settle(tail);
      else fail(new SealcastError('media-malformed', `the video tool ended with ${signal ?? `code ${code}`}: ${lastLines(tail)}`));
    });
  });
  done.catch(() => undefined);
  return { child, done };
};

/** The last lines of stderr, without the local paths ffmpeg repeats. */
const lastLines = (tail: string): string =>
  tail
    .trim()
    .split('\n')
    .slice(-3)
    .join(' | ')
    .replaceAll(/file:\S+/g, 'the input')
    .slice(-400);
