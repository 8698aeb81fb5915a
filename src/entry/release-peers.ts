// SPDX-License-Identifier: Apache-2.0
/**
 * Public keys of key servers and edges in other processes, as they wrote them at their first start.
 *
 * Invariant: what is read is a public key of the kind it must be; files are named in errors, their content never.
 */
import { readFile } from 'node:fs/promises';
import { SealcastError } from '#core/errors.ts';
import { parsePublicJwk, type PublicJwk } from '#core/license/public-jwk.ts';
import { membersOf } from '#core/license/shape.ts';

/** What edges and clients check a key server's signatures with. */
export type ReleasePublicKeys = { readonly name: string; /** Ed25519: grants. */ readonly grant: object; /** P-256: schedules. */ readonly schedule: object };
/** An edge that may ask for grants. */
export type EnrolledPeer = { readonly edge: string; readonly sign: PublicJwk; readonly agree: PublicJwk; readonly host?: string };

/** Public release keys out of the file `keyServers[].publicFile`. Throws `config-invalid`. */
export const releaseKeysOf = async (file: string, name: string): Promise<ReleasePublicKeys> => {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new SealcastError('config-invalid', `release.keyServers: ${file} cannot be read as JSON`, { cause });
  }
  const what = `release.keyServers: ${file}`;
  const m = membersOf(value, what, 'config-invalid', ['name', 'grant', 'schedule']);
  if (m.value('name') !== name) throw new SealcastError('config-invalid', `${what} is of another key server than ${name}`);
  const grant = membersOf(m.value('grant'), `${what}, grant`, 'config-invalid', ['kty', 'crv', 'x'], ['alg', 'kid']);
  grant.oneOf('kty', ['OKP']);
  grant.oneOf('crv', ['Ed25519']);
  grant.bytes('x', 32);
  return { name, grant: { kty: 'OKP', crv: 'Ed25519', x: grant.text('x', { most: 43 }), kid: `${name}.grant` }, schedule: { ...parsePublicJwk(m.value('schedule'), `${what}, schedule`, 'config-invalid'), kid: `${name}.schedule` } };
};
