// SPDX-License-Identifier: Apache-2.0
/**
 * `/v1/time`: this host's UTC for players' UTCTiming (`?format=xsdate`, DASH http-xsdate) and for clients (`{time}`).
 *
 * Invariant: never cached, and readable from any origin: it is public and holds nothing else.
 */
import type { Clock } from '#ports';

/** The handler of `/v1/time`; `exchange` adds the stamps of docs/wire/release.md, "Clock exchange". */
export const createTimeEndpoint = (clock: Clock, exchange?: (query: URLSearchParams) => Readonly<Record<string, unknown>>): ((request: Request) => Promise<Response>) => {
  const headers = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': 'Date', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };
  return async (request) => {
    if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: { ...headers, 'Access-Control-Allow-Methods': 'GET, HEAD' } });
    if (request.method !== 'GET' && request.method !== 'HEAD') return new Response(null, { status: 405, headers: { ...headers, Allow: 'GET, HEAD, OPTIONS' } });
    const now = clock.now();
    const query = new URL(request.url).searchParams;
    if (query.get('format') === 'xsdate') {
      return new Response(new Date(now / 1000).toISOString(), { headers: { ...headers, 'Content-Type': 'text/plain' } });
    }
    return new Response(JSON.stringify(exchange?.(query) ?? { time: now }), { headers: { ...headers, 'Content-Type': 'application/json' } });
  };
};
