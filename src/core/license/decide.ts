// SPDX-License-Identifier: Apache-2.0
/**
 * The policy engine: what one licence or renewal grants, as a pure function of everything that may matter.
 *
 * Used by the licence server and by every renewal node, so that both answer alike. This policy is constant: it keeps the
 * configured terms, honours an ended session and refuses an over-old state. The signature is the final one; counters, load and health
 * are already arguments.
 * Invariant: no I/O, no clock, no randomness; jitter comes from (session, issue time) and only ever shortens.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { EndReason, Reason } from './reasons.ts';
import type { RenewalAct } from './renewal-message.ts';
import type { EnforcementLevel, RenewalState } from './renewal-state.ts';

/** The figures of one policy version. Times in ms. */
export type PolicyVersion = {
  /** u16, carried in the state. */
  readonly version: number;
  /** Renew this often. */
  readonly interval: number;
  /** The term D: how long a right lasts, and how much content it opens ahead. Longer than the interval. */
  readonly duration: number;
  /** No grant of a live event opens more than this ahead. */
  readonly maxLiveGrant: number;
  readonly level: EnforcementLevel;
};

/** Renew every 3 min, for 5 min at a time: the strict terms of facts B059, for everybody. */
export const DEFAULT_POLICY: PolicyVersion = { version: 1, interval: 180_000, duration: 300_000, maxLiveGrant: 900_000, level: 1 };

const MAX_TERM = 7 * 24 * 3600 * 1000;

/** Checks a configured policy; throws `config-invalid` naming the rule. */
export const policyVersion = (options: Partial<PolicyVersion> = {}): PolicyVersion => {
  const policy = { ...DEFAULT_POLICY, ...options };
  const rule = (ok: boolean, text: string): void => {
    if (!ok) throw new SealcastError('config-invalid', `licence terms: ${text}`);
  };
  const whole = (value: number, least: number, most: number): boolean => Number.isInteger(value) && value >= least && value <= most;
  rule(whole(policy.version, 0, 0xffff), 'version must be 0-65535');
  rule(whole(policy.interval, 100, MAX_TERM), 'interval must be 100 ms to 7 days, in whole milliseconds');
  rule(whole(policy.duration, policy.interval + 1, MAX_TERM), 'duration must be longer than the interval and at most 7 days, in whole milliseconds');
  rule(whole(policy.maxLiveGrant, policy.interval, MAX_TERM), 'maxLiveGrant must be between the interval and 7 days, in whole milliseconds');
  rule([1, 2, 3].includes(policy.level), 'level must be 1, 2 or 3');
  return policy;
};

/** Everything that may ever matter to a decision; what this policy does not look at yet is here already. */
export type DecideInput = {
  readonly policyVersion: PolicyVersion;
  /** What is known of the account here; a renewal node knows its level from the state alone. */
  readonly account: { readonly level: EnforcementLevel; readonly since: Micros; readonly counters: Readonly<Record<string, number>> };
  readonly device: { readonly device: DeviceId; readonly registered: boolean };
  readonly title: { readonly asset: AssetId; readonly live: boolean; readonly timed: boolean; readonly groupMillis: number };
  readonly session: {
    readonly sid: SessionId;
    /** Set once the session was ended, by whatever party. */
    readonly ended?: EndReason;
    /** The entitlement's own terms in ms: they tighten the policy's, never loosen them. */
    readonly terms?: { readonly interval?: number; readonly duration?: number };
  };
  /** Absent at the initial licence. */
  readonly state?: RenewalState;
  /** 1 = normal; above, the node asks for longer periods. */
  readonly load: number;
  readonly health: 'up' | 'down';
  readonly now: Micros;
};

/** One thing worth logging about a decision. */
export type DecisionEvent = { readonly kind: string; readonly level: EnforcementLevel };

/** What is granted, for the answer and the next state. */
export type Decision = {
  readonly act: RenewalAct;
  readonly reason: Reason;
  /** ms. */
  readonly interval: number;
  /** The term D, ms. */
  readonly duration: number;
  /** Renew again after so many ms; already jittered. */
  readonly after: number;
  /** Content opened ahead of the playhead, ms. */
  readonly grant: number;
  /** What the session's start does when the account is at its limit. */
  readonly mode: 'detection-only' | 'deny-new' | 'terminate-oldest';
  readonly nextLevel: EnforcementLevel;
  readonly events: readonly DecisionEvent[];
};

/** Jitter keeps clients that started together from renewing together; -10 % at most. */
const JITTER = 0.1;

/** A fraction in [0, 1) from session and issue time: the same on every node. FNV-1a, since only spread matters. */
const spread = (sid: SessionId, issued: Micros): number => {
  let sum = 0x811c9dc5;
  const text = `${sid}.${issued}`;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x0100_0193);
  // FNV's high bits mix last; fold them down before use.
  sum ^= sum >>> 15;
  sum = Math.imul(sum, 0x2c1b_3c6d);
  return ((sum ^ (sum >>> 13)) >>> 0) / 2 ** 32;
};

/** `interval` shortened by 0-10 %, the same wherever it is computed. */
export const jittered = (interval: number, sid: SessionId, issued: Micros): number => Math.floor(interval * (1 - JITTER * spread(sid, issued)));

/** A state that was not renewed for two terms is only good for a new licence. */
const isTooOld = (state: RenewalState | undefined, now: Micros): boolean => state !== undefined && now - state.issued > 2 * state.duration * 1000;

const least = (...values: readonly (number | undefined)[]): number => Math.min(...values.filter((value) => value !== undefined));

/** The decision on one licence (no `state`) or one renewal. Pure: the same input gives the same decision on every node. */
export const decide = ({ policyVersion: policy, account, title, session, state, now }: DecideInput): Decision => {
  const duration = least(policy.duration, session.terms?.duration, state?.duration, title.live ? policy.maxLiveGrant : undefined);
  const wanted = least(policy.interval, session.terms?.interval, state?.interval);
  // A tightened term must still leave time for a second try before it is over.
  const interval = wanted < duration ? wanted : Math.ceil(duration / 2);
  const [act, reason]: [RenewalAct, Reason] =
    session.ended !== undefined ? ['end', session.ended] : isTooOld(state, now) ? ['relicense', 'state-old'] : ['extend', 'none'];
  return {
    act,
    reason,
    interval,
    duration,
    after: jittered(interval, session.sid, state?.issued ?? now),
    grant: act === 'extend' ? duration : 0,
    mode: 'detection-only',
    nextLevel: account.level,
    events: [],
  };
};
