// SPDX-License-Identifier: Apache-2.0
/**
 * How long an origin's answer may be served from the cache.
 *
 * RFC 9111 sections 4.2 and 5.2, RFC 8246. The edge is a shared cache: `s-maxage` goes before `max-age`, `private` is not
 * for it. No heuristics: an answer that names no lifetime has none, and nothing stale is ever served.
 * Invariant: time on the way counts as age, so an object is never served longer than its origin allowed.
 */
import { type Micros, microsFromSeconds } from '#core/time.ts';

/** What an origin's answer says about keeping it. */
export type Freshness = {
  /** May be kept at all. */
  readonly storable: boolean;
  /** Instant from which it must be asked for again. */
  readonly freshUntil: Micros;
  /** Will never change, so it may go to disk. */
  readonly immutable: boolean;
};

const DIRECTIVE = /([a-z-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,"]*)))?/g;
/** RFC 9111 section 1.2.2: more than this means "for good". */
const MAX_DELTA = 2 ** 31;

const directives = (cacheControl: string): Map<string, string> => {
  const found = new Map<string, string>();
  for (const [, name = '', quoted, plain] of cacheControl.toLowerCase().matchAll(DIRECTIVE)) {
    if (!found.has(name)) found.set(name, quoted ?? plain ?? '');
  }
  return found;
};

/** Seconds of a delta; anything malformed counts as 0, the safe reading. */
const delta = (text: string | null | undefined): number => {
  const trimmed = text?.trim() ?? '';
  return /^[0-9]+$/.test(trimmed) ? Math.min(Number(trimmed), MAX_DELTA) : 0;
};

/** Of an answer to a request sent at `requested`. */
export const freshnessOf = (headers: { readonly cacheControl: string | null; readonly age: string | null }, requested: Micros): Freshness => {
  const found = directives(headers.cacheControl ?? '');
  const lifetime = delta(found.get('s-maxage') ?? found.get('max-age'));
  const storable = lifetime > 0 && !found.has('no-store') && !found.has('no-cache') && !found.has('private');
  const freshFor = storable ? Math.max(0, lifetime - delta(headers.age)) : 0;
  return {
    storable,
    freshUntil: (requested + microsFromSeconds(freshFor)) as Micros,
    immutable: storable && found.has('immutable'),
  };
};

/**
 * The origin's word as the edge passes it on: `public` becomes `private` and `s-maxage` goes. The edge is the hop that
 * checks tokens; a shared cache in front of it would hand out media to everybody (RFC 9111 section 3.5 lets `public` do that).
 */
export const forClients = (cacheControl: string | null): string => {
  const found = directives(cacheControl ?? '');
  if (found.size === 0 || found.has('no-store')) return 'no-store';
  found.delete('public');
  found.delete('s-maxage');
  found.delete('private');
  const rest = [...found].map(([name, value]) => (value === '' ? name : `${name}=${value}`));
  return ['private', ...rest].join(', ');
};
