// SPDX-License-Identifier: Apache-2.0
/**
 * Waits for the signals that end a long-running command.
 *
 * Invariant: the first signal lets the command drain; a second one ends the process at once, so that a hanging drain never
 * needs kill -9.
 */
/** Resolves with the first SIGINT, SIGTERM or SIGHUP; from then on another one exits with 130. */
export const untilSignal = (): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    const ending = (signal: NodeJS.Signals): void => {
      for (const each of SIGNALS) process.off(each, ending);
      for (const each of SIGNALS) process.once(each, () => process.exit(130));
      resolve(signal);
    };
    for (const each of SIGNALS) process.on(each, ending);
  });

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
