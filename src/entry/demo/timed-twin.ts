// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's timed event: the same picture as the live one, sent to a second event whose keys are released at their instants.
 *
 * Two cores cannot encode the scene twice, so what the encoder sends for the smaller rendition and the sound is forked on
 * its way to ingest. The live event never waits for its twin.
 */
import type { AssetId } from '#core/ids.ts';
import type { Fetch } from '#ports';

/** Ingest paths of tracks that only the live event has. */
const LARGE = /v720/;

/** `ingest` with every other track also sent to the twin event. A twin that refuses or breaks off is let go. */
export const alsoTo = (ingest: Fetch, twin: { readonly from: AssetId; readonly to: AssetId; readonly credential: string }): Fetch => async (request) => {
  const path = new URL(request.url).pathname;
  if (request.body === null || LARGE.test(path) || !path.startsWith(`/ingest/${twin.from}/`)) return ingest(request);
  const [one, other] = request.body.tee();
  const url = request.url.replace(`/ingest/${twin.from}/`, `/ingest/${twin.to}/`);
  const headers = new Headers(request.headers);
  headers.set('authorization', `Bearer ${twin.credential}`);
  const forked = new AbortController();
  void ingest(new Request(url, { method: request.method, headers, body: other, duplex: 'half', signal: forked.signal } as RequestInit))
    .catch(() => undefined)
    // What is not read would be kept for ever.
    .then(() => other.cancel().catch(() => undefined));
  try {
    return await ingest(new Request(request.url, { method: request.method, headers: request.headers, body: one, duplex: 'half', signal: request.signal } as RequestInit));
  } finally {
    forked.abort();
  }
};
