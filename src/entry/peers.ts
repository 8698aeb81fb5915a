// SPDX-License-Identifier: Apache-2.0
/**
 * What a process needs to know of peers that run elsewhere: their credentials and public keys, from files.
 *
 * Invariant: credentials come from files, never from the configuration text, and are not kept longer than the process.
 */
import { readFile } from 'node:fs/promises';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { problemOf, SealcastError } from '#core/errors.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { EnrolledEdge } from '#license-server/index.ts';
import type { OperatorStore } from '#ports';
import type { Config } from './config/index.ts';

const text = async (path: string): Promise<string> => {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    throw new SealcastError('config-invalid', `${path} cannot be read`, { cause });
  }
};

/** A service credential out of its file. Throws `config-invalid` naming the file and the rule. */
export const readCredential = async (path: string): Promise<string> => {
  const credential = await text(path);
  if (!/^[A-Za-z0-9_-]{32,256}$/.test(credential)) throw new SealcastError('config-invalid', `${path} must hold a credential of 32-256 base64url characters; it holds ${credential.length}`);
  return credential;
};

/**
 * The packager's origin for edges in other processes: behind a credential, or not reachable over HTTP at all. Segments
 * are ciphertext, but only the edge checks who asks for them.
 */
export const guardedOrigin = (handler: (request: Request) => Promise<Response>, credential: string): ((request: Request) => Promise<Response>) => {
  const expected = sha256(encodeUtf8(`Bearer ${credential}`));
  return async (request) => {
    if (equalBytes(sha256(encodeUtf8(request.headers.get('authorization') ?? '')), expected)) return handler(request);
    const problem = problemOf(new SealcastError('credential-invalid', 'the origin answers edges only; see origin.credentialFile'));
    return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' } });
  };
};

/** Edges by id, from the public files that `sealcast up --role edge` writes at first start. */
export const enrolledEdges = async (configured: Config['edges']): Promise<ReadonlyMap<string, EnrolledEdge & { /** Host it runs on, where it says so. */ readonly host?: string }>> => {
  const edges = await Promise.all(
    configured.map(async ({ id, publicFile, zone, renews }): Promise<[string, EnrolledEdge & { readonly host?: string }]> => {
      let keys: { sign?: unknown; agree?: unknown; host?: unknown };
      try {
        keys = JSON.parse(await text(publicFile)) as typeof keys;
      } catch (cause) {
        if (cause instanceof SealcastError) throw cause;
        throw new SealcastError('config-invalid', `edges: ${publicFile} is not JSON`, { cause });
      }
      return [id, { edge: id, sign: parsePublicJwk(keys.sign, `edges: sign in ${publicFile}`, 'config-invalid'), agree: parsePublicJwk(keys.agree, `edges: agree in ${publicFile}`, 'config-invalid'), zone, renews, ...(typeof keys.host === 'string' && /^[A-Za-z0-9.-]{1,64}$/.test(keys.host) && { host: keys.host }) }];
    }),
  );
  return new Map(edges);
};

/** Whether a request carries the token of an operator of any role. */
export const operatorCheck = (operators: Pick<OperatorStore, 'byTokenHash'>): ((request: Request) => Promise<boolean>) => async (request) => {
  const token = /^Bearer (so_[A-Za-z0-9_-]{43})$/.exec(request.headers.get('authorization') ?? '')?.[1];
  if (token === undefined) return false;
  const hash = encodeBase64url(sha256(encodeUtf8(token)));
  const record = await operators.byTokenHash(hash);
  return record !== undefined && equalBytes(encodeUtf8(record.tokenHash), encodeUtf8(hash));
};
