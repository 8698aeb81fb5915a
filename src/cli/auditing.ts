// SPDX-License-Identifier: Apache-2.0
/**
 * The files of a release audit, told apart by what is in them: logs, heads, receipts, released secrets, public keys.
 *
 * docs/wire/audit.md. Invariant: a file that is none of these is an error, not left out: an audit of half the files proves half.
 */
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { AUDIT_FORMAT } from '#core/release/audit.ts';
import { decodeRun, type SecretRun } from '#core/release/block.ts';
import { RECEIPTS_FORMAT } from '#core/release/receipts.ts';
import { importJwsKey, type JwsKey } from '#crypto/jose.ts';
import { auditReleases, type NamedText, type ReleaseAudit } from '#crypto/release-audit.ts';
import { CommandExit, EXIT } from './command.ts';

type Jwk = { readonly kty?: unknown; readonly crv?: unknown; readonly kid?: unknown };

/** Every public key in a key file: one JWK, a JWK Set, or what a key server publishes of itself (`{name, grant, schedule}`). */
const keysIn = async (value: unknown): Promise<readonly (readonly [string, JwsKey])[]> => {
  const object = typeof value === 'object' && value !== null ? (value as { keys?: unknown; schedule?: unknown }) : {};
  const list: unknown[] = Array.isArray(object.keys) ? object.keys : object.schedule !== undefined ? [object.schedule] : [value];
  return Promise.all(
    list.map(async (each): Promise<readonly [string, JwsKey]> => {
      const { kid, crv } = (typeof each === 'object' && each !== null ? each : {}) as Jwk;
      if (typeof kid !== 'string') throw new TypeError('a key needs a kid');
      return [kid, await importJwsKey(each as never, crv === 'Ed25519' ? 'EdDSA' : 'ES256')];
    }),
  );
};

/** Reads the files and holds them against each other. Throws `CommandExit` (2) for a file that cannot be used. */
export const auditFiles = async (files: readonly string[]): Promise<ReleaseAudit> => {
  const logs: NamedText[] = [];
  const receipts: NamedText[] = [];
  const heads: NamedText[] = [];
  const secrets: (SecretRun & { name: string })[] = [];
  const keys = new Map<string, JwsKey>();
  for (const name of files) {
    let bytes: Buffer;
    try {
      bytes = await readFile(name);
    } catch {
      throw new CommandExit(EXIT.usage, `${name} cannot be read`);
    }
    // A byte that is no UTF-8 would be replaced, and so would another: the text then hashes alike.
    const exact = bytes[0] === 2 || Buffer.from(bytes.toString('utf8')).equals(bytes);
    const text = bytes.toString('utf8');
    if (bytes[0] === 2) secrets.push({ ...decodeRun(bytes), name });
    else if (text.includes(RECEIPTS_FORMAT)) receipts.push({ name, text: exact ? text : '' });
    else if (text.includes(AUDIT_FORMAT) || text.startsWith('{"t":')) logs.push({ name, text: exact ? text : '' });
    else if (text.startsWith('{"edge":')) heads.push({ name, text });
    else {
      try {
        for (const [kid, key] of await keysIn(JSON.parse(text))) keys.set(kid, key);
      } catch {
        throw new CommandExit(EXIT.usage, `${name} is no release log, no receipts, no heads of logs, no released secrets and no public key`);
      }
    }
  }
  if (logs.length === 0) throw new CommandExit(EXIT.usage, 'give at least one release log (release/*.jsonl of an edge), and the public keys of its edge and its key servers');
  return auditReleases({ logs, receipts, heads, secrets, keyOf: (kid) => keys.get(kid), hash: nodeLadderHash, hashLine: (line) => hash('sha256', line, 'base64url') });
};
