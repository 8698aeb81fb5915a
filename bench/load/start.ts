// SPDX-License-Identifier: Apache-2.0
/** Starts child processes that make load, so that neither their work nor their pauses fall on the server that is measured. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A child process that takes orders and answers each with `{ result }` or `{ error }`, one at a time. */
export type LoadProcess<Order, Result> = { order(order: Order): Promise<Result>; close(): void };

/** `file` is relative to `bench/load/`. Orders may hold byte arrays. */
export const startLoad = <Order extends object, Result>(file: string): LoadProcess<Order, Result> => {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { execPath: process.execPath, execArgv: [], serialization: 'advanced' });
  return {
    order: (order) =>
      new Promise((resolve, reject) => {
        const gone = (): void => reject(new Error('the load generator ended'));
        child.once('exit', gone);
        child.once('message', (message: { result?: Result; error?: string }) => {
          child.off('exit', gone);
          if (message.result === undefined) reject(new Error(message.error ?? 'the load generator failed'));
          else resolve(message.result);
        });
        child.send(order);
      }),
    close: () => void child.kill(),
  };
};
