// SPDX-License-Identifier: Apache-2.0
/**
 * Receipts of probes: what an independent client with its own clock received from an edge, and when at the earliest and latest.
 *
 * docs/wire/audit.md, "Probe receipts". Chained and signed like a release log; the secret itself is not in it, its hash is.
 * Invariant: times are the probe's own interval; what an edge says of its clock is no part of it.
 */
import type { CryptoPeriod, Micros } from '../time.ts';

/** Format of the file. */
export const RECEIPTS_FORMAT = 'sealcast-probe-receipts/1';

/** One arrival. */
export type Receipt = {
  readonly edge: string;
  readonly event: string;
  readonly version: number;
  readonly period: CryptoPeriod;
  /** UTC was within this interval when the frame was read, by the probe's clock. */
  readonly earliest: Micros;
  readonly latest: Micros;
  /** SHA-256 of the secret, base64url. */
  readonly secretHash: string;
  /** Whether the secret matched a signed commitment that the probe held. */
  readonly committed: boolean;
};

/** Lines of a file, in the order they may come. */
export type ReceiptLine =
  | { readonly kind: 'start'; readonly format: string; readonly probe: string; readonly at: Micros; readonly kid: string; readonly prev: string }
  | ({ readonly kind: 'receipt'; readonly prev: string } & Receipt)
  /** `jws`: compact JWS (EdDSA, `typ: "release-receipts+jwt"`) over `{probe, lines, head}`. */
  | { readonly kind: 'signature'; readonly lines: number; readonly head: string; readonly jws: string; readonly prev: string };

/** What a receipt says of a release at `releaseAt`. `undecided`: the instant lies inside the probe's interval. */
export type ReceiptVerdict = 'on-time' | 'early' | 'undecided';
/** Judges one. */
export const judgeReceipt = (receipt: Pick<Receipt, 'earliest' | 'latest'>, releaseAt: Micros): ReceiptVerdict => (receipt.earliest >= releaseAt ? 'on-time' : receipt.latest < releaseAt ? 'early' : 'undecided');

/** JSON of one line, without a line break. */
export const encodeReceiptLine = (line: ReceiptLine): string => {
  switch (line.kind) {
    case 'start':
      return JSON.stringify({ t: 'start', format: line.format, probe: line.probe, at: line.at, kid: line.kid, prev: line.prev });
    case 'receipt':
      return JSON.stringify({ t: 'receipt', edge: line.edge, event: line.event, v: line.version, p: line.period, earliest: line.earliest, latest: line.latest, rs: line.secretHash, committed: line.committed, prev: line.prev });
    case 'signature':
      return JSON.stringify({ t: 'signature', lines: line.lines, head: line.head, jws: line.jws, prev: line.prev });
  }
};
