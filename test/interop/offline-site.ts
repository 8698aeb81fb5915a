// SPDX-License-Identifier: Apache-2.0
/**
 * An app's own site in front of the platform, whose cable can be pulled: no connection is answered then, by nobody.
 *
 * Serves the test page, its worker and entitlements; hands everything else on.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { bundle } from './browser.ts';

const PAGE = `<!doctype html><meta charset="utf-8"><title>offline</title><link rel="icon" href="data:,"><style>body{margin:0;background:#000}video{width:320px;height:180px;display:block}</style><video muted playsinline></video><script src="/offline/player.js"></script><script type="module" src="/offline/page.js"></script>`;

export type OfflineSite = {
  readonly url: string;
  /** Paths asked for, in order. */
  readonly asked: string[];
  /** Pulls the cable, or plugs it in again. */
  cut(isCut: boolean): void;
  close(): Promise<void>;
};

export const startOfflineSite = async (options: { readonly platform: string; readonly entitlement: () => Promise<string>; readonly playerScript: string }): Promise<OfflineSite> => {
  const [page, worker] = await Promise.all([bundle('offline-page.ts'), bundle('offline-sw.ts')]);
  const own: Readonly<Record<string, readonly [type: string, text: () => string | Promise<string>]>> = {
    '/offline/': ['text/html', () => PAGE],
    '/offline/page.js': ['text/javascript', () => page],
    '/offline/player.js': ['text/javascript', () => options.playerScript],
    '/sw.js': ['text/javascript', () => worker],
    '/offline/entitlement': ['text/plain', options.entitlement],
  };
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  let isCut = false;

  const handOn = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body: Buffer[] = [];
    for await (const piece of request) body.push(piece as Buffer);
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name, value]) => typeof value === 'string' && !['host', 'connection', 'content-length', 'accept-encoding'].includes(name))) as Record<string, string>;
    const answer = await fetch(new URL(request.url ?? '/', options.platform), { method: request.method ?? 'GET', headers, ...(body.length > 0 && { body: Buffer.concat(body) }) });
    const bytes = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status, Object.fromEntries([...answer.headers].filter(([name]) => !['content-encoding', 'transfer-encoding', 'connection', 'content-length', 'content-security-policy'].includes(name))));
    response.end(bytes);
  };

  const server = createServer((request, response) => {
    const path = (request.url ?? '/').split('?')[0] as string;
    asked.push(`${request.method} ${path}`);
    const file = own[path];
    const answered = file === undefined ? handOn(request, response) : Promise.resolve(file[1]()).then((text) => void response.writeHead(200, { 'content-type': file[0], 'cache-control': 'no-store' }).end(text));
    answered.catch(() => response.destroy());
  });
  server.on('connection', (socket) => {
    if (isCut) return socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    cut(value) {
      isCut = value;
      if (isCut) for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
