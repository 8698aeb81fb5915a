// SPDX-License-Identifier: Apache-2.0
/**
 * An independent probe: receives releases of one edge like any client, with a clock of its own, and signs when it had them.
 *
 * docs/wire/audit.md, "Probe receipts". Run by somebody else than the edge, near it; what it writes proves or refutes the edge's own log.
 * Invariants: the interval is taken when bytes come, before anything is parsed, from the probe's clock alone; replays are no receipts; secrets are not written.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { AssetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { AUDIT_GENESIS, lineHash } from '#core/release/audit.ts';
import { REPLAY, type ReleaseFrame } from '#core/release/frame.ts';
import { encodeReceiptLine, type ReceiptLine, RECEIPTS_FORMAT } from '#core/release/receipts.ts';
import type { EdgeInfo } from '#core/release/schedule.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { JwsKey } from '#crypto/jose.ts';
import type { Clock } from '#ports';
import { createCommitments } from '../release/commitments.ts';
import { type EdgeLink, openSocketLink, type OpenSocket } from '../release/edge-link.ts';

/** UTC by the probe's own clock. */
export type OwnBound = { readonly earliest: Micros; readonly latest: Micros };
/** Signs `{probe, lines, head}`: a compact JWS, EdDSA, `typ: "release-receipts+jwt"`. */
export type ReceiptSigner = (payload: { readonly probe: string; readonly lines: number; readonly head: string }) => Promise<string>;

/** What a probe is made of. */
export type ProbeOptions = {
  /** Its name, and the id of its key. */
  readonly probe: string;
  readonly kid: string;
  readonly sign: ReceiptSigner;
  /** Base URL of the edge it watches. */
  readonly url: string;
  readonly event: AssetId;
  readonly token: () => string;
  /** Verification keys of schedules, from the licence server. */
  readonly keyOf: (kid: string | undefined) => JwsKey | undefined;
  readonly openSocket: OpenSocket;
  readonly timers: Clock;
  readonly bound: () => OwnBound;
  readonly hash: Pick<LadderHash, 'sha256'>;
  /** Adds whole lines to the receipts' file, in order. */
  readonly append: (text: string) => Promise<void>;
};

/** A probe at work. */
export type Probe = {
  /** Receipts so far. */
  readonly received: number;
  readonly edge: string | undefined;
  /** Writes and signs what is left. */
  stop(): Promise<void>;
};

const BATCH_EVERY = 1000 as Millis;
const AGAIN = 1000 as Millis;

/** Connects at once, and again after a loss. A file begins with each start. */
export const startProbe = (options: ProbeOptions): Probe => {
  const { probe, event, timers, hash } = options;
  const commitments = createCommitments(event, options.keyOf);
  let edge: EdgeInfo | undefined;
  let queue: { frame: ReleaseFrame; bound: OwnBound }[] = [];
  let head: string = AUDIT_GENESIS;
  let lines = 0;
  let received = 0;
  let stopped = false;
  let link: EdgeLink | undefined;
  let cancelAgain = (): void => undefined;
  let cancelBatch = (): void => undefined;
  let writing: Promise<void> = Promise.resolve();

  const chain = (line: ReceiptLine): string => {
    const text = encodeReceiptLine(line);
    head = lineHash(hash, text);
    lines++;
    return `${text}\n`;
  };
  const flush = async (): Promise<void> => {
    const batch = queue;
    queue = [];
    if (batch.length === 0 || edge === undefined) return;
    let text = lines === 0 ? chain({ kind: 'start', format: RECEIPTS_FORMAT, probe, at: options.bound().latest, kid: options.kid, prev: head }) : '';
    for (const { frame, bound } of batch) {
      const committed = commitments.check(frame.period, frame.secret) === 'good';
      text += chain({ kind: 'receipt', edge: edge.edge, event, version: edge.version, period: frame.period, earliest: bound.earliest, latest: bound.latest, secretHash: encodeBase64url(hash.sha256(frame.secret)), committed, prev: head });
    }
    const jws = await options.sign({ probe, lines, head });
    text += chain({ kind: 'signature', lines, head, jws, prev: head });
    await options.append(text);
  };
  const batches = (): void => {
    cancelBatch = timers.after(BATCH_EVERY, () => {
      writing = writing.then(flush, flush);
      batches();
    });
  };
  batches();

  const connect = (): void => {
    if (stopped) return;
    link = openSocketLink({ url: options.url, event, token: options.token(), last: undefined, caps: [], clock: timers }, options.openSocket, {
      message(message) {
        if (message.type === 'welcome') edge = message.info;
        const schedules = message.type === 'welcome' || message.type === 'sched' ? message.schedules : [];
        for (const jws of schedules) void commitments.offer(jws);
      },
      release(frame) {
        const bound = options.bound();
        if ((frame.flags & REPLAY) !== 0) return;
        received++;
        queue.push({ frame, bound });
      },
      exchange: () => undefined,
      down: () => {
        cancelAgain = timers.after(AGAIN, connect);
      },
    });
  };
  connect();

  return {
    get received() {
      return received;
    },
    get edge() {
      return edge?.edge;
    },
    async stop() {
      stopped = true;
      cancelAgain();
      cancelBatch();
      link?.close();
      writing = writing.then(flush, flush);
      await writing;
    },
  };
};
