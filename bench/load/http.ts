// SPDX-License-Identifier: Apache-2.0
/**
 * The load generator of the benches, run as a child process: keep-alive HTTP/1.1 clients on bare sockets.
 *
 * It reads as little as it can (status, Content-Length, then counts bytes), so that the server is what is measured.
 * Orders come over IPC: `{ port, request, connections, millis, rate }`; rate 0 = as fast as answers come, else requests
 * per second over all connections, timed from when they were due (no coordinated omission). Requests that differ are handed
 * over beforehand as a pool and sent in turn; with `once`, until all of it is answered.
 */
import { connect, type Socket } from 'node:net';

export type LoadOrder = {
  readonly port: number;
  /** The whole request as sent; of several, one after the other; absent: those of the pool that was handed over last. */
  readonly request?: string | readonly string[];
  /** The pool is sent once, and the order is done when all of it is answered. */
  readonly once?: boolean;
  /** Refusals are counted by status in place of being a fault; latencies are those of good answers alone. */
  readonly refusable?: boolean;
  readonly connections: number;
  readonly millis: number;
  readonly rate: number;
};
export type LoadMessage = LoadOrder | { readonly pool: readonly Uint8Array[] };
export type LoadResult = { /** Refusals by status. */ readonly refused: Readonly<Record<string, number>>; readonly requests: number; readonly bytes: number; readonly seconds: number; readonly p50: number; readonly p99: number };

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');

let pool: readonly Uint8Array[] = [];
let turn = 0;
const nextOf = (request: string | readonly (string | Uint8Array)[]): string | Uint8Array => (typeof request === 'string' ? request : (request[turn++ % request.length] ?? ''));

type Client = { readonly socket: Socket; busy: boolean; due: number; send(due: number): void };

const client = (order: LoadOrder, done: (client: Client, bytes: number, good: boolean) => void, fail: (error: Error) => void, refused: Record<string, number>): Promise<Client> =>
  new Promise((resolve) => {
    const socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true });
    let left = -1;
    let bytes = 0;
    let good = true;
    const self: Client = {
      socket,
      busy: false,
      due: 0,
      send: (due) => {
        self.busy = true;
        self.due = due;
        left = -1;
        bytes = 0;
        socket.write(nextOf(order.request ?? pool));
      },
    };
    socket.on('data', (data: Buffer) => {
      let body = data.length;
      if (left < 0) {
        // Servers here write head and first body bytes together; a head cut in two would be a fault of the bench.
        const end = data.indexOf(HEAD_END);
        const head = data.toString('latin1', 0, end).toLowerCase();
        const length = /\r\ncontent-length: ([0-9]+)/.exec(head)?.[1];
        const status = /^http\/1\.1 (\d{3}) /.exec(head)?.[1] ?? '';
        good = status === '200' || status === '201';
        // Refusals may come in chunks; good answers say how long they are.
        const chunked = !good && head.includes('transfer-encoding: chunked');
        if (end < 0 || (!good && order.refusable !== true) || (length === undefined && !chunked)) return fail(new Error(`unexpected answer: ${head.slice(0, 200)}`));
        if (!good) refused[status] = (refused[status] ?? 0) + 1;
        left = chunked ? Number.POSITIVE_INFINITY : Number(length);
        body = data.length - end - HEAD_END.length;
      }
      left = left === Number.POSITIVE_INFINITY && data.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK) ? 0 : left - body;
      bytes += body;
      if (left === 0) {
        self.busy = false;
        done(self, bytes, good);
      }
    });
    socket.on('error', fail);
    socket.once('connect', () => resolve(self));
  });

const run = async (order: LoadOrder): Promise<LoadResult> => {
  const latencies: number[] = [];
  let bytes = 0;
  let stopping = false;
  const queue: number[] = [];
  const failed = Promise.withResolvers<never>();
  const idle: Client[] = [];
  const all = Promise.withResolvers<void>();
  turn = order.once === true ? 0 : turn;
  const refused: Record<string, number> = {};
  let answered = 0;
  const done = (one: Client, got: number, good: boolean): void => {
    const now = performance.now();
    answered += 1;
    if (good) latencies.push(now - one.due);
    bytes += got;
    if (order.once === true && answered === pool.length) all.resolve();
    if (stopping || (order.once === true && turn >= pool.length)) return;
    if (order.rate === 0) return one.send(now);
    const due = queue.shift();
    if (due === undefined) idle.push(one);
    else one.send(due);
  };
  const clients = await Promise.race([Promise.all(Array.from({ length: order.connections }, () => client(order, done, failed.reject, refused))), failed.promise]);
  const started = performance.now();
  let timer: ReturnType<typeof setInterval> | undefined;
  if (order.rate === 0) for (const one of clients) one.send(started);
  else {
    idle.push(...clients);
    let issued = 0;
    timer = setInterval(() => {
      const wanted = Math.floor(((performance.now() - started) / 1000) * order.rate);
      for (; issued < wanted; issued++) {
        const due = started + ((issued + 1) * 1000) / order.rate;
        const one = idle.shift();
        if (one === undefined) queue.push(due);
        else one.send(due);
      }
    }, 1);
  }
  await Promise.race([order.once === true ? all.promise : new Promise((resolve) => setTimeout(resolve, order.millis)), failed.promise]);
  stopping = true;
  clearInterval(timer);
  const seconds = (performance.now() - started) / 1000;
  const requests = latencies.length;
  const total = bytes;
  for (const one of clients) one.socket.destroy();
  latencies.sort((a, b) => a - b);
  const quantile = (q: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0;
  return { refused, requests, bytes: total, seconds, p50: quantile(0.5), p99: quantile(0.99) };
};

process.on('message', (message: LoadMessage) => {
  if ('pool' in message) {
    ({ pool } = message);
    process.send?.({ result: {} });
    return;
  }
  run(message).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
