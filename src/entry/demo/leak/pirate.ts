// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's pirate: a modified client that decrypts what its session opens and publishes it, coded again and cut.
 *
 * It has what a viewer has, no more: a session, its media token, the keys the session opens. It ignores every denial and asks
 * on. Invariant: what it publishes came through the edge as its own copy.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { constants, setPriority } from 'node:os';
import type { Writable } from 'node:stream';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import type { Session } from '#client/index.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { decryptFragment } from '#core/cenc/decrypt-fragment.ts';
import { unprotectInit } from '#core/cenc/protect-init.ts';
import type { ContentKey } from '#core/ids.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';

/** A leak on air. */
export type Pirate = {
  /** Where the copy is published. */
  readonly address: string;
  /** Seconds of the event that were published. */
  readonly published: () => number;
  /** When the last byte of media arrived, and how many answers were denials since the first one. */
  readonly lastByte: () => number;
  readonly denials: () => Readonly<Record<string, number>>;
  stop(): Promise<void>;
};

const PAUSE = 40;

/** Decrypts whole segments with what the session gives. */
const opener = (session: Session, tracks: readonly Track[]): ((bytes: Uint8Array) => Promise<Uint8Array | undefined>) => {
  const known = new Map<string, ContentKey>();
  return async (bytes) => {
    for (let attempt = 0; attempt < 4; attempt++) {
      const answer = decryptFragment(bytes, tracks, (kid) => known.get(encodeHex(kid)), nodeSampleAes);
      if (!('missing' in answer)) return answer.clear;
      const key = await session.key(answer.missing);
      if (key === undefined) return undefined;
      known.set(encodeHex(answer.missing), key);
    }
    return undefined;
  };
};

/** Starts publishing `asset`'s `representation`. `skip`: seconds cut off at the start, so that nothing begins where a segment does. */
export const startPirate = async (options: { readonly session: Session; readonly mediaUrl: string; readonly representation: string; readonly segmentSeconds: number; readonly skip: number; /** Options of ffmpeg. */ readonly recoding: readonly string[] }): Promise<Pirate> => {
  const { session, mediaUrl, representation, segmentSeconds, skip, recoding } = options;
  const denied: Record<string, number> = {};
  let last = 0;
  let published = 0;
  let stopped = false;
  /** The answer's bytes as they come; undefined for a denial. Counts every byte at its arrival. */
  const get = async (path: string): Promise<Uint8Array | undefined> => {
    try {
      const response = await fetch(`${mediaUrl}/${path}`, { headers: { authorization: `Bearer ${session.mediaToken}` } });
      if (!response.ok) {
        const { code = 'unknown' } = (await response.json().catch(() => ({}))) as { code?: string };
        denied[`${response.status} ${code}`] = (denied[`${response.status} ${code}`] ?? 0) + 1;
        return undefined;
      }
      const parts: Uint8Array[] = [];
      for await (const part of response.body ?? []) {
        last = Date.now();
        parts.push(part);
      }
      return new Uint8Array(Buffer.concat(parts));
    } catch {
      denied['cut off'] = (denied['cut off'] ?? 0) + 1;
      return undefined;
    }
  };

  const init = await get(`${representation}/init.mp4`);
  if (init === undefined) throw new Error('the pirate could not start: it has no header');
  const open = opener(session, parseInit(init).tracks);
  const coder = spawn(findTool('ffmpeg'), [
    '-nostdin', '-hide_banner', '-loglevel', 'error', '-f', 'mp4', '-i', 'pipe:0', '-ss', skip.toFixed(2), '-an',
    '-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-g', '50', ...recoding, '-flush_packets', '1', '-f', 'mpegts', 'pipe:1',
  ], { stdio: ['pipe', 'pipe', 'ignore'] });
  if (coder.pid !== undefined) setPriority(coder.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  const into = coder.stdin as Writable;
  into.on('error', () => undefined);
  const sinks = new Set<Writable>();
  coder.stdout?.on('data', (bytes: Buffer) => {
    for (const sink of sinks) sink.write(bytes);
  });
  const server = createServer((request, answer) => {
    answer.writeHead(200, { 'content-type': 'video/mp2t' });
    sinks.add(answer);
    request.once('close', () => sinks.delete(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  into.write(unprotectInit(init));

  const run = async (): Promise<void> => {
    let number = Math.floor(session.now() / 1_000_000 / segmentSeconds) - 1;
    while (!stopped) {
      // The segment being made, as a player would: its bytes come while it grows, until the session ends.
      const segment = await get(`${representation}/${number}.m4s`);
      if (segment === undefined) {
        await new Promise<void>((resolve) => setTimeout(resolve, PAUSE));
        const live = Math.floor(session.now() / 1_000_000 / segmentSeconds) - 1;
        if (live > number + 3) number = live;
        continue;
      }
      number++;
      const splitter = createBoxSplitter();
      for (const piece of splitter.push(segment)) {
        const clear = await open(piece.bytes);
        if (clear !== undefined && !stopped) into.write(clear);
      }
      published += segmentSeconds;
    }
  };
  const running = run();
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/live.ts`,
    published: () => published,
    lastByte: () => last,
    denials: () => ({ ...denied }),
    async stop() {
      stopped = true;
      await running;
      into.destroy();
      coder.kill('SIGKILL');
      for (const sink of sinks) sink.end();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
};
