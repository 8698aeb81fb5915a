// SPDX-License-Identifier: Apache-2.0
/**
 * All that an app needs of a session besides a player: the viewer's language, fallback servers, what to show, and what to do
 * when too many streams are playing. Used by shaka.html; the guide quotes it, and a test runs it without a browser.
 */
import { de, es, fr, startSession } from './sealcast.js';

const CATALOGUES = { de, es, fr };

/**
 * Starts a session. `choose` is asked when the account's limit is reached: it gets the other sessions and answers the one to stop,
 * or undefined. `show` gets what the viewer should read, undefined when there is nothing to say.
 */
export const startHere = async ({ language, choose, show, ...options }) => {
  const texts = CATALOGUES[language] ?? {};
  let started = await startSession({ ...options, texts });
  if (!started.ok && started.denial.code === 'concurrency-limit') {
    const chosen = await choose(started.denial.conflicts);
    if (chosen !== undefined) started = await startSession({ ...options, texts, end: [chosen.terminationCode] });
  }
  if (!started.ok) {
    show(started.denial.text);
    return undefined;
  }
  const { session } = started;
  session.on('renewed', () => show(undefined));
  session.on('expired', ({ text }) => show(text));
  session.on('ended', ({ text }) => show(text));
  return session;
};
