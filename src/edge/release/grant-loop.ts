// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps an edge supplied: asks every key server for every event it may serve, by signed long-polls.
 *
 * docs/wire/release.md, "Key server → edge". Two servers are asked at the same time; their answers are the same secrets, so
 * losing one changes nothing. Full jitter after failures.
 * Invariant: a key server's silence or refusal only shortens the horizon; nothing here extends it by guessing.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type AssetId, isAssetId } from '#core/ids.ts';
import type { Millis } from '#core/time.ts';
import { type JwsKey, signJws } from '#crypto/jose.ts';
import type { Clock, Fetch, Log, Metrics, Random } from '#ports';
import type { GrantIntake } from './grant-intake.ts';

/** One key server as an edge reaches it. */
export type KeyServerAddress = { readonly name: string; /** Origin without a slash at its end. */ readonly url: string; readonly fetch: Fetch };

/** The running loops. */
export type GrantLoop = {
  start(): void;
  stop(): void;
  /** Publishes the head of the release log with every key server, which keeps it; failures only show in metrics. */
  publish(jws: string): Promise<void>;
  /** Tells every key server how releases stand here. */
  report(json: string): Promise<void>;
  /** Milliseconds since a key server last answered for the event; infinite before the first time. */
  silence(event: AssetId): number;
};

const WAIT_SECONDS = 20;
const LIST_EVERY = 1000;
const FIRST_PAUSE = 200;
/** Viewers wait for it: back within two seconds of a key server's return. */
const LONGEST_PAUSE = 1500;
const MAX_ANSWER = 1_048_576;

/** `serves`: whether this edge wants an event it is authorised for. `onEvents` hears when the list changes. */
export const createGrantLoop = (options: {
  edge: string;
  signKey: JwsKey;
  servers: readonly KeyServerAddress[];
  intake: GrantIntake;
  clock: Clock;
  random: Random;
  log: Log;
  metrics: Metrics;
  onRefused: (event: AssetId, server: string, status: number) => void;
  /** After every list: what any server still lists, and the hosts that have an edge. */
  onEvents: (listed: (event: AssetId) => boolean, hosts: readonly string[]) => void;
}): GrantLoop => {
  const { edge, servers, intake, clock, random, log, metrics } = options;
  const heard = new Map<AssetId, number>();
  const running = new Map<string, AbortController>();
  /** Newest list of each server. A server that is not reached keeps its last one. */
  const lists = new Map<string, { readonly events: readonly AssetId[]; readonly hosts: readonly string[] }>();
  let stopping: AbortController | undefined;

  const ask = async (server: KeyServerAddress, path: string, signal: AbortSignal, body?: string): Promise<Response> => {
    const token = await signJws({ edge, aud: server.name, iat: Math.floor(clock.now() / 1_000_000), jti: encodeBase64url(random.bytes(16)) }, { typ: 'edge-request+jwt', key: options.signKey });
    return server.fetch(new Request(`${server.url}${path}`, { headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...(body !== undefined && { 'content-type': 'text/plain' }) }, signal, redirect: 'manual', ...(body !== undefined && { method: 'POST', body }) }));
  };
  const json = async (response: Response): Promise<unknown> => {
    const text = await response.text();
    if (text.length > MAX_ANSWER) throw new RangeError('the answer is too long');
    return JSON.parse(text) as unknown;
  };
  const pause = (millis: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = clock.after(millis as Millis, done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  const jittered = (failures: number): number => (Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures, 8)) * ((random.bytes(1)[0] ?? 0) + 1)) / 256;

  const follow = async (server: KeyServerAddress, event: AssetId, signal: AbortSignal): Promise<void> => {
    let failures = 0;
    while (!signal.aborted) {
      const { after, block } = intake.given(event, server.name);
      const started = clock.monotonic();
      try {
        const response = await ask(server, `/v1/events/${event}/grants?after=${after}&block=${block}&wait=${WAIT_SECONDS}`, AbortSignal.any([signal, AbortSignal.timeout((WAIT_SECONDS + 5) * 1000)]));
        if (response.status === 200) {
          heard.set(event, clock.monotonic());
          await intake.take(event, server.name, await json(response));
          failures = 0;
        } else {
          await response.body?.cancel();
          if (response.status === 204) heard.set(event, clock.monotonic());
          else if (failures++ === 0 || response.status === 403) options.onRefused(event, server.name, response.status);
          if (response.status === 403 || response.status === 404) return;
        }
        metrics.count('sealcast_release_grant_requests_total', 'Requests for grants by outcome.', { outcome: String(response.status) });
        if (failures > 0) await pause(jittered(failures), signal);
        // An answer at once that moved nothing must not become a busy loop.
        else if (intake.given(event, server.name).after === after && clock.monotonic() - started < FIRST_PAUSE) await pause(FIRST_PAUSE, signal);
      } catch (cause) {
        if (signal.aborted) return;
        failures++;
        metrics.count('sealcast_release_grant_requests_total', 'Requests for grants by outcome.', { outcome: 'unreachable' });
        if (failures === 1) log.warn('key server not reached', { server: server.name, event, reason: cause instanceof Error ? cause.message : String(cause) });
        await pause(jittered(failures), signal);
      }
    }
  };

  /** Which events a server lets this edge serve; a loop per server and event, as long as it is listed. */
  const supervise = async (server: KeyServerAddress, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        const response = await ask(server, `/v1/edges/${edge}/releases`, AbortSignal.any([signal, AbortSignal.timeout(5000)]));
        const body = response.status === 200 ? ((await json(response)) as { events?: unknown; hosts?: unknown }) : undefined;
        if (body === undefined) await response.body?.cancel();
        const events = Array.isArray(body?.events) ? body.events.filter((event): event is AssetId => typeof event === 'string' && isAssetId(event)).slice(0, 1000) : undefined;
        if (events !== undefined) {
          const hosts = Array.isArray(body?.hosts) ? body.hosts.filter((host): host is string => typeof host === 'string').slice(0, 10_000) : [];
          lists.set(server.name, { events, hosts });
          options.onEvents((event) => [...lists.values()].some((list) => list.events.includes(event)), [...new Set([...lists.values()].flatMap((list) => list.hosts))]);
        }
        for (const event of events ?? []) {
          const id = `${server.name}/${event}`;
          if (running.has(id)) continue;
          const abort = new AbortController();
          running.set(id, abort);
          void follow(server, event, AbortSignal.any([signal, abort.signal])).finally(() => running.delete(id));
        }
        // An event that no server lists any more is over, or not ours any more.
        if (events !== undefined) for (const [id, abort] of running) if (id.startsWith(`${server.name}/`) && !events.includes(id.slice(server.name.length + 1) as AssetId)) abort.abort();
      } catch (cause) {
        if (!signal.aborted) log.debug('list of releases not refreshed', { server: server.name, reason: cause instanceof Error ? cause.message : String(cause) });
      }
      await pause(LIST_EVERY, signal);
    }
  };

  return {
    start() {
      if (stopping !== undefined) return;
      stopping = new AbortController();
      for (const server of servers) void supervise(server, stopping.signal);
    },
    stop() {
      stopping?.abort();
      stopping = undefined;
    },
    async publish(jws) {
      await Promise.all(
        servers.map(async (server) => {
          const outcome = await ask(server, `/v1/edges/${edge}/log-heads`, AbortSignal.timeout(5000), jws).then(async (response) => {
            await response.body?.cancel();
            return String(response.status);
          }, () => 'unreachable');
          metrics.count('sealcast_release_log_heads_total', 'Heads of the release log given to key servers, by outcome.', { outcome });
        }),
      );
    },
    async report(json) {
      await Promise.all(servers.map((server) => ask(server, `/v1/edges/${edge}/release-report`, AbortSignal.timeout(2000), json).then((response) => response.body?.cancel(), () => undefined)));
    },
    silence: (event) => clock.monotonic() - (heard.get(event) ?? Number.NEGATIVE_INFINITY),
  };
};
