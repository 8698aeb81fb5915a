// SPDX-License-Identifier: Apache-2.0
/**
 * Takes down a stream from anywhere in pieces of a few seconds, without decoding it: bytes in on a pipe, files out.
 *
 * The bytes come from a stranger: ffmpeg gets them through a pipe, may open nothing else, and knows only containers that name
 * no other address. Pieces are MPEG-TS, which can be joined by putting one behind the other.
 * Invariant: a piece that is handed out is complete; at most `kept` of them are on disk.
 */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { SealcastError } from '#core/errors.ts';
import { CONTAINERS, findTool, runFed } from './process.ts';

/** A stream being taken down. */
export type Capture = {
  /** Complete pieces so far. */
  pieces(): Promise<number>;
  /** The newest `count` pieces as one file; undefined while there is none. */
  newest(count: number): Promise<string | undefined>;
  /** Resolves when the stream ended, with the reason if it was a fault. */
  readonly done: Promise<string | undefined>;
  stop(): Promise<void>;
};

const NAME = /^(\d{6})\.ts$/;

/** `folder` is empty and belongs to the capture. `kept`: pieces that stay on disk. */
export const captureStream = (options: { readonly source: AsyncIterable<Uint8Array>; readonly folder: string; readonly pieceSeconds: number; readonly kept: number }): Capture => {
  const { source, folder, pieceSeconds, kept } = options;
  const { child, done: ended } = runFed(findTool('ffmpeg'), [
    '-nostdin', '-hide_banner', '-loglevel', 'error', '-protocol_whitelist', 'pipe', '-format_whitelist', CONTAINERS, '-probesize', '10000000', '-analyzeduration', '10000000', '-i', 'pipe:0',
    '-map', '0:v:0', '-c', 'copy', '-f', 'segment', '-segment_time', String(pieceSeconds), '-segment_format', 'mpegts', join(folder, '%06d.ts'),
  ]);
  const input = child.stdin as Writable;
  let closed = false;
  let complete = false;
  let stopped = false;
  input.on('error', () => undefined);
  for (const event of ['close', 'error'] as const) input.once(event, () => (closed = true));

  const feed = async (): Promise<void> => {
    for await (const part of source) {
      if (closed || stopped) return;
      if (!input.write(part)) await new Promise<void>((resolve) => {
        input.once('drain', resolve);
        input.once('close', resolve);
      });
    }
  };
  const fault = (error: unknown): string | undefined => (stopped ? undefined : error instanceof SealcastError ? error.message : error instanceof Error ? error.message : 'the stream broke off');
  const feeding = feed().then(() => undefined, fault).finally(() => input.end());
  const done = Promise.all([feeding, ended.then(() => undefined, fault)]).then(([first, second]) => {
    complete = true;
    return first ?? second;
  });

  const list = async (): Promise<string[]> => {
    const names = (await readdir(folder)).filter((name) => NAME.test(name)).sort();
    // The last one is being written until the stream is over.
    return complete ? names : names.slice(0, -1);
  };
  return {
    done,
    async pieces() {
      const names = await list();
      return names.length === 0 ? 0 : Number(NAME.exec(names[names.length - 1] ?? '')?.[1] ?? -1) + 1;
    },
    async newest(count) {
      const names = await list();
      for (const name of names.slice(0, -kept)) await rm(join(folder, name), { force: true });
      const recent = names.slice(-Math.min(count, kept));
      if (recent.length === 0) return undefined;
      const file = join(folder, 'newest.ts');
      await writeFile(file, Buffer.concat(await Promise.all(recent.map((name) => readFile(join(folder, name))))), { mode: 0o600 });
      return file;
    },
    async stop() {
      stopped = true;
      input.destroy();
      child.kill('SIGTERM');
      await done;
    },
  };
};
