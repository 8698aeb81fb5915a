// SPDX-License-Identifier: Apache-2.0
/**
 * Overrides as operators send them: for an account, a device, an event or a title.
 *
 * Checklist B045, B070. Invariant: a duration that is not longer than its interval is refused, wherever it is set.
 */
import { SealcastError } from '#core/errors.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import { type MemberRule, number, oneOf, text } from '#operations/answers.ts';

const WEEK_MILLIS = 7 * 24 * 3600 * 1000;

/** Members of an override, and the note for the audit log. */
export const OVERRIDE_RULES: {
  readonly interval: MemberRule<number>;
  readonly duration: MemberRule<number>;
  readonly limit: MemberRule<number>;
  readonly mode: MemberRule<NonNullable<PolicyOverride['mode']>>;
  readonly note: MemberRule<string>;
} = {
  interval: number(100, WEEK_MILLIS, 'milliseconds'),
  duration: number(101, WEEK_MILLIS, 'milliseconds'),
  limit: number(0, 100_000, 'streams'),
  mode: oneOf(['detection-only', 'deny-new', 'terminate-oldest']),
  note: text(0, 200, false),
};

const { note: _note, ...MEMBERS } = OVERRIDE_RULES;

/** An override as a member of a body. */
export const overrideRule: MemberRule<PolicyOverride> = {
  required: false,
  rule: `an object with ${Object.entries(MEMBERS).map(([name, { rule }]) => `${name} (${rule})`).join(', ')}`,
  test: (value): value is PolicyOverride =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.entries(value).every(([name, member]) => Object.hasOwn(MEMBERS, name) && MEMBERS[name as keyof typeof MEMBERS].test(member)),
};

/** The override, or undefined where nothing is overridden. Throws `bad-request`. */
export const checkedOverride = (override: PolicyOverride): PolicyOverride | undefined => {
  const { interval, duration } = override;
  if (interval !== undefined && duration !== undefined && duration <= interval) throw new SealcastError('bad-request', 'duration must be longer than interval, or playback stops between renewals');
  return Object.keys(override).length === 0 ? undefined : override;
};
