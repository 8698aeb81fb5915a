// SPDX-License-Identifier: Apache-2.0
/** Renewal requests of many sessions, and how large requests and answers get. */
import { nodeLadderHash as hash } from '#adapters/node/ladder-hash.ts';
import { systemClock } from '#adapters/node/clock.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import { encodeRequest, openAnswer } from '#core/license/renewal-message.ts';
import type { Micros } from '#core/time.ts';
import { type Course, type Installation, type MadeSession } from './installation.ts';
import { post } from './starts.ts';

const MINUTE = 60_000;
/** Level 3 renews every 3 min for 5 min; the others every 5 min, and no grant of a live event opens more than 15 min ahead. */
const TERMS: Readonly<Record<EnforcementLevel, { interval: number; duration: number }>> = {
  1: { interval: 5 * MINUTE, duration: 15 * MINUTE },
  2: { interval: 5 * MINUTE, duration: 15 * MINUTE },
  3: { interval: 3 * MINUTE, duration: 5 * MINUTE },
};

/** A session of a level that is due, at some place of the unlock tree and some phase of its group, `missed` renewals behind. */
const courseOf = (level: EnforcementLevel, place: number, missed: number): Course => {
  const { interval, duration } = TERMS[level];
  // Jitter shortens by up to a tenth; which one is the same at every run.
  const sinceRenewal = Math.round(interval * (1 + missed - (0.1 * (place % 11)) / 11));
  return { level, shift: place % 256, age: 4 * interval + ((place * 7919) % 30_000), sinceRenewal, term: duration, own: TERMS[level] };
};

const requestOf = ({ renewalKey, state, position }: MadeSession, nth: number): { readonly bytes: Uint8Array; readonly mac: Uint8Array } =>
  encodeRequest(hash, renewalKey, { position, clientTime: (systemClock.now() + nth) as Micros, state });

/** Two different requests of each of `sessions` sessions on level 3, never of one session in a row. */
export const renewalPool = (installation: Installation, sessions: number): { readonly requests: readonly Uint8Array[]; readonly bodyBytes: number } => {
  const made = Array.from({ length: sessions }, (_, index) => installation.makeSession(courseOf(3, index, 0)));
  const bodies = [0, 1].flatMap((nth) => made.map((session) => requestOf(session, nth).bytes));
  return { requests: bodies.map((body) => post('/v1/renew', 'application/octet-stream', body)), bodyBytes: (bodies[0] as Uint8Array).length };
};

/** Largest bytes of real messages over all places of a block of the unlock tree. */
export const answerSizes = async ({ url, makeSession }: Installation): Promise<{ request: number; answers: Record<EnforcementLevel, number>; typicalAnswer: number }> => {
  const answers: Record<EnforcementLevel, number> = { 1: 0, 2: 0, 3: 0 };
  const typical: number[] = [];
  let request = 0;
  for (const level of [1, 2, 3] as const) {
    for (let place = 0; place < 512; place++) {
      const session = makeSession(courseOf(level, place, level !== 3 && place >= 256 ? 1 : 0));
      const { bytes, mac } = requestOf(session, 0);
      const answer = new Uint8Array(await (await fetch(`${url}/v1/renew`, { method: 'POST', body: bytes as BodyInit })).arrayBuffer());
      const { act } = openAnswer(hash, session.renewalKey, mac, answer);
      if (act !== 'extend') throw new Error(`a renewal of the bench was answered with ${act}`);
      request = Math.max(request, bytes.length);
      answers[level] = Math.max(answers[level], answer.length);
      if (level === 3) typical.push(answer.length);
    }
  }
  return { request, answers, typicalAnswer: typical.toSorted((a, b) => a - b)[Math.floor(typical.length / 2)] ?? 0 };
};
