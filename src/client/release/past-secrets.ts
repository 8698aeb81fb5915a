// SPDX-License-Identifier: Apache-2.0
/**
 * Secrets and schedules by HTTP: single periods whose push was lost, whole blocks of the past, clock answers, the event's description.
 *
 * docs/wire/release.md, "Pull". All of it is public; blocks and schedules are immutable, so caches on the way answer crowds.
 * Invariant: sizes are bounded before anything is read into memory; a refusal is a value.
 */
import type { AssetId } from '#core/ids.ts';
import { type SecretRun, decodeRun } from '#core/release/block.ts';
import { type ReleaseFrame, RELEASE_LENGTH, decodeRelease } from '#core/release/frame.ts';
import { type EdgeInfo, parseEdgeInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch } from '#ports';
import type { ClockExchange } from './clock-estimate.ts';
import { releaseAddress } from './edge-link.ts';

/** Longest answer of any of these routes. */
const MAX_BODY = 600_000;
const DEADLINE = 4000 as Millis;

/** What one edge answers over HTTP; undefined for every refusal and failure. */
export type ReleaseHttp = {
  info(base: string): Promise<EdgeInfo | undefined>;
  secret(base: string, period: CryptoPeriod): Promise<ReleaseFrame | undefined>;
  blocks(base: string, block: number, count: number): Promise<SecretRun | undefined>;
  schedule(base: string, block: number): Promise<string | undefined>;
  exchange(base: string): Promise<ClockExchange | undefined>;
};

/** The routes of one event. */
export const createReleaseHttp = (event: AssetId, fetch: Fetch, clock: Clock, signal: AbortSignal): ReleaseHttp => {
  const get = async <T>(address: string, read: (body: Uint8Array, sent: Millis, received: Millis) => T, accept = '*/*'): Promise<T | undefined> => {
    const controller = new AbortController();
    const abort = (): void => controller.abort();
    const cancel = clock.after(DEADLINE, abort);
    signal.addEventListener('abort', abort);
    try {
      const sent = clock.monotonic();
      const response = await fetch(new Request(address, { headers: { accept }, signal: controller.signal }));
      if (!response.ok || Number(response.headers.get('content-length') ?? 0) > MAX_BODY) {
        await response.body?.cancel();
        return undefined;
      }
      const received = clock.monotonic();
      const body = new Uint8Array(await response.arrayBuffer());
      return body.length > MAX_BODY ? undefined : read(body, sent, received);
    } catch {
      return undefined;
    } finally {
      cancel();
      signal.removeEventListener('abort', abort);
    }
  };
  const text = (body: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(body);

  return {
    info: (base) => get(releaseAddress(base, event), (body) => parseEdgeInfo(text(body)), 'application/json'),
    secret: (base, period) => get(releaseAddress(base, event, `/${period}`), (body) => (body.length === RELEASE_LENGTH ? decodeRelease(body) : undefined)),
    blocks: (base, block, count) => get(releaseAddress(base, event, `/blocks/${block}${count === 1 ? '' : `?count=${count}`}`), decodeRun),
    schedule: (base, block) => get(releaseAddress(base, event, `/schedule/${block}`), (body) => text(body).trim()),
    exchange: (base) =>
      get(new URL(`/v1/time?t1=${Math.round(clock.monotonic() * 1000)}`, base).href, (body, sent, received): ClockExchange | undefined => {
        const { time, t2 = time, t3 = time, earliest, latest, status } = JSON.parse(text(body)) as Record<string, unknown>;
        if (typeof t2 !== 'number' || typeof t3 !== 'number' || status === 'fault' || status === 'starting') return undefined;
        const edgeError = typeof earliest === 'number' && typeof latest === 'number' ? (latest - earliest) / 2 : 0;
        return { sent, received, edgeReceived: t2 as Micros, edgeSent: t3 as Micros, edgeError: edgeError as Micros };
      }),
  };
};
