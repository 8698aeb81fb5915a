// SPDX-License-Identifier: Apache-2.0
/**
 * Why a session does not go on: one table for the wire's number, the stored name, and the sentence a viewer may see.
 *
 * docs/wire/renewal.md, "reason". Invariant: numbers are never reused.
 */
/** Why an answer is what it is; `state-old` and `horizon` ask for a new licence. */
export type Reason = 'none' | 'state-old' | 'horizon' | EndReason;
/** Reasons that end a session for good. */
export type EndReason = 'viewer' | 'concurrency' | 'operator' | 'leak' | 'entitlement' | 'device-revoked' | 'content-ended' | 'replaced';

const ROWS: Readonly<Record<Reason, readonly [number: number, text: string]>> = {
  none: [0, ''],
  viewer: [1, 'Playback was stopped on this device.'],
  concurrency: [2, 'Too many streams are playing on your account.'],
  operator: [3, 'This viewing session was ended by the service.'],
  leak: [4, 'This viewing session was ended because its content appeared elsewhere.'],
  entitlement: [5, 'Your right to watch this content is over.'],
  'device-revoked': [6, 'This device was removed from your account.'],
  'state-old': [7, 'The viewing session was paused too long and has to be started again.'],
  horizon: [8, 'The viewing session needs a new licence.'],
  'content-ended': [9, 'This programme has ended.'],
  replaced: [10, 'Playback was continued on another device.'],
};

const NAMES = Object.keys(ROWS) as Reason[];
const ENDS: readonly string[] = ['viewer', 'concurrency', 'operator', 'leak', 'entitlement', 'device-revoked', 'content-ended', 'replaced'] satisfies EndReason[];

/** The number of a reason on the wire. */
export const reasonNumber = (reason: Reason): number => ROWS[reason][0];
/** The reason of a wire number, or undefined for a number this version does not know. */
export const reasonOf = (number: number): Reason | undefined => NAMES.find((name) => ROWS[name][0] === number);
/** One sentence for the viewer; empty for `none`. */
export const reasonText = (reason: Reason): string => ROWS[reason][1];
export const isEndReason = (value: unknown): value is EndReason => typeof value === 'string' && ENDS.includes(value);
