// SPDX-License-Identifier: Apache-2.0
/**
 * The keys with which the operator's backend signs entitlements, read from where the configuration says.
 *
 * Invariant: a secret comes from a file, never from the configuration text; errors name the file and the rule.
 */
import { readFile } from 'node:fs/promises';
import { SealcastError } from '#core/errors.ts';
import type { Millis } from '#core/time.ts';
import type { EntitlementCallbackOptions, EntitlementKey } from '#license-server/index.ts';
import type { EntitlementCallbackAddress, EntitlementKey as ConfiguredKey } from './config/index.ts';

type PublicJwk = Readonly<Record<string, string>>;
/** JWKs also hold lists (`key_ops`) and flags (`ext`), which say what the key was for elsewhere. */
type JwkText = Readonly<Record<string, unknown>>;

/** The public part, without what another tool said the key was for: here it verifies. */
const verifying = ({ d: _private, key_ops: _operations, use: _use, ext: _extractable, ...publicPart }: JwkText): PublicJwk => publicPart as PublicJwk;

const read = async (path: string, where = 'entitlements.keys'): Promise<Buffer> => {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new SealcastError('config-invalid', `${where}: ${path} cannot be read`, { cause });
  }
};

const jwkOf = async (path: string): Promise<PublicJwk> => {
  try {
    return verifying(JSON.parse((await read(path)).toString('utf8')) as JwkText);
  } catch (cause) {
    if (cause instanceof SealcastError) throw cause;
    throw new SealcastError('config-invalid', `entitlements.keys: ${path} is not a JSON Web Key`, { cause });
  }
};

/** Line ends at the end of a secret file are an editor's, not the secret's. */
const secretOf = async (path: string, where = 'entitlements.keys'): Promise<Uint8Array> => {
  const bytes = await read(path, where);
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  if (end < 32) throw new SealcastError('config-invalid', `${where}: ${path} must hold at least 32 bytes${where === 'entitlements.keys' ? ' for HS256' : ''}; it holds ${end}`);
  return new Uint8Array(bytes.subarray(0, end));
};

/** All configured keys, ready for the licence server. Throws `config-invalid` naming the file. */
export const loadEntitlementKeys = (configured: readonly ConfiguredKey[]): Promise<readonly EntitlementKey[]> =>
  Promise.all(
    configured.map(async ({ kid, alg, jwk, jwkFile, secretFile }) => ({
      kid,
      alg,
      key: secretFile !== undefined ? await secretOf(secretFile) : jwkFile !== undefined ? await jwkOf(jwkFile) : verifying(jwk ?? {}),
    })),
  );

/** The configured callback, ready for the licence server; undefined if there is none. Throws `config-invalid` naming the file. */
export const loadEntitlementCallback = async (configured: EntitlementCallbackAddress | undefined): Promise<EntitlementCallbackOptions | undefined> =>
  configured === undefined
    ? undefined
    : { url: configured.url, secret: await secretOf(configured.secretFile, 'entitlements.callback'), timeout: configured.timeoutMillis as Millis, fetch: (request) => fetch(request) };
