// SPDX-License-Identifier: Apache-2.0
/** A clock that moves only when told; timers run in order at their own instant. */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';

export type FakeClock = Clock & {
  /** Moves time forward, running every timer that falls due, and lets promises settle after each. */
  advance(millis: number): Promise<void>;
  /** Steps the wall clock without moving monotonic time, as a user or NTP does. */
  step(millis: number): void;
};

/** WebCrypto and body streams work on other threads: operations under way, so that time stands still until they are done. */
let pending = 0;
const track = (owner: object, names: readonly string[]): void => {
  for (const name of names) {
    const original = (owner as Record<string, (...args: unknown[]) => Promise<unknown>>)[name] as (...args: unknown[]) => Promise<unknown>;
    Object.defineProperty(owner, name, {
      configurable: true,
      async value(this: unknown, ...args: unknown[]) {
        pending += 1;
        try {
          return await original.apply(this, args);
        } finally {
          pending -= 1;
        }
      },
    });
  }
};
track(crypto.subtle, ['sign', 'verify', 'encrypt', 'decrypt', 'deriveBits', 'deriveKey', 'generateKey', 'importKey', 'exportKey', 'wrapKey', 'unwrapKey', 'digest']);
track(Response.prototype, ['arrayBuffer', 'json', 'text']);
track(Request.prototype, ['arrayBuffer', 'json', 'text']);

/** Lets promise chains run to their next timer. */
export const settle = async (): Promise<void> => {
  for (let quiet = 0; quiet < 20; quiet = pending === 0 ? quiet + 1 : 0) await new Promise((resolve) => setImmediate(resolve));
};

export const createFakeClock = (startMillis = 1_800_000_000_000): FakeClock => {
  let elapsed = 0;
  let wall = startMillis;
  let order = 0;
  const timers = new Map<number, { at: number; run: () => void }>();
  return {
    now: () => Math.round((wall + elapsed) * 1000) as Micros,
    monotonic: () => elapsed as Millis,
    after(delay, run) {
      const id = order++;
      timers.set(id, { at: elapsed + Math.max(0, delay), run });
      return () => timers.delete(id);
    },
    step(millis) {
      wall += millis;
    },
    async advance(millis) {
      const target = elapsed + millis;
      await settle();
      for (;;) {
        const due = [...timers].filter(([, timer]) => timer.at <= target).sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
        if (due === undefined) break;
        timers.delete(due[0]);
        elapsed = Math.max(elapsed, due[1].at);
        due[1].run();
        await settle();
      }
      elapsed = target;
      await settle();
    },
  };
};
