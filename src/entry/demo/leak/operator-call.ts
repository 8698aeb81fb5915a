// SPDX-License-Identifier: Apache-2.0
/** An operator's request over HTTP. Invariant: the token is in the Authorization field and nowhere else. */
import { SealcastError } from '#core/errors.ts';
import type { Platform } from '#entry/node.ts';

/** Calls an operator endpoint; throws `bad-request` with what the service answered. */
export const operatorCall = async <T>({ localUrl }: Pick<Platform, 'localUrl'>, token: string, method: 'GET' | 'POST', path: string, body?: object): Promise<T> => {
  const response = await fetch(`${localUrl}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const answer = (await response.json()) as T & { detail?: string };
  if (!response.ok) throw new SealcastError('bad-request', `${path} answered ${response.status}: ${answer.detail ?? ''}`);
  return answer;
};
