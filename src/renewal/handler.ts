// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/renew over HTTP.
 *
 * docs/wire/renewal.md. Every authentic request gets 200 and a signed answer, denials included, so that a player tells a
 * denial from a network's own error page. Invariant: at most 256 bytes of a body are read.
 */
import { type ErrorCode, problemOf, SealcastError } from '#core/errors.ts';
import { MAX_REQUEST_LENGTH } from '#core/license/renewal-message.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { Log, ResponseFactory, WholeAnswer } from '#ports';
import type { RenewalOutcome } from './outcome.ts';

const PATH = '/v1/renew';
const TOKEN_HEADER = 'Sealcast-Media-Token';
const RELEASE_TOKEN_HEADER = 'Sealcast-Release-Token';
/** Names the session that took an ended one's place, for the viewer's information. */
const ENDED_BY_HEADER = 'Sealcast-Ended-By';
const HEADERS: readonly [string, string][] = [
  ['Access-Control-Allow-Origin', '*'],
  ['Access-Control-Expose-Headers', `${TOKEN_HEADER}, ${RELEASE_TOKEN_HEADER}, ${ENDED_BY_HEADER}, Date`],
  ['Cache-Control', 'no-store'],
  ['X-Content-Type-Options', 'nosniff'],
];
const PREFLIGHT: readonly [string, string][] = [['Access-Control-Allow-Methods', 'POST'], ['Access-Control-Allow-Headers', 'Content-Type'], ['Access-Control-Max-Age', '86400']];

/** The same answers in two shapes. */
export type RenewalEndpoint = {
  /** Never rejects: refusals and faults become problem documents. */
  readonly handler: (request: Request) => Promise<Response>;
  /** What `handler` answers to `POST /v1/renew` with this body, for servers that can do without `Request` and `Response`. Never throws. */
  readonly direct: (body: Uint8Array) => WholeAnswer | Promise<WholeAnswer>;
};

const problem = (code: ErrorCode, detail: string): WholeAnswer => {
  const body = problemOf(new SealcastError(code, detail));
  const bytes = encodeUtf8(JSON.stringify(body));
  return { status: body.status, headers: [...HEADERS, ['Content-Type', 'application/problem+json'], ['Content-Length', String(bytes.length)]], bytes };
};

const answerOf = (outcome: RenewalOutcome): WholeAnswer => {
  if (outcome.kind === 'refused') return problem(outcome.code, outcome.detail);
  const headers: [string, string][] = [...HEADERS, ['Content-Type', 'application/octet-stream'], ['Content-Length', String(outcome.bytes.length)]];
  if (outcome.mediaToken !== undefined) headers.push([TOKEN_HEADER, outcome.mediaToken]);
  if (outcome.releaseToken !== undefined) headers.push([RELEASE_TOKEN_HEADER, outcome.releaseToken]);
  if (outcome.by !== undefined) headers.push([ENDED_BY_HEADER, outcome.by]);
  return { status: 200, headers, bytes: outcome.bytes };
};

/** The endpoint of one renewal node. */
export const createRenewalEndpoint = (renew: (bytes: Uint8Array) => RenewalOutcome | Promise<RenewalOutcome>, log: Log, respond: ResponseFactory): RenewalEndpoint => {
  const failed = (error: unknown): WholeAnswer => {
    if (error instanceof SealcastError) return problem(error.code, error.message);
    log.error('renewal failed', { error: error instanceof Error ? error.name : typeof error });
    return problem('internal', 'unexpected fault; the log has the details');
  };
  const direct = (body: Uint8Array): WholeAnswer | Promise<WholeAnswer> => {
    try {
      const outcome = renew(body);
      return 'then' in outcome ? outcome.then(answerOf).catch(failed) : answerOf(outcome);
    } catch (error) {
      return failed(error);
    }
  };
  const whole = ({ status, headers, bytes }: WholeAnswer): Response => respond(bytes, { status, headers: headers.map(([name, value]): [string, string] => [name, value]) });

  return {
    direct,
    async handler(request) {
      try {
        if (new URL(request.url).pathname !== PATH) throw new SealcastError('not-found', 'no such route of the renewal node');
        if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: [...HEADERS, ...PREFLIGHT] });
        if (request.method !== 'POST') throw new SealcastError('method-not-allowed', 'renewals take POST');
        return whole(await direct(await readBody(request)));
      } catch (error) {
        return whole(failed(error));
      }
    },
  };
};

const tooLarge = (): SealcastError => new SealcastError('payload-too-large', `a renewal has at most ${MAX_REQUEST_LENGTH} bytes`);

const readBody = async (request: Request): Promise<Uint8Array> => {
  const announced = request.headers.get('content-length');
  if (announced !== null) {
    if (!(Number(announced) <= MAX_REQUEST_LENGTH)) throw tooLarge();
    // HTTP itself ends the body there (RFC 9112 section 6.3), so it can be taken whole.
    const whole = new Uint8Array(await request.arrayBuffer());
    if (whole.length > MAX_REQUEST_LENGTH) throw tooLarge();
    return whole;
  }
  const bytes = new Uint8Array(MAX_REQUEST_LENGTH);
  let length = 0;
  for await (const chunk of request.body ?? []) {
    if (length + chunk.length > MAX_REQUEST_LENGTH) throw tooLarge();
    bytes.set(chunk, length);
    length += chunk.length;
  }
  return bytes.subarray(0, length);
};
