// SPDX-License-Identifier: Apache-2.0
/**
 * The options of the enforcement levels: terms of levels 1 and 2, what moves an account, and how long a move lasts.
 *
 * Recurring renewals, "Adaptability"; checklist B051, B054, B063. Level 3 is `licensing.intervalSeconds` and `.durationSeconds`.
 * Invariant: the defaults are `ENFORCEMENT_DEFAULTS`, so that documents, tests and services speak of the same figures.
 */
import { ENFORCEMENT_DEFAULTS as FIGURES, type EnforcementPolicy } from '#core/policy/enforcement.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { numeric, type Section } from './option.ts';

/** Names are those of `POST /v1/policy/what-if`. */
export type EnforcementOptions = {
  readonly relaxedIntervalSeconds: number;
  readonly slackSeconds: number;
  readonly lightShare: number;
  readonly liveHorizonSeconds: number;
  readonly licenses: number;
  readonly devices: number;
  readonly windowSeconds: number;
  readonly restartTitles: number;
  readonly restartWindowSeconds: number;
  readonly lateShare: number;
  readonly lateTimes: number;
  readonly lateWindowSeconds: number;
  readonly relaxAfterSeconds: number;
};

const seconds = (span: Micros): number => span / 1_000_000;
const WEEK = 604_800;

/** The section `enforcement`. */
export const enforcementSection: Section<EnforcementOptions> = {
  is: 'section',
  doc: 'The enforcement levels of `licensing.levels: adaptive`: terms of levels 1 (detection only) and 2 (light), and what moves an account.',
  options: {
    relaxedIntervalSeconds: numeric({ doc: 'A client on level 1 or 2 renews this often.', unit: 'seconds', tradeOff: 'Shorter: streams are counted more exactly. Longer: fewer requests.', min: 1, max: 3600, default: seconds(FIGURES.interval[1]) }),
    slackSeconds: numeric({ doc: 'Level 1: a licence lasts as long as the content and this much longer, for pauses.', unit: 'seconds', min: 0, max: 86_400, default: seconds(FIGURES.slack) }),
    lightShare: numeric({ doc: 'Level 2: a licence lasts this share of the content.', tradeOff: 'Less: a client that blocks renewals gets less. More: longer outages pass unnoticed.', min: 0.05, max: 1, fraction: 0.001, default: FIGURES.lightShare }),
    liveHorizonSeconds: numeric({ doc: 'Levels 1 and 2: what counts as the length of content that is live or unknown.', unit: 'seconds', min: 60, max: 86_400, default: seconds(FIGURES.liveHorizon) }),
    licenses: numeric({ doc: 'Level 1 to 2: so many licences without a renewal within `windowSeconds`, on `devices` or more.', min: 2, max: 1000, default: FIGURES.suppression.licenses }),
    devices: numeric({ doc: 'Level 1 to 2: least number of devices.', min: 1, max: 100, default: FIGURES.suppression.devices }),
    windowSeconds: numeric({ doc: 'Level 1 to 2: the window.', unit: 'seconds', min: 60, max: WEEK, default: seconds(FIGURES.suppression.window) }),
    restartTitles: numeric({ doc: 'Level 2 to 3: playback carried on, by a new licence, where an unrenewed session must have stopped, in so many titles.', min: 1, max: 100, default: FIGURES.restarts.titles }),
    restartWindowSeconds: numeric({ doc: 'Level 2 to 3: the window of `restartTitles`.', unit: 'seconds', min: 60, max: 30 * WEEK, default: seconds(FIGURES.restarts.window) }),
    lateShare: numeric({ doc: 'Level 2 to 3: a renewal is late when this share of its licence has passed, although playback went on.', min: 0.5, max: 1, fraction: 0.001, default: FIGURES.lateRenewals.share }),
    lateTimes: numeric({ doc: 'Level 2 to 3: so many late renewals.', min: 1, max: 100, default: FIGURES.lateRenewals.times }),
    lateWindowSeconds: numeric({ doc: 'Level 2 to 3: the window of `lateTimes`.', unit: 'seconds', min: 60, max: 30 * WEEK, default: seconds(FIGURES.lateRenewals.window) }),
    relaxAfterSeconds: numeric({ doc: 'An account returns by one level after so long without another cause.', unit: 'seconds', tradeOff: 'Longer: fewer second chances. Shorter: an honest viewer who was misjudged waits less.', min: 60, max: 52 * WEEK, default: seconds(FIGURES.relaxAfter) }),
  },
};

/** The figures as decisions read them; `strict` are level 3's terms, seconds. */
export const enforcementPolicy = (options: EnforcementOptions, strict: { readonly intervalSeconds: number; readonly durationSeconds: number }): EnforcementPolicy => {
  const relaxed = microsFromSeconds(options.relaxedIntervalSeconds);
  return {
    version: FIGURES.version,
    interval: { 1: relaxed, 2: relaxed, 3: microsFromSeconds(strict.intervalSeconds) },
    slack: microsFromSeconds(options.slackSeconds),
    lightShare: options.lightShare,
    strict: microsFromSeconds(strict.durationSeconds),
    liveHorizon: microsFromSeconds(options.liveHorizonSeconds),
    suppression: { licenses: options.licenses, devices: options.devices, window: microsFromSeconds(options.windowSeconds) },
    restarts: { titles: options.restartTitles, window: microsFromSeconds(options.restartWindowSeconds) },
    lateRenewals: { share: options.lateShare, times: options.lateTimes, window: microsFromSeconds(options.lateWindowSeconds) },
    relaxAfter: microsFromSeconds(options.relaxAfterSeconds),
  };
};
