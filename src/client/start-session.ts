// SPDX-License-Identifier: Apache-2.0
/**
 * One call from an entitlement to a running session, and one that registers a device.
 *
 * docs/wire/session.md, POST /v1/sessions. Expected outcomes are values: a denial names its code and what the viewer may read.
 * Invariant: an entitlement is spent at most once; after an answer that used it up the caller is asked for a new one.
 */
import { ERRORS } from '#core/errors.ts';
import { assetId, isAssetId, isSessionId } from '#core/ids.ts';
import type { DeviceId } from '#core/ids.ts';
import { microsFromSeconds } from '#core/time.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch, Random } from '#ports';
import { createServerTime, runtimeClock, runtimeRandom, sleep } from './clock.ts';
import type { Device } from './device.ts';
import { type Desk, createDesk } from './license-desk.ts';
import type { StopKeeper } from './offline/stop-keeper.ts';
import type { ReleaseOptions } from './release/session-releases.ts';
import { type ServerAddress, orderAddresses } from './server-address.ts';
import type { ConflictingSession, Session, SessionDenial } from './session-types.ts';
import { createSession } from './session.ts';
import { type Texts, textOf } from './texts/texts.ts';
import { type Failure, type Transport, backoff, createTransport } from './transport.ts';

/** What every conversation with the service needs. */
export type ServiceOptions = {
  /** Base addresses of licence servers, any number, e.g. `https://tv.example`; asked in turn, by priority and weight if they have one. */
  readonly servers: readonly ServerAddress[];
  readonly device: Device;
  /** Asks the operator's backend for a fresh entitlement (a JWT). Called again when one was used up, and once after a 401. */
  readonly entitlement: () => Promise<string>;
  /** Sentences for viewers in place of the English ones: a catalogue such as `de`, or single codes. */
  readonly texts?: Texts;
  /** Default: the runtime's. */
  readonly fetch?: Fetch;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Deadline of one request to one server, ms. Default 5,000. */
  readonly timeout?: Millis;
};

/** What a session is asked for; `asset` is checked before anything is sent. */
export type SessionOptions = ServiceOptions & {
  readonly asset: string;
  /** Titles: media time at which the viewer starts. Default 0. */
  readonly position?: Micros;
  /** Events: opened content kept behind the playhead for seeks back. Default 15 min. */
  readonly keepBehind?: Micros;
  /** How often an unreachable service is asked before the start is given up. Default 4. */
  readonly attempts?: number;
  /** Base addresses of nodes that renew, any number, asked after those that the service names in its answer. */
  readonly renewalServers?: readonly ServerAddress[];
  /** `terminationCode`s of a denial's `conflicts`: those sessions end, and their viewers are told, if this one starts. */
  readonly end?: readonly string[];
  /** A viewer who pauses for so long stops counting as one: nothing is renewed until he plays on. Default 10 min. */
  readonly idleAfter?: Millis;
  /** Keeps the session's stop until the service has acknowledged it: `offline.stops`. Without it a stop is sent once. */
  readonly stops?: StopKeeper;
  /** Timed events: how releases are followed. */
  readonly release?: ReleaseOptions;
};

/** A session, or why there is none. */
export type StartedSession = { readonly ok: true; readonly session: Session } | { readonly ok: false; readonly denial: SessionDenial };

const DEFAULT_TIMEOUT = 5000 as Millis;
const DEFAULT_ATTEMPTS = 4;
const DEFAULT_KEEP_BEHIND = microsFromSeconds(900);
const DEFAULT_IDLE_AFTER = 600_000 as Millis;
/** Refusals that a fresh entitlement or nonce cures; more than two rounds of them are a defect of the other side. */
const MAX_FRESH = 2;

type Service = { readonly desk: Desk; readonly transport: Transport; readonly clock: Clock; readonly random: Random; readonly serverTime: ReturnType<typeof createServerTime> };

const serviceOf = (options: ServiceOptions & Pick<SessionOptions, 'renewalServers'>): Service => {
  const clock = options.clock ?? runtimeClock;
  const random = options.random ?? runtimeRandom;
  const transport = createTransport({ fetch: options.fetch ?? ((request) => fetch(request)), clock, timeout: options.timeout ?? DEFAULT_TIMEOUT });
  const serverTime = createServerTime(clock);
  const servers = orderAddresses(options.servers, random);
  const renewalServers = orderAddresses(options.renewalServers ?? [], random);
  return { clock, random, transport, serverTime, desk: createDesk({ servers, renewalServers, device: options.device, transport, serverTime, random }) };
};

/** Entries that a server of another version words differently are left out: the viewer could not choose them anyway. */
const conflictsOf = (listed: unknown): readonly ConflictingSession[] =>
  (Array.isArray(listed) ? (listed as readonly Partial<Record<'sid' | 'deviceName' | 'asset' | 'startedAt' | 'terminationCode', unknown>>[]) : []).flatMap(({ sid, deviceName, asset, startedAt, terminationCode }) =>
    typeof sid === 'string' && isSessionId(sid) && typeof deviceName === 'string' && typeof asset === 'string' && isAssetId(asset) && typeof startedAt === 'number' && typeof terminationCode === 'string'
      ? [{ session: sid, deviceName, asset, startedAt: startedAt as Micros, terminationCode }]
      : [],
  );

const denialOf = ({ code = 'service-unreachable', detail, extra = {} }: Failure, texts: Texts | undefined): SessionDenial => ({
  code,
  text: textOf(code, texts),
  detail,
  retry: ERRORS[code].retry,
  ...(code === 'concurrency-limit' && { conflicts: conflictsOf(extra['conflicts']), ...(typeof extra['limit'] === 'number' && { limit: extra['limit'] }) }),
  extra,
});

/** Repeats `attempt` while trying again makes sense. */
const persist = async <T>(service: Service, attempts: number, attempt: () => Promise<{ readonly ok: true; readonly value: T } | Failure>): Promise<{ readonly ok: true; readonly value: T } | Failure> => {
  let fresh = 0;
  let refreshed = false;
  for (let tries = 1; ; tries++) {
    const outcome = await attempt();
    if (outcome.ok) return outcome;
    if (outcome.status === 401) {
      if (!refreshed) {
        refreshed = true;
        continue;
      }
      // Without a code it is not ours: an address on the way asks for something, and another round may find one that does not.
      if (outcome.code !== undefined) return outcome;
    }
    const curable = outcome.code === 'nonce-invalid' || outcome.code === 'entitlement-used';
    if (curable && fresh++ < MAX_FRESH) continue;
    if (outcome.final || curable || tries >= attempts) return outcome;
    await sleep(service.clock, backoff(tries, service.random, outcome));
  }
};

/** Starts a session. Rejects only if `entitlement` does, or for a malformed asset id. */
export const startSession = async (options: SessionOptions): Promise<StartedSession> => {
  const service = serviceOf(options);
  const asset = assetId(options.asset);
  const { position } = options;
  const admission = await persist(service, options.attempts ?? DEFAULT_ATTEMPTS, async () =>
    service.desk.start({ asset, entitlement: await options.entitlement(), ends: options.end ?? [], ...(position === undefined ? {} : { position }) }),
  );
  if (!admission.ok) return { ok: false, denial: denialOf(admission, options.texts) };
  const session = createSession({
    ...service,
    admission: admission.value,
    keepBehind: options.keepBehind ?? DEFAULT_KEEP_BEHIND,
    startAt: position ?? (0 as Micros),
    idleAfter: options.idleAfter ?? DEFAULT_IDLE_AFTER,
    texts: options.texts ?? {},
    stops: options.stops,
    release: { ...options.release, fetch: options.fetch ?? ((request) => fetch(request)) },
  });
  return { ok: true, session };
};

/** Registers the device under the entitlement's account, so that it also plays where unregistered devices may not. */
export const registerDevice = async (options: ServiceOptions): Promise<{ readonly ok: true; readonly device: DeviceId } | { readonly ok: false; readonly denial: SessionDenial }> => {
  const service = serviceOf(options);
  const answer = await persist(service, DEFAULT_ATTEMPTS, async () => service.desk.registerDevice(await options.entitlement()));
  return answer.ok ? { ok: true, device: answer.value } : { ok: false, denial: denialOf(answer, options.texts) };
};
