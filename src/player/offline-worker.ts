// SPDX-License-Identifier: Apache-2.0
/**
 * The service worker's part: answers players from downloads, keeps the app's own pages, and downloads what is pushed.
 *
 * docs/wire/subscription.md, "Downloads", "Push" (B134, B135). Invariant: media of a download never leaves the device again, and what is
 * not downloaded goes to the network as if there were no worker.
 */
import { mediaTypeOf, offlinePlace } from '#client/offline/download-plan.ts';
import { cachedAddress, DOWNLOADS_CACHE } from './offline-storage.ts';

/** What a service worker's global scope gives, as far as it is used here. */
export type WorkerScope = {
  readonly location: { readonly origin: string };
  addEventListener(name: 'install' | 'activate', listener: (event: { waitUntil(work: Promise<unknown>): void }) => void): void;
  addEventListener(name: 'fetch', listener: (event: { readonly request: Request; respondWith(answer: Promise<Response>): void }) => void): void;
  addEventListener(name: 'push', listener: (event: { readonly data: { json(): unknown } | null; waitUntil(work: Promise<unknown>): void }) => void): void;
  skipWaiting(): Promise<void>;
  readonly clients: { claim(): Promise<void> };
};

/** How the worker serves one app. */
export type WorkerOptions = {
  /** Pages and scripts that have to be there without a connection, as paths. The first is shown for every page that cannot be had. */
  readonly shell: readonly string[];
  /** Told of push messages, e.g. `(message) => offline.pushed(message)`. */
  readonly onPush?: (message: unknown) => Promise<unknown>;
  /** Bump it with each release of the app: the shell is fetched anew. Default `1`. */
  readonly version?: string;
};

const SHELL_CACHE = 'sealcast-shell-';

/** Registers the worker's events; call it while the worker's script runs. */
export const serveOffline = (scope: WorkerScope, { shell, onPush, version = '1' }: WorkerOptions): void => {
  const shellCache = `${SHELL_CACHE}${version}`;

  const fromDownload = async (request: Request): Promise<Response | undefined> => {
    const url = new URL(request.url);
    const [title, path] = url.origin === scope.location.origin ? offlinePlace(url) : ['', ''];
    if (title === '') return undefined;
    const found = await (await caches.open(DOWNLOADS_CACHE)).match(cachedAddress(`${title}/${path}`));
    if (found === undefined) return undefined;
    return new Response(found.body, { headers: { 'content-type': mediaTypeOf(path), 'content-length': found.headers.get('content-length') ?? '', 'cache-control': 'no-store' } });
  };

  const fromShell = async (request: Request): Promise<Response | undefined> => {
    const cache = await caches.open(shellCache);
    return (await cache.match(request, { ignoreSearch: true })) ?? (request.mode === 'navigate' && shell[0] !== undefined ? cache.match(shell[0]) : undefined);
  };

  const answer = async (request: Request): Promise<Response> => {
    const kept = await fromDownload(request);
    if (kept !== undefined) return kept;
    try {
      return await fetch(request);
    } catch (error) {
      const page = request.method === 'GET' ? await fromShell(request) : undefined;
      if (page === undefined) throw error;
      return page;
    }
  };

  scope.addEventListener('install', (event) => event.waitUntil(caches.open(shellCache).then((cache) => cache.addAll([...shell])).then(() => scope.skipWaiting())));
  scope.addEventListener('activate', (event) =>
    event.waitUntil(
      (async () => {
        for (const name of await caches.keys()) if (name.startsWith(SHELL_CACHE) && name !== shellCache) await caches.delete(name);
        await scope.clients.claim();
      })(),
    ),
  );
  scope.addEventListener('fetch', (event) => event.respondWith(answer(event.request)));
  if (onPush !== undefined) {
    scope.addEventListener('push', (event) => {
      let message: unknown;
      try {
        message = event.data?.json();
      } catch {
        // Not ours.
        return;
      }
      event.waitUntil(onPush(message));
    });
  }
};
