// SPDX-License-Identifier: Apache-2.0
/**
 * What a request's Range and validators ask of an object.
 *
 * RFC 9110 sections 13 and 14. One byte range is served; several, another unit or nonsense are ignored, which answers the
 * whole object as the RFC allows (many tiny ranges of one object are an old way to exhaust servers).
 * Invariant: 0 <= start < end <= length for every `part`.
 */

/** What to answer to a Range field. */
export type RangeVerdict = { readonly kind: 'whole' } | { readonly kind: 'part'; readonly start: number; readonly end: number } | { readonly kind: 'unsatisfiable' };

const WHOLE: RangeVerdict = { kind: 'whole' };
const ONE_RANGE = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/i;

/** `end` in a `part` is exclusive. */
export const resolveRange = (header: string | null, length: number): RangeVerdict => {
  const found = header === null ? null : ONE_RANGE.exec(header.trim());
  if (found === null) return WHOLE;
  const [, first = '', last = ''] = found;
  if (first === '') {
    if (last === '') return WHOLE;
    const suffix = Math.min(Number(last), length);
    return suffix === 0 ? { kind: 'unsatisfiable' } : { kind: 'part', start: length - suffix, end: length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return WHOLE;
  if (start >= length) return { kind: 'unsatisfiable' };
  return { kind: 'part', start, end: last === '' ? length : Math.min(Number(last) + 1, length) };
};

const opaque = (tag: string): string => tag.trim().replace(/^W\//, '');

/** If-None-Match, weak comparison (RFC 9110 section 13.1.2). */
export const isNotModified = (ifNoneMatch: string | null, etag: string | null): boolean => {
  if (ifNoneMatch === null || etag === null) return false;
  return ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some((tag) => opaque(tag) === opaque(etag));
};

/** If-Range, strong comparison (section 13.1.5): false means answer the whole. */
export const isRangeCurrent = (ifRange: string | null, head: { readonly etag: string | null; readonly lastModified: string | null }): boolean => {
  if (ifRange === null) return true;
  const given = ifRange.trim();
  if (given.startsWith('"')) return given === head.etag;
  return !given.startsWith('W/') && given === head.lastModified;
};
