// SPDX-License-Identifier: Apache-2.0
/**
 * Strict reading of JSON from outside: exactly the members a document may have, each of the type and range it must have.
 *
 * Invariant: errors name the document, the member, the rule and the received *shape*; never a value.
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import type { ErrorCode } from '#core/errors.ts';
import { isJsonObject, type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';

/** What a value is, in words that give nothing of it away. */
const shapeOf = (value: unknown): string =>
  value === undefined ? 'nothing' : typeof value === 'string' ? `${value.length} characters` : Array.isArray(value) ? `${value.length} items` : value === null ? 'null' : typeof value;

/** Reads members of one JSON object; every method throws the document's error code. */
export type Members = {
  text(name: string, limits: { least?: number; most: number; pattern?: RegExp }): string;
  optionalText(name: string, limits: { least?: number; most: number; pattern?: RegExp }): string | undefined;
  integer(name: string, least: number, most: number): number;
  optionalInteger(name: string, least: number, most: number): number | undefined;
  /** base64url text of exactly `length` bytes, or of `least` to `most`. */
  bytes(name: string, least: number, most?: number): Uint8Array;
  list(name: string, most: number): readonly unknown[];
  oneOf<T extends string>(name: string, values: readonly T[]): T;
  value(name: string): unknown;
};

/**
 * The members of `value`. `required` must be there; `optional` may be; anything else is refused unless `open` (JWT claim
 * sets are open by RFC 7519 section 4). `what` names the document in errors.
 */
export const membersOf = (value: unknown, what: string, code: ErrorCode, required: readonly string[], optional: readonly string[] = [], open: boolean = false): Members => {
  const refuse = (rule: string): never => {
    throw new SealcastError(code, `${what}: ${rule}`);
  };
  if (!isJsonObject(value)) return refuse(`must be a JSON object; got ${shapeOf(value)}`);
  const object: JsonObject = value;
  for (const name of required) if (object[name] === undefined) refuse(`${name} is missing`);
  if (!open && Object.keys(object).some((name) => !required.includes(name) && !optional.includes(name))) refuse(`unknown member; allowed: ${[...required, ...optional].join(', ')}`);
  const members: Members = {
    text(name, { least = 1, most, pattern }) {
      const text = object[name];
      if (typeof text !== 'string' || text.length < least || text.length > most || (pattern !== undefined && !pattern.test(text))) return refuse(`${name} must be text of ${least}-${most} characters${pattern === undefined ? '' : ' in its format'}; got ${shapeOf(text)}`);
      return text;
    },
    optionalText: (name, limits) => (object[name] === undefined ? undefined : members.text(name, limits)),
    integer(name, least, most) {
      const number = object[name];
      return typeof number === 'number' && Number.isSafeInteger(number) && number >= least && number <= most ? number : refuse(`${name} must be an integer of ${least}-${most}; got ${shapeOf(number)}`);
    },
    optionalInteger: (name, least, most) => (object[name] === undefined ? undefined : members.integer(name, least, most)),
    bytes(name, least, most = least) {
      const text = object[name];
      let bytes: Uint8Array | undefined;
      try {
        bytes = typeof text === 'string' ? decodeBase64url(text) : undefined;
      } catch {
        bytes = undefined;
      }
      return bytes !== undefined && bytes.length >= least && bytes.length <= most ? bytes : refuse(`${name} must be base64url of ${least === most ? least : `${least}-${most}`} bytes; got ${shapeOf(text)}`);
    },
    list(name, most) {
      const list = object[name];
      return Array.isArray(list) && list.length <= most ? (list as readonly unknown[]) : refuse(`${name} must be a list of at most ${most}; got ${shapeOf(list)}`);
    },
    oneOf(name, values) {
      const text = object[name];
      return values.find((candidate) => candidate === text) ?? refuse(`${name} must be one of ${values.join(', ')}; got ${shapeOf(text)}`);
    },
    value: (name) => object[name],
  };
  return members;
};

/** The JSON object in `text`; repeated names and other values are refused with `code`. */
export const jsonObject = (text: string, what: string, code: ErrorCode): JsonObject => {
  const object = parseStrictObject(text);
  if (object === undefined) throw new SealcastError(code, `${what}: must be one JSON object without repeated names; got ${text.length} characters`);
  return object;
};
