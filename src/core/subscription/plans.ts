// SPDX-License-Identifier: Apache-2.0
/**
 * Plans of an entitlement: what the operator's backend says an account has bought.
 *
 * docs/wire/subscription.md, "Root" (B114, B123, B125, B126). Subscription, rental and purchase differ in their terms only.
 * Invariant: a parsed plan is complete and within its limits; whether it was paid for is the backend's business.
 */
import { SealcastError } from '#core/errors.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import { LICENSE_ACTIONS, type LicenseAction } from './leaf.ts';
import { monthsOf, PLAN, type RootClaims } from './root.ts';
import { COLLECTION, type LeafScope } from './root-keys.ts';

/** One plan of an account. */
export type Plan = {
  readonly plan: string;
  readonly collection: string;
  readonly scope: LeafScope;
  readonly months: RootClaims['months'];
  readonly begin: Micros;
  /** undefined: for ever (a purchase). */
  readonly end: Micros | undefined;
  /** Rental: how long a title plays from its first play. */
  readonly first: Micros | undefined;
  readonly actions: readonly LicenseAction[];
  /** Refunded or cancelled: its root ends now. */
  readonly revoked: boolean;
};

const MAX_PLANS = 16;
const LATEST_SECOND = 2 ** 42;
const LONGEST_FIRST = 400 * 86_400;

const parsePlan = (value: unknown): Plan => {
  const plan = membersOf(value, 'plan', 'entitlement-invalid', ['plan', 'collection', 'months', 'begin', 'actions'], ['end', 'scope', 'first', 'revoked']);
  const seconds = (name: string, most: number): Micros | undefined => {
    const value_ = plan.optionalInteger(name, 0, most);
    return value_ === undefined ? undefined : ((value_ * 1_000_000) as Micros);
  };
  const begin = (plan.integer('begin', 0, LATEST_SECOND) * 1_000_000) as Micros;
  const end = seconds('end', LATEST_SECOND);
  if (end !== undefined && end <= begin) throw new SealcastError('entitlement-invalid', 'plan: end must be after begin');
  const actions = plan.list('actions', 2);
  const allowed = LICENSE_ACTIONS.filter((action) => actions.includes(action));
  if (allowed.length === 0 || allowed.length !== actions.length) throw new SealcastError('entitlement-invalid', `plan: actions must be some of ${LICENSE_ACTIONS.join(', ')}, once each`);
  const revoked = plan.value('revoked');
  if (revoked !== undefined && typeof revoked !== 'boolean') throw new SealcastError('entitlement-invalid', 'plan: revoked must be true or false');
  return {
    plan: plan.text('plan', { most: 64, pattern: PLAN }),
    collection: plan.text('collection', { most: 64, pattern: COLLECTION }),
    scope: plan.value('scope') === undefined ? 'account' : plan.oneOf('scope', ['account', 'shared']),
    months: monthsOf(plan.list('months', 2), 'plan', 'entitlement-invalid'),
    begin,
    end,
    first: seconds('first', LONGEST_FIRST),
    actions: allowed,
    revoked: revoked === true,
  };
};

/** The `plans` claim of an entitlement; throws `entitlement-invalid`. */
export const parsePlans = (value: unknown): readonly Plan[] => {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_PLANS) throw new SealcastError('entitlement-invalid', `plans must be a list of 1-${MAX_PLANS}`);
  const plans = value.map(parsePlan);
  if (new Set(plans.map(({ plan }) => plan)).size !== plans.length) throw new SealcastError('entitlement-invalid', 'plans: each plan may be named once');
  return plans;
};
