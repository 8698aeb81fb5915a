// SPDX-License-Identifier: Apache-2.0
/**
 * How commands talk to a running service as an operator: address and token from flags, environment or a file.
 *
 * Invariant: the token is never an argument (process lists show those) and never printed.
 */
import { readFile } from 'node:fs/promises';
import { CommandExit, EXIT, usageError } from './command.ts';

/** Flags of every command that needs a running service. */
export const operatorArgs = {
  url: { type: 'string', description: 'address of the service', default: 'http://localhost:8080' },
  'token-file': { type: 'string', description: 'file with the operator token (default: environment variable SEALCAST_OPERATOR_TOKEN)' },
} as const;

type OperatorFlags = { readonly url: string; readonly 'token-file'?: string | undefined };

const tokenOf = async (flags: OperatorFlags): Promise<string> => {
  const file = flags['token-file'];
  let token = process.env['SEALCAST_OPERATOR_TOKEN'] ?? '';
  if (file !== undefined) {
    try {
      token = await readFile(file, 'utf8');
    } catch {
      throw usageError(`--token-file ${file} cannot be read`);
    }
  }
  if (token.trim() === '') throw usageError('an operator token is needed: set SEALCAST_OPERATOR_TOKEN or give --token-file; `up` and `demo` print it at their first start');
  return token.trim();
};

const isRaw = (body: object): body is { readonly type: string; readonly bytes: Uint8Array } => 'bytes' in body && body.bytes instanceof Uint8Array;

/** Calls an operator endpoint and answers its JSON; a problem document becomes the command's negative result. A body of bytes goes as it is. */
export const callOperator = async <T>(flags: OperatorFlags, method: 'GET' | 'POST', path: string, body?: object | { readonly type: string; readonly bytes: Uint8Array }): Promise<T> => {
  const token = await tokenOf(flags);
  const base = flags.url.replace(/\/+$/, '');
  let response: Response;
  try {
    response = await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': isRaw(body) ? body.type : 'application/json' }) },
      ...(body !== undefined && { body: isRaw(body) ? (body.bytes as Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
    });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : 'no connection';
    throw new CommandExit(EXIT.environment, `${base} cannot be reached (${cause}); is \`sealcast up\` running there?`);
  }
  const answer = (await response.json().catch(() => ({}))) as { detail?: string; code?: string };
  if (response.ok) return answer as T;
  throw new CommandExit(EXIT.negative, `${answer.detail ?? `the service answered ${response.status}`}${answer.code === undefined ? '' : ` [${answer.code}]`}`);
};
