// SPDX-License-Identifier: Apache-2.0
/**
 * A grant: release secrets of a run of coming periods, made by a key server for one edge.
 *
 * docs/wire/release.md, "Key server → edge". The JWS and JWE around it are the two ends' business (`crypto/`).
 * Invariant: a parsed grant holds exactly `n` secrets for `n` consecutive periods of one event.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { membersOf } from '#core/license/shape.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';

/** JOSE `typ` of the signed grant inside the encryption. */
export const GRANT_TYPE = 'release-grant+jwt';
/** Secrets are given this far ahead of their release, by the key server's clock. */
export const HORIZON: Micros = 10_000_000 as Micros;
/** An edge refuses grants that reach further ahead of its clock: a stolen edge must not hold more. */
export const MAX_HORIZON: Micros = 12_000_000 as Micros;
/** Held less than this ahead: the edge alarms. */
export const HORIZON_ALARM: Micros = 5_000_000 as Micros;
/** Periods of one grant. */
export const MAX_GRANT_PERIODS = 1000;
/** Bytes of a release secret. */
export const SECRET_LENGTH = 16;
/** A grant is of no use this long after its last release. */
export const GRANT_AFTERLIFE: Micros = 60_000_000 as Micros;

/** What one grant says. Holds secrets before their time: never log it. */
export type ReleaseGrant = {
  /** Name of the key server. */
  readonly issuer: string;
  /** Name of the edge it was made for. */
  readonly edge: string;
  readonly event: AssetId;
  readonly version: number;
  readonly firstRelease: Micros;
  readonly period: Micros;
  readonly delta: Micros;
  readonly from: CryptoPeriod;
  /** 16 bytes each. */
  readonly secrets: Uint8Array;
  readonly issuedAt: Micros;
  readonly expiresAt: Micros;
  /** Rises with every grant of one issuer for one event. */
  readonly seq: number;
};

const NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** JWT payload of a grant. */
export const encodeGrant = (grant: ReleaseGrant): Record<string, unknown> => ({
  v: 1, iss: grant.issuer, aud: grant.edge, event: grant.event, version: grant.version, t0: grant.firstRelease, period: grant.period, delta: grant.delta,
  from: grant.from, n: grant.secrets.length / SECRET_LENGTH, rs: encodeBase64url(grant.secrets), iat: grant.issuedAt, exp: grant.expiresAt, seq: grant.seq,
});

/** A verified payload as a grant; throws `bad-request`. Audience, times, sequence and commitments are the edge's business. */
export const parseGrant = (payload: unknown): ReleaseGrant => {
  const m = membersOf(payload, 'release grant', 'bad-request', ['v', 'iss', 'aud', 'event', 'version', 't0', 'period', 'delta', 'from', 'n', 'rs', 'iat', 'exp', 'seq']);
  m.integer('v', 1, 1);
  const n = m.integer('n', 1, MAX_GRANT_PERIODS);
  return {
    issuer: m.text('iss', { most: 64, pattern: NAME }),
    edge: m.text('aud', { most: 64, pattern: NAME }),
    event: assetId(m.value('event')),
    version: m.integer('version', 1, 2 ** 32 - 1),
    firstRelease: m.integer('t0', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) as Micros,
    period: m.integer('period', 1, 2 ** 32 - 1) as Micros,
    delta: m.integer('delta', 0, 2 ** 32 - 1) as Micros,
    from: m.integer('from', 0, Number.MAX_SAFE_INTEGER - MAX_GRANT_PERIODS) as CryptoPeriod,
    secrets: m.bytes('rs', n * SECRET_LENGTH),
    issuedAt: m.integer('iat', 0, Number.MAX_SAFE_INTEGER) as Micros,
    expiresAt: m.integer('exp', 0, Number.MAX_SAFE_INTEGER) as Micros,
    seq: m.integer('seq', 0, Number.MAX_SAFE_INTEGER),
  };
};
