// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a session's media went to more than one place: then its copy may have been taken with a token that was passed on.
 *
 * Design section 5: evidence names a session's copy, not a person. Raising a level or ending an account needs that no sign
 * of a shared token was seen; ending the session does not. Invariant: a stray request (a probe, a preflight) is no sign.
 */

/** How one session was fetched at one edge. */
export type Carriage = { readonly session: string; readonly prefix: string; readonly agent: string; readonly bytes: number };

/** What speaks for a shared token, per session at its worst. */
export type SharedTokenSigns = {
  /** False: one client fetched everything that was seen. */
  readonly shared: boolean;
  /** Most networks and most kinds of client that carried one session. */
  readonly networks: number;
  readonly clients: number;
};

/** A network or client counts from this share of the session's bytes on. */
const SHARE = 0.01;

const counted = (rows: readonly Carriage[], name: 'prefix' | 'agent'): number => {
  const bytes = new Map<string, number>();
  let total = 0;
  for (const row of rows) {
    bytes.set(row[name], (bytes.get(row[name]) ?? 0) + row.bytes);
    total += row.bytes;
  }
  return [...bytes.values()].filter((each) => each > 0 && each >= total * SHARE).length;
};

/** Looks at each session by itself: two sessions of one account on two devices are no sign. */
export const sharedTokenSigns = (rows: readonly Carriage[]): SharedTokenSigns => {
  const sessions = new Map<string, Carriage[]>();
  for (const row of rows) {
    const of = sessions.get(row.session);
    if (of === undefined) sessions.set(row.session, [row]);
    else of.push(row);
  }
  let networks = 0;
  let clients = 0;
  for (const of of sessions.values()) {
    networks = Math.max(networks, counted(of, 'prefix'));
    clients = Math.max(clients, counted(of, 'agent'));
  }
  return { shared: networks > 1 || clients > 1, networks, clients };
};

/** /24 of an IPv4 address, /48 of an IPv6 address; what is neither is answered as `unknown`. */
export const addressPrefix = (address: string): string => {
  const four = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.\d{1,3}$/i.exec(address);
  if (four !== null) return `${four[1]}.${four[2]}.${four[3]}.0/24`;
  const [bare = ''] = address.split('%');
  if (!bare.includes(':') || !/^[0-9a-f:.]{2,45}$/i.test(bare)) return 'unknown';
  const [head, tail] = bare.split('::') as [string, string | undefined];
  const groups = head === '' ? [] : head.split(':');
  const missing = tail === undefined ? 0 : Math.max(0, 8 - groups.length - (tail === '' ? 0 : tail.split(':').length));
  const all = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail === undefined || tail === '' ? [] : tail.split(':'))];
  const [a = '0', b = '0', c = '0'] = all.map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''));
  return `${a}:${b}:${c}::/48`;
};
