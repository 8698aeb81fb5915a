// SPDX-License-Identifier: Apache-2.0
/**
 * Public P-256 keys as JWKs (RFC 7517, RFC 7518 section 6.2.1), reduced to the members a thumbprint covers (RFC 7638).
 *
 * Invariant: what leaves `parsePublicJwk` has coordinates of 32 bytes and no private part.
 */
import type { ErrorCode } from '#core/errors.ts';
import { membersOf } from './shape.ts';

/** Also usable where ports ask for a plain record of strings. */
export type PublicJwk = { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string };

/** `what` names the key in errors. Other public members (`alg`, `use`, `kid`, `ext`, `key_ops`) are dropped; a private key is refused. */
export const parsePublicJwk = (value: unknown, what: string, code: ErrorCode = 'bad-request'): PublicJwk => {
  const members = membersOf(value, what, code, ['kty', 'crv', 'x', 'y'], ['alg', 'use', 'kid', 'ext', 'key_ops']);
  const kty = members.oneOf('kty', ['EC']);
  const crv = members.oneOf('crv', ['P-256']);
  members.bytes('x', 32);
  members.bytes('y', 32);
  return { kty, crv, x: members.text('x', { most: 43 }), y: members.text('y', { most: 43 }) };
};
