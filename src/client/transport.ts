// SPDX-License-Identifier: Apache-2.0
/**
 * Requests to servers of which any may be dead: several addresses, one deadline each, and a verdict on every failure.
 *
 * A refusal counts as final only when one of our servers gave it: a 4xx other than 401, 408, 425 and 429 *with* a problem
 * document (RFC 9457) of a known code. A bare 403 is as likely a captive portal, so the next address is asked.
 * What is worth repeating: nothing that one of our servers refused with a 4xx but 401, 408, 425 and 429; 5xx and failures of the
 * network after a growing, random pause (B096).
 * Invariant: the deadline covers the body too, so that a slow drip fails like a dead host; error texts hold no token,
 * licence or response body.
 */
import { ERRORS } from '#core/errors.ts';
import type { ErrorCode, Retry } from '#core/errors.ts';
import type { Millis } from '#core/time.ts';
import type { Clock, Fetch, Random } from '#ports';

/** Why there is no answer. */
export type Failure = {
  readonly ok: false;
  /** True if one of our servers refused: asking again without changing something is pointless. */
  readonly final: boolean;
  /** Present if the server sent a problem document. */
  readonly code?: ErrorCode;
  readonly retry?: Retry;
  readonly status?: number;
  /** For developers: address and what happened. */
  readonly detail: string;
  /** What `Retry-After`, or the member `retryAfter` of the problem document, asked for. */
  readonly retryAfter?: Millis;
  /** Further members of the problem document, e.g. the conflicting sessions of `concurrency-limit`. */
  readonly extra?: Readonly<Record<string, unknown>>;
};

/** A 2xx answer with its whole body; `sent` and `received` are monotonic ms around it. */
export type Answer = { readonly ok: true; readonly status: number; readonly headers: Headers; readonly body: Uint8Array; readonly sent: Millis; readonly received: Millis; readonly url: string };

/** One request, the same to whichever address answers. */
export type Exchange = { readonly method: 'GET' | 'POST'; readonly body?: string | Uint8Array; readonly headers?: Readonly<Record<string, string>>; /** Outlives the page. */ readonly keepalive?: boolean };

/** Asks one of several addresses. */
export type Transport = {
  /**
   * Asks the addresses in turn, those of the host that last answered first, until `read` accepts an answer or a server refuses for good. An
   * answer on which `read` throws counts as a failure of that address. One round: the caller decides whether and when to try again.
   * `deadline` shortens the usual one of each address.
   */
  request<T>(urls: readonly string[], exchange: Exchange, read: (answer: Answer) => T | Promise<T>, signal?: AbortSignal, deadline?: Millis): Promise<{ readonly ok: true; readonly value: T } | Failure>;
};

/** How requests travel; time is the caller's. */
export type TransportOptions = {
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** Deadline of one request to one address. */
  readonly timeout: Millis;
};

/** 4xx that may pass when the same request is repeated. */
const PASSING = new Set([401, 408, 425, 429]);
const MAX_RETRY_AFTER_SECONDS = 3600;

const isCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(ERRORS, code);

const failureOf = async (response: Response, url: string): Promise<Failure> => {
  const { status, headers } = response;
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  const retryAfter: { retryAfter?: Millis } = seconds >= 0 && seconds <= MAX_RETRY_AFTER_SECONDS ? { retryAfter: (seconds * 1000) as Millis } : {};
  const detail = `${new URL(url).pathname} answered ${status}`;
  if (!(headers.get('content-type') ?? '').startsWith('application/problem+json')) return { ok: false, final: false, status, detail, ...retryAfter };
  const { code, type: _type, title: _title, status: _status, detail: _detail, retry: _retry, ...extra } = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  if (!isCode(code)) return { ok: false, final: false, status, detail, ...retryAfter };
  const final = status >= 400 && status < 500 && !PASSING.has(status);
  const { retryAfter: asked } = extra;
  const longer = typeof asked === 'number' && asked >= 0 && asked <= MAX_RETRY_AFTER_SECONDS ? { retryAfter: Math.max(asked * 1000, retryAfter.retryAfter ?? 0) as Millis } : retryAfter;
  return { ok: false, final, code, retry: ERRORS[code].retry, status, detail: `${detail} ${code}`, extra, ...longer };
};

/** A transport that remembers which host answered last. */
export const createTransport = ({ fetch, clock, timeout }: TransportOptions): Transport => {
  let goodHost: string | undefined;

  const once = async (url: string, init: RequestInit, limit: Millis, signal: AbortSignal | undefined): Promise<Answer | Failure> => {
    const controller = new AbortController();
    let late = false;
    const cancel = clock.after(limit, () => {
      late = true;
      controller.abort();
    });
    const abort = (): void => controller.abort();
    signal?.addEventListener('abort', abort);
    if (signal?.aborted === true) abort();
    // A fetch that ignores its signal must not outlive the deadline either.
    const aborted = new Promise<never>((_, reject) => controller.signal.addEventListener('abort', () => reject(new Error('aborted'))));
    aborted.catch(() => undefined);
    try {
      const sent = clock.monotonic();
      const exchange = async (): Promise<Answer | Failure> => {
        const response = await fetch(new Request(url, { ...init, signal: controller.signal }));
        if (!response.ok) return failureOf(response, url);
        const body = new Uint8Array(await response.arrayBuffer());
        return { ok: true, status: response.status, headers: response.headers, body, sent, received: clock.monotonic(), url };
      };
      return await Promise.race([exchange(), aborted]);
    } catch {
      const why = late ? `gave no complete answer in ${Math.round(limit)} ms` : signal?.aborted === true ? 'was given up' : 'could not be reached';
      return { ok: false, final: false, detail: `${new URL(url).host} ${why}` };
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
    }
  };

  return {
    async request(urls, { method, body, headers = {}, keepalive = false }, read, signal, deadline = timeout) {
      const good = urls.filter((url) => new URL(url).host === goodHost);
      const ordered = [...good, ...urls.filter((url) => !good.includes(url))];
      let failure: Failure = { ok: false, final: true, detail: 'no address to ask' };
      for (const url of ordered) {
        if (signal?.aborted === true) break;
        const answer = await once(url, { method, headers, cache: 'no-store', keepalive, ...(body === undefined ? {} : { body: body as BodyInit }) }, Math.min(timeout, deadline) as Millis, signal);
        if (!answer.ok) {
          failure = answer;
          if (answer.final) return answer;
          continue;
        }
        try {
          const value = await read(answer);
          goodHost = new URL(url).host;
          return { ok: true, value };
        } catch (error) {
          failure = { ok: false, final: false, detail: `${new URL(url).host} answered nonsense: ${error instanceof Error ? error.message : 'unreadable'}` };
        }
      }
      return failure;
    },
  };
};

/** Fraction in [0, 1) from the injected randomness. */
export const fraction = (random: Random): number => {
  const bytes = random.bytes(4);
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0) / 2 ** 32;
};

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

/**
 * Pause before try number `attempt` (1, 2, ...): doubling from 0.5 s to `longest` (default 10 s), half of it random, on top of what the server
 * asked for: a crowd that was refused in one second must not come back in one.
 */
export const backoff = (attempt: number, random: Random, failure?: Failure, longest: number = LONGEST_PAUSE): Millis => {
  const pause = Math.min(longest, FIRST_PAUSE * 2 ** (attempt - 1)) * (0.5 + fraction(random) / 2);
  return (pause + (failure?.retryAfter ?? 0)) as Millis;
};

/** Longest pause between tries while so much opened content is left, ms: 10 s, and up to a minute for those who have plenty. */
export const longestPause = (left: number): number => Math.min(6 * LONGEST_PAUSE, Math.max(LONGEST_PAUSE, left / 10));
