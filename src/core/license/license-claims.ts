// SPDX-License-Identifier: Apache-2.0
/**
 * The licence: its signed claims, and the sealed part that only the device can read.
 *
 * docs/wire/session.md, "Licence". Invariant: a parsed licence is complete and within bounds; the parser trusts nothing that
 * the signature would excuse, since a client also meets licences of other versions.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId, type DeviceId, deviceId, type KeyGroup, type KeyId, type ProtectionScheme, type ReleaseMode, type SessionId, sessionId } from '#core/ids.ts';
import type { OpenNode } from '#core/keys/unlock.ts';
import type { CryptoPeriod, GrantGroup, KeySchedule, Micros } from '#core/time.ts';
import { encodeOpenNode, parseOpenNode } from './open-node.ts';
import { TICKET_SECRET_LENGTH } from './device-ticket.ts';
import { MAX_STATE_LENGTH } from './renewal-state.ts';
import { jsonObject, membersOf } from './shape.ts';

/** The JOSE `typ` of licences. */
export const LICENSE_TYPE = 'license+jwt';
/** Groups of one licence at most; a longer title is licensed in parts. */
export const MAX_HORIZON_GROUPS = 4096;
/** AES-256 key wrap of a 32-byte key (RFC 3394). */
export const WRAPPED_GRANT_LENGTH = 40;
const WRAPPED_CONTENT_KEY_LENGTH = 24;
const MAX_IMPORTED = 4096;
const LATEST_SECOND = 2 ** 42;
const MAX_TERM_MILLIS = 2 ** 32 - 1;
const MAX_GROUP = 2 ** 32 - 1;

/** What a licence says in the open, signed. */
export type LicenseClaims = {
  readonly issuer: string;
  readonly device: DeviceId;
  readonly jti: string;
  readonly issuedAt: Micros;
  readonly expiresAt: Micros;
  readonly sid: SessionId;
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly mode: ReleaseMode;
  readonly scheme: ProtectionScheme;
  readonly gen: number;
  readonly salt: Uint8Array;
  readonly entryKid: KeyId;
  readonly schedule: KeySchedule;
  readonly keyGroups: readonly KeyGroup[];
  /** Groups [from, to) whose wrapped grant keys the licence carries. */
  readonly horizon: { readonly from: GrantGroup; readonly to: GrantGroup };
  /** Compact JWE to the device's agree key. */
  readonly sealed: string;
  /** ms. */
  readonly terms: { readonly interval: number; readonly duration: number };
  /** Server time of issue. */
  readonly time: Micros;
};

/** JWT payload of a licence. `exp` and `iat` are whole seconds, exp rounded up. */
export const encodeLicenseClaims = (claims: LicenseClaims): Record<string, unknown> => ({
  iss: claims.issuer,
  aud: claims.device,
  jti: claims.jti,
  iat: Math.floor(claims.issuedAt / 1_000_000),
  exp: Math.ceil(claims.expiresAt / 1_000_000),
  sid: claims.sid,
  asset: claims.asset,
  kind: claims.kind,
  mode: claims.mode,
  scheme: claims.scheme,
  gen: claims.gen,
  salt: encodeBase64url(claims.salt),
  entryKid: encodeBase64url(claims.entryKid),
  period: claims.schedule.period,
  periodsPerGroup: claims.schedule.periodsPerGroup,
  keyGroups: claims.keyGroups,
  horizon: [claims.horizon.from, claims.horizon.to],
  sealed: claims.sealed,
  terms: claims.terms,
  time: claims.time,
});

const CLAIMS = ['iss', 'aud', 'jti', 'iat', 'exp', 'sid', 'asset', 'kind', 'mode', 'scheme', 'gen', 'salt', 'entryKid', 'period', 'periodsPerGroup', 'keyGroups', 'horizon', 'sealed', 'terms', 'time'];

const bad = (rule: string): SealcastError => new SealcastError('bad-request', `licence: ${rule}`);

/** Claims of a verified licence payload; throws `bad-request`. Unknown claims are ignored. */
export const parseLicenseClaims = (payload: unknown): LicenseClaims => {
  const claims = membersOf(payload, 'licence', 'bad-request', CLAIMS, [], true);
  const terms = membersOf(claims.value('terms'), 'licence terms', 'bad-request', ['interval', 'duration'], [], true);
  return {
    issuer: claims.text('iss', { most: 256 }),
    device: deviceId(claims.value('aud')),
    jti: claims.text('jti', { most: 128 }),
    issuedAt: (claims.integer('iat', 0, LATEST_SECOND) * 1_000_000) as Micros,
    expiresAt: (claims.integer('exp', 0, LATEST_SECOND) * 1_000_000) as Micros,
    sid: sessionId(claims.value('sid')),
    asset: assetId(claims.value('asset')),
    kind: claims.oneOf('kind', ['event', 'title']),
    mode: claims.oneOf('mode', ['timed', 'untimed']),
    scheme: claims.oneOf('scheme', ['cenc', 'cbcs']),
    gen: claims.integer('gen', 0, 0xffff),
    salt: claims.bytes('salt', 16),
    entryKid: claims.bytes('entryKid', 16) as KeyId,
    schedule: { period: claims.integer('period', 1, 2 ** 40) as Micros, periodsPerGroup: claims.integer('periodsPerGroup', 1, 2 ** 20) },
    keyGroups: keyGroupsOf(claims.list('keyGroups', 2)),
    horizon: horizonOf(claims.list('horizon', 2)),
    sealed: claims.text('sealed', { most: 2 ** 22 }),
    terms: { interval: terms.integer('interval', 1, MAX_TERM_MILLIS), duration: terms.integer('duration', 1, MAX_TERM_MILLIS) },
    time: claims.integer('time', 0, Number.MAX_SAFE_INTEGER) as Micros,
  };
};

const keyGroupsOf = (list: readonly unknown[]): readonly KeyGroup[] => {
  const known = list.filter((item) => item === 'video' || item === 'audio');
  if (known.length !== list.length || known.length === 0 || new Set(known).size !== known.length) throw bad('keyGroups must name video, audio or both, once each');
  return known;
};

const isGroup = (value: unknown): value is GrantGroup => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= MAX_GROUP;

const horizonOf = ([from, to]: readonly unknown[]): LicenseClaims['horizon'] => {
  if (!isGroup(from) || !isGroup(to) || to <= from || to - from > MAX_HORIZON_GROUPS) throw bad(`horizon must be a range of 1-${MAX_HORIZON_GROUPS} groups`);
  return { from, to };
};

// ---- the sealed part ----------------------------------------------------------------------------------------------

/** A fixed key of another key system, wrapped under the grant key of its first period. */
export type WrappedImport = { readonly kid: KeyId; readonly keyGroup: KeyGroup; readonly from: CryptoPeriod; readonly to: CryptoPeriod; readonly wrapped: Uint8Array };

/** What only the device can read. Holds keys: never log it. */
export type SealedLicense = {
  /** RK. */
  readonly renewalKey: Uint8Array;
  /** Nodes of the first term. */
  readonly nodes: readonly OpenNode[];
  /** AES-KW(UK[s,g], GK[g]) for every group of the horizon, in order, 40 bytes each. */
  readonly grants: Uint8Array;
  /** First group not opened. */
  readonly opened: GrantGroup;
  /** Renewal state for the first renewal. */
  readonly state: Uint8Array;
  readonly imported: readonly WrappedImport[];
  /** Proves the device at later starts; only after a full proof. */
  readonly ticket?: SealedTicket;
};

/** A device ticket with its secret, for the device alone. */
export type SealedTicket = { readonly value: Uint8Array; readonly secret: Uint8Array; readonly expiresAt: Micros };

/** JSON plain text of the sealed part. Holds keys: never log it. */
export const encodeSealedLicense = (sealed: SealedLicense): string =>
  JSON.stringify({
    rk: encodeBase64url(sealed.renewalKey),
    nodes: sealed.nodes.map(encodeOpenNode),
    grants: encodeBase64url(sealed.grants),
    opened: sealed.opened,
    state: encodeBase64url(sealed.state),
    ...(sealed.imported.length > 0 && { imported: sealed.imported.map((item) => ({ kid: encodeBase64url(item.kid), keyGroup: item.keyGroup, from: item.from, to: item.to, wrapped: encodeBase64url(item.wrapped) })) }),
    ...(sealed.ticket !== undefined && { ticket: { value: encodeBase64url(sealed.ticket.value), secret: encodeBase64url(sealed.ticket.secret), expires: sealed.ticket.expiresAt } }),
  });

/** The sealed part from its plain text, checked against the licence's horizon; throws `bad-request`. */
export const parseSealedLicense = (plain: string, horizon: LicenseClaims['horizon']): SealedLicense => {
  const sealed = membersOf(jsonObject(plain, 'sealed licence', 'bad-request'), 'sealed licence', 'bad-request', ['rk', 'nodes', 'grants', 'opened', 'state'], ['imported', 'ticket'], true);
  const grants = decodeBase64url(sealed.text('grants', { most: 2 ** 20 }));
  if (grants.length !== (horizon.to - horizon.from) * WRAPPED_GRANT_LENGTH) throw bad('grants must hold one wrapped key for every group of the horizon');
  return {
    renewalKey: sealed.bytes('rk', 32),
    nodes: sealed.list('nodes', 255).map(parseOpenNode),
    grants,
    opened: sealed.integer('opened', 0, MAX_GROUP) as GrantGroup,
    state: sealed.bytes('state', 1, MAX_STATE_LENGTH),
    imported: sealed.value('imported') === undefined ? [] : sealed.list('imported', MAX_IMPORTED).map(parseImport),
    ...(sealed.value('ticket') !== undefined && { ticket: parseTicket(sealed.value('ticket')) }),
  };
};

const parseTicket = (value: unknown): SealedTicket => {
  const ticket = membersOf(value, 'device ticket', 'bad-request', ['value', 'secret', 'expires'], [], true);
  return { value: ticket.bytes('value', 1, 256), secret: ticket.bytes('secret', TICKET_SECRET_LENGTH), expiresAt: ticket.integer('expires', 0, Number.MAX_SAFE_INTEGER) as Micros };
};

const parseImport = (value: unknown): WrappedImport => {
  const item = membersOf(value, 'imported key', 'bad-request', ['kid', 'keyGroup', 'from', 'to', 'wrapped'], [], true);
  const from = item.integer('from', 0, Number.MAX_SAFE_INTEGER) as CryptoPeriod;
  return {
    kid: item.bytes('kid', 16) as KeyId,
    keyGroup: item.oneOf('keyGroup', ['video', 'audio']),
    from,
    to: item.integer('to', from + 1, Number.MAX_SAFE_INTEGER) as CryptoPeriod,
    wrapped: item.bytes('wrapped', WRAPPED_CONTENT_KEY_LENGTH),
  };
};

/** The wrapped grant key of one group of the horizon, as a view; undefined outside it. */
export const wrappedGrant = (sealed: Pick<SealedLicense, 'grants'>, horizon: LicenseClaims['horizon'], group: GrantGroup): Uint8Array | undefined => {
  if (group < horizon.from || group >= horizon.to) return undefined;
  const at = (group - horizon.from) * WRAPPED_GRANT_LENGTH;
  return sealed.grants.subarray(at, at + WRAPPED_GRANT_LENGTH);
};
