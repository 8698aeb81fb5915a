// SPDX-License-Identifier: Apache-2.0
/**
 * Takes secrets out of log fields before anything is written.
 *
 * Two nets: a field whose name speaks of a secret loses its value, and text that looks like a signed token or a bearer
 * header loses that part wherever it stands (messages, addresses, stack traces).
 * Invariant: byte arrays are never printed, only their length; the walk is bounded in depth and width.
 */

const HIDDEN = '[redacted]';
const DEPTH = 6;
const WIDTH = 100;

const SECRET_WORDS: ReadonlySet<string> = new Set([
  'key', 'keys', 'cek', 'gk', 'tk', 'mk', 'zk', 'sk', 'rk', 'kek', 'jwk', 'k', 'token', 'tokens', 'authorization', 'license', 'licence', 'licenses', 'licences',
  'entitlement', 'entitlements', 'credential', 'credentials', 'proof', 'secret', 'secrets', 'password', 'passphrase', 'cookie', 'jwt', 'jws', 'jwe', 'bearer',
  'sealed', 'unlock', 'wrapped', 'nonce', 'grant', 'grants', 'state',
]);
/** `keyServer`, `licenseCount`, `tokenKind`: about a secret thing, not the thing. */
const HARMLESS_ENDINGS: ReadonlySet<string> = new Set(['group', 'groups', 'server', 'id', 'ids', 'count', 'kind', 'type', 'period', 'url', 'urls', 'at', 'seconds', 'millis', 'bytes']);
/** States of machines are worth logging; states of renewals are secrets and arrive as bytes or long text. */
const SHORT_WORD = /^[a-z-]{1,24}$/;

const wordsOf = (name: string): readonly string[] => name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase().split(/[^a-z0-9]+/).filter((word) => word !== '');

/** Whether a field of this name is taken for a secret. */
export const isSecretName = (name: string): boolean => {
  const words = wordsOf(name);
  const last = words.at(-1) ?? '';
  return words.some((word) => SECRET_WORDS.has(word)) && !(words.length > 1 && HARMLESS_ENDINGS.has(last));
};

/** Text without compact JWS/JWE, bearer credentials and operator tokens. */
export const redactText = (text: string): string =>
  text
    .replace(/eyJ[\w-]*\.[\w-]*\.[\w-]+(?:\.[\w-]*){0,2}/g, HIDDEN)
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]+/gi, `$1 ${HIDDEN}`)
    .replace(/\bso_[\w-]{43}/g, HIDDEN)
    .replace(/([?&](?:token|key|k|signature|entitlement)=)[^&\s"']+/gi, `$1${HIDDEN}`);

const redactError = (error: Error, depth: number): Record<string, unknown> => ({
  name: error.name,
  ...('code' in error ? { code: String(error.code) } : {}),
  message: redactText(error.message),
  ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
  ...(error.cause === undefined ? {} : { cause: redactValue(error.cause, depth + 1) }),
});

const redactValue = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (depth >= DEPTH) return '[deeper]';
  if (value instanceof Error) return redactError(value, depth);
  if (Array.isArray(value)) return value.slice(0, WIDTH).map((item) => redactValue(item, depth + 1));
  return redactFields(value as Record<string, unknown>, depth + 1);
};

/** The same fields without secrets; the input is not changed. */
export const redactFields = (fields: Readonly<Record<string, unknown>>, depth = 0): Record<string, unknown> => {
  const clean: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields).slice(0, WIDTH)) {
    const harmless = typeof value === 'boolean' || (name === 'state' && typeof value === 'string' && SHORT_WORD.test(value));
    clean[name] = isSecretName(name) && !harmless ? HIDDEN : redactValue(value, depth);
  }
  return clean;
};
