// SPDX-License-Identifier: Apache-2.0
/**
 * Headless viewers of the demo: the real client over the real HTTP interface, each with a device and an account of its own.
 *
 * Invariant: a viewer gets what a browser would get: an entitlement from the issuer, a session, a media token, ciphertext.
 */
import { createViewer, openDevice, type Session, type StartedSession, startSession, type Viewer, type ViewerOptions } from '#client/index.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { Fetch } from '#ports';
import type { Stage } from './stage.ts';

/** A viewer with its session. */
export type Watching = { readonly account: AccountId; readonly session: Session; readonly viewer: Viewer; stop(): Promise<void> };

/** Who watches what, and how. */
export type WatchOptions = Pick<ViewerOptions, 'follow' | 'speed' | 'patience' | 'startAt' | 'onFrame'> & {
  readonly account: string;
  readonly asset: AssetId;
  readonly device?: string;
  /** For viewers that misbehave: sees every licence and renewal request. */
  readonly fetch?: Fetch;
  /** Termination codes of sessions that the viewer chose to end for this one. */
  readonly end?: readonly string[];
  /** How often an unavailable service is asked. */
  readonly attempts?: number;
};

/** What viewers need of a stage. */
export type Place = Pick<Stage, 'platform' | 'issuer'>;

/** What the demo's viewers fetch with. */
export const demoFetch: Fetch = (request) => fetch(request);

/** Asks for a session on a new device; the denial, if it is one, comes as a value. */
export const ask = async (place: Place, options: WatchOptions): Promise<StartedSession> =>
  startSession({
    servers: [place.platform.localUrl],
    device: await openDevice({ name: options.device ?? 'headless viewer' }),
    asset: options.asset,
    entitlement: () => place.issuer.issue(options.account as AccountId, options.asset),
    fetch: options.fetch ?? demoFetch,
    ...(options.startAt !== undefined && { position: options.startAt }),
    ...(options.end !== undefined && { end: options.end }),
    ...(options.attempts !== undefined && { attempts: options.attempts }),
  });

/** Starts a session and watches. Throws the denial's code. */
export const watch = async (place: Place, options: WatchOptions): Promise<Watching> => {
  const account = options.account as AccountId;
  const base = place.platform.localUrl;
  const started = await ask(place, options);
  if (!started.ok) throw new SealcastError(started.denial.code, started.denial.detail);
  const { session } = started;
  const viewer = createViewer({
    session,
    baseUrl: `${base}/`,
    fetch: demoFetch,
    ...(options.follow !== undefined && { follow: options.follow }),
    ...(options.speed !== undefined && { speed: options.speed }),
    ...(options.patience !== undefined && { patience: options.patience }),
    ...(options.onFrame !== undefined && { onFrame: options.onFrame }),
    startAt: options.startAt ?? (0 as Micros),
  });
  return {
    account,
    session,
    viewer,
    async stop() {
      await viewer.stop();
      await session.stop();
    },
  };
};

/** Keeps `count` viewers watching the event until stopped; one that ends comes back after a pause. */
export const keepWatching = (stage: Stage, count: number): { readonly watching: () => readonly Watching[]; stop(): Promise<void> } => {
  const seats: (Watching | undefined)[] = Array.from({ length: count }, () => undefined);
  let stopped = false;
  const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
  const sit = async (seat: number): Promise<void> => {
    await wait(seat * 700);
    while (!stopped) {
      try {
        const watching = await watch(stage, { account: `viewer-${seat + 1}`, asset: stage.event, device: `headless viewer ${seat + 1}`, follow: 'segments' });
        seats[seat] = watching;
        await watching.viewer.done;
        await watching.session.stop();
      } catch (error) {
        stage.platform.log.debug('a demo viewer could not watch', { viewer: seat + 1, reason: error instanceof Error ? error.message : 'unknown' });
      }
      seats[seat] = undefined;
      if (!stopped) await wait(5000);
    }
  };
  const all = seats.map((_, seat) => sit(seat));
  return {
    watching: () => seats.filter((each) => each !== undefined),
    async stop() {
      stopped = true;
      await Promise.all(seats.filter((each) => each !== undefined).map((each) => each.stop()));
      await Promise.race([Promise.all(all), wait(6000)]);
    },
  };
};
