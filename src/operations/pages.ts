// SPDX-License-Identifier: Apache-2.0
/**
 * Serves the built dashboard: the watch page at `/`, the control room at `/control`, their hashed assets below `/assets/`.
 *
 * Content Security Policy Level 3: no inline script, no inline style, nothing from another host.
 * Invariant: only files the build put there are served, by exact name; a page is never cached, a hashed asset for ever.
 */
import { SealcastError } from '#core/errors.ts';
import { problem } from '#operations/answers.ts';
import { type AllowedHosts, isAllowedHost } from '#operations/hosts.ts';

/** Reads a file of the built dashboard by its path (`watch.html`, `assets/x.js`); undefined if there is none. */
export type PageReader = (path: string) => Promise<Uint8Array | undefined>;
export type PageName = 'watch' | 'control';

/** Options of `createPages`. */
export type PagesOptions = {
  readonly read: PageReader;
  /** Pages this listener serves; the control room may have its own address. */
  readonly pages: readonly PageName[];
  /** Applies to the control room's page and to assets where only it is served. */
  readonly allowedHosts: AllowedHosts;
  /** Origins besides this one that the watch page may fetch media and licences from, e.g. `https://edge.example`. */
  readonly connect?: readonly string[];
};

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  png: 'image/png',
  woff2: 'font/woff2',
  json: 'application/json',
  txt: 'text/plain; charset=utf-8',
};
const FILE = /^(?:assets\/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

const policyOf = (page: PageName, connect: readonly string[]): string => {
  const media = page === 'watch' ? ["media-src 'self' blob:", "worker-src 'self' blob:"] : [];
  const others = page === 'watch' && connect.length > 0 ? ` ${connect.join(' ')}` : '';
  return [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "font-src 'self'", `connect-src 'self'${others}`,
    ...media, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  ].join('; ');
};

const FEATURES: Readonly<Record<PageName, string>> = {
  watch: 'encrypted-media=(self), fullscreen=(self), autoplay=(self), picture-in-picture=(self), camera=(), microphone=(), geolocation=()',
  control: 'encrypted-media=(), fullscreen=(), camera=(), microphone=(), geolocation=(), usb=(), payment=()',
};

const headersOf = (page: PageName, connect: readonly string[]): Record<string, string> => ({
  'Content-Security-Policy': policyOf(page, connect),
  'Permissions-Policy': FEATURES[page],
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  // Browsers complain about it on plain http, where the watch page has its own words.
  ...(page === 'control' ? { 'Cross-Origin-Opener-Policy': 'same-origin' } : {}),
  'Cross-Origin-Resource-Policy': 'same-origin',
});

/** Answers undefined for paths that are not pages, so that the entry can ask the next role. */
export const createPages = (options: PagesOptions): ((request: Request) => Promise<Response | undefined>) => {
  const { read, pages, allowedHosts, connect = [] } = options;
  for (const origin of connect) {
    if (!/^(?:https?|wss?):\/\/[A-Za-z0-9.:[\]-]+$/.test(origin)) throw new SealcastError('config-invalid', 'pages.connect must list origins such as https://edge.example');
  }
  const guarded = !pages.includes('watch');

  return async (request) => {
    const path = new URL(request.url).pathname;
    const page: PageName | undefined = path === '/' || path === '/watch' ? 'watch' : path === '/control' || path === '/control/' ? 'control' : undefined;
    const file = page === undefined ? path.slice(1) : `${page}.html`;
    const isAsset = page === undefined && path.startsWith('/assets/');
    if (page === undefined ? !isAsset && file !== 'favicon.svg' : !pages.includes(page)) return undefined;
    if (request.method !== 'GET' && request.method !== 'HEAD') return problem(new SealcastError('method-not-allowed', 'pages answer GET and HEAD'), { Allow: 'GET, HEAD' });
    if ((guarded || page === 'control') && !isAllowedHost(request, allowedHosts)) return problem(new SealcastError('forbidden', 'this host name is not on the allow-list (operations.hosts)'));
    const bytes = FILE.test(file) ? await read(file) : undefined;
    if (bytes === undefined) return problem(new SealcastError('not-found', page === undefined ? 'no such file' : 'the dashboard has not been built'));
    const headers = {
      ...headersOf(page ?? 'watch', connect),
      'Content-Type': TYPES[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream',
      'Content-Length': String(bytes.length),
      'Cache-Control': isAsset ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    return new Response(request.method === 'HEAD' ? null : (bytes as Uint8Array<ArrayBuffer>), { headers });
  };
};
