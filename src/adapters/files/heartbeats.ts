// SPDX-License-Identifier: Apache-2.0
/**
 * Heartbeats in memory with a journal, so that a restarted process still knows who is watching.
 *
 * The journal is newline-delimited JSON: a heartbeat, or `{"removed": session}`. Lines asked for in one turn share one
 * write; the file is rewritten when it holds mostly history.
 * Invariant: a resolved `record` survives kill -9 (it has left the process), not loss of power: a heartbeat is worth
 * less than its flush, and a lost one is repeated at the next renewal.
 */
import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { SealcastError } from '#core/errors.ts';
import type { SessionId } from '#core/ids.ts';
import type { Clock, Heartbeat, HeartbeatStore } from '#ports';
import { createMemoryHeartbeats } from '../memory/heartbeats.ts';

/** Where the journal is, and the clock that tells which of its lines still matter. */
export type JournalledHeartbeatsOptions = {
  readonly path: string;
  readonly clock: Clock;
  /** The file is rewritten after this many lines, or twice as many as were live the last time if that is more; 20,000 unless told. */
  readonly compactAfterLines?: number;
};

type Line = Heartbeat | { readonly removed: SessionId };

/** Under load lines gather for so long, ms: a write is a job of the thread pool, dearer than a hundred lines. */
const GATHER = 5;

/** JSON of a heartbeat. Every renewal writes one; ids hold nothing to escape, but for an account that a backend named oddly. */
const lineOf = ({ session, account, device, asset, at, expiresAt, kind }: Heartbeat): string =>
  `{"session":"${session}","account":${/["\\]/.test(account) ? JSON.stringify(account) : `"${account}"`},"device":"${device}","asset":"${asset}","at":${at},"expiresAt":${expiresAt},"kind":"${kind}"}\n`;

/** Complete lines only: the last one may have been cut by a crash, and the heartbeat behind it was never acknowledged. */
const linesOf = (text: string): Line[] =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as Line];
      } catch {
        return [];
      }
    });

/** Opens or creates the journal and reads it. Faults are `store-unavailable`. */
export const openJournalledHeartbeats = async (options: JournalledHeartbeatsOptions): Promise<HeartbeatStore & { close(): Promise<void> }> => {
  const { path, clock, compactAfterLines = 20_000 } = options;
  const memory = createMemoryHeartbeats();
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw new SealcastError('store-unavailable', `heartbeat journal: ${error instanceof Error && 'code' in error ? String(error.code) : 'unknown fault'}`, { cause: error });
    }
  };

  let journal: FileHandle;
  let lines = 0;
  /** Rewriting costs as much as there is live: doing it at twice that keeps its share of every line constant. */
  let rewriteAfter = compactAfterLines;
  const rewrite = async (): Promise<void> => {
    const live = await memory.live({}, clock.now());
    const fresh = await open(`${path}.new`, 'w', 0o600);
    await fresh.writeFile(live.map(lineOf).join(''));
    await rename(`${path}.new`, path);
    await journal?.close();
    journal = fresh;
    lines = live.length;
    rewriteAfter = Math.max(compactAfterLines, 2 * lines);
  };

  await guarded(async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
      throw error;
    });
    for (const line of linesOf(text)) await ('removed' in line ? memory.remove(line.removed) : memory.record(line));
    await rewrite();
  });

  let waiting: string[] = [];
  let writing: Promise<void> | undefined;
  let inFlight: Promise<void> = Promise.resolve();
  /** All lines that are waiting when the previous write ends go out together. */
  const append = (line: Line): Promise<void> => {
    waiting.push('removed' in line ? `${JSON.stringify(line)}\n` : lineOf(line));
    if (waiting.length > 1 && writing !== undefined) return writing;
    let busy = false;
    writing = inFlight.then(() =>
      guarded(async () => {
        const group = waiting;
        waiting = [];
        busy = group.length > 1;
        await journal.appendFile(group.join(''));
        lines += group.length;
        if (lines > rewriteAfter) await rewrite();
      }),
    );
    inFlight = writing.then(() => (busy ? setTimeout(GATHER) : undefined), () => undefined);
    return writing;
  };

  return {
    async record(heartbeat) {
      await memory.record(heartbeat);
      await append(heartbeat);
    },
    live: (filter, now) => memory.live(filter, now),
    async remove(session) {
      await memory.remove(session);
      await append({ removed: session });
    },
    async close() {
      await inFlight;
      await journal.close();
    },
  };
};
