// SPDX-License-Identifier: Apache-2.0
/** What the licensing figures are compared with: a JSON endpoint on node:http that reads, parses and answers, and no more. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type BareServer = { readonly port: number; /** Bytes of the next answers. */ answerBytes: number; close(): void };

/** JSON text of exactly `length` bytes. */
export const jsonOf = (length: number): string => JSON.stringify({ of: 'x'.repeat(Math.max(0, length - '{"of":""}'.length)) });

export const startBare = (): Promise<BareServer> =>
  new Promise((resolve) => {
    let filler = '';
    const server = createServer((request, answer) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { of } = JSON.parse(Buffer.concat(chunks).toString()) as { of?: string };
        const body = JSON.stringify({ of: of === '' ? '' : filler });
        answer.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
        answer.end(body);
      });
    });
    server.listen(0, '127.0.0.1', () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        set answerBytes(length: number) {
          filler = (JSON.parse(jsonOf(length)) as { of: string }).of;
        },
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      }),
    );
  });
