// SPDX-License-Identifier: Apache-2.0
/**
 * A relay that delays and loses, between a client and its edges: one-way delay, jitter, and lost messages that come again after a part of a
 * retransmission timeout, in order, as TCP brings them. Works on any clock, over fake and real sockets.
 */
import type { Socket, OpenSocket } from '#client/release/edge-link.ts';
import type { Millis } from '#core/time.ts';
import type { Clock, Fetch } from '#ports';

/** One access network; ms and shares. */
export type Path = { readonly oneWayMs: number; readonly jitterMs: number; readonly loss: number };

/** Small, fast, seeded: uniform in [0, 1). */
export const uniform = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};

export const createRelay = (path: Path, clock: Clock, random: () => number, to: { readonly openSocket: OpenSocket; readonly fetch: Fetch }): { readonly openSocket: OpenSocket; readonly fetch: Fetch } => {
  /** A direction of one connection: nothing overtakes. */
  const direction = (): ((run: () => void) => void) => {
    let last = 0;
    return (run) => {
      let delay = path.oneWayMs - path.jitterMs * Math.log(1 - random());
      if (random() < path.loss) delay += 200 * (0.15 + 0.85 * random()) * (random() < 0.15 ? 3 : 1);
      const at = Math.max(last, clock.monotonic() + delay);
      last = at;
      clock.after((at - clock.monotonic()) as Millis, run);
    };
  };
  return {
    openSocket(url, protocol) {
      const inner = to.openSocket(url, protocol);
      const [up, down] = [direction(), direction()];
      const listeners = new Map<string, ((event: never) => void)[]>();
      const emit = (type: string, event: object): void => down(() => (listeners.get(type) ?? []).forEach((listener) => listener(event as never)));
      let open = false;
      let closed = false;
      inner.binaryType = 'arraybuffer';
      inner.addEventListener('open', () => {
        open = true;
        emit('open', {});
      });
      inner.addEventListener('message', (event) => void (closed || emit('message', event)));
      inner.addEventListener('error', () => emit('error', {}));
      inner.addEventListener('close', (event) => emit('close', event));
      const socket: Socket = {
        binaryType: 'arraybuffer',
        get readyState() {
          return open && !closed ? 1 : inner.readyState === 1 ? 0 : inner.readyState;
        },
        send(data) {
          const copy = typeof data === 'string' ? data : data.slice();
          up(() => inner.readyState === 1 && inner.send(copy));
        },
        close(code, reason) {
          closed = true;
          up(() => inner.close(code, reason));
        },
        addEventListener(type: string, listener: (event: never) => void) {
          listeners.set(type, [...(listeners.get(type) ?? []), listener]);
        },
      };
      return socket;
    },
    async fetch(request) {
      const [up, down] = [direction(), direction()];
      await new Promise<void>((resolve) => up(resolve));
      const response = await to.fetch(request);
      await new Promise<void>((resolve) => down(resolve));
      return response;
    },
  };
};
