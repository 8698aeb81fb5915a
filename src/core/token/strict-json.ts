// SPDX-License-Identifier: Apache-2.0
/**
 * Reads one JSON object the way a signed document has to be read: nothing in it may mean two things.
 *
 * RFC 8259 section 4 leaves duplicate names open; RFC 7519 section 4 lets a verifier refuse them, and this one does:
 * two parsers that pick different duplicates is how a checked claim and a used claim come apart.
 * Invariant: the answer has no duplicate names at any depth, no `__proto__` name and at most `MAX_DEPTH` levels.
 */

/** Claims, licences and bundles nest at most this deep. */
export const MAX_DEPTH = 8;

/** A JSON object whose members have not been checked yet. */
export type JsonObject = { readonly [name: string]: unknown };

/** Whether a parsed JSON value is an object, not a list or null. */
export const isJsonObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

const SPACE = 0x20;
const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** End of the string literal that starts at `at`, behind its closing quote. */
const stringEnd = (text: string, at: number): number => {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    // A quote belongs to the string if an odd number of backslashes stands before it.
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
  return text.length;
};

/** Runs on text that JSON.parse has accepted, so only structure has to be followed. */
const hasUniqueNames = (text: string): boolean => {
  const scopes: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      if (scopes.length >= MAX_DEPTH) return false;
      scopes.push(code === OPEN_OBJECT ? new Set() : undefined);
    } else if (code === CLOSE_OBJECT || code === CLOSE_LIST) {
      scopes.pop();
    } else if (code === QUOTE) {
      const end = stringEnd(text, at);
      let next = end;
      while (text.charCodeAt(next) <= SPACE) next++;
      const names = scopes[scopes.length - 1];
      if (text.charCodeAt(next) === COLON && names !== undefined) {
        const raw = text.slice(at + 1, end - 1);
        // Names are compared unescaped: "\u0061" and "a" are one name.
        const name = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
        if (name === '__proto__' || names.has(name)) return false;
        names.add(name);
      }
      at = end - 1;
    }
  }
  return true;
};

/** The object in `text`, or undefined if it is anything else, nests too deep or repeats a name. Never throws. */
export const parseStrictObject = (text: string): JsonObject | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isJsonObject(value) && hasUniqueNames(text) ? value : undefined;
};
