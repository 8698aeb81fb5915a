// SPDX-License-Identifier: Apache-2.0
/**
 * Serves the example pages, the three player libraries and Sealcast's browser code, for trying them against a running service:
 *
 *   npm start                                              (in one terminal)
 *   node examples/serve.js [http://localhost:8080] [8090]  (in another; service address, own port)
 *
 * A page of your own does without this file: bundle `sealcast/client` and `sealcast/player` as any other package.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const here = dirname(fileURLToPath(import.meta.url));
const [service = 'http://localhost:8080', port = '8090'] = process.argv.slice(2);
const packages = join(here, '../node_modules');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const LIBRARIES = {
  '/shaka.js': 'shaka-player/dist/shaka-player.compiled.js',
  '/hls.js': 'hls.js/dist/hls.min.js',
  '/dash.js': 'dashjs/dist/modern/umd/dash.all.min.js',
};
const PAGES = new Set(['/shaka.html', '/hls.html', '/dash.html', '/bare-eme.html', '/one-session.js', '/service.js', '/page.css']);

const build = await rolldown({ input: { sealcast: join(here, 'sealcast.js') }, platform: 'browser', logLevel: 'warn' });
const { output } = await build.generate({ format: 'esm' });
await build.close();

const contentOf = async (path) => {
  if (path === '/sealcast.js') return output[0].code;
  if (path === '/address.js') return `export const service = ${JSON.stringify(service)};\n`;
  if (path in LIBRARIES) return readFile(join(packages, LIBRARIES[path]));
  if (PAGES.has(path)) return readFile(join(here, path));
  return undefined;
};

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://localhost');
  const path = pathname === '/' ? '/shaka.html' : pathname;
  const content = await contentOf(path);
  response.writeHead(content === undefined ? 404 : 200, { 'content-type': TYPES[extname(path)] ?? 'text/plain' });
  response.end(content ?? 'not found');
});
server.listen(Number(port), '127.0.0.1', () => {
  const { port: chosen } = server.address();
  for (const name of ['shaka', 'hls', 'dash', 'bare-eme']) console.log(`http://localhost:${chosen}/${name}.html`);
});
