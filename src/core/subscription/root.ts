// SPDX-License-Identifier: Apache-2.0
/**
 * Root licences: the dates and the keys of a plan, for one device.
 *
 * docs/wire/subscription.md, "Root" (B117-B123). Invariant: a root is valid only between its begin and its end on a clock that
 * can be trusted, and never allows what the leaf does not (B120).
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type DeviceId, deviceId } from '#core/ids.ts';
import { coverGroups, type OpenNode } from '#core/keys/unlock.ts';
import { encodeOpenNode, parseOpenNode } from '#core/license/open-node.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import { LICENSE_ACTIONS, type LicenseAction, namesFrom } from './leaf.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH, type LeafScope, type RootMonth } from './root-keys.ts';

/** The JOSE `typ` of root licences. */
export const ROOT_TYPE = 'root+jwt';
/** Names of plans. */
export const PLAN: RegExp = /^[A-Za-z0-9._-]{1,64}$/;
/** A plan reaches over at most this many months. */
export const MAX_PLAN_MONTHS = 2400;
const LATEST_SECOND = 2 ** 42;

/** What a root says in the open, signed. Instants are trusted time. */
export type RootClaims = {
  readonly issuer: string;
  readonly device: DeviceId;
  readonly jti: string;
  readonly issuedAt: Micros;
  readonly expiresAt: Micros;
  /** SHA-256 of the account id. */
  readonly account: Uint8Array;
  readonly plan: string;
  readonly collection: string;
  readonly scope: LeafScope;
  /** Months [from, to) whose leaves it opens. */
  readonly months: { readonly from: RootMonth; readonly to: RootMonth };
  readonly begin: Micros;
  /** undefined: for ever. */
  readonly end: Micros | undefined;
  /** Rental: how long each title plays from its first play. */
  readonly first: Micros | undefined;
  readonly actions: readonly LicenseAction[];
  /** From when on the next root may be asked for. */
  readonly refresh: Micros;
  /** Compact JWE to the device's agree key. */
  readonly sealed: string;
  /** Server time of issue. */
  readonly time: Micros;
};

/** JWT payload of a root. */
export const encodeRootClaims = (root: RootClaims): Record<string, unknown> => ({
  iss: root.issuer,
  aud: root.device,
  jti: root.jti,
  iat: Math.floor(root.issuedAt / 1_000_000),
  exp: Math.ceil(root.expiresAt / 1_000_000),
  account: encodeBase64url(root.account),
  plan: root.plan,
  collection: root.collection,
  scope: root.scope,
  months: [root.months.from, root.months.to],
  begin: root.begin,
  end: root.end ?? null,
  first: root.first ?? null,
  actions: root.actions,
  refresh: root.refresh,
  sealed: root.sealed,
  time: root.time,
});

const CLAIMS = ['iss', 'aud', 'jti', 'iat', 'exp', 'account', 'plan', 'collection', 'scope', 'months', 'begin', 'end', 'first', 'actions', 'refresh', 'sealed', 'time'];

/** Months [from, to) from a list of two; throws `code`. */
export const monthsOf = (list: readonly unknown[], what: string, code: 'bad-request' | 'entitlement-invalid'): RootClaims['months'] => {
  const [from, to] = list;
  const month = (value: unknown): value is RootMonth => typeof value === 'number' && Number.isInteger(value) && value >= FIRST_MONTH && value <= END_OF_MONTHS;
  if (list.length !== 2 || !month(from) || !month(to) || to <= from || to - from > MAX_PLAN_MONTHS) throw new SealcastError(code, `${what}: months must be [from, to) of 1-${MAX_PLAN_MONTHS} months`);
  return { from, to };
};

/** Claims of a verified root payload; throws `bad-request`. Unknown claims are ignored. */
export const parseRootClaims = (payload: unknown): RootClaims => {
  const root = membersOf(payload, 'root', 'bad-request', CLAIMS, [], true);
  const instant = (name: string): Micros => root.integer(name, 0, Number.MAX_SAFE_INTEGER) as Micros;
  const orNone = (name: string): Micros | undefined => (root.value(name) === null ? undefined : instant(name));
  return {
    issuer: root.text('iss', { most: 256 }),
    device: deviceId(root.value('aud')),
    jti: root.text('jti', { most: 128 }),
    issuedAt: (root.integer('iat', 0, LATEST_SECOND) * 1_000_000) as Micros,
    expiresAt: (root.integer('exp', 0, LATEST_SECOND) * 1_000_000) as Micros,
    account: root.bytes('account', 32),
    plan: root.text('plan', { most: 64, pattern: PLAN }),
    collection: root.text('collection', { most: 64, pattern: COLLECTION }),
    scope: root.oneOf('scope', ['account', 'shared']),
    months: monthsOf(root.list('months', 2), 'root', 'bad-request'),
    begin: instant('begin'),
    end: orNone('end'),
    first: orNone('first'),
    actions: namesFrom(root.list('actions', 2), LICENSE_ACTIONS, 'root actions'),
    refresh: instant('refresh'),
    sealed: root.text('sealed', { most: 16_384 }),
    time: instant('time'),
  };
};

/** JSON plain text of the sealed part. Holds keys: never log it. */
export const encodeSealedRoot = (nodes: readonly OpenNode[]): string => JSON.stringify({ nodes: nodes.map(encodeOpenNode) });

/** The nodes of a root, which are exactly those that its months need; throws `bad-request`. */
export const parseSealedRoot = (plain: string, months: RootClaims['months']): readonly OpenNode[] => {
  const sealed = membersOf(jsonObject(plain, 'sealed root', 'bad-request'), 'sealed root', 'bad-request', ['nodes'], [], true);
  const nodes = sealed.list('nodes', 64).map(parseOpenNode);
  const needed = coverGroups(months.from, months.to);
  if (nodes.length !== needed.length || nodes.some(({ block, depth, path }, index) => block !== needed[index]?.block || depth !== needed[index].depth || path !== needed[index].path)) throw new SealcastError('bad-request', 'sealed root: its nodes must open exactly its months');
  return nodes;
};

/** Why a root does not allow an action now. */
export type RootRefusal = 'clock-unconfirmed' | 'not-yet-valid' | 'license-expired' | 'not-allowed';

/**
 * Whether `root` allows `action` at trusted time `now` (undefined: the clock cannot be trusted). `firstPlay`: when this title was
 * first played under the plan. A right without dates needs no clock.
 */
export const rootAllows = (root: RootClaims, action: LicenseAction, now: Micros | undefined, firstPlay: Micros | undefined): RootRefusal | undefined => {
  if (!root.actions.includes(action)) return 'not-allowed';
  const timeless = root.begin === 0 && root.end === undefined && root.first === undefined;
  if (timeless) return undefined;
  if (now === undefined) return 'clock-unconfirmed';
  if (now < root.begin) return 'not-yet-valid';
  if (root.end !== undefined && now >= root.end) return 'license-expired';
  if (root.first !== undefined && firstPlay !== undefined && now >= firstPlay + root.first) return 'license-expired';
  return undefined;
};
