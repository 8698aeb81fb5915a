// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies in, answers and problem documents out, with the CORS headers that browsers need.
 *
 * RFC 9457 problems; docs/wire/session.md. Invariant: no more of a body is read than its route allows, nothing is cached, and
 * an unexpected fault says nothing of itself to the caller.
 */
import { ERRORS, problemOf, SealcastError } from '#core/errors.ts';
import { jsonObject } from '#core/license/shape.ts';
import type { JsonObject } from '#core/token/strict-json.ts';
import type { Log } from '#ports';

/** CORS headers of routes that pages of any origin may call. */
export const PUBLIC_HEADERS: Readonly<Record<string, string>> = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Sealcast-Media-Token, Date' };
const COMMON = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer' };

/** A JSON answer that nobody caches. */
export const json = (body: unknown, status: number = 200, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { ...COMMON, 'Content-Type': 'application/json', ...headers } });

/** Answer to a CORS preflight of a public route. */
export const preflight = (): Response =>
  new Response(null, {
    status: 204,
    headers: { ...PUBLIC_HEADERS, 'Access-Control-Allow-Methods': 'GET, POST', 'Access-Control-Allow-Headers': 'Content-Type, Authorization', 'Access-Control-Max-Age': '86400' },
  });

/** Problem document of an error. An unknown one becomes `internal`; the log gets its kind and place, never its message. */
export const problem = (error: unknown, log: Log): Response => {
  const body = problemOf(error);
  if (body.code === 'internal') {
    const where = error instanceof Error ? (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at ')).slice(0, 3) : [];
    log.error('licence request failed', { error: error instanceof Error ? error.name : typeof error, where });
  }
  const retry = ERRORS[body.code].retry === 'later' ? { 'Retry-After': '2' } : {};
  return new Response(JSON.stringify(body), { status: body.status, headers: { ...COMMON, ...retry, 'Content-Type': 'application/problem+json' } });
};

/** The JSON object in a body of at most `limit` bytes. Throws `payload-too-large` and `bad-request`. */
export const readJson = async (request: Request, limit: number): Promise<JsonObject> => {
  const tooLarge = new SealcastError('payload-too-large', `a body has at most ${limit} bytes`);
  if (Number(request.headers.get('content-length') ?? '0') > limit) throw tooLarge;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let length = 0;
  let text = '';
  try {
    for await (const chunk of request.body ?? []) {
      length += chunk.length;
      if (length > limit) throw tooLarge;
      text += decoder.decode(chunk, { stream: true });
    }
    text += decoder.decode();
  } catch (error) {
    throw error instanceof TypeError ? new SealcastError('bad-request', 'the body must be UTF-8') : error;
  }
  return jsonObject(text, 'body', 'bad-request');
};
