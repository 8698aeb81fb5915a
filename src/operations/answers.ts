// SPDX-License-Identifier: Apache-2.0
/**
 * Answers and bodies of the operator endpoints: JSON out, strict JSON in, problem documents (RFC 9457) for the rest.
 *
 * Invariant: nothing here may be cached, and a body with an unknown member, a wrong type or a duplicate name is refused whole.
 */
import { ERRORS, SealcastError, problemOf } from '#core/errors.ts';
import { isJsonObject, type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';

const BODY_LIMIT = 64 * 1024;
const COMMON = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer' };

/** A JSON answer that nobody may cache. */
export const json = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), { status, headers: { ...COMMON, 'Content-Type': 'application/json' } });

/** Problem document of an error; unknown errors become `internal` without their message. */
export const problem = (error: unknown, headers: Readonly<Record<string, string>> = {}): Response => {
  const body = problemOf(error);
  const challenge = body.code === 'operator-token-required' ? { 'WWW-Authenticate': 'Bearer realm="sealcast operators"' } : {};
  const wait = ERRORS[body.code].retry === 'later' ? { 'Retry-After': body.code === 'rate-limited' ? '60' : '2' } : {};
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: { ...COMMON, 'Content-Type': 'application/problem+json', ...challenge, ...wait, ...headers },
  });
};

const textOf = async (request: Request, limit: number): Promise<string> => {
  const reader = request.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      length += value.length;
      if (length > limit) throw new SealcastError('payload-too-large', `body must be at most ${limit} bytes`);
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error instanceof TypeError ? new SealcastError('bad-request', 'body must be UTF-8') : error;
  }
};

/** What one member of a body must be. */
export type MemberRule<T> = { readonly required: boolean; readonly rule: string; readonly test: (value: unknown) => value is T };
type Rules = Readonly<Record<string, MemberRule<unknown>>>;
/** What `readBody` answers: every member as its rule says, or absent. */
export type Body<R extends Rules> = { readonly [Name in keyof R]?: R[Name] extends MemberRule<infer T> ? T : never };

/** A member that holds text of `least` to `most` UTF-16 units. */
export const text = (least: number, most: number, required = true): MemberRule<string> => ({
  required,
  rule: `text of ${least}-${most} characters without control characters`,
  test: (value): value is string => typeof value === 'string' && value.length >= least && value.length <= most && !/\p{Cc}/u.test(value),
});
/** A member that holds one of `values`. */
export const oneOf = <const T extends string | number>(values: readonly T[], required = false): MemberRule<T> => ({
  required,
  rule: `one of ${values.join(', ')}`,
  test: (value): value is T => values.includes(value as T),
});
/** A member that holds a JSON object, whose members its reader checks. */
export const object: MemberRule<JsonObject> = { required: true, rule: 'an object', test: isJsonObject };
/** A member that holds a document of at most `most` UTF-16 units, whose reader checks it. */
export const document = (most: number): MemberRule<string> => ({ required: false, rule: `text of at most ${most} characters`, test: (value): value is string => typeof value === 'string' && value.length <= most });
/** A member that holds a number of `least` to `most`, whole unless `fraction` is allowed. */
export const number = (least: number, most: number, unit: string, fraction = false): MemberRule<number> => ({
  required: false,
  rule: `a ${fraction ? '' : 'whole '}number of ${unit} from ${least} to ${most}`,
  test: (value): value is number => typeof value === 'number' && value >= least && value <= most && (fraction || Number.isInteger(value)),
});

/**
 * Reads a JSON object whose members are exactly those of `rules`. The content type is required: a form of another site cannot send it unasked.
 * An absent body counts as `{}` where nothing is required. Throws `bad-request`, `unsupported-media-type`, `payload-too-large`.
 */
export const readBody = async <R extends Rules>(request: Request, rules: R, limit: number = BODY_LIMIT): Promise<Body<R>> => {
  const source = await textOf(request, limit);
  const entries = Object.entries(rules);
  if (source === '' && entries.every(([, rule]) => !rule.required)) return {} as Body<R>;
  const type = request.headers.get('content-type') ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type)) throw new SealcastError('unsupported-media-type', `body must be application/json; got ${type === '' ? 'no content type' : 'another type'}`);
  const body = parseStrictObject(source);
  if (body === undefined) throw new SealcastError('bad-request', `body must be one JSON object without repeated names; got ${source.length} characters`);
  for (const name of Object.keys(body)) if (!Object.hasOwn(rules, name)) throw new SealcastError('bad-request', `unknown member; allowed: ${entries.map(([known]) => known).join(', ')}`);
  for (const [name, rule] of entries) {
    const value = body[name];
    if (value === undefined ? rule.required : !rule.test(value)) throw new SealcastError('bad-request', `${name} must be ${rule.rule}; got ${value === undefined ? 'nothing' : typeof value}`);
  }
  return body as Body<R>;
};
