// SPDX-License-Identifier: Apache-2.0
/**
 * The story of the subscription source: an episode watched online, three pushed meanwhile, a ride without a connection, and
 * the count afterwards.
 *
 * Checklist B134-B141, B123. Invariant: what was watched is judged by decrypted frames, what was counted by the usage report
 * that operators pay by.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { openFolderOfflineStorage, type FolderOfflineStorage } from '#adapters/node/index.ts';
import { createViewer, type Device, memoryDeviceStorage, type Offline, openDevice, openOffline, registerDevice, type Session, startSession } from '#client/index.ts';
import { isSealcastError } from '#core/errors.ts';
import { type AccountId, type AssetId, assetId } from '#core/ids.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import type { Micros } from '#core/time.ts';
import type { Fetch } from '#ports';
import { type Chapter, type Step, step, until } from './chapter.ts';
import type { Stage } from './stage.ts';
import { demoFetch } from './watching.ts';

const COLLECTION = 'series';
const OWNER = 'Northlight Pictures';
const EPISODES: readonly AssetId[] = [1, 2, 3, 4].map((number) => assetId(`episode-${number}`));
const SECONDS = 8;
const FRAMES = SECONDS * 25;
/** The playhead runs faster than life: what counts is media time. */
const SPEED = 4;
const PACKING = 60_000;
const ALL_TIME = { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 100 };

/** One device of one account, whose line can be cut and whose app can be closed. */
type Traveller = {
  readonly account: AccountId;
  readonly device: Device;
  plans: Record<string, unknown>[];
  /** Requests that left the device. */
  requests: number;
  /** Requests that were tried while the line was cut. */
  tried: number;
  cut: boolean;
  /** Bodies of usage reports, as somebody on the line would keep them. */
  readonly reports: string[];
  readonly fetch: Fetch;
  app: Offline;
  reopen(): Promise<void>;
  close(): Promise<void>;
};

const encode = async (folder: string, asset: AssetId, hue: number): Promise<string> => {
  const file = join(resolve(folder), 'demo', `${asset}.mp4`);
  if (existsSync(file)) return file;
  await mkdir(join(resolve(folder), 'demo'), { recursive: true, mode: 0o700 });
  let ffmpeg: string;
  try {
    ffmpeg = findTool('ffmpeg');
  } catch (error) {
    if (!isSealcastError(error, 'tool-missing')) throw error;
    return '/bundled-clip';
  }
  await promisify(execFile)(ffmpeg, [
    '-nostdin', '-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=s=320x180:r=25:d=${SECONDS},hue=h=${hue}`, '-f', 'lavfi', '-i', `sine=f=${220 + hue}:r=48000:d=${SECONDS}`,
    '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '50', '-bf', '0', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-b:a', '64k', '-threads', '1', file,
  ]);
  return file;
};

/** Packs the episodes into their collection, unless an earlier start did. */
const series = (stage: Stage): Promise<Step> =>
  step('series', 'four episodes are packed and joined to a collection, each with its owner', async () => {
    const { actions, stores } = stage.platform;
    for (const [index, asset] of EPISODES.entries()) {
      if ((await stores.catalogue.get(asset)) !== undefined) continue;
      await actions?.addTitle?.({ asset, name: `Episode ${index + 1}`, scheme: 'cenc', clearKey: 'off', source: await encode(stage.config.data, asset, 90 * index), membership: { collection: COLLECTION, scope: 'account', actions: ['play', 'download'], owner: OWNER } });
    }
    const ready = (): Promise<boolean> => stores.catalogue.getMany(EPISODES).then((entries) => entries.every((entry) => entry?.state === 'ready'));
    const ok = await until(ready, PACKING);
    return { ok, figures: { episodes: (await stores.collections.list(COLLECTION, { limit: 9 })).length } };
  });

const familyPlan = (): Record<string, unknown> => {
  const now = Date.now();
  const month = monthAt((now * 1000) as Micros);
  const seconds = Math.floor(now / 1000);
  return { plan: 'family', collection: COLLECTION, months: [month - 12, month + 2], begin: seconds - 86_400, end: seconds + 30 * 86_400, actions: ['play', 'download'] };
};

const newTraveller = async (stage: Stage, folder: string): Promise<Traveller> => {
  const base = stage.platform.localUrl;
  const account = `traveller-${crypto.randomUUID().slice(0, 8)}` as AccountId;
  let storage: FolderOfflineStorage | undefined;
  const device = await openDevice({ name: 'phone', storage: memoryDeviceStorage() });
  const traveller: Omit<Traveller, 'app'> & { app: Offline | undefined } = {
    account,
    device,
    plans: [familyPlan()],
    requests: 0,
    tried: 0,
    cut: false,
    reports: [],
    async fetch(request) {
      if (traveller.cut) {
        traveller.tried += 1;
        throw new TypeError('no connection');
      }
      traveller.requests += 1;
      if (new URL(request.url).pathname === '/v1/usage') traveller.reports.push(await request.clone().text());
      return demoFetch(request);
    },
    app: undefined,
    async reopen() {
      await traveller.close();
      storage = await openFolderOfflineStorage(folder);
      traveller.app = await openOffline({ servers: [base], baseUrl: base, device, storage, entitlement: () => stage.issuer.sell(account, traveller.plans), fetch: traveller.fetch, connected: () => !traveller.cut });
    },
    async close() {
      await traveller.app?.close();
      await storage?.close();
    },
  };
  const registered = await registerDevice({ servers: [base], device, entitlement: () => stage.issuer.sell(account, traveller.plans), fetch: traveller.fetch });
  if (!registered.ok) throw new Error(`the device was refused: ${registered.denial.code}`);
  await traveller.reopen();
  return traveller as Traveller;
};

/** Plays a session to its end as a screen does, and answers the frames that came out. */
const show = async (stage: Stage, { app, fetch }: Traveller, session: Session): Promise<number> => {
  const viewer = createViewer({ session, baseUrl: stage.platform.localUrl, fetch: async (request) => app.downloads.serve(request) ?? fetch(request), speed: SPEED });
  const began = performance.now();
  for (let at = 0; at < SECONDS; ) {
    await new Promise((wake) => setTimeout(wake, 100));
    at = ((performance.now() - began) / 1000) * SPEED;
    session.playhead(Math.round(Math.min(at, SECONDS) * 1e6) as Micros);
  }
  await viewer.done;
  await session.stop();
  return viewer.stats().frames;
};

/** What operators pay by: plays of this account, by title. */
const counted = async (stage: Stage, { account }: Traveller): Promise<readonly string[]> =>
  (await stage.platform.stores.usage.list({ account, limit: 100 })).filter((record) => record.counted).map(({ title }) => title as string).sort();

const online = (stage: Stage, traveller: Traveller): Promise<Step> =>
  step('online', 'episode 1 plays from the network; meanwhile 2, 3 and 4 are pushed with their licences', async () => {
    const { app } = traveller;
    await app.subscriptions.refresh();
    const started = await startSession({ servers: [stage.platform.localUrl], asset: EPISODES[0] as AssetId, device: traveller.device, entitlement: () => stage.issuer.issue(traveller.account, EPISODES[0] as AssetId), fetch: traveller.fetch });
    if (!started.ok) throw new Error(`episode 1 was refused: ${started.denial.code}`);
    const showing = show(stage, traveller, await app.follow(started.session, 'family'));
    const pushed = await app.pushed({ titles: EPISODES.slice(1) });
    const frames = await showing;
    await app.downloads.settled();
    const complete = app.downloads.all.filter(({ state }) => state === 'complete').length;
    return { ok: frames >= FRAMES && pushed.length === 3 && complete === 3, figures: { frames, pushed: pushed.length, downloaded: complete } };
  });

const offline = (stage: Stage, traveller: Traveller): Promise<Step> =>
  step('offline', 'no connection: 2 and 3 play to their ends, and not one request is made', async () => {
    traveller.cut = true;
    traveller.tried = 0;
    let frames = 0;
    for (const title of EPISODES.slice(1, 3)) {
      const playing = await traveller.app.play(title);
      if (!playing.ok) throw new Error(`${title} was refused: ${playing.denial.code}`);
      frames += await show(stage, traveller, playing.session);
    }
    const known = (await counted(stage, traveller)).length;
    return { ok: frames >= 2 * FRAMES && traveller.tried === 0 && known <= 1, figures: { frames, requestsTried: traveller.tried, serviceKnowsOf: known } };
  });

const restart = (traveller: Traveller): Promise<Step> =>
  step('restart', 'the app is closed and opened again without a connection: nothing it has to tell is lost', async () => {
    const before = traveller.app.usage.pending;
    await traveller.reopen();
    const { pending } = traveller.app.usage;
    return { ok: pending > 0 && pending === before, figures: { recordsWaiting: pending, downloads: traveller.app.downloads.all.length } };
  });

const count = (stage: Stage, traveller: Traveller): Promise<Step> =>
  step('count', 'back online: 1, 2 and 3 are counted once each, 4 is not, and their owner is paid for three plays', async () => {
    traveller.cut = false;
    await traveller.app.reconnected();
    const plays = await counted(stage, traveller);
    const owners = (await stage.platform.stores.usage.list({ account: traveller.account, limit: 100 })).filter((record) => record.counted);
    const paid = owners.filter(({ owner }) => owner === OWNER).length;
    const ok = plays.join() === EPISODES.slice(0, 3).join() && paid === 3 && traveller.app.usage.pending === 0;
    return { ok, figures: { counted: plays.join(' '), offline: owners.filter((record) => record.offline).length, paidToOwner: paid, recordsWaiting: traveller.app.usage.pending } };
  });

const again = (stage: Stage, traveller: Traveller): Promise<Step> =>
  step('again', 'the same reports sent again count nothing; a changed one is refused', async () => {
    const post = (body: string): Promise<Response> => demoFetch(new Request(`${stage.platform.localUrl}/v1/usage`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }));
    const total = async (): Promise<number> => (await stage.platform.stores.usage.totals('account', ALL_TIME)).find(({ key }) => key === traveller.account)?.plays ?? 0;
    const before = await total();
    const repeated = await Promise.all(traveller.reports.map(post));
    const [report = '{}'] = traveller.reports;
    const changed = JSON.parse(report) as { report: string };
    const [header, payload, signature] = changed.report.split('.');
    const altered = Buffer.from(payload ?? '', 'base64url').toString().replaceAll('\\"action\\":\\"download\\"', '\\"action\\":\\"play\\"');
    const refused = await post(JSON.stringify({ ...changed, report: `${header}.${Buffer.from(altered).toString('base64url')}.${signature}` }));
    const problem = (await refused.json()) as { code?: string };
    const after = await total();
    const ok = repeated.length > 0 && repeated.every((answer) => answer.ok) && refused.status === 403 && problem.code === 'proof-invalid' && before === 3 && after === 3;
    return { ok, figures: { sentAgain: repeated.length, plays: after, changed: problem.code ?? 'accepted' } };
  });

const refund = (traveller: Traveller): Promise<Step> =>
  step('refund', 'the subscription is refunded: once the device hears of it, what it holds stays shut', async () => {
    const title = EPISODES[3] as AssetId;
    const before = await traveller.app.play(title);
    if (before.ok) await before.session.stop();
    traveller.plans = [{ ...familyPlan(), revoked: true }];
    await traveller.app.subscriptions.refresh();
    const after = await traveller.app.play(title);
    if (after.ok) await after.session.stop();
    return { ok: before.ok && !after.ok && after.denial.code === 'license-expired', figures: { before: before.ok ? 'plays' : before.denial.code, after: after.ok ? 'plays' : after.denial.code, viewerReads: after.ok ? '' : after.denial.text } };
  });

/** The chapter; it brings its own titles. */
export const offlineChapter: Chapter = {
  name: 'offline',
  film: 'none',
  scene: 'none',
  title: 'A subscription on the train: pushed, played without a connection, counted afterwards',
  async run(stage) {
    const first = await series(stage);
    if (!first.ok) return [first];
    await mkdir(join(stage.config.data, 'demo'), { recursive: true, mode: 0o700 });
    const folder = await mkdtemp(join(stage.config.data, 'demo', 'phone-'));
    let traveller: Traveller | undefined;
    try {
      const own = (traveller = await newTraveller(stage, folder));
      return [first, await online(stage, own), await offline(stage, own), await restart(own), await count(stage, own), await again(stage, own), await refund(own)];
    } finally {
      await traveller?.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};
