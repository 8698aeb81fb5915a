// SPDX-License-Identifier: Apache-2.0
/**
 * The release channel's plain HTTP side: description, single secrets, blocks of past ones, schedules, the epoch.
 *
 * docs/wire/release.md, "Pull" and "Epoch". What is past is public and cached for good; what is not is 425 and never stored.
 * Invariant: every secret goes through `book.open` with the bound of this moment, as in a push; an address that floods is
 * refused before anything is looked up.
 */
import { type ErrorCode, problemOf, SealcastError } from '#core/errors.ts';
import { type AssetId, isAssetId } from '#core/ids.ts';
import { decodeRun, encodeRun, MAX_BLOCKS, type SecretRun } from '#core/release/block.ts';
import type { ReleaseBook } from '#core/release/book.ts';
import { encodeRelease, REPLAY } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { SECRET_LENGTH } from '#core/release/grant.ts';
import { blockOf, type EdgeInfo, encodeEdgeInfo, firstOfBlock, lastReleasedBy } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { Fetch, Metrics } from '#ports';
import type { EdgeClock } from './clock-task.ts';
import { createBuckets } from './limits.ts';

const PATH = /^\/v1\/events\/([^/]+)\/(?:(epoch)|release(?:\/(keys|([0-9]{1,15})|(blocks|schedule)\/([0-9]{1,15})))?)$/;
const IMMUTABLE = 'public, max-age=31536000, immutable';
const CORS = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Retry-After, Date', 'X-Content-Type-Options': 'nosniff' };
/** Blocks fetched from key servers that are kept. */
const PAST_BLOCKS = 512;

/** Whether this handler answers a path. */
export const ownsReleasePath = (path: string): boolean => PATH.test(path);

/** The event a release or epoch path names; undefined for other paths. */
export const releaseEvent = (path: string): AssetId | undefined => {
  const id = PATH.exec(path)?.[1];
  return id !== undefined && isAssetId(id) ? id : undefined;
};

/** `past`: key servers that answer `release/blocks/{n}` for what is older than this edge. `mayAskEpoch`: who may. */
export const createReleasePull = (options: {
  clock: EdgeClock;
  book: (event: AssetId) => ReleaseBook | undefined;
  info: (event: AssetId) => EdgeInfo | undefined;
  /** Highest period that was pushed here. */
  released: (event: AssetId) => number;
  keys: () => readonly object[];
  past: readonly { readonly url: string; readonly fetch: Fetch }[];
  mayAskEpoch: (request: Request) => boolean | Promise<boolean>;
  monotonic: () => Millis;
  metrics: Metrics;
  rate?: { readonly perSecond: number; readonly burst: number };
}): ((request: Request, peer: { readonly address: string }) => Promise<Response>) => {
  const { clock, metrics, monotonic } = options;
  const { perSecond = 50, burst = 200 } = options.rate ?? {};
  const buckets = createBuckets(perSecond, burst);
  const older = new Map<string, Promise<SecretRun | undefined>>();

  const refuse = (code: ErrorCode, detail: string, extra: { retryAfter?: number; releaseAt?: Micros } = {}): Response => {
    metrics.count('sealcast_release_pulls_total', 'Release pulls over HTTP by outcome.', { outcome: code });
    const problem = problemOf(new SealcastError(code, detail, { extra: { ...(extra.releaseAt !== undefined && { releaseAt: extra.releaseAt }) } }));
    return new Response(JSON.stringify(problem), { status: problem.status, headers: { ...CORS, 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', ...(extra.retryAfter !== undefined && { 'Retry-After': String(Math.max(1, Math.ceil(extra.retryAfter))) }) } });
  };
  const answer = (body: BodyInit, type: string, cache: string): Response => {
    metrics.count('sealcast_release_pulls_total', 'Release pulls over HTTP by outcome.', { outcome: 'ok' });
    return new Response(body, { headers: { ...CORS, 'Content-Type': type, 'Cache-Control': cache } });
  };

  /** A complete block from before this edge's memory, asked of the key servers once. */
  const fetchBlock = (event: AssetId, block: number): Promise<SecretRun | undefined> => {
    const id = `${event}/${block}`;
    const known = older.get(id);
    if (known !== undefined) return known;
    const asked = (async () => {
      for (const server of options.past) {
        try {
          const response = await server.fetch(new Request(`${server.url}/v1/events/${event}/release/blocks/${block}`, { signal: AbortSignal.timeout(3000) }));
          if (response.status === 200) return decodeRun(new Uint8Array(await response.arrayBuffer()));
          await response.body?.cancel();
        } catch {
          // The next server has the same secrets.
        }
      }
      return undefined;
    })();
    older.set(id, asked);
    void asked.then((run) => run === undefined && older.delete(id));
    const [oldest] = older.keys();
    if (older.size > PAST_BLOCKS && oldest !== undefined) older.delete(oldest);
    return asked;
  };

  const single = async (book: ReleaseBook, period: CryptoPeriod): Promise<Response> => {
    const { info } = book;
    const bound = clock.bound();
    let opening = book.open(period, bound);
    if (!opening.release && opening.because === 'too-early') {
      return refuse('too-early', 'this period is not released yet', { retryAfter: opening.waitFor / 1e6, releaseAt: releaseInstant(info, period) });
    }
    if (!opening.release && opening.because === 'not-granted' && bound.earliest - releaseInstant(info, period) > 2_000_000) {
      const run = await fetchBlock(info.event, blockOf(period, info.perBlock));
      if (run !== undefined && run.from <= period) {
        // Past secrets come with no schedule to check them by; the client has the commitment, and the gate has the time.
        const at = (period - run.from) * SECRET_LENGTH;
        const secret = run.secrets.subarray(at, at + SECRET_LENGTH);
        if (secret.length === SECRET_LENGTH && secret.some((byte) => byte !== 0)) opening = { release: true, secret };
      }
    }
    if (!opening.release) return opening.because === 'not-granted' ? refuse('not-found', 'this period is not held here') : refuse('key-unavailable', 'this edge does not release at the moment', { retryAfter: 1 });
    const frame = encodeRelease({ flags: REPLAY, alias: 0, period, releaseAt: releaseInstant(info, period), lateness: 0 as Micros, error: ((bound.latest - bound.earliest) / 2) as Micros, secret: opening.secret });
    return answer(frame as BodyInit, 'application/octet-stream', IMMUTABLE);
  };

  const blocks = async (book: ReleaseBook, block: number, count: number): Promise<Response> => {
    const { info } = book;
    const bound = clock.bound();
    const from = firstOfBlock(block, info.perBlock);
    const end = firstOfBlock(block + count, info.perBlock);
    if (bound.earliest < releaseInstant(info, from)) return refuse('too-early', 'this block is not released yet', { retryAfter: (releaseInstant(info, from) - bound.earliest) / 1e6, releaseAt: releaseInstant(info, from) });
    if (bound.status !== 'sync' && bound.status !== 'single-host') return refuse('key-unavailable', 'this edge is not sure of the time', { retryAfter: 1 });
    const to = Math.min(end, lastReleasedBy(info, bound.earliest) + 1);
    const secrets = new Uint8Array((to - from) * SECRET_LENGTH);
    let missing = 0;
    for (let at = block; firstOfBlock(at, info.perBlock) < to; at++) {
      const first = firstOfBlock(at, info.perBlock);
      const last = Math.min(to, firstOfBlock(at + 1, info.perBlock));
      const lacks = (): CryptoPeriod[] => {
        const periods: CryptoPeriod[] = [];
        for (let period = first; period < last; period = (period + 1) as CryptoPeriod) {
          const opening = book.open(period, bound);
          if (opening.release) secrets.set(opening.secret, (period - from) * SECRET_LENGTH);
          else periods.push(period);
        }
        return periods;
      };
      const lacking = lacks();
      if (lacking.length === 0) continue;
      const run = releaseInstant(info, last as CryptoPeriod) + 2_000_000 < bound.earliest ? await fetchBlock(info.event, at) : undefined;
      for (const period of lacking) {
        const place = run === undefined ? -1 : (period - run.from) * SECRET_LENGTH;
        if (run !== undefined && place >= 0 && place + SECRET_LENGTH <= run.secrets.length) secrets.set(run.secrets.subarray(place, place + SECRET_LENGTH), (period - from) * SECRET_LENGTH);
        else missing++;
      }
    }
    if (missing === to - from) return refuse('not-found', 'nothing of this block is held here');
    const bytes = encodeRun({ from, releaseAt: releaseInstant(info, from), period: info.period, version: info.version, secrets });
    return answer(bytes as BodyInit, 'application/octet-stream', missing === 0 && to === end ? IMMUTABLE : 'no-store');
  };

  const epoch = async (book: ReleaseBook, request: Request, query: URLSearchParams): Promise<Response> => {
    if (!(await options.mayAskEpoch(request))) return refuse('credential-invalid', 'the epoch needs a release credential or an operator token');
    const bound = clock.bound();
    const text = query.get('t');
    if (text !== null && !/^[0-9]{1,16}$/.test(text)) return refuse('bad-request', 't is microseconds UTC');
    const t = text === null ? bound.earliest : (Number(text) as Micros);
    const { info } = book;
    const period = lastReleasedBy(info, t);
    const next = (period + 1) as CryptoPeriod;
    const body = {
      event: info.event, version: info.version, t, period, releaseAt: releaseInstant(info, period), next, nextAt: releaseInstant(info, next),
      released: options.released(info.event), status: bound.status, earliest: bound.earliest, latest: bound.latest,
    };
    return answer(JSON.stringify(body), 'application/json', 'no-store');
  };

  return async (request, peer) => {
    const url = new URL(request.url);
    const match = PATH.exec(url.pathname);
    if (match === null) return refuse('not-found', 'no such release path');
    if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: { ...CORS, 'Access-Control-Allow-Methods': 'GET', 'Access-Control-Allow-Headers': 'Authorization, Last-Event-ID' } });
    if (request.method !== 'GET') return refuse('method-not-allowed', 'release paths take GET');
    if (!buckets.take(peer.address, monotonic())) return refuse('rate-limited', 'too many pulls from this address', { retryAfter: 1 });
    const [, id = '', isEpoch, sub, period, kind, block] = match;
    const book = isAssetId(id) ? options.book(id) : undefined;
    if (book === undefined) return refuse('not-found', 'no timed event of this id is served here');
    if (isEpoch !== undefined) return epoch(book, request, url.searchParams);
    if (sub === undefined) {
      const info = options.info(book.info.event);
      return info === undefined ? refuse('not-found', 'no timed event of this id is served here') : answer(JSON.stringify(encodeEdgeInfo(info)), 'application/json', 'public, max-age=5');
    }
    if (sub === 'keys') return answer(JSON.stringify({ keys: options.keys() }), 'application/jwk-set+json', 'public, max-age=300');
    if (period !== undefined) return single(book, Number(period) as CryptoPeriod);
    if (kind === 'schedule') {
      const jws = book.schedule(Number(block));
      if (jws !== undefined) return answer(jws, 'application/jwt', IMMUTABLE);
      return Number(block) > blockOf(lastReleasedBy(book.info, clock.bound().latest), book.info.perBlock) ? refuse('too-early', 'this schedule is not published yet') : refuse('not-found', 'this schedule is not held here');
    }
    const count = url.searchParams.get('count') ?? '1';
    if (!/^[0-9]{1,2}$/.test(count) || Number(count) < 1 || Number(count) > MAX_BLOCKS) return refuse('bad-request', `count is 1-${MAX_BLOCKS}`);
    return blocks(book, Number(block), Number(count));
  };
};
