// SPDX-License-Identifier: Apache-2.0
/**
 * The whole platform with titles that are sold by subscription, a backend that signs plans, and a line that can be cut.
 *
 * Real packing, real encryption, real licences; the viewer is the only one who is made up.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '#adapters/ffmpeg/process.ts';
import { createMemoryOfflineStorage, type MemoryOfflineStorage } from '#client/offline/memory-storage.ts';
import { type Offline, type OfflineOptions, openOffline } from '#client/offline/offline.ts';
import { type Device, type DeviceKeyStorage, memoryDeviceStorage, openDevice } from '#client/device.ts';
import { registerDevice } from '#client/start-session.ts';
import { type AssetId, assetId, type ProtectionScheme } from '#core/ids.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import type { Micros } from '#core/time.ts';
import { importSigningKey, makeKeyPair, signJws } from '#crypto/jose.ts';
import { loadConfig } from '#entry/config/index.ts';
import { type Platform, startPlatform } from '#entry/node.ts';
import type { Membership } from '#ports';

export const EPISODE_SECONDS = 8;

/** What one account's entitlements say; change it between requests. */
export type Bought = { plans: Record<string, unknown>[]; account: string };

export type SubscriptionStack = {
  readonly platform: Platform;
  readonly url: string;
  /** Packs titles and puts them into the collection `films`. */
  titles(names: readonly string[], options?: { readonly audioOnly?: boolean; readonly scheme?: ProtectionScheme; readonly membership?: Partial<Membership> }): Promise<readonly AssetId[]>;
  plan(changes?: Record<string, unknown>): Record<string, unknown>;
  entitlement(bought: Bought, claims?: Record<string, unknown>): Promise<string>;
  /** Plays by title as the service counts them. */
  plays(): Promise<Readonly<Record<string, number>>>;
  stop(): Promise<void>;
};

const nowSeconds = (): number => Math.floor(Date.now() / 1000);

export const startSubscriptionStack = async (settings: Record<string, unknown> = {}): Promise<SubscriptionStack> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-offline-'));
  const pair = await makeKeyPair('sign');
  const key = await importSigningKey(pair.privateJwk);
  const config = loadConfig(undefined, { data: folder, listen: { host: '127.0.0.1', port: 0 }, licensing: { horizonSeconds: 600 }, packager: { titlePeriodSeconds: 1, groupPeriods: 2 }, usage: { countedAfterSeconds: 2 }, log: { level: 'error', format: 'json' }, ...settings });
  const platform = await startPlatform({ config, extend: async () => ({ demo: async () => new Response(null, { status: 404 }), entitlementKeys: [{ kid: 'shop', alg: 'ES256', key: pair.publicJwk as unknown as JsonWebKey }] }) });
  const { actions, stores } = platform;
  if (actions?.addTitle === undefined) throw new Error('the platform packs nothing');
  const { addTitle } = actions;
  let jti = 0;
  const makeClip = async (file: string, audioOnly: boolean, frequency: number): Promise<void> => {
    const sound = ['-f', 'lavfi', '-i', `sine=frequency=${frequency}:sample_rate=48000:d=${EPISODE_SECONDS}`];
    const picture = ['-f', 'lavfi', '-i', `testsrc2=s=320x180:r=25:d=${EPISODE_SECONDS}`, '-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0', '-pix_fmt', 'yuv420p', '-b:v', '300k', '-g', '50', '-threads', '1'];
    await promisify(execFile)(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'error', '-y', ...sound, ...(audioOnly ? [] : picture), '-c:a', 'aac', '-b:a', '96k', '-ac', '2', file]);
  };
  return {
    platform,
    url: platform.url,
    async titles(names, { audioOnly = false, scheme = 'cenc', membership = {} } = {}) {
      const made = names.map(assetId);
      for (const [index, asset] of made.entries()) {
        const file = join(folder, `${asset}.mp4`);
        await makeClip(file, audioOnly, audioOnly ? 440 : 330 + 110 * index);
        await addTitle({ asset, name: asset, scheme, clearKey: 'off', source: file });
      }
      const deadline = performance.now() + 120_000;
      for (const asset of made) {
        for (let state = ''; state !== 'ready'; ) {
          const entry = await stores.catalogue.get(asset);
          state = entry?.state ?? '';
          if (state === 'failed' || performance.now() > deadline) throw new Error(`${asset} was not packed: ${state}`);
          if (state !== 'ready') await new Promise((resolve) => setTimeout(resolve, 100));
        }
        await stores.collections.put({ collection: 'films', asset, published: (Date.now() * 1000) as Micros, scope: 'account', actions: ['play', 'download'], owner: 'Studio', ...membership });
      }
      return made;
    },
    plan: (changes = {}) => {
      const month = monthAt((Date.now() * 1000) as Micros);
      return { plan: 'family', collection: 'films', months: [month - 2, month + 2], begin: nowSeconds() - 3600, end: nowSeconds() + 30 * 86_400, actions: ['play', 'download'], ...changes };
    },
    entitlement: ({ account, plans }, claims = {}) => signJws({ iss: 'https://shop.example', aud: 'sealcast', sub: account, jti: `${performance.now()}-${++jti}`, iat: nowSeconds(), exp: nowSeconds() + 300, assets: ['*'], plans, ...claims }, { typ: 'entitlement+jwt', key, kid: 'shop' }),
    async plays() {
      const totals = await stores.usage.totals('title', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 100 });
      return Object.fromEntries(totals.filter(({ plays }) => plays > 0).map(({ key: title, plays }) => [title, plays]));
    },
    async stop() {
      await platform.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** A device of an account, its storage and its line. */
export type TestViewer = {
  readonly device: Device;
  readonly keys: DeviceKeyStorage;
  readonly storage: MemoryOfflineStorage;
  readonly bought: Bought;
  /** Requests made, newest last. */
  readonly asked: string[];
  cut: boolean;
  /** Opens the offline side, as an app does at its start. */
  open(more?: Partial<OfflineOptions>): Promise<Offline>;
};

/** A registered device with the family plan. */
export const makeViewer = async (stack: SubscriptionStack, account = 'viewer-1', plans: Record<string, unknown>[] = [stack.plan()]): Promise<TestViewer> => {
  const keys = memoryDeviceStorage();
  const device = await openDevice({ name: 'tablet', storage: keys });
  const bought: Bought = { account, plans };
  const registered = await registerDevice({ servers: [stack.url], device, entitlement: () => stack.entitlement(bought) });
  if (!registered.ok) throw new Error(`${registered.denial.code}: ${registered.denial.detail}`);
  const viewer: TestViewer = {
    device,
    keys,
    storage: createMemoryOfflineStorage(),
    bought,
    asked: [],
    cut: false,
    open: (more = {}) =>
      openOffline({
        servers: [stack.url],
        baseUrl: stack.url,
        device,
        storage: viewer.storage,
        entitlement: () => stack.entitlement(bought),
        connected: () => !viewer.cut,
        async fetch(request) {
          viewer.asked.push(`${request.method} ${new URL(request.url).pathname}`);
          if (viewer.cut) throw new TypeError('the line is cut');
          return fetch(request);
        },
        ...more,
      }),
  };
  return viewer;
};

/** The fetch of a player on that device: downloads first, nothing else while the line is cut. */
export const playerFetch = (offline: Offline, viewer: TestViewer) => async (request: Request): Promise<Response> => {
  const answer = offline.downloads.serve(request);
  if (answer !== undefined) return answer;
  viewer.asked.push(`${request.method} ${new URL(request.url).pathname}`);
  if (viewer.cut) throw new TypeError('the line is cut');
  return fetch(request);
};
