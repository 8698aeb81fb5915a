// SPDX-License-Identifier: Apache-2.0
/**
 * The release log: what every release was, chained by hash and signed in batches, so that nobody can change it later.
 *
 * docs/wire/audit.md. One JSON object per line; the text of a line is what is hashed, so no canonical form is needed.
 * Invariant: line n holds the hash of line n-1; a signature line covers every line up to itself. One altered, missing or
 * added byte breaks the chain at that line.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import type { ClockStatus } from './clock-bound.ts';

/** Format of the log. */
export const AUDIT_FORMAT = 'sealcast-release-log/1';
/** `prev` of the first line. */
export const AUDIT_GENESIS: string = encodeBase64url(new Uint8Array(32));

/** One release as the edge saw it. */
export type ReleaseEntry = {
  readonly event: string;
  readonly version: number;
  readonly period: CryptoPeriod;
  /** T_p. */
  readonly releaseAt: Micros;
  /** The clock's interval just before the first write. */
  readonly earliest: Micros;
  readonly latest: Micros;
  /** The edge's estimate of UTC at the first and after the last write. */
  readonly first: Micros;
  readonly last: Micros;
  /** Connections written to, and skipped because they had not taken the last one. */
  readonly sent: number;
  readonly skipped: number;
  readonly status: ClockStatus;
  /** Time sources behind the interval. */
  readonly sources: readonly string[];
  /** Seed of the order of writing, base64url. */
  readonly seed: string;
  /** SHA-256 of the released secret, base64url: what a probe compares with what it received. */
  readonly secretHash: string;
  /** Which of the edge's release workers wrote it; 0 in process. */
  readonly worker: number;
};

/** Lines of a log, in the order they may come. */
export type AuditLine =
  | { readonly kind: 'start'; readonly format: string; readonly edge: string; readonly at: Micros; readonly kid: string; readonly prev: string }
  | ({ readonly kind: 'release'; readonly prev: string } & ReleaseEntry)
  /** A refusal that lasted, a fault of the clock, an edge that stopped: what explains a gap. */
  | { readonly kind: 'note'; readonly event: string; readonly at: Micros; readonly what: string; readonly prev: string }
  /** A block's signed schedule, when the edge took it: before the releases it covers, so before their instants. */
  | { readonly kind: 'schedule'; readonly event: string; readonly block: number; readonly at: Micros; readonly jws: string; readonly prev: string }
  /** `jws`: detached-payload-free compact JWS (EdDSA, `typ: "release-log+jwt"`) over `{edge, lines, head}`. */
  | { readonly kind: 'signature'; readonly lines: number; readonly head: string; readonly jws: string; readonly prev: string };

/** Hash of one line's text, base64url. */
export const lineHash = (hash: Pick<LadderHash, 'sha256'>, line: string): string => encodeBase64url(hash.sha256(encodeUtf8(line)));

/** JSON of one line, without a line break. Member names are short: there are ten lines a second. */
export const encodeAuditLine = (line: AuditLine): string => {
  switch (line.kind) {
    case 'release':
      return JSON.stringify({
        t: 'release', event: line.event, v: line.version, p: line.period, at: line.releaseAt, earliest: line.earliest, latest: line.latest, first: line.first, last: line.last,
        sent: line.sent, skipped: line.skipped, status: line.status, sources: line.sources, seed: line.seed, rs: line.secretHash, worker: line.worker, prev: line.prev,
      });
    case 'start':
      return JSON.stringify({ t: 'start', format: line.format, edge: line.edge, at: line.at, kid: line.kid, prev: line.prev });
    case 'note':
      return JSON.stringify({ t: 'note', event: line.event, at: line.at, what: line.what, prev: line.prev });
    case 'schedule':
      return JSON.stringify({ t: 'schedule', event: line.event, block: line.block, at: line.at, jws: line.jws, prev: line.prev });
    case 'signature':
      return JSON.stringify({ t: 'signature', lines: line.lines, head: line.head, jws: line.jws, prev: line.prev });
  }
};
