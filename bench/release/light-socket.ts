// SPDX-License-Identifier: Apache-2.0
/**
 * A WebSocket client just large enough for crowds: thousands in one process, with the events that the release client listens to.
 *
 * RFC 6455, client side, text and binary up to what edges send, no extensions. For measurements only: it trusts the server.
 */
import { connect, type Socket as NetSocket } from 'node:net';
import type { OpenSocket, Socket } from '#client/release/edge-link.ts';

type Listener = (event: never) => void;

const masked = (opcode: number, payload: Uint8Array): Buffer => {
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]) : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
};

/** Opens one; `via` moves the connection elsewhere, a relay for instance. */
export const lightSockets = (via?: (host: string, port: number) => { readonly host: string; readonly port: number }): OpenSocket => (url, protocol) => {
  const { hostname, port, pathname } = new URL(url);
  const listeners = new Map<string, Listener[]>();
  const emit = (type: string, event: object = {}): void => {
    for (const listener of listeners.get(type) ?? []) (listener as (event: object) => void)(event);
  };
  let state = 0;
  let code = 1006;
  let rest: Buffer = Buffer.alloc(0);
  const to = via?.(hostname, Number(port)) ?? { host: hostname === 'localhost' ? '127.0.0.1' : hostname, port: Number(port) };
  const net: NetSocket = connect(to.port, to.host);
  net.setNoDelay(true);
  net.on('connect', () => net.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`));
  net.on('error', () => emit('error'));
  net.on('close', () => {
    state = 3;
    emit('close', { code });
  });
  const frames = (): void => {
    for (;;) {
      if (rest.length < 2) return;
      const short = (rest[1] as number) & 127;
      const from = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (rest.length < from) return;
      const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < from + length) return;
      const payload = rest.subarray(from, from + length);
      const opcode = (rest[0] as number) & 15;
      rest = rest.subarray(from + length);
      if (opcode === 1) emit('message', { data: payload.toString('utf8') });
      else if (opcode === 2) emit('message', { data: new Uint8Array(payload).buffer });
      else if (opcode === 8) {
        code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        net.end();
      }
    }
  };
  net.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    if (state === 0) {
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      if (!rest.subarray(0, 12).toString('latin1').endsWith('101')) return void net.destroy();
      rest = rest.subarray(end + 4);
      state = 1;
      emit('open');
    }
    frames();
  });
  const socket = {
    binaryType: 'arraybuffer',
    get readyState() {
      return state;
    },
    send: (data: string | Uint8Array) => void (state === 1 && net.write(typeof data === 'string' ? masked(1, Buffer.from(data)) : masked(2, data))),
    close(reason?: number) {
      if (state === 1 && reason !== undefined) code = reason;
      state = 2;
      net.destroy();
    },
    addEventListener(type: string, listener: Listener) {
      listeners.set(type, [...(listeners.get(type) ?? []), listener]);
    },
  };
  return socket as unknown as Socket;
};
