// SPDX-License-Identifier: Apache-2.0
/**
 * The policy engine: what one licence or renewal grants, as a pure function of everything that may matter.
 *
 * Used by the licence server and by every renewal node, so that both answer alike, and replayable over recorded inputs (B069).
 * Levels and their moves are `#core/policy/enforcement.ts`, lengths of time `#core/policy/decide-terms.ts`.
 * Invariants: no I/O, no clock, no randomness; jitter comes from (session, issue time) and only ever shortens. An ended session and
 * a state older than two terms, or than ends are remembered, get nothing, emergency or not (B101, B104).
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId, DeviceId, SessionId } from '#core/ids.ts';
import { type ConcurrencyMode, levelTerms, type LevelTerms, normalTerms, overridden, type Overrides, ownTerms, type OwnTerms, termsNow } from '#core/policy/decide-terms.ts';
import type { EnforcementPolicy } from '#core/policy/enforcement.ts';
import type { Micros } from '#core/time.ts';
import type { EndReason, Reason } from './reasons.ts';
import type { RenewalAct } from './renewal-message.ts';
import type { EnforcementLevel, RenewalState } from './renewal-state.ts';

/** The figures of one policy version. Times in ms. */
export type PolicyVersion = {
  /** u16, carried in the state. */
  readonly version: number;
  /** Renew this often: level 3, and every level without an `enforcement`. */
  readonly interval: number;
  /** The term D of the same: how long a right lasts, and how much content it opens ahead. Longer than the interval. */
  readonly duration: number;
  /** No grant of a live event opens more than this ahead. */
  readonly maxLiveGrant: number;
  /** Level of accounts that nothing is known of. */
  readonly level: EnforcementLevel;
  /** Terms of levels 1 and 2, and how accounts move; absent: one level's terms for everybody. */
  readonly enforcement?: EnforcementPolicy;
  /** What a start over the limit does. Default `detection-only`. */
  readonly mode?: ConcurrencyMode;
  /** Streams per account at a time; absent: any number. */
  readonly limit?: number;
  /** While the concurrency record cannot be reached a term is so many times as long, but at most `emergencyCap`. Default 3. */
  readonly emergencyFactor?: number;
  /** Default 30 min. */
  readonly emergencyCap?: number;
};

/** Renew every 3 min, for 5 min at a time: the strict terms of facts B059, for everybody. */
export const DEFAULT_POLICY: PolicyVersion = { version: 1, interval: 180_000, duration: 300_000, maxLiveGrant: 900_000, level: 1 };
const EMERGENCY_FACTOR = 3;
const EMERGENCY_CAP = 1_800_000;

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
  rule(policy.limit === undefined || whole(policy.limit, 0, 100_000), 'limit must be 0-100,000 streams');
  rule(policy.emergencyFactor === undefined || (policy.emergencyFactor >= 1 && policy.emergencyFactor <= 100), 'emergencyFactor must be 1-100');
  rule(policy.emergencyCap === undefined || whole(policy.emergencyCap, 0, MAX_TERM), 'emergencyCap must be at most 7 days, in whole milliseconds');
  return policy;
};

/** The longest term, ms, that this policy gives for content of usual length: how long ends have to be remembered depends on it. */
export const longestTerm = (policy: PolicyVersion): number => {
  const emergency = Math.min(policy.duration * (policy.emergencyFactor ?? EMERGENCY_FACTOR), policy.emergencyCap ?? EMERGENCY_CAP);
  const relaxed = levelTerms({ level: 1, strict: policy, enforcement: policy.enforcement }).duration;
  return Math.max(policy.duration, emergency, relaxed);
};

/**
 * How long, ms, everybody remembers that a session ended. Nothing that a session holds is good for longer, however long its content:
 * no media token, and no state without a look at the session itself.
 */
export const endsRemembered = (policy: PolicyVersion): number => 2 * longestTerm(policy);

/** Life, ms, of a media token given with a term: two terms, so that it outlives a late renewal. */
export const mediaTokenLife = (policy: PolicyVersion, duration: number): number => Math.min(2 * duration, endsRemembered(policy));

/** Everything that may ever matter to a decision. */
export type DecideInput = {
  readonly policyVersion: PolicyVersion;
  /** What is known of the account here; a renewal node that keeps no accounts knows its level from the state alone. */
  readonly account: { readonly level: EnforcementLevel; readonly since: Micros; readonly counters: Readonly<Record<string, number>> };
  readonly device: { readonly device: DeviceId; readonly registered: boolean };
  readonly title: { readonly asset: AssetId; readonly live: boolean; readonly timed: boolean; readonly groupMillis: number; /** Length of a title, ms; a renewal takes it from the state. */ readonly contentMillis?: number };
  readonly session: {
    readonly sid: SessionId;
    /** Set once the session was ended, by whatever party. */
    readonly ended?: EndReason;
    /** The entitlement's own terms in ms: they tighten the policy's, never loosen them. */
    readonly terms?: { readonly interval?: number; readonly duration?: number };
  };
  /** What the operator set for this account, device and title; a node that knows none goes by the state. */
  readonly overrides?: Overrides;
  /** Absent at the initial licence. */
  readonly state?: RenewalState;
  /** 1 = normal; above, the node asks for longer periods. */
  readonly load: number;
  /** Whether the concurrency record can be reached. */
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
  /** Terms of the session's own, for its state. */
  readonly own: OwnTerms;
  /** Renew again after so many ms; already jittered. */
  readonly after: number;
  /** Content opened ahead of the playhead, ms. */
  readonly grant: number;
  /** How long the session counts unless it is renewed, ms: its term, or two intervals where the term is far longer (B021, B022). */
  readonly countFor: number;
  /** What the session's start does when the account is at its limit. */
  readonly mode: ConcurrencyMode;
  /** Streams at a time, of the account and of the account within this title; absent: any number. */
  readonly limits: { readonly account?: number; readonly title?: number };
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
export const jittered = (interval: number, sid: SessionId, issued: Micros): number => Math.ceil(interval * (1 - JITTER * spread(sid, issued)));

/** How long after its issue a state came back, in terms: up to one is on time, up to two is late, beyond is too old. */
const termsLate = (state: RenewalState, now: Micros): number => (now - state.issued) / (state.duration * 1000);

const levelOf = ({ policyVersion: { interval, duration, enforcement }, account, title, state }: DecideInput): LevelTerms => ({
  level: account.level,
  // The end of a title's licence is the end of the title, so a node without a catalogue knows its length.
  content: title.live ? undefined : (title.contentMillis ?? (state === undefined ? undefined : state.end * state.groupMillis)),
  strict: { interval, duration },
  enforcement,
});

/** The entitlement's terms are known where the licence is made; from there on they are in the state, and only a newer override replaces them. */
const ownOf = ({ overrides = {}, session, state }: DecideInput, level: LevelTerms): OwnTerms =>
  state === undefined
    ? ownTerms(level, overrides, session.terms ?? {})
    : { interval: overridden(overrides, 'interval') ?? state.ownInterval, duration: overridden(overrides, 'duration') ?? state.ownDuration };

/** The decision on one licence (no `state`) or one renewal. Pure: the same input gives the same decision on every node. */
export const decide = (input: DecideInput): Decision => {
  const { policyVersion: policy, account, title, session, state, overrides = {}, load, health, now } = input;
  const level = levelOf(input);
  const own = ownOf(input, level);
  const late = state === undefined ? 0 : termsLate(state, now);
  const emergency = health === 'down';
  const { interval, duration } = termsNow(normalTerms(level, own), levelTerms({ ...level, level: 3 }), {
    stale: late > 1,
    emergency,
    load,
    emergencyFactor: policy.emergencyFactor ?? EMERGENCY_FACTOR,
    emergencyCap: policy.emergencyCap ?? EMERGENCY_CAP,
    cap: title.live ? policy.maxLiveGrant : Number.POSITIVE_INFINITY,
  });
  // Of a session whose end may be forgotten by now, the licence server has to say whether it still runs.
  const tooOld = late > 2 || (state !== undefined && now - state.issued > endsRemembered(policy) * 1000);
  const [act, reason]: [RenewalAct, Reason] = session.ended !== undefined ? ['end', session.ended] : tooOld ? ['relicense', 'state-old'] : ['extend', 'none'];
  const limit = overrides.device?.limit ?? overrides.account?.limit ?? policy.limit;
  const note = (kind: string, applies: boolean): readonly DecisionEvent[] => (applies ? [{ kind, level: account.level }] : []);
  return {
    act,
    reason,
    interval,
    duration,
    own,
    after: jittered(interval, session.sid, state?.issued ?? now),
    grant: act === 'extend' ? duration : 0,
    countFor: Math.min(duration, Math.max(2 * interval, policy.duration)),
    mode: overridden(overrides, 'mode') ?? policy.mode ?? 'detection-only',
    limits: { ...(limit !== undefined && { account: limit }), ...(overrides.title?.limit !== undefined && { title: overrides.title.limit }) },
    nextLevel: account.level,
    events: act === 'extend' ? [...note('emergency', emergency), ...note('overload', load > 1), ...note('late', late > 1)] : [],
  };
};
