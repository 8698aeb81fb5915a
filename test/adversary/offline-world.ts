// SPDX-License-Identifier: Apache-2.0
/**
 * A licensing installation and a viewer's device with a clock of its own, which can be set, drift, sleep and restart.
 *
 * The service's time is the world's hand-moved clock; the device's wall clock is whatever its owner made of it.
 */
import { memoryDeviceStorage, openDevice, type Device } from '#client/device.ts';
import { createMemoryOfflineStorage, type MemoryOfflineStorage } from '#client/offline/memory-storage.ts';
import { type Offline, type OfflineOptions, openOffline } from '#client/offline/offline.ts';
import { registerDevice } from '#client/start-session.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import { createWorld, FILM, SCHEDULE, SECOND, seededRandom, START, type World } from './license-world.ts';

export const DAY = 86_400;
export const NOW: number = START / SECOND;
export const MONTH: number = monthAt(START);

/** A device's clock. */
export type DeviceClock = Clock & {
  /** Sets the wall clock by hand, seconds from where it is. */
  set(seconds: number): void;
  /** Wall seconds per true second from now on. */
  drift(rate: number): void;
  /** The process ends and another one begins: the monotonic clock starts anew, timers are gone. */
  restart(): void;
};

const deviceClock = (world: World): DeviceClock => {
  let base = world.clock.now() as number;
  let since = world.clock.now() as number;
  let rate = 1;
  let boot = world.clock.monotonic();
  let generation = 0;
  const now = (): Micros => Math.round(base + (world.clock.now() - since) * rate) as Micros;
  const rebase = (): void => {
    base = now();
    since = world.clock.now();
  };
  return {
    now,
    monotonic: () => (world.clock.monotonic() - boot) as Millis,
    after(delay, run) {
      const own = generation;
      return world.clock.after(delay, () => {
        if (own === generation) run();
      });
    },
    set(seconds) {
      rebase();
      base += seconds * SECOND;
    },
    drift(to) {
      rebase();
      rate = to;
    },
    restart() {
      boot = world.clock.monotonic();
      generation += 1;
    },
  };
};

/** A device of an account. */
export type OfflineClient = {
  readonly device: Device;
  readonly clock: DeviceClock;
  readonly storage: MemoryOfflineStorage;
  readonly bought: { account: string; plans: Record<string, unknown>[] };
  /** Requests made, in order. */
  readonly asked: string[];
  cut: boolean;
  /** Stands between the device and the service. */
  between: ((request: Request, forward: (request: Request) => Promise<Response>) => Promise<Response>) | undefined;
  open(more?: Partial<OfflineOptions>): Promise<Offline>;
  /** Ends the process without a word and starts the app again. */
  restart(more?: Partial<OfflineOptions>): Promise<Offline>;
};

export type OfflineWorld = World & {
  plan(changes?: Record<string, unknown>): Record<string, unknown>;
  client(options?: { account?: string; plans?: Record<string, unknown>[]; device?: Device; storage?: MemoryOfflineStorage }): Promise<OfflineClient>;
  /** Titles with keys in the collection `films`. */
  addTitles(names: readonly string[], changes?: object): Promise<readonly AssetId[]>;
};

export const createOfflineWorld = async (changes: Parameters<typeof createWorld>[0] = {}): Promise<OfflineWorld> => {
  const world = await createWorld(changes);
  const member = { collection: 'films', published: START, scope: 'account', actions: ['play', 'download'], owner: 'Studio' } as const;
  await world.stores.collections.put({ ...member, asset: FILM });
  let made = 0;
  return {
    ...world,
    plan: (more = {}) => ({ plan: 'family', collection: 'films', months: [MONTH - 3, MONTH + 2], begin: NOW - DAY, end: NOW + 30 * DAY, actions: ['play', 'download'], ...more }),
    async addTitles(names, more = {}) {
      const titles = names.map(assetId);
      for (const asset of titles) {
        await world.keyServer.createAsset({ asset, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule: SCHEDULE });
        await world.stores.catalogue.create({ asset, kind: 'title', name: asset, state: 'ready', createdAt: START, duration: (60 * SECOND) as Micros, clearKey: 'off' });
        await world.stores.collections.put({ ...member, asset, ...more });
      }
      return titles;
    },
    async client({ account = 'account-1', plans, device, storage = createMemoryOfflineStorage() } = {}) {
      const own = device ?? (await openDevice({ name: 'tablet', storage: memoryDeviceStorage() }));
      const clock = deviceClock(world);
      const forward = (request: Request): Promise<Response> => world.licenses.handler(request);
      const client: OfflineClient = {
        device: own,
        clock,
        storage,
        bought: { account, plans: plans ?? [{ plan: 'family', collection: 'films', months: [MONTH - 3, MONTH + 2], begin: NOW - DAY, end: NOW + 30 * DAY, actions: ['play', 'download'] }] },
        asked: [],
        cut: false,
        between: undefined,
        open: (more = {}) =>
          openOffline({
            servers: ['https://license.example'],
            baseUrl: 'https://media.example',
            device: own,
            storage,
            clock,
            random: seededRandom(`client-${++made}`),
            entitlement: () => world.entitlement({ sub: client.bought.account, assets: undefined, plans: client.bought.plans }),
            connected: () => !client.cut,
            async fetch(request) {
              client.asked.push(`${request.method} ${new URL(request.url).pathname}`);
              if (client.cut) throw new TypeError('the line is cut');
              return client.between === undefined ? forward(request) : client.between(request, forward);
            },
            ...more,
          }),
        restart(more) {
          clock.restart();
          return client.open(more);
        },
      };
      if (device === undefined) {
        const registered = await registerDevice({ servers: ['https://license.example'], device: own, clock, fetch: forward, entitlement: () => world.entitlement({ sub: account }) });
        if (!registered.ok) throw new Error(registered.denial.detail);
      }
      return client;
    },
  };
};

/** Opens the device's offline side with roots and the leaf of the film. */
export const equipped = async (client: OfflineClient, titles: readonly AssetId[] = [FILM]): Promise<Offline> => {
  const offline = await client.open();
  const refreshed = await offline.subscriptions.refresh();
  if (!refreshed.ok) throw new Error(refreshed.denial.detail);
  const fetched = await offline.subscriptions.fetchLeaves({ titles });
  if (!fetched.ok) throw new Error(fetched.denial.detail);
  return offline;
};

/** The code of a refusal, or `plays`. */
export const verdict = (outcome: { readonly ok: true } | { readonly ok: false; readonly denial: { readonly code: string } }): string => (outcome.ok ? 'plays' : outcome.denial.code);
