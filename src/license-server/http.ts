// SPDX-License-Identifier: Apache-2.0
/**
 * Bodies in, answers and problem documents out, with the CORS headers that browsers need.
 *
 * RFC 9457 problems; docs/wire/session.md. Invariant: no more of a body is read than its route allows, nothing is cached, and
 * an unexpected fault says nothing of itself to the caller.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { ERRORS, problemOf, SealcastError } from '#core/errors.ts';
import { jsonObject } from '#core/license/shape.ts';
import type { JsonObject } from '#core/token/strict-json.ts';
import type { Log, ResponseFactory } from '#ports';

/** CORS headers of routes that pages of any origin may call. */
export const PUBLIC_HEADERS: Readonly<Record<string, string>> = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Sealcast-Media-Token, Date' };
const COMMON = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer' };

/** The platform's own answers. */
export const platformResponse: ResponseFactory = (body, init) => new Response(body as BodyInit | null, init);

/** Makes JSON answers that nobody caches. */
export type JsonAnswers = (body: unknown, status?: number, headers?: Readonly<Record<string, string>>) => Response;

/** JSON answers by way of `respond`. */
export const createJsonAnswers = (respond: ResponseFactory): JsonAnswers => (body, status = 200, headers = {}) => {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  return respond(bytes, { status, headers: Object.entries({ ...COMMON, 'Content-Type': 'application/json', 'Content-Length': String(bytes.length), ...headers }) });
};

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

const gathered = async (request: Request, limit: number, tooLarge: () => SealcastError): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.length;
    if (length > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
};

/** The JSON object in a body of at most `limit` bytes. Throws `payload-too-large` and `bad-request`. */
export const readJson = async (request: Request, limit: number): Promise<JsonObject> => {
  const tooLarge = (): SealcastError => new SealcastError('payload-too-large', `a body has at most ${limit} bytes`);
  const announced = request.headers.get('content-length');
  if (announced !== null && !(Number(announced) <= limit)) throw tooLarge();
  // Where HTTP itself ends the body (RFC 9112 section 6.3) it can be taken whole.
  const bytes = announced === null ? await gathered(request, limit, tooLarge) : new Uint8Array(await request.arrayBuffer());
  if (bytes.length > limit) throw tooLarge();
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SealcastError('bad-request', 'the body must be UTF-8');
  }
  return jsonObject(text, 'body', 'bad-request');
};
