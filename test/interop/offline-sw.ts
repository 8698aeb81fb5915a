// SPDX-License-Identifier: Apache-2.0
/** The test app's service worker: downloads to players, the app's own page without a connection. */
import { serveOffline, type WorkerScope } from '#player/offline-worker.ts';

serveOffline(self as unknown as WorkerScope, { shell: ['/offline/', '/offline/page.js', '/offline/player.js'] });
