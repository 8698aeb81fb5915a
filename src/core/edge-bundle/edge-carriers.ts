// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge tells about sessions that were ended because of a leak: from which networks and clients they were fetched.
 *
 * docs/wire/edge-bundle.md, `carriers` of the request. Invariant: what parses is bounded and holds no full address: a prefix
 * and a digest of eight bytes are all there is room for.
 */
import { SealcastError } from '#core/errors.ts';
import { type SessionId, isSessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { isJsonObject } from '#core/token/strict-json.ts';

/** One way a session was fetched at one edge (`Carrier` of the ports, without the edge). */
export type EdgeCarrier = { readonly session: SessionId; readonly prefix: string; readonly agent: string; readonly bytes: number; readonly from: Micros; readonly to: Micros };

/** Rows that fit into one request. */
export const MAX_CARRIERS_PER_REQUEST = 24;
const PREFIX = /^(?:unknown|\d{1,3}\.\d{1,3}\.\d{1,3}\.0\/24|[0-9a-f]{1,4}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::\/48)$/;
const AGENT = /^(?:[0-9a-f]{16})?$/;

const instant = (value: unknown): value is Micros => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** Throws `credential-invalid`, as everything else that is wrong with a signed request of an edge. */
export const parseEdgeCarriers = (value: unknown): readonly EdgeCarrier[] => {
  const wrong = (): never => {
    throw new SealcastError('credential-invalid', `carriers must be at most ${MAX_CARRIERS_PER_REQUEST} objects {session, prefix, agent, bytes, from, to}`);
  };
  if (!Array.isArray(value) || value.length > MAX_CARRIERS_PER_REQUEST) return wrong();
  return value.map((row: unknown) => {
    if (!isJsonObject(row) || Object.keys(row).length !== 6) return wrong();
    const { session, prefix, agent, bytes, from, to } = row;
    if (typeof session !== 'string' || !isSessionId(session) || typeof prefix !== 'string' || !PREFIX.test(prefix) || typeof agent !== 'string' || !AGENT.test(agent)) return wrong();
    if (!instant(bytes) || !instant(from) || !instant(to) || to < from) return wrong();
    return { session, prefix, agent, bytes, from, to };
  });
};
