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

/** End of the string literal that starts at `at`, behind its closing quote. */
const stringEnd = (text: string, at: number): number => {
  let end = at + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
};

/** Runs on text that JSON.parse has accepted, so only structure has to be followed. */
const hasUniqueNames = (text: string): boolean => {
  const scopes: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') {
      if (scopes.length >= MAX_DEPTH) return false;
      scopes.push(character === '{' ? new Set() : undefined);
    } else if (character === '}' || character === ']') {
      scopes.pop();
    } else if (character === '"') {
      const end = stringEnd(text, at);
      let next = end;
      while (next < text.length && ' \t\r\n'.includes(text[next] ?? '')) next++;
      const names = scopes[scopes.length - 1];
      if (text[next] === ':' && names !== undefined) {
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
