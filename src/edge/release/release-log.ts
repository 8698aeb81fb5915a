// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the release log away from the releases: chains what happened, signs it once a second.
 *
 * docs/wire/audit.md; format in `core/release/audit.ts`. Entries are queued by the loop and written between instants.
 * Invariant: lines are written in the order of their chain, and every second's last line is a signature over all before it.
 */
import type { LadderHash } from '#core/keys/ladder.ts';
import { AUDIT_FORMAT, AUDIT_GENESIS, type AuditLine, encodeAuditLine, lineHash, type ReleaseEntry } from '#core/release/audit.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Log } from '#ports';

/** Signs `{edge, lines, head}`: a compact JWS, EdDSA, `typ: "release-log+jwt"`. */
export type LogSigner = (payload: { readonly edge: string; readonly lines: number; readonly head: string }) => Promise<string>;

/** The release log of one edge. */
export type ReleaseLog = {
  /** Queues an entry; free of I/O. */
  released(entry: ReleaseEntry): void;
  note(event: string, at: Micros, what: string): void;
  /** A schedule that was taken: what makes the log provable without anything else. */
  schedule(event: string, block: number, at: Micros, jws: string): void;
  /** The newest signed head, for publication; undefined before the first. */
  readonly head: { readonly lines: number; readonly head: string; readonly jws: string } | undefined;
  start(): void;
  /** Signs and writes what is queued. */
  stop(): Promise<void>;
};

const BATCH_EVERY = 1000;
/** Beyond this the oldest entries are dropped with a note: a full disk must not take the edge down. */
const MAX_QUEUE = 100_000;

/** `append` adds whole lines to the log, in order. A log begins anew at each start, with a `start` line that names the key. */
export const createReleaseLog = (options: { edge: string; kid: string; sign: LogSigner; append: (text: string) => Promise<void>; hash: Pick<LadderHash, 'sha256'>; now: () => Micros; timers: Clock; log: Log }): ReleaseLog => {
  const { edge, hash, timers } = options;
  let queue: ({ readonly kind: 'release'; readonly entry: ReleaseEntry } | { readonly kind: 'note'; readonly event: string; readonly at: Micros; readonly what: string } | { readonly kind: 'schedule'; readonly event: string; readonly block: number; readonly at: Micros; readonly jws: string })[] = [];
  let head = AUDIT_GENESIS;
  let lines = 0;
  let cancel: (() => void) | undefined;
  let writing: Promise<void> = Promise.resolve();
  let dropped = 0;
  let newest: ReleaseLog['head'];

  const chain = (line: AuditLine): string => {
    const text = encodeAuditLine(line);
    head = lineHash(hash, text);
    lines++;
    return `${text}\n`;
  };

  const flush = async (): Promise<void> => {
    const batch = queue;
    queue = [];
    if (batch.length === 0 && lines > 0) return;
    let text = lines === 0 ? chain({ kind: 'start', format: AUDIT_FORMAT, edge, at: options.now(), kid: options.kid, prev: head }) : '';
    if (dropped > 0) {
      text += chain({ kind: 'note', event: '', at: options.now(), what: `${dropped} entries were lost before this line`, prev: head });
      dropped = 0;
    }
    for (const item of batch) text += chain(item.kind === 'release' ? { kind: 'release', ...item.entry, prev: head } : { ...item, prev: head });
    const jws = await options.sign({ edge, lines, head });
    const signed = { lines, head, jws };
    text += chain({ kind: 'signature', lines, head, jws, prev: head });
    try {
      await options.append(text);
      newest = signed;
    } catch (error) {
      options.log.error('the release log could not be written', { reason: error instanceof Error ? error.message : String(error) });
    }
  };
  const later = (): void => {
    cancel = timers.after(BATCH_EVERY as Millis, () => {
      writing = writing.then(flush, flush);
      later();
    });
  };
  const add = (item: (typeof queue)[number]): void => {
    if (queue.length >= MAX_QUEUE) {
      queue.shift();
      dropped++;
    }
    queue.push(item);
  };

  return {
    released: (entry) => add({ kind: 'release', entry }),
    note: (event, at, what) => add({ kind: 'note', event, at, what }),
    schedule: (event, block, at, jws) => add({ kind: 'schedule', event, block, at, jws }),
    get head() {
      return newest;
    },
    start: () => {
      if (cancel === undefined) later();
    },
    async stop() {
      cancel?.();
      cancel = undefined;
      writing = writing.then(flush, flush);
      await writing;
    },
  };
};
