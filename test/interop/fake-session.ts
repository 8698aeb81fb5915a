// SPDX-License-Identifier: Apache-2.0
/** Sessions of the real client against the fake service on a fake clock, for the unit tests beside the client. */
import { openDevice } from '#client/device.ts';
import type { Session } from '#client/session-types.ts';
import { type SessionOptions, type StartedSession, startSession } from '#client/start-session.ts';
import { micros } from '#core/time.ts';
import { createFakeClock, type FakeClock } from './fake-clock.ts';
import { createFakeService, type FakeService, type FakeServiceOptions } from './fake-service.ts';

export const SERVER = 'https://tv.example/';

export type FakeSetting = { readonly clock: FakeClock; readonly service: FakeService; start(more?: Partial<SessionOptions>): Promise<StartedSession> };

/** The service has a clock of its own, which nobody steps. */
export const setUp = async (options: Omit<FakeServiceOptions, 'clock'> = {}): Promise<FakeSetting> => {
  const clock = createFakeClock();
  const service = await createFakeService({ clock: { ...clock, now: () => micros(Math.round(1_800_000_000_000_000 + clock.monotonic() * 1000)) }, ...options });
  const device = await openDevice({ name: 'test' });
  return {
    clock,
    service,
    start: (more = {}) => startSession({ servers: [SERVER], asset: service.asset, entitlement: async () => 'entitlement', device, fetch: service.fetch, clock, timeout: 1000 as never, ...more }),
  };
};

/** The session, or the denial as an error. */
export const started = async (outcome: Promise<StartedSession>): Promise<Session> => {
  const result = await outcome;
  if (!result.ok) throw new Error(`${result.denial.code}: ${result.denial.detail}`);
  return result.session;
};

export const paths = (seen: readonly { readonly path: string }[]): string[] => seen.map(({ path }) => path);
export const countOf = (service: FakeService, path: string): number => paths(service.seen).filter((each) => each === path).length;
