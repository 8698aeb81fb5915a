// SPDX-License-Identifier: Apache-2.0
/**
 * Host allow-list: a page of another site that re-points its name at this machine (DNS rebinding) gets nothing.
 *
 * Invariant: both the Host header and the request's address must be on the list.
 */

/** `name` or `name:port`; a bare name allows every port. `any` only behind a proxy that checks hosts itself. */
export type AllowedHosts = readonly string[] | 'any';

const hostName = (host: string): string => host.replace(/:\d+$/, '');

/** Whether the request names a host of the list. */
export const isAllowedHost = (request: Request, allowed: AllowedHosts): boolean => {
  if (allowed === 'any') return true;
  const listed = (host: string): boolean => {
    const lower = host.toLowerCase();
    return allowed.some((entry) => entry.toLowerCase() === lower || entry.toLowerCase() === hostName(lower));
  };
  const header = request.headers.get('host');
  return listed(new URL(request.url).host) && (header === null || listed(header));
};
