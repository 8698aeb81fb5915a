// SPDX-License-Identifier: Apache-2.0
/**
 * A licensing installation with a concurrency record, three renewal nodes and a network between them and the real client, all
 * on one hand-moved clock: nodes are killed, replaced, cut off and lied to while sessions run.
 *
 * Invariant: an honest session is judged by its keys, never by what it says of itself.
 */
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency } from '#adapters/memory/concurrency.ts';
import type { Device } from '#client/device.ts';
import { openDevice } from '#client/device.ts';
import type { Session } from '#client/session-types.ts';
import { type SessionOptions, startSession } from '#client/start-session.ts';
import { type AccountId, accountId, type AssetId, type KeyGroup, type KeyId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import type { LicenseServerOptions } from '#license-server/options.ts';
import type { Renewal } from '#renewal/renewal.ts';
import type { ConcurrencyRecord, ConcurrencyStore } from '#ports';
import { settle } from '../interop/fake-clock.ts';
import { createWorld, SCHEDULE, seededRandom, type World } from './license-world.ts';

/** What a host does with a request: answers, or fails as networks do. */
export type Host = (request: Request) => Promise<Response>;
export const dead: Host = () => Promise.reject(new TypeError('connection refused'));

export const LICENSES = 'license.example';
export const NODES: readonly string[] = ['r1.example', 'r2.example', 'r3.example'];

export type RenewalWorld = {
  readonly world: World;
  readonly store: ConcurrencyStore;
  readonly record: ConcurrencyRecord;
  /** Whether the store answers. */
  reach(reachable: boolean): void;
  /** By host name; replace one at any time. */
  readonly hosts: Map<string, Host>;
  /** Requests that reached a host: `host path`. */
  readonly seen: string[];
  /** A renewal node that knows nothing yet but keys, and the record. */
  node(): Renewal;
  /** A session of the real client on a device of its own. */
  watch(asset: AssetId, options?: Partial<SessionOptions> & { readonly account?: string }): Promise<Session>;
  readonly devices: Map<Session, Device>;
  /** Moves time on in steps, and lets everything under way come to rest after each. */
  pass(seconds: number, each?: () => Promise<void> | void, step?: number): Promise<void>;
  /** Sessions that count for the account. */
  count(account?: string): Promise<number>;
};

export const hashedAccount = (account: string): AccountId => heartbeatAccount(ladderHash, accountId(account));

export const createRenewalWorld = async (changes: Partial<LicenseServerOptions> = {}): Promise<RenewalWorld> => {
  let reachable = true;
  const memory = createMemoryConcurrency();
  const store = new Proxy(memory, { get: (target, name: keyof ConcurrencyStore) => (reachable ? target[name] : () => Promise.reject(new Error('unreachable'))) });
  const guarded: { record?: ConcurrencyRecord } = {};
  // The record needs the world's clock, and the world the record.
  const record = new Proxy({} as ConcurrencyRecord, { get: (_, name: keyof ConcurrencyRecord) => guarded.record?.[name] });
  const world = await createWorld({ record, renewUrls: NODES.map((host) => `https://${host}/v1/renew`), ...changes });
  const { clock } = world;
  guarded.record = createGuardedConcurrency({ store, clock, events: (event) => void world.told.push(event), metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } });
  const node = (): Renewal => world.renewalNode({ record, accounts: world.licenses.accounts });
  const hosts = new Map<string, Host>([[LICENSES, world.licenses.handler], ...NODES.map((host): [string, Host] => [host, node().handler])]);
  const seen: string[] = [];
  const devices = new Map<Session, Device>();
  let viewers = 0;
  const fetch = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url);
    seen.push(`${host} ${pathname}`);
    return (hosts.get(host) ?? dead)(request);
  };
  return {
    world,
    store,
    record,
    reach: (now) => void (reachable = now),
    hosts,
    seen,
    node,
    devices,
    async watch(asset, { account = 'account-1', ...options } = {}) {
      const device = await openDevice({ name: `device ${viewers}` });
      const outcome = await startSession({
        servers: [`https://${LICENSES}`], asset, device, entitlement: () => world.entitlement({ sub: account }), fetch, clock,
        random: seededRandom(`viewer ${viewers++}`), timeout: 1000 as Millis, ...options,
      });
      if (!outcome.ok) throw new Error(`${outcome.denial.code}: ${outcome.denial.detail}`);
      devices.set(outcome.session, device);
      return outcome.session;
    },
    async pass(seconds, each, step = 0.5) {
      for (let passed = 0; passed < seconds - 1e-9; passed += step) {
        await clock.advance(step);
        await settle();
        await each?.();
      }
    },
    count: async (account = 'account-1') => (await store.counts([{ account: hashedAccount(account) }], clock.now()))[0] ?? 0,
  };
};

/** Whether a session decrypts the frame of a period, as a server holds it sealed with the key server's content key, to what went in. */
export type Plays = (session: Pick<Session, 'key'>, period: number) => Promise<boolean>;

const FRAME = new TextEncoder().encode('a frame of the programme, as it went in');

/** Events: periods up to 60 s ahead of the clock. */
export const sealMedia = async (world: World, asset: AssetId, keyGroup: KeyGroup = 'video'): Promise<Plays> => {
  const cipher = createSampleCipher();
  const sealed = new Map<number, { readonly kid: KeyId; readonly frame: Uint8Array }>();
  const counter = (period: number): Uint8Array => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, period);
    return bytes;
  };
  const seal = async (period: number): Promise<{ readonly kid: KeyId; readonly frame: Uint8Array }> => {
    const [made] = await world.keyServer.contentKeys({ asset, keyGroup, from: period as CryptoPeriod, to: (period + 1) as CryptoPeriod });
    if (made === undefined) throw new Error(`no key for period ${period}`);
    const item = { kid: made.kid, frame: await cipher.ctr(made.key, counter(period), FRAME) };
    sealed.set(period, item);
    return item;
  };
  return async (session, period) => {
    const { kid, frame } = sealed.get(period) ?? (await seal(period));
    const key = await session.key(kid, (period * SCHEDULE.period) as Micros);
    if (key === undefined) return false;
    const clear = await cipher.ctr(key, counter(period), frame);
    return clear.every((byte, index) => byte === FRAME[index]);
  };
};
