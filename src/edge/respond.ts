// SPDX-License-Identifier: Apache-2.0
/**
 * Turns cache answers and denials into responses: ranges, validators, CORS, age.
 *
 * docs/wire/media.md; RFC 9110, RFC 9111 section 5.1, Fetch (CORS), RFC 9457 for refusals.
 * Invariant: every answer, refusals included, carries the CORS fields (a player cannot read a status it may not see), and
 * a refusal is never cached.
 */
import { ERRORS, type ErrorCode, problemOf, SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import { forClients } from '#edge/freshness.ts';
import { applySwitches, type MarkSites, type Switches } from '#core/mark/index.ts';
import { createCopyBuffers } from '#edge/copy-buffers.ts';
import { markedStream } from '#edge/marked-bytes.ts';
import type { StoredObject } from '#edge/memory-tier.ts';
import type { OriginHead } from '#edge/origin.ts';
import type { CacheAnswer } from '#edge/pull-through.ts';
import { isNotModified, isRangeCurrent, resolveRange } from '#edge/range.ts';
import type { ResponseFactory } from '#ports';

type HeaderList = [string, string][];

/** Bytes of buffers kept for viewers' copies: a few hundred segments on their way out. */
const KEPT_BUFFERS = 64 * 1024 * 1024;

const COMMON: HeaderList = [
  ['access-control-allow-origin', '*'],
  ['access-control-expose-headers', 'Date, Content-Length, Content-Range, ETag, CTA-Common-Access-Token'],
  ['timing-allow-origin', '*'],
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'no-referrer'],
];

const PREFLIGHT: HeaderList = [
  ...COMMON,
  ['access-control-allow-methods', 'GET, HEAD, OPTIONS'],
  // `*` would not cover Authorization, and CMCD header names cannot be given by a pattern.
  ['access-control-allow-headers', 'Authorization, CTA-Common-Access-Token, Range, If-Range, If-None-Match, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status'],
  ['access-control-max-age', '86400'],
];

/** What of a request decides the form of its answer. */
export type Wish = { readonly head: boolean; readonly range: string | null; readonly ifRange: string | null; readonly ifNoneMatch: string | null };

/** 64 bits that stand for one object of an origin, low and high half. */
export type ObjectDigest = readonly [low: number, high: number];

/** How an answer hides which variant it is: its own entity tag, no date of the origin's, always of age 0. */
export type Disguise = {
  /** The object behind an origin's tag, in words that mean nothing outside. */
  digest(originTag: string): ObjectDigest;
  /** The tag that this viewer sees. */
  tag(digest: ObjectDigest): string;
  /** Marks inside the bitstream: which of the object's places are on for this viewer. */
  readonly switches?: Switches;
};

/** Makes the edge's responses. */
export type Responder = {
  object(answer: Exclude<CacheAnswer, { kind: 'refused' }>, wish: Wish, now: Micros, disguise?: Disguise): Response;
  refusal(code: ErrorCode, detail: string, now: Micros, head: boolean): Response;
  preflight(now: Micros): Response;
};

const ageOf = (bornAt: Micros, now: Micros): string => String(Math.max(0, Math.floor((now - bornAt) / 1_000_000)));

const objectHeaders = (head: OriginHead): HeaderList => {
  const list: HeaderList = [...COMMON, ['content-type', head.type], ['cache-control', forClients(head.cacheControl)]];
  if (head.etag !== null) list.push(['etag', head.etag]);
  if (head.lastModified !== null) list.push(['last-modified', head.lastModified]);
  return list;
};

/** Variants differ in when they were made and cached; no field may. `no-transform`: what a proxy re-encodes loses its mark. */
const hidden = (head: OriginHead, etag: string | null): OriginHead => ({
  type: head.type,
  cacheControl: head.cacheControl === null ? null : `${head.cacheControl}, no-transform`,
  etag,
  lastModified: null,
});

/** `respond` makes the response objects; everything about their fields is decided here. */
export const createResponder = (respond: ResponseFactory): Responder => {
  const buffers = createCopyBuffers(KEPT_BUFFERS);
  let second = -1;
  let date = '';
  /** IMF-fixdate of `now`; formatting is done once a second. */
  const dateOf = (now: Micros): string => {
    const current = Math.floor(now / 1_000_000);
    if (current !== second) {
      second = current;
      date = new Date(current * 1000).toUTCString();
    }
    return date;
  };
  const stamp = (list: HeaderList, bornAt: Micros, now: Micros): HeaderList => {
    const stamped = list.slice();
    stamped.push(['date', dateOf(now)], ['age', ageOf(bornAt, now)]);
    return stamped;
  };

  const refusal = (code: ErrorCode, detail: string, now: Micros, head: boolean, extra: HeaderList = []): Response => {
    const problem = JSON.stringify(problemOf(new SealcastError(code, detail)));
    const { status, retry } = ERRORS[code];
    const list: HeaderList = [...COMMON, ['date', dateOf(now)], ['content-type', 'application/problem+json'], ['cache-control', 'no-store'], ...extra];
    if (status === 401) list.push(['www-authenticate', code === 'token-missing' ? 'Bearer realm="media"' : 'Bearer realm="media", error="invalid_token"']);
    if (status === 405) list.push(['allow', 'GET, HEAD, OPTIONS']);
    if (retry === 'later') list.push(['retry-after', '1']);
    return respond(head ? null : new TextEncoder().encode(problem), { status, headers: list });
  };

  /** Headers of a whole answer from memory: the same list each time, but for its two instants. */
  const storedHeaders = (object: StoredObject): HeaderList =>
    (object.headerList ??= [...objectHeaders(object.head), ['accept-ranges', 'bytes'], ['content-length', String(object.body.length)]]);

  /** The same of a variant, but for the viewer's entity tag. */
  const hiddenHeaders = (object: StoredObject): HeaderList =>
    (object.hiddenHeaderList ??= [...objectHeaders(hidden(object.head, null)), ['accept-ranges', 'bytes'], ['content-length', String(object.body.length)]]);

  /** A viewer's copy of `bytes` [start, ...) of an object. */
  const respondMarked = (bytes: Uint8Array, marks: readonly MarkSites[], switches: Switches, start: number, status: number, headers: HeaderList): Response => {
    const copy = buffers.copy(bytes);
    for (const sites of marks) applySwitches(copy.bytes, sites, switches, start);
    return respond(copy.bytes, { status, headers, done: copy.done });
  };

  const stored = (object: StoredObject, wish: Wish, now: Micros, disguise?: Disguise): Response => {
    const { body, marks = [] } = object;
    const switches = disguise?.switches;
    const bornAt = disguise === undefined ? object.bornAt : now;
    const originTag = object.head.etag;
    const etag = disguise === undefined || originTag === null ? originTag : disguise.tag((object.digest ??= disguise.digest(originTag)));
    const whole = (): Response => {
      const list = stamp(disguise === undefined ? storedHeaders(object) : hiddenHeaders(object), bornAt, now);
      if (disguise !== undefined && etag !== null) list.push(['etag', etag]);
      return wish.head || switches === undefined ? respond(wish.head ? null : body, { status: 200, headers: list }) : respondMarked(body, marks, switches, 0, 200, list);
    };
    if (wish.range === null && wish.ifNoneMatch === null) return whole();
    const head = disguise === undefined ? object.head : hidden(object.head, etag);
    if (wish.ifNoneMatch !== null && isNotModified(wish.ifNoneMatch, head.etag)) {
      return respond(null, { status: 304, headers: stamp(objectHeaders(head), bornAt, now) });
    }
    if (wish.range !== null && isRangeCurrent(wish.ifRange, head)) {
      const range = resolveRange(wish.range, body.length);
      if (range.kind === 'unsatisfiable') {
        return refusal('range-not-satisfiable', 'the range starts behind the end', now, wish.head, [['content-range', `bytes */${body.length}`]]);
      }
      if (range.kind === 'part') {
        const { start, end } = range;
        const list = stamp(objectHeaders(head), bornAt, now);
        list.push(['accept-ranges', 'bytes'], ['content-length', String(end - start)], ['content-range', `bytes ${start}-${end - 1}/${body.length}`]);
        const part = body.subarray(start, end);
        return wish.head || switches === undefined ? respond(wish.head ? null : part, { status: 206, headers: list }) : respondMarked(part, marks, switches, start, 206, list);
      }
    }
    return whole();
  };

  const arriving = (answer: Extract<CacheAnswer, { kind: 'arriving' }>, wish: Wish, now: Micros, switches: Switches | undefined): Response => {
    const { head, bornAt, bytes, length, marks = [] } = answer;
    const stream = (start: number, end: number | undefined): ReadableStream<Uint8Array> => {
      const plain = bytes.stream(start, end);
      return switches === undefined ? plain : markedStream(plain, marks, switches, start);
    };
    const list = stamp(objectHeaders(head), bornAt, now);
    if (isNotModified(wish.ifNoneMatch, head.etag)) return respond(null, { status: 304, headers: list });
    // Without a length a range cannot be placed: the whole is answered, as a server may.
    if (wish.range !== null && length !== undefined && isRangeCurrent(wish.ifRange, head)) {
      const range = resolveRange(wish.range, length);
      if (range.kind === 'unsatisfiable') {
        return refusal('range-not-satisfiable', 'the range starts behind the end', now, wish.head, [['content-range', `bytes */${length}`]]);
      }
      if (range.kind === 'part') {
        const { start, end } = range;
        list.push(['accept-ranges', 'bytes'], ['content-length', String(end - start)], ['content-range', `bytes ${start}-${end - 1}/${length}`]);
        return respond(wish.head ? null : stream(start, end), { status: 206, headers: list });
      }
    }
    if (length !== undefined) list.push(['accept-ranges', 'bytes'], ['content-length', String(length)]);
    return respond(wish.head ? null : stream(0, length), { status: 200, headers: list });
  };

  const direct = (answer: Extract<CacheAnswer, { kind: 'direct' }>, wish: Wish, now: Micros, switches: Switches | undefined): Response => {
    const list = stamp(objectHeaders(answer.head), answer.bornAt, now);
    if (answer.length !== undefined) list.push(['content-length', String(answer.length)]);
    if (!wish.head) return respond(switches === undefined || answer.body === null ? answer.body : markedStream(answer.body, answer.marks ?? [], switches, 0), { status: 200, headers: list });
    void answer.body?.cancel().catch(() => undefined);
    return respond(null, { status: 200, headers: list });
  };

  return {
    object: (answer, wish, now, disguise) => {
      if (answer.kind === 'stored') return stored(answer.object, wish, now, disguise);
      const { etag } = answer.head;
      const shown = disguise === undefined ? answer : { ...answer, head: hidden(answer.head, etag === null ? null : disguise.tag(disguise.digest(etag))), bornAt: now };
      return shown.kind === 'arriving' ? arriving(shown, wish, now, disguise?.switches) : direct(shown, wish, now, disguise?.switches);
    },
    refusal,
    preflight: (now) => respond(null, { status: 204, headers: [...PREFLIGHT, ['date', dateOf(now)]] }),
  };
};
