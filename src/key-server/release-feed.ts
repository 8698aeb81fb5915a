// SPDX-License-Identifier: Apache-2.0
/**
 * How replicas that give release secrets learn of events: the feed of the first key server, and its follower.
 *
 * docs/wire/release.md, "Replica → first key server". A replica keeps what it heard: the first server may be away for as long
 * as the event keys last that were fetched ahead (10 to 20 minutes).
 * Invariant: only a `key-server` credential opens the feed; event keys are given one epoch ahead at most.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import { encodeInfo, parseInfo } from '#core/release/schedule.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch, Log } from '#ports';
import { heldRoles, type ServiceCredential } from './handler.ts';
import { EVENT_KEY_LENGTH, type ReleaseEdge, type TimedEvent, type TimedEvents } from './timed-events.ts';

const PATH = /^\/v1\/keys\/([^/]+)\/release$/;

const encodeEvent = ({ info, createdAt, edges, urls }: TimedEvent): unknown => ({ info: encodeInfo(info), createdAt, edges, urls });
const encodeEdge = ({ edge, sign, agree, host }: ReleaseEdge): unknown => ({ edge, sign, agree, host });

/** Whether the feed answers a path. */
export const isReleaseFeed = (path: string): boolean => path === '/v1/keys' || PATH.test(path);

/** `GET /v1/keys` (events and edges) and `GET /v1/keys/{event}/release?epoch=e`. Throws SealcastErrors. */
export const createReleaseFeed = (options: { events: TimedEvents; credentials: readonly ServiceCredential[]; clock: Clock }): ((request: Request) => Promise<Response>) => {
  const { events, clock } = options;
  const answer = (body: unknown): Response => new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' } });
  return async (request) => {
    if (request.method !== 'GET') throw new SealcastError('method-not-allowed', 'the release feed takes GET');
    if (!heldRoles(request, options.credentials).includes('key-server')) throw new SealcastError('forbidden', 'the service credential does not open event keys');
    const url = new URL(request.url);
    const id = PATH.exec(url.pathname)?.[1];
    if (id === undefined) return answer({ events: (await events.list()).map(encodeEvent), edges: (await events.edges()).map(encodeEdge) });
    const event = await events.find(assetId(id));
    if (event === undefined) throw new SealcastError('not-found', 'no running timed event of this id');
    const epoch = Number(url.searchParams.get('epoch') ?? 'none');
    const now = Math.floor(clock.now() / EVENT_KEY_LENGTH);
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new SealcastError('bad-request', 'epoch must be a whole number');
    if (epoch > now + 1) throw new SealcastError('too-early', 'event keys are given one epoch ahead');
    return answer({ epoch, key: encodeBase64url(await events.eventKey(event.info.event, epoch)) });
  };
};

/** A replica's view of timed events, refreshed from the first key server. */
export type ReleaseFollower = TimedEvents & { start(): void; stop(): void; /** Once, for start-up; rejects if the server is not reached. */ refresh(): Promise<void> };

const REFRESH_EVERY = 1000;
const MAX_ANSWER = 4_194_304;

/** `credential`: bearer text with role `key-server` at `url`. */
export const createReleaseFollower = (options: { url: string; credential: string; fetch: Fetch; clock: Clock; log: Log }): ReleaseFollower => {
  const { url, clock, log } = options;
  let known: readonly TimedEvent[] = [];
  let enrolled: readonly ReleaseEdge[] = [];
  const keys = new Map<string, Uint8Array>();
  let cancel: (() => void) | undefined;
  let failing = false;

  const ask = async (path: string): Promise<string> => {
    const response = await options.fetch(new Request(`${url}${path}`, { headers: { authorization: `Bearer ${options.credential}` }, signal: AbortSignal.timeout(5000), redirect: 'manual' }));
    const text = await response.text();
    if (response.status !== 200 || text.length > MAX_ANSWER) throw new SealcastError('key-unavailable', `the first key server answered ${response.status}`);
    return text;
  };
  const eventKey = async (event: AssetId, epoch: number): Promise<Uint8Array> => {
    const id = `${event}/${epoch}`;
    const held = keys.get(id);
    if (held !== undefined) return held;
    const body = membersOf(jsonObject(await ask(`/v1/keys/${event}/release?epoch=${epoch}`), 'event key', 'key-unavailable'), 'event key', 'key-unavailable', ['epoch', 'key']);
    const key = body.bytes('key', 32);
    if (body.integer('epoch', 0, Number.MAX_SAFE_INTEGER) !== epoch) throw new SealcastError('key-unavailable', 'the first key server answered for another epoch');
    keys.set(id, key);
    return key;
  };
  const parseEvent = (value: unknown): TimedEvent => {
    const m = membersOf(value, 'timed event', 'key-unavailable', ['info', 'createdAt', 'edges', 'urls']);
    const edges = m.value('edges');
    const names = edges === 'all' ? 'all' : m.list('edges', 10_000).filter((name): name is string => typeof name === 'string');
    return { info: parseInfo(m.value('info')), createdAt: m.integer('createdAt', 0, Number.MAX_SAFE_INTEGER) as Micros, edges: names, urls: m.list('urls', 16).filter((each): each is string => typeof each === 'string') };
  };
  const parseEdge = (value: unknown): ReleaseEdge => {
    const m = membersOf(value, 'release edge', 'key-unavailable', ['edge', 'sign', 'agree'], ['host']);
    const host = m.optionalText('host', { most: 64 });
    return { edge: m.text('edge', { most: 64 }), sign: parsePublicJwk(m.value('sign'), 'release edge', 'key-unavailable'), agree: parsePublicJwk(m.value('agree'), 'release edge', 'key-unavailable'), ...(host !== undefined && { host }) };
  };

  const refresh = async (): Promise<void> => {
    const body = membersOf(jsonObject(await ask('/v1/keys'), 'release feed', 'key-unavailable'), 'release feed', 'key-unavailable', ['events', 'edges']);
    const [events, edges] = [body.list('events', 1000).map(parseEvent), body.list('edges', 10_000).map(parseEdge)];
    known = events;
    enrolled = edges;
    const epoch = Math.floor(clock.now() / EVENT_KEY_LENGTH);
    // This epoch's and the next one's, so that an outage of the first server goes by unnoticed.
    for (const { info } of events) for (const each of [epoch - 1, epoch, epoch + 1]) await eventKey(info.event, each);
    for (const id of keys.keys()) if (Number(id.slice(id.lastIndexOf('/') + 1)) < epoch - 6) keys.delete(id);
  };
  const run = (): void => {
    refresh().then(
      () => {
        failing = false;
      },
      (error: unknown) => {
        if (!failing) log.warn('the first key server is not reached; going on with what is known', { reason: error instanceof Error ? error.message : String(error) });
        failing = true;
      },
    ).finally(() => {
      if (cancel !== undefined) cancel = clock.after(REFRESH_EVERY as Millis, run);
    });
  };
  return {
    find: async (event) => known.find(({ info }) => info.event === event),
    list: async () => known,
    edge: async (name) => enrolled.find(({ edge }) => edge === name),
    edges: async () => enrolled,
    eventKey,
    refresh,
    start() {
      cancel ??= clock.after(0 as Millis, run);
    },
    stop() {
      cancel?.();
      cancel = undefined;
    },
  };
};
