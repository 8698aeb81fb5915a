// SPDX-License-Identifier: Apache-2.0
/**
 * Everything a device does for subscriptions and offline play, put together: rights, clock, downloads, pushes, usage, stops.
 *
 * docs/wire/subscription.md; docs/guide/client.md shows it in use. Invariant: what needs the service says so by its outcome; play of
 * what is on the device asks nobody.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { OfflineStorage } from '#ports';
import { runtimeClock, runtimeRandom } from '../clock.ts';
import { orderAddresses } from '../server-address.ts';
import type { Session } from '../session-types.ts';
import type { ServiceOptions } from '../start-session.ts';
import { textOf } from '../texts/texts.ts';
import { createTransport } from '../transport.ts';
import { type LeafCatalogue, openLeafCatalogue } from './catalogue.ts';
import { createDeviceSeal } from './device-seal.ts';
import type { Downloads } from './download-types.ts';
import { openDownloads } from './downloads.ts';
import { createOfflineSession } from './offline-session.ts';
import { beginPlayRecord } from './play-record.ts';
import { openServiceLink, type ServiceLink } from './service-link.ts';
import { createStopKeeper, type StopKeeper } from './stop-keeper.ts';
import { openSubscriptions, type Refused, type Subscriptions } from './subscriptions.ts';
import { openTrustedClock, type TrustedClock } from './trusted-clock.ts';
import { openUsageLog, usageEntry } from './usage-log.ts';
import { createUsageReporter, type UsageReporter } from './usage-reporter.ts';
import { followSession } from './follow-session.ts';

/** How a device keeps and plays what it has rights for. */
export type OfflineOptions = ServiceOptions & {
  readonly storage: OfflineStorage;
  /** Where media is served. */
  readonly baseUrl: string;
  /** Whether there is a connection; only for the note in usage records. Default: never. */
  readonly connected?: () => boolean;
  /** Bytes that downloads may take. Default: what the storage has room for. */
  readonly quota?: number;
  /** Pause between usage reports while there is a connection. Default 15 min. */
  readonly reportEvery?: Millis;
  /** Pages of one origin share a storage: tells whether the one named `owner` still runs. Default: this is the only one. */
  readonly alive?: (owner: string) => Promise<boolean>;
  /** Name of this page or process. Default: random. */
  readonly owner?: string;
};

/** Usage as an app sees it. */
export type UsageStatus = {
  /** Records that the service has not acknowledged yet. */
  readonly pending: number;
} & UsageReporter;

/** A device's offline side. */
export type Offline = {
  readonly clock: TrustedClock;
  readonly subscriptions: Subscriptions;
  readonly catalogue: LeafCatalogue;
  readonly downloads: Downloads;
  readonly usage: UsageStatus;
  readonly stops: StopKeeper;
  /** Plays a title from this device; nothing is asked. Give the session to `createViewer` or `playProtected`. */
  play(title: string): Promise<{ readonly ok: true; readonly session: Session } | Refused>;
  /** Records what is played of a session of the service, as plays from this device are. The given session goes on as it is. */
  follow(session: Session, plan: string): Promise<Session>;
  /** After a connection is back: time, roots that are due, stops, usage, downloads, in this order. Never rejects. */
  reconnected(): Promise<{ readonly time: boolean; readonly roots: boolean; readonly stops: boolean; readonly usage: boolean }>;
  /** A push message `{ "titles": [...] }`: leaves and downloads of titles that the viewer is going to want. Answers the titles queued. */
  pushed(message: unknown): Promise<readonly AssetId[]>;
  /** Removes downloads that no plan of this device can play any more; answers them. Rights that wait for a clock are kept. */
  tidy(): Promise<readonly AssetId[]>;
  close(): Promise<void>;
};

const DEFAULT_TIMEOUT = 5000 as Millis;
const MAX_PUSHED = 64;

/** The Clear Key exchange of a title, asked once while it is downloaded. */
const entryKeyFrom = (link: ServiceLink, catalogue: LeafCatalogue) => async (title: AssetId): Promise<Uint8Array | undefined> => {
  const leaf = catalogue.get(title);
  if (leaf === undefined) return undefined;
  const answer = await link.post(`/v1/clearkey?asset=${title}`, { kids: [encodeBase64url(leaf.entryKid)], type: 'temporary' }, (body) => new TextEncoder().encode(JSON.stringify(body)));
  return answer.ok ? answer.value : undefined;
};

/** Opens the device's offline side. Rejects where the storage cannot be read. */
export const openOffline = async (options: OfflineOptions): Promise<Offline> => {
  const { device, storage, baseUrl } = options;
  const { records } = storage;
  const clock = options.clock ?? runtimeClock;
  const random = options.random ?? runtimeRandom;
  const texts = options.texts ?? {};
  const fetchIt = options.fetch ?? ((request: Request) => fetch(request));
  const connected = options.connected ?? (() => false);
  const seal = await createDeviceSeal(device);
  const trusted = await openTrustedClock({ records, seal, clock });
  const transport = createTransport({ fetch: fetchIt, clock, timeout: options.timeout ?? DEFAULT_TIMEOUT });
  const link = await openServiceLink({ servers: orderAddresses(options.servers, random), transport, records, seal, trusted, random });
  const catalogue = await openLeafCatalogue(records);
  const subscriptions = await openSubscriptions({ device, link, trusted, catalogue, records, seal, entitlement: options.entitlement, texts });
  const log = await openUsageLog(records, seal);
  const reporter = createUsageReporter({ log, link, trusted, device, account: () => subscriptions.account, records, clock, random, ...(options.reportEvery !== undefined && { interval: options.reportEvery }) });
  const stops = createStopKeeper({ records, owner: options.owner ?? encodeBase64url(random.bytes(9)), ...(options.alive !== undefined && { alive: options.alive }) });
  const now = (): Micros => trusted.now() ?? clock.now();

  const permit = async (title: AssetId): Promise<{ readonly ok: true } | Refused> => {
    if (!catalogue.has(title)) {
      const fetched = await subscriptions.fetchLeaves({ titles: [title] });
      if (!fetched.ok) return fetched;
    }
    const allowed = subscriptions.allows(title, 'download');
    return allowed.ok ? { ok: true } : allowed;
  };

  const access = async (title: AssetId): Promise<{ readonly ok: true; readonly token: string; readonly expires: Micros } | Refused> => {
    const allowed = subscriptions.allows(title, 'download');
    if (!allowed.ok) return allowed;
    const answer = await link.post('/v1/downloads', { root: subscriptions.credential(title, 'download'), title }, async (body) => {
      const members = membersOf(body, 'download', 'bad-request', ['leaf', 'mediaToken', 'mediaTokenExpires'], [], true);
      await catalogue.add([members.text('leaf', { most: 2048 })]);
      return { ok: true as const, token: members.text('mediaToken', { most: 8192 }), expires: members.integer('mediaTokenExpires', 0, Number.MAX_SAFE_INTEGER) as Micros };
    });
    if (answer.ok) return answer.value;
    const code = answer.code ?? 'service-unreachable';
    return { ok: false, denial: { code, text: textOf(code, texts), detail: answer.detail, retry: answer.retry ?? 'later', extra: {} } };
  };

  const downloads = await openDownloads({
    storage,
    fetch: fetchIt,
    baseUrl,
    permit,
    access,
    entryKey: entryKeyFrom(link, catalogue),
    now,
    clock,
    random,
    texts,
    quota: options.quota ?? Number.POSITIVE_INFINITY,
    async told(title, what) {
      const allowed = subscriptions.allows(title, 'download');
      // A title whose plan is gone is removed without anybody to account to.
      if (!allowed.ok) return;
      await log.append({ ...usageEntry({ title, gen: catalogue.get(title)?.gen ?? 0, action: what, plan: allowed.plan, at: now(), offline: !connected(), certain: Math.min(trusted.uncertainty(), Number.MAX_SAFE_INTEGER) as Micros }) });
    },
  });

  const record = (title: AssetId, gen: number, plan: string, isConnected: () => boolean): ReturnType<typeof beginPlayRecord> => beginPlayRecord({ title, gen, plan, connected: isConnected, log, trusted, clock, random });

  const sendStop = async (stop: object): Promise<'stopped' | 'refused' | 'unreachable'> => {
    const answer = await link.post('/v1/stop', stop, (body) => body['stopped'] === true);
    return answer.ok ? (answer.value ? 'stopped' : 'unreachable') : answer.final ? 'refused' : 'unreachable';
  };

  const offline: Offline = {
    clock: trusted,
    subscriptions,
    catalogue,
    downloads,
    usage: {
      get pending() {
        return log.pending;
      },
      ...reporter,
    },
    stops,
    async play(name) {
      const title = assetId(name);
      const opened = await subscriptions.open(title, 'play');
      if (!opened.ok) return opened;
      // The first play of a rental and the record of this one are on disk before there is a session.
      await subscriptions.played(opened.plan, title);
      const watch = await record(title, opened.leaf.gen, opened.plan, connected);
      const until = (): Micros | undefined | 'gone' => {
        const allowed = subscriptions.allows(title, 'play');
        return allowed.ok ? subscriptions.until(title, allowed.plan) : allowed.denial.code === 'clock-unconfirmed' ? opened.until : 'gone';
      };
      const session = createOfflineSession({ opened, until, token: () => downloads.token(title), trusted, watch, clock, random, texts });
      return { ok: true, session };
    },
    follow: async (session, plan) => followSession(session, await record(session.asset, catalogue.get(session.asset)?.gen ?? 0, plan, () => true)),
    async reconnected() {
      const time = await link.askTime();
      const renewed = subscriptions.due && subscriptions.plans.length > 0 ? await subscriptions.refresh().catch(() => ({ ok: false })) : { ok: true };
      const waiting = await stops.resend(sendStop);
      const usage = await reporter.flush();
      downloads.wake();
      return { time, roots: renewed.ok, stops: waiting === 0, usage };
    },
    async pushed(message) {
      const listed = membersOf(message, 'push', 'bad-request', ['titles'], [], true).list('titles', MAX_PUSHED).map(assetId);
      const fetched = await subscriptions.fetchLeaves({ titles: listed });
      const missing = new Set(fetched.ok ? fetched.missing : []);
      const queued: AssetId[] = [];
      for (const title of listed) if (!missing.has(title) && (await downloads.add(title, { priority: 'soon' })).ok) queued.push(title);
      return queued;
    },
    async tidy() {
      const gone = downloads.all.map(({ title }) => title).filter((title) => {
        const allowed = subscriptions.allows(title, 'play');
        return !allowed.ok && (allowed.denial.code === 'license-expired' || allowed.denial.code === 'license-missing');
      });
      for (const title of gone) await downloads.remove(title);
      await catalogue.remove(gone);
      return gone;
    },
    async close() {
      reporter.stop();
      await downloads.close();
      await trusted.save();
    },
  };
  return offline;
};
