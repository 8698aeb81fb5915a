// SPDX-License-Identifier: Apache-2.0
/**
 * What every command shares: exit codes, `--json`, and output that keeps stdout for results and stderr for progress.
 *
 * Exit codes are API (README, section Commands): 0 done, 1 negative result, 2 usage, 3 environment.
 */

/** The exit codes by name. */
export const EXIT: { readonly done: 0; readonly negative: 1; readonly usage: 2; readonly environment: 3 } = { done: 0, negative: 1, usage: 2, environment: 3 };
/** What a command's `run` answers; throwing `CommandExit` does the same with a message. */
export type ExitCode = 0 | 1 | 2 | 3;

/** Ends a command with an exit code and, unless empty, one line for the person on stderr. */
export class CommandExit extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message = '') {
    super(message);
    this.name = 'CommandExit';
    this.exitCode = exitCode;
  }
}

/** A wrong or missing argument: exit 2. */
export const usageError = (message: string): CommandExit => new CommandExit(EXIT.usage, message);

/** The one object a `--json` run prints on stdout. */
export const printJson = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};

/** A line of progress or explanation; never on stdout, so that scripts can read results. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** The argument every command takes. */
export const jsonArg: { json: { type: 'boolean'; description: string; default: false } } = {
  json: { type: 'boolean', description: 'print one JSON object on stdout and nothing else', default: false },
};

/** Reads a number option, refusing anything that is not a number within [min, max]. */
export const numberOption = (name: string, text: string | undefined, range: { min: number; max: number }): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < range.min || value > range.max) {
    throw usageError(`--${name} must be a number from ${range.min} to ${range.max}`);
  }
  return value;
};
