// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of the demo: `sealcast trace --follow ... --accuse` in a process of its own, as an operator would run it.
 *
 * It knows the published address and the data folder; the verdict goes to the service over HTTP with an operator's token.
 * Invariant: the token is passed in the environment, never as an argument.
 */
import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LeakView } from '#operations/index.ts';

/** What the command printed. */
export type TracerAnswer = {
  readonly verdict: string;
  readonly viewer: number | null;
  readonly account: string | null;
  readonly evidence: number | null;
  readonly bound: number | null;
  readonly falseAccusation?: number;
  readonly observed: number;
  readonly positions: number;
  readonly viewers?: number;
  readonly detail?: string;
  readonly leak?: LeakView;
};

const BIN = fileURLToPath(new URL('../../../../bin/sealcast.js', import.meta.url));

/** Runs the command to its end. `onLook` gets a line of JSON per look. Rejects with what it said if it printed no answer. */
export const runTracer = (options: { readonly address: string; readonly asset: string; readonly data: string; readonly url: string; readonly token: string; readonly viewers: number; readonly eps: number; readonly limitMinutes: number; readonly signal: AbortSignal }): Promise<TracerAnswer> =>
  new Promise((settle, fail) => {
    const { address, asset, data, url, token, viewers, eps, limitMinutes, signal } = options;
    const child = spawn(
      process.execPath,
      [BIN, 'trace', '--follow', address, '--event', asset, '--data', resolve(data), '--url', url, '--viewers', String(viewers), '--eps', String(eps), '--limit', String(limitMinutes), '--accuse', '--json'],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SEALCAST_OPERATOR_TOKEN: token }, signal },
    );
    // The event on air comes first on a small machine.
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err = (err + text).slice(-2000)));
    child.once('error', fail);
    child.once('close', () => {
      try {
        settle(JSON.parse(out) as TracerAnswer);
      } catch {
        fail(new Error(`the tracer printed no answer: ${err.trim().split('\n').at(-1) ?? ''}`));
      }
    });
  });
