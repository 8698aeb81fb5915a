// SPDX-License-Identifier: Apache-2.0
/**
 * Which addresses a third-party token opens: `catu` of CTA-5007 and `cdniuc` of RFC 9246, as one list of rules.
 *
 * Both are matched against the request's address without the token. Regular expressions match the whole component and
 * come in a subset whose matching time stays small: viewers choose the address, so backtracking would be theirs to start.
 * Invariant: a rule that is not understood is no rule set at all: the token is refused, not obeyed in part.
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';

/** Part of an address that a rule looks at; `uri` is the whole. */
export type UriComponent = 'uri' | 'scheme' | 'host' | 'port' | 'path' | 'query' | 'parent-path' | 'filename' | 'stem' | 'extension';
/** One condition; all of a token's have to hold. */
export type UriRule =
  | { readonly component: UriComponent; readonly match: 'exact' | 'prefix' | 'suffix' | 'contains'; readonly value: string }
  | { readonly component: UriComponent; readonly match: 'regex'; readonly value: RegExp }
  | { readonly component: UriComponent; readonly match: 'sha256'; readonly value: Uint8Array };

/** The address a request asks for, cut into components, its token already removed. `path` starts with `/`. */
export type RequestAddress = { readonly scheme: string; readonly host: string; readonly port: string; readonly path: string; readonly query: string };

const COMPONENTS: readonly UriComponent[] = ['scheme', 'host', 'port', 'path', 'query', 'parent-path', 'filename', 'stem', 'extension'];
const TEXT_MATCHES = ['exact', 'prefix', 'suffix', 'contains'] as const;
const MAX_PATTERN = 512;
/** Longer addresses match no regular expression. */
const MAX_MATCHED = 2048;
const MAX_UNBOUNDED = 4;

/** A pattern of POSIX ERE and ECMAScript alike, without groups that repeat, back-references or look-around. */
export const safeRegex = (pattern: string): RegExp | undefined => {
  if (pattern.length > MAX_PATTERN || /\\[1-9kK]|\(\?|\)[*+{?]/.test(pattern)) return undefined;
  if ((pattern.match(/[*+]|,\}/g) ?? []).length > MAX_UNBOUNDED) return undefined;
  try {
    return new RegExp(`^(?:${pattern})$`, 'u');
  } catch {
    return undefined;
  }
};

const ruleOf = (component: UriComponent, match: unknown, value: unknown): UriRule | undefined => {
  if (match === -1) return value instanceof Uint8Array && value.length === 32 ? { component, match: 'sha256', value } : undefined;
  if (match === 4) {
    const pattern = Array.isArray(value) && value.length === 1 ? (value[0] as unknown) : value;
    const regex = typeof pattern === 'string' ? safeRegex(pattern) : undefined;
    return regex && { component, match: 'regex', value: regex };
  }
  const kind = typeof match === 'number' ? TEXT_MATCHES[match] : undefined;
  return kind !== undefined && typeof value === 'string' ? { component, match: kind, value } : undefined;
};

/** Rules of a `catu` claim: a map of component to a map of match type to value. Undefined if any of it is unknown. */
export const readCatUri = (claim: unknown): readonly UriRule[] | undefined => {
  if (!(claim instanceof Map)) return undefined;
  const rules: UriRule[] = [];
  for (const [number, matches] of claim as Map<unknown, unknown>) {
    const component = typeof number === 'number' ? COMPONENTS[number] : undefined;
    if (component === undefined || !(matches instanceof Map)) return undefined;
    for (const [match, value] of matches as Map<unknown, unknown>) {
      const rule = ruleOf(component, match, value);
      if (rule === undefined) return undefined;
      rules.push(rule);
    }
  }
  return rules;
};

const HASH = /^hash:sha-256;([A-Za-z0-9_-]{43})$/;

/** Rules of a `cdniuc` claim: `regex:...` or `hash:sha-256;...` (RFC 6920 segment form) of the address. */
export const readCdniUriContainer = (claim: unknown): readonly UriRule[] | undefined => {
  if (typeof claim !== 'string') return undefined;
  if (claim.startsWith('regex:')) {
    const regex = safeRegex(claim.slice('regex:'.length));
    return regex && [{ component: 'uri', match: 'regex', value: regex }];
  }
  const hash = HASH.exec(claim)?.[1];
  if (hash === undefined) return undefined;
  try {
    return [{ component: 'uri', match: 'sha256', value: decodeBase64url(hash) }];
  } catch {
    return undefined;
  }
};

const componentOf = (address: RequestAddress, component: UriComponent): string => {
  const { scheme, host, port, path, query } = address;
  const slash = path.lastIndexOf('/');
  const filename = path.slice(slash + 1);
  const dot = filename.lastIndexOf('.');
  const parts: Readonly<Record<UriComponent, string>> = {
    uri: `${scheme}://${host}${port === '' ? '' : `:${port}`}${path}${query === '' ? '' : `?${query}`}`,
    scheme,
    host,
    port,
    path,
    query,
    'parent-path': path.slice(0, slash),
    filename,
    stem: dot < 0 ? filename : filename.slice(0, dot),
    extension: dot < 0 ? '' : filename.slice(dot),
  };
  return parts[component];
};

const satisfies = (rule: UriRule, text: string, sha256: (data: Uint8Array) => Uint8Array): boolean => {
  if (rule.match === 'regex') return text.length <= MAX_MATCHED && rule.value.test(text);
  if (rule.match === 'sha256') return equalBytes(sha256(encodeUtf8(text)), rule.value);
  if (rule.match === 'exact') return text === rule.value;
  if (rule.match === 'prefix') return text.startsWith(rule.value);
  return rule.match === 'suffix' ? text.endsWith(rule.value) : text.includes(rule.value);
};

/** Whether the address satisfies every rule. */
export const matchesUriRules = (rules: readonly UriRule[], address: RequestAddress, sha256: (data: Uint8Array) => Uint8Array): boolean =>
  rules.every((rule) => satisfies(rule, componentOf(address, rule.component), sha256));
