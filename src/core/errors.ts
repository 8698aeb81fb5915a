// SPDX-License-Identifier: Apache-2.0
/**
 * The closed set of error codes, and RFC 9457 problem documents made from them.
 *
 * `code` is API: tests, players and scripts switch on it. Messages name option, rule and the *shape* received.
 * Invariant: no message, field or problem document ever holds a key, a token or a licence body.
 */

/** When a client may try again. `token` = once, with a fresh token. */
export type Retry = 'never' | 'later' | 'token' | 'relicense';

/** How one code appears on the outside: HTTP status, when to retry, and what a viewer may read. */
export type Row = { readonly status: number; readonly retry: Retry; readonly viewer: string };
const row = (status: number, retry: Retry, viewer: string): Row => ({ status, retry, viewer });

/** Every code there is. Adding one means adding its row below. */
export type ErrorCode =
  | 'bad-request'
  | 'not-found'
  | 'method-not-allowed'
  | 'payload-too-large'
  | 'unsupported-media-type'
  | 'range-not-satisfiable'
  | 'rate-limited'
  | 'token-missing'
  | 'token-invalid'
  | 'token-expired'
  | 'token-wrong-asset'
  | 'session-ended'
  | 'forbidden'
  | 'operator-token-required'
  | 'credential-invalid'
  | 'entitlement-invalid'
  | 'entitlement-expired'
  | 'entitlement-used'
  | 'nonce-invalid'
  | 'proof-invalid'
  | 'ticket-invalid'
  | 'device-unknown'
  | 'device-revoked'
  | 'device-limit'
  | 'concurrency-limit'
  | 'renewal-invalid'
  | 'epoch-unknown'
  | 'unknown-key'
  | 'too-early'
  | 'ingest-init-missing'
  | 'ingest-out-of-order'
  | 'media-truncated'
  | 'media-malformed'
  | 'media-unsupported'
  | 'media-too-large'
  | 'unmarkable'
  | 'origin-unavailable'
  | 'already-exists'
  | 'config-invalid'
  | 'store-unavailable'
  | 'key-unavailable'
  | 'tool-missing'
  | 'shutting-down'
  | 'overloaded'
  | 'clock-untrusted'
  | 'usage-chain-broken'
  | 'clock-unconfirmed'
  | 'not-yet-valid'
  | 'license-expired'
  | 'license-missing'
  | 'storage-full'
  | 'download-incomplete'
  | 'service-unreachable'
  | 'internal';

/** code → HTTP status, retry rule, and the sentence a viewer may see. */
export const ERRORS: Readonly<Record<ErrorCode, Row>> = {
  // requests
  'bad-request': row(400, 'never', 'The player sent a request that could not be understood.'),
  'not-found': row(404, 'never', 'This content does not exist.'),
  'method-not-allowed': row(405, 'never', 'The player sent a request that could not be understood.'),
  'payload-too-large': row(413, 'never', 'The player sent too much data.'),
  'unsupported-media-type': row(415, 'never', 'This kind of content is not supported.'),
  'range-not-satisfiable': row(416, 'never', 'The requested part does not exist.'),
  'rate-limited': row(429, 'later', 'Too many requests; please wait a moment.'),
  // access
  'token-missing': row(401, 'token', 'Please sign in again to keep watching.'),
  'token-invalid': row(401, 'token', 'Please sign in again to keep watching.'),
  'token-expired': row(401, 'token', 'Please sign in again to keep watching.'),
  'token-wrong-asset': row(403, 'never', 'Your subscription does not cover this content.'),
  'session-ended': row(403, 'relicense', 'This viewing session was ended.'),
  forbidden: row(403, 'never', 'You are not allowed to do this.'),
  'operator-token-required': row(401, 'token', 'Please sign in as an operator.'),
  'credential-invalid': row(403, 'never', 'The credential was not accepted.'),
  // licensing
  'entitlement-invalid': row(403, 'token', 'Your right to watch could not be confirmed.'),
  'entitlement-expired': row(401, 'token', 'Your right to watch has to be confirmed again.'),
  'entitlement-used': row(409, 'token', 'Your right to watch has to be confirmed again.'),
  'nonce-invalid': row(409, 'later', 'The player waited too long; please try again.'),
  'proof-invalid': row(403, 'never', 'This device could not be verified.'),
  'ticket-invalid': row(409, 'later', 'This device has to be verified again; please try again.'),
  'device-unknown': row(403, 'never', 'This device is not registered.'),
  'device-revoked': row(403, 'never', 'This device was removed from your account.'),
  'device-limit': row(409, 'never', 'Too many devices are registered on your account.'),
  'concurrency-limit': row(409, 'never', 'Too many streams are playing on your account.'),
  'renewal-invalid': row(403, 'relicense', 'The viewing session could not be continued.'),
  'epoch-unknown': row(403, 'relicense', 'The viewing session has to be started again.'),
  'unknown-key': row(404, 'never', 'A key for this content is not available.'),
  'too-early': row(425, 'later', 'This content has not been released yet.'),
  // ingest and media
  'ingest-init-missing': row(412, 'later', 'The source has to send its header first.'),
  'ingest-out-of-order': row(400, 'never', 'The source sent content out of order.'),
  'media-truncated': row(400, 'never', 'The content is incomplete.'),
  'media-malformed': row(400, 'never', 'The content is damaged.'),
  'media-unsupported': row(415, 'never', 'This kind of content is not supported.'),
  'media-too-large': row(413, 'never', 'The content is too large.'),
  unmarkable: row(502, 'later', 'The content is briefly unavailable.'),
  'origin-unavailable': row(502, 'later', 'The content is briefly unavailable.'),
  // service
  'already-exists': row(409, 'never', 'This already exists.'),
  'config-invalid': row(500, 'never', 'The service is not configured correctly.'),
  'store-unavailable': row(503, 'later', 'The service is briefly unavailable.'),
  'key-unavailable': row(503, 'later', 'The service is briefly unavailable.'),
  'tool-missing': row(503, 'never', 'The service is not installed completely.'),
  overloaded: row(503, 'later', 'Many people are starting to watch at the moment; please try again shortly.'),
  'clock-untrusted': row(503, 'later', 'The service is briefly unavailable.'),
  'usage-chain-broken': row(409, 'never', 'What was watched on this device could not be matched with earlier reports.'),
  // offline use: answered by the device itself
  'clock-unconfirmed': row(403, 'later', 'The time of this device has to be confirmed; please go online once.'),
  'not-yet-valid': row(403, 'later', 'This right begins later.'),
  'license-expired': row(403, 'relicense', 'Your right to play this has ended; please go online to renew it.'),
  'license-missing': row(404, 'relicense', 'There is no licence for this on this device; please go online once.'),
  'storage-full': row(507, 'never', 'There is not enough room on this device.'),
  'download-incomplete': row(409, 'later', 'This download is not complete; it goes on when you are online.'),
  'shutting-down': row(503, 'later', 'The service is briefly unavailable.'),
  'service-unreachable': row(503, 'later', 'The service cannot be reached; please check the connection.'),
  internal: row(500, 'later', 'Something went wrong on our side.'),
};

/** JSON values that may stand beside a code in a problem document. */
export type ProblemExtra = { readonly [name: string]: string | number | boolean | null | readonly ProblemExtra[] | ProblemExtra };

/** A fault or misuse. Expected outcomes (a denial, a miss) are values, not this. */
export class SealcastError extends Error {
  readonly code: ErrorCode;
  /** Extra members of the problem document; must not hold secrets. */
  readonly extra: ProblemExtra;
  constructor(code: ErrorCode, detail: string, options: { cause?: unknown; extra?: ProblemExtra } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SealcastError';
    this.code = code;
    this.extra = options.extra ?? {};
  }
}

/** Whether `error` is ours, and of this code if one is given. */
export const isSealcastError = (error: unknown, code?: ErrorCode): error is SealcastError =>
  error instanceof SealcastError && (code === undefined || error.code === code);

/** RFC 9457 problem document. `detail` is for the developer, `title` for the viewer. */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly [extra: string]: unknown;
};

/** The problem document of an error; anything that is not a SealcastError becomes `internal` without its message. */
export const problemOf = (error: unknown): Problem => {
  const known = error instanceof SealcastError ? error : new SealcastError('internal', 'unexpected fault; the log has the details');
  const { status, retry, viewer } = ERRORS[known.code];
  return { ...known.extra, type: `urn:sealcast:problem:${known.code}`, title: viewer, status, detail: known.message, code: known.code, retry };
};
