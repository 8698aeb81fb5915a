// SPDX-License-Identifier: Apache-2.0
/**
 * The options of tracing: what an accusation does by itself, and what is kept of marked events to trace them.
 *
 * Design section 5. Invariant: by default nothing happens to an account without an operator; only sessions of the copy end.
 */
import { numeric, oneOf, type Section } from './option.ts';

/** How accusations are acted on, and how far back live events can be traced. */
export type TracingOptions = {
  readonly onAccusation: 'none' | 'end-sessions' | 'raise-level' | 'end-account';
  readonly referenceMinutes: number;
};

/** The section `tracing`. */
export const tracingSection: Section<TracingOptions> = {
  is: 'section',
  doc: 'Leaks: what is done when a copy is traced to an account, and what is kept to trace live events.',
  options: {
    onAccusation: oneOf(['none', 'end-sessions', 'raise-level', 'end-account'], {
      doc: 'What an accusation that reaches `POST /v1/leaks` does without asking: nothing; end what the account watches of that event or title; also move the account to level 3; also end the account. The last two only without a sign of a shared token.',
      tradeOff: 'Sessions can be started again, an account that was wronged is a customer lost: leave accounts to an operator unless leaks come faster than people.',
      default: 'end-sessions',
    }),
    referenceMinutes: numeric({
      doc: 'How much of a marked live event is kept in the clear in `tracing/` of the data folder, to compare leaks with; 0 keeps nothing, and live events cannot be traced.',
      unit: 'minutes',
      tradeOff: 'About 4 MB per minute and variant of the smallest video track. It is the programme without protection: keep the folder as private as the source.',
      min: 0,
      max: 10_080,
      default: 60,
    }),
  },
};
