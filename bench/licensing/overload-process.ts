// SPDX-License-Identifier: Apache-2.0
/**
 * A live installation in a process of its own that is there to be overloaded: licence server, renewal node and overload watch,
 * with all the effect the watch has in `sealcast up`.
 *
 * Over IPC: the policy in, the address and keys out, then sessions by number, so that whoever loads it does not share its thread.
 */
import type { OverloadPolicy } from '#core/policy/overload.ts';
import { type Installation, type MadeSession, SCHEDULE, startInstallation } from './installation.ts';

export type OverloadedOrder = { readonly policy: Partial<OverloadPolicy>; readonly startsAtOnce: number } | { readonly sessions: number };
export type OverloadedAnswer = { readonly port: number; readonly url: string; readonly backend: JsonWebKey } | { readonly made: readonly MadeSession[] };

const MINUTE = 60_000;
let installation: Installation | undefined;

const follow = async (order: OverloadedOrder): Promise<OverloadedAnswer> => {
  if ('policy' in order) {
    const started = await startInstallation(SCHEDULE, { overload: order.policy, startsAtOnce: order.startsAtOnce });
    installation = started;
    return { port: started.port, url: started.url, backend: started.backend };
  }
  const { makeSession } = installation ?? {};
  if (makeSession === undefined) throw new Error('sessions come after the policy');
  return { made: Array.from({ length: order.sessions }, (_, index) => makeSession({ level: 1, shift: index % 256, age: 20 * MINUTE + index, sinceRenewal: 5 * MINUTE, term: 15 * MINUTE })) };
};

process.on('message', (order: OverloadedOrder) => {
  follow(order).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
