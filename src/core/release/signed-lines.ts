// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a chained, signed file of JSON lines: release logs and probe receipts alike.
 *
 * docs/wire/audit.md. A line counts if its text is exactly what its members encode to, and if it holds the hash of the line before.
 * Invariant: every fault names its line, and nothing after a broken link is taken for proven. Pure: signatures are the caller's business.
 */
import { type AuditLine, AUDIT_FORMAT, AUDIT_GENESIS, encodeAuditLine } from './audit.ts';
import { encodeReceiptLine, type ReceiptLine, RECEIPTS_FORMAT } from './receipts.ts';

/** Something that must not be in such a file, or is missing; line numbers begin with 1. */
export type LineFault = { readonly line: number; readonly what: string };
/** A file as far as it holds together. */
export type SignedLines<Line> = {
  /** Lines up to the first fault. `at` is the line's number. */
  readonly lines: readonly { readonly at: number; readonly line: Line }[];
  /** Lines that a signature covers, if its JWS is good. */
  readonly covered: number;
  readonly faults: readonly LineFault[];
};

type Raw = Readonly<Record<string, unknown>>;
type Text = (name: string) => string;
type Whole = (name: string) => number;

const HASH = /^[A-Za-z0-9_-]{43}$/;

const members = (raw: Raw): { text: Text; whole: Whole } => ({
  text: (name) => {
    const value = raw[name];
    if (typeof value !== 'string') throw new TypeError(`${name} must be a text`);
    return value;
  },
  whole: (name) => {
    const value = raw[name];
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new TypeError(`${name} must be a whole number`);
    return value;
  },
});

const auditLine = (raw: Raw): AuditLine => {
  const { text, whole } = members(raw);
  const prev = text('prev');
  switch (raw['t']) {
    case 'start':
      return { kind: 'start', format: text('format'), edge: text('edge'), at: whole('at') as never, kid: text('kid'), prev };
    case 'release': {
      const sources = raw['sources'];
      const status = text('status');
      if (!Array.isArray(sources) || !sources.every((each) => typeof each === 'string')) throw new TypeError('sources must be texts');
      if (status !== 'sync' && status !== 'single-host') throw new TypeError('status must be one that releases');
      return {
        kind: 'release', event: text('event'), version: whole('v'), period: whole('p') as never, releaseAt: whole('at') as never, earliest: whole('earliest') as never, latest: whole('latest') as never, first: whole('first') as never,
        last: whole('last') as never, sent: whole('sent'), skipped: whole('skipped'), status, sources, seed: text('seed'), secretHash: text('rs'), worker: whole('worker'), prev,
      };
    }
    case 'note':
      return { kind: 'note', event: text('event'), at: whole('at') as never, what: text('what'), prev };
    case 'schedule':
      return { kind: 'schedule', event: text('event'), block: whole('block'), at: whole('at') as never, jws: text('jws'), prev };
    case 'signature':
      return { kind: 'signature', lines: whole('lines'), head: text('head'), jws: text('jws'), prev };
    default:
      throw new TypeError('unknown kind of line');
  }
};

const receiptLine = (raw: Raw): ReceiptLine => {
  const { text, whole } = members(raw);
  const prev = text('prev');
  switch (raw['t']) {
    case 'start':
      return { kind: 'start', format: text('format'), probe: text('probe'), at: whole('at') as never, kid: text('kid'), prev };
    case 'receipt':
      if (typeof raw['committed'] !== 'boolean') throw new TypeError('committed must be true or false');
      return { kind: 'receipt', edge: text('edge'), event: text('event'), version: whole('v'), period: whole('p') as never, earliest: whole('earliest') as never, latest: whole('latest') as never, secretHash: text('rs'), committed: raw['committed'], prev };
    case 'signature':
      return { kind: 'signature', lines: whole('lines'), head: text('head'), jws: text('jws'), prev };
    default:
      throw new TypeError('unknown kind of line');
  }
};

const read = <Line extends { readonly kind: string; readonly prev: string }>(text: string, hashLine: (line: string) => string, parse: (raw: Raw) => Line, encode: (line: Line) => string, format: string): SignedLines<Line> => {
  const lines: { at: number; line: Line }[] = [];
  const fault = (what: string): SignedLines<Line> => ({ lines, covered, faults: [{ line: lines.length + 1, what }] });
  let prev: string = AUDIT_GENESIS;
  let covered = 0;
  let from = 0;
  while (from < text.length) {
    const end = text.indexOf('\n', from);
    if (end < 0) return fault('the line does not end');
    const own = text.slice(from, end);
    from = end + 1;
    let line: Line;
    try {
      line = parse(JSON.parse(own) as Raw);
    } catch (error) {
      return fault(error instanceof SyntaxError ? 'not a JSON object' : (error as Error).message);
    }
    // Two texts of one meaning would be two hashes: only the one that the writer writes is taken.
    if (encode(line) !== own) return fault('not written as the format says');
    if (line.prev !== prev) return fault('the chain is broken: this line does not hold the hash of the one before');
    if ((line.kind === 'start') !== (lines.length === 0)) return fault(lines.length === 0 ? 'a file begins with a start line' : 'a start line comes first');
    if (line.kind === 'start' && (line as unknown as { format: string }).format !== format) return fault(`not of the format ${format}`);
    if (line.kind === 'signature') {
      const { lines: count, head } = line as unknown as { lines: number; head: string };
      if (count !== lines.length || head !== prev) return fault('the signature line counts other lines than there are before it');
      covered = lines.length + 1;
    }
    if (!HASH.test(line.prev)) return fault('prev must be a hash');
    lines.push({ at: lines.length + 1, line });
    prev = hashLine(own);
  }
  return lines.length === 0 ? fault('the file is empty') : { lines, covered, faults: [] };
};

/** A release log. `hashLine`: SHA-256 of a line's UTF-8 text, base64url. */
export const readReleaseLog = (text: string, hashLine: (line: string) => string): SignedLines<AuditLine> => read(text, hashLine, auditLine, encodeAuditLine, AUDIT_FORMAT);
/** A probe's receipts, likewise. */
export const readReceipts = (text: string, hashLine: (line: string) => string): SignedLines<ReceiptLine> => read(text, hashLine, receiptLine, encodeReceiptLine, RECEIPTS_FORMAT);
