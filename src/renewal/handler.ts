// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/renew over HTTP.
 *
 * docs/wire/renewal.md. Every authentic request gets 200 and a signed answer, denials included, so that a player tells a
 * denial from a network's own error page. Invariant: at most 256 bytes of a body are read.
 */
import { type ErrorCode, problemOf, SealcastError } from '#core/errors.ts';
import { MAX_REQUEST_LENGTH } from '#core/license/renewal-message.ts';
import type { Log, ResponseFactory } from '#ports';
import type { RenewalOutcome } from './outcome.ts';

const PATH = '/v1/renew';
const TOKEN_HEADER = 'Sealcast-Media-Token';
/** Names the session that took an ended one's place, for the viewer's information. */
const ENDED_BY_HEADER = 'Sealcast-Ended-By';
const HEADERS: readonly [string, string][] = [
  ['Access-Control-Allow-Origin', '*'],
  ['Access-Control-Expose-Headers', `${TOKEN_HEADER}, ${ENDED_BY_HEADER}, Date`],
  ['Cache-Control', 'no-store'],
  ['X-Content-Type-Options', 'nosniff'],
];
const PREFLIGHT: readonly [string, string][] = [['Access-Control-Allow-Methods', 'POST'], ['Access-Control-Allow-Headers', 'Content-Type'], ['Access-Control-Max-Age', '86400']];

/** Never rejects: refusals and faults become problem documents. */
export const createRenewalHandler = (renew: (bytes: Uint8Array) => RenewalOutcome | Promise<RenewalOutcome>, log: Log, respond: ResponseFactory): ((request: Request) => Promise<Response>) => {
  return async (request) => {
    try {
      if (new URL(request.url).pathname !== PATH) throw new SealcastError('not-found', 'no such route of the renewal node');
      if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: [...HEADERS, ...PREFLIGHT] });
      if (request.method !== 'POST') throw new SealcastError('method-not-allowed', 'renewals take POST');
      const outcome = await renew(await readBody(request));
      if (outcome.kind === 'refused') return problem(outcome.code, outcome.detail);
      const headers: [string, string][] = [...HEADERS, ['Content-Type', 'application/octet-stream'], ['Content-Length', String(outcome.bytes.length)]];
      if (outcome.mediaToken !== undefined) headers.push([TOKEN_HEADER, outcome.mediaToken]);
      if (outcome.by !== undefined) headers.push([ENDED_BY_HEADER, outcome.by]);
      return respond(outcome.bytes, { status: 200, headers });
    } catch (error) {
      if (error instanceof SealcastError) return problem(error.code, error.message);
      log.error('renewal failed', { error: error instanceof Error ? error.name : typeof error });
      return problem('internal', 'unexpected fault; the log has the details');
    }
  };
};

const problem = (code: ErrorCode, detail: string): Response => {
  const body = problemOf(new SealcastError(code, detail));
  return new Response(JSON.stringify(body), { status: body.status, headers: [...HEADERS, ['Content-Type', 'application/problem+json']] });
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
