// SPDX-License-Identifier: Apache-2.0
/**
 * A user-space relay that makes loopback as slow as an access network: one-way delay, jitter, and losses that cost retransmission timeouts.
 *
 * Delays come per piece and keep the order of a connection, as TCP does: what is lost holds up what follows. Random numbers from a seed.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** One access network, as in bench/release/mix.json; milliseconds. */
export type Path = { readonly oneWayMs: number; readonly jitterMs: number; readonly loss: number };
/** What a lost piece costs. */
export type Retransmission = { readonly leastMs: number; readonly from: number; readonly to: number; readonly twice: number };

/** A relay to `target` (port on loopback). */
export const startRelay = async (target: number, path: Path, retransmission: Retransmission, random: () => number): Promise<{ readonly port: number; close(): void }> => {
  const sockets = new Set<Socket>();
  const delay = (): number => {
    const lost = random() < path.loss ? retransmission.leastMs * (retransmission.from + random() * (retransmission.to - retransmission.from)) * (random() < retransmission.twice ? 2 : 1) : 0;
    return path.oneWayMs - path.jitterMs * Math.log(1 - random()) + lost;
  };
  const pipe = (from: Socket, to: Socket): void => {
    let free = 0;
    from.on('data', (bytes) => {
      free = Math.max(free, performance.now() + delay());
      setTimeout(() => void (to.destroyed || to.write(bytes)), free - performance.now());
    });
    from.on('close', () => setTimeout(() => to.destroy(), Math.max(0, free - performance.now())));
    from.on('error', () => from.destroy());
  };
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const each of [near, far]) {
      each.setNoDelay(true);
      sockets.add(each);
      each.on('close', () => sockets.delete(each));
    }
    pipe(near, far);
    pipe(far, near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
};
