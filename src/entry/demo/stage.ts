// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's stage: the platform on embedded defaults, a live event on air, a film, and an issuer of entitlements.
 *
 * Short terms, so that everything can be seen within seconds: renewals every 8 s, a term of 20 s, groups of 6 s.
 * Invariant: nothing of the demo weakens the platform; it is the same code with other figures and one more route.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { findTool, type LiveSource, readFallbackClip, startLiveScene, startLoop, startRelay } from '#adapters/ffmpeg/index.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { type AssetId, assetId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { createClipLoop } from '#packager/index.ts';
import type { CatalogueEntry, Clock, ConcurrencyStore, Fetch } from '#ports';
import type { Config, ConfigOverrides } from '../config/index.ts';
import { type Platform, type PlatformOptions, startPlatform } from '../node.ts';
import { credentialHash } from '../operator-actions.ts';
import type { OpenStores } from '../stores.ts';
import { createClipTool } from './clip-tool.ts';
import { createDemoIssuer, type DemoIssuer } from './issuer.ts';
import { alsoTo } from './timed-twin.ts';

/** Terms of the demo; options given by the user win over them. */
export const DEMO_OVERRIDES: ConfigOverrides = {
  licensing: { levels: 'strict', intervalSeconds: 8, durationSeconds: 20, horizonSeconds: 1800 },
  packager: { periodSeconds: 2, titlePeriodSeconds: 2, groupPeriods: 3, windowSeconds: 60, latencySeconds: 1.5, maxBehindSeconds: 8 },
  release: { groupSeconds: 6, latencySeconds: 5 },
  log: { level: 'warn' },
};

/** A record that can be cut off. */
export type RecordSwitch = { cut(): void; restore(): void };

/** Every method of the record fails while it is cut off, as that of a store whose network is gone. */
const createRecordSwitch = (): RecordSwitch & { readonly wrap: (store: ConcurrencyStore) => ConcurrencyStore } => {
  let isCut = false;
  return {
    cut: () => void (isCut = true),
    restore: () => void (isCut = false),
    wrap(store) {
      const guard = <Args extends readonly unknown[], Answer>(call: (...args: Args) => Promise<Answer>) => async (...args: Args): Promise<Answer> => {
        if (isCut) throw new SealcastError('store-unavailable', 'the demo has cut the concurrency record off');
        return call(...args);
      };
      return {
        admit: guard(store.admit.bind(store)),
        renew: guard(store.renew.bind(store)),
        stop: guard(store.stop.bind(store)),
        flag: guard(store.flag.bind(store)),
        unflag: guard(store.unflag.bind(store)),
        live: guard(store.live.bind(store)),
        counts: guard(store.counts.bind(store)),
        writeBack: guard(store.writeBack.bind(store)),
      };
    },
  };
};

/** Every call of the accounts' stores fails while they are cut off; what is published and ingested is kept elsewhere and goes on. */
const createDatabaseSwitch = (): RecordSwitch & { readonly wrap: (stores: OpenStores) => OpenStores } => {
  let isCut = false;
  const wrapped = <Store extends object>(store: Store): Store =>
    Object.fromEntries(Object.entries(store).map(([name, call]) => [name, (...args: unknown[]) => (isCut ? Promise.reject(new SealcastError('store-unavailable', 'the demo has cut the database off')) : (call as (...all: unknown[]) => unknown)(...args))])) as Store;
  return {
    cut: () => void (isCut = true),
    restore: () => void (isCut = false),
    wrap: (stores) => ({ ...stores, sessions: wrapped(stores.sessions), devices: wrapped(stores.devices), singleUse: wrapped(stores.singleUse), accounts: wrapped(stores.accounts) }),
  };
};

/** What chapters, viewers and the status line work with. */
export type Stage = {
  readonly platform: Platform;
  readonly config: Config;
  readonly issuer: DemoIssuer;
  readonly event: AssetId;
  /** The timed event beside it, where the stage has one. */
  readonly timed: AssetId | undefined;
  readonly film: AssetId;
  readonly source: { readonly kind: 'scene' | 'file' | 'relay' | 'bundled-clip' | 'none'; readonly live: LiveSource };
  /** The concurrency record, which chapters cut off: every call fails until it is restored. */
  readonly record: RecordSwitch;
  /** The database of accounts, devices and sessions, likewise. */
  readonly database: RecordSwitch;
  /** The licence terms in force, ms, and the group length, ms. */
  readonly terms: { readonly interval: number; readonly duration: number; readonly group: number };
  close(): Promise<void>;
};

const FILM = 'film' as AssetId;
const FILM_SECONDS = 60;

const hasFfmpeg = (): boolean => {
  try {
    findTool('ffmpeg');
    return true;
  } catch {
    return false;
  }
};

/** A calm minute of moving colour with a time code and a chord, coded once into the data folder. */
const makeFilm = async (folder: string, font: string | undefined): Promise<string> => {
  const file = join(resolve(folder), 'demo', 'film.mp4');
  if (existsSync(file)) return file;
  await mkdir(join(folder, 'demo'), { recursive: true, mode: 0o700 });
  const text = font === undefined ? '' : `,drawtext=fontfile=${font}:fontsize=40:fontcolor=white:box=1:boxcolor=black@0.5:boxborderw=10:x=40:y=40:text='%{pts\\:hms}'`;
  const part = `${file}.part.mp4`;
  // Small and scaled up, because the live encoder needs the cores; colour has no edges to lose.
  const coding = promisify(execFile)(findTool('ffmpeg'), [
    '-nostdin', '-hide_banner', '-loglevel', 'error', '-y',
    '-f', 'lavfi', '-i', `gradients=s=320x180:r=25:speed=0.02:c0=0x14213d:c1=0x2a9d8f:c2=0xe76f51:c3=0xf4a261:nb_colors=4:seed=7,format=yuv420p,scale=1280:720:flags=bicubic${text}`,
    '-f', 'lavfi', '-i', 'aevalsrc=0.08*(sin(2*PI*220*t)+sin(2*PI*277.18*t)+sin(2*PI*329.63*t))*(0.6+0.4*sin(2*PI*t/8)):s=48000:c=stereo',
    '-t', String(FILM_SECONDS), '-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '24', '-g', '50', '-sc_threshold', '0', '-pix_fmt', 'yuv420p', '-profile:v', 'main',
    '-c:a', 'aac', '-b:a', '96k', '-movflags', '+faststart', part,
  ]);
  if (coding.child.pid !== undefined) setPriority(coding.child.pid, constants.priority.PRIORITY_LOW);
  await coding;
  await rename(part, file);
  return file;
};

/** An event that can still be sent to: the demo's own, or the next one if an operator ended it. */
const openEvent = async (platform: Platform, timed: boolean = false): Promise<AssetId> => {
  const stem = timed ? 'timed' : 'live';
  for (let number = 1; ; number++) {
    const asset = assetId(number === 1 ? stem : `${stem}-${number}`);
    const entry = await platform.stores.catalogue.get(asset);
    if (entry === undefined) {
      // The smaller rendition is marked for every viewer: two cores have to code, profile and serve all of it.
      await platform.actions?.createEvent(timed ? { asset, name: 'Live match, timed', scheme: 'cenc', clearKey: 'off', timed: 'standard' } : { asset, name: 'Live match', scheme: 'cenc', clearKey: 'off', inBand: ['v360'] });
      return asset;
    }
    if (entry.state !== 'ended') return asset;
  }
};

/** The demo knows its own ingest credential after a restart, too: it sets it anew at every start. */
const giveCredential = async (platform: Platform, asset: AssetId, credential: string): Promise<void> => {
  const entry = (await platform.stores.catalogue.get(asset)) as CatalogueEntry;
  await platform.stores.catalogue.update({ ...entry, ingestCredentialHash: credentialHash(credential) });
};

const addFilm = async (platform: Platform, config: Config, font: string | undefined): Promise<void> => {
  const known = await platform.stores.catalogue.get(FILM);
  if (known?.state === 'ready') return;
  if (known !== undefined) throw new SealcastError('already-exists', 'the film was not packed to its end by an earlier start; remove the data folder to make it again');
  const source = hasFfmpeg() ? await makeFilm(config.data, font) : '/bundled-clip';
  await platform.actions?.addTitle?.({ asset: FILM, name: 'Sixty seconds of colour', scheme: 'cbcs', clearKey: 'off', source });
};

const startSource = async (platform: Platform, options: { asset: AssetId; credential: string; input?: string; clock: Clock; segmentDuration: Micros; wrapIngest?: (ingest: Fetch) => Fetch }): Promise<Stage['source']> => {
  const { asset, credential, input, clock } = options;
  const ingest = platform.roles.packager?.ingestHandler;
  if (ingest === undefined) throw new SealcastError('config-invalid', 'the demo needs the packager role');
  const common = { asset, ingestUrl: `${platform.url}/ingest/${asset}`, credential, send: options.wrapIngest?.(ingest) ?? ingest, clock, log: platform.log, events: platform.operations?.events ?? (() => undefined) };
  if (input !== undefined && /^(rtmps?|srt):/.test(input)) return { kind: 'relay', live: startRelay({ ...common, url: input, listen: true }) };
  if (input !== undefined) return { kind: 'file', live: await startLoop({ ...common, file: input }) };
  try {
    return { kind: 'scene', live: startLiveScene(common) };
  } catch (error) {
    if (!isSealcastError(error, 'tool-missing')) throw error;
    // No encoder here: the bundled clip needs none.
    const loop = createClipLoop({ ...common, tracks: await readFallbackClip(), segmentDuration: options.segmentDuration });
    return { kind: 'bundled-clip', live: { restarts: 0, stop: () => loop.stop() } };
  }
};

/** Brings the stage up; the film is packed in the background. */
export const openStage = async (options: {
  config: Config;
  clock: Clock;
  /** A file to loop or an rtmp or srt address, instead of the generated scene. */
  input?: string;
  font?: string;
  exposeDevelopmentKey?: boolean;
  /** False leaves the film out. */
  film?: boolean;
  /** False leaves the scene out: the event has no source. */
  scene?: boolean;
  /** A timed event beside the live one, with the same picture. */
  timed?: boolean;
  /** For measurements: sees what the source sends to ingest. */
  wrapIngest?: (ingest: Fetch) => Fetch;
  say: (line: string) => void;
}): Promise<Stage> => {
  const { config, clock } = options;
  let issuer: DemoIssuer | undefined;
  let credential = '';
  const extend: PlatformOptions['extend'] = async ({ stores, secrets, random }) => {
    credential = await secrets.text('demo/ingest');
    const pair = await secrets.keyPair('demo/issuer', 'ES256');
    issuer = createDemoIssuer({ kid: 'sealcast-demo', pair, catalogue: stores.catalogue, clock, random });
    return { demo: issuer.handler, entitlementKeys: [{ kid: issuer.kid, alg: 'ES256', key: pair.publicJwk }] };
  };
  const encoder = hasFfmpeg();
  const record = createRecordSwitch();
  const database = createDatabaseSwitch();
  const platform = await startPlatform({ config, clock, extend, wrapRecord: record.wrap, wrapStores: database.wrap, plainLoopback: true, ...(!encoder && { videoTool: createClipTool() }), ...(options.exposeDevelopmentKey === true && { exposeDevelopmentKey: true }) });
  try {
    const event = await openEvent(platform);
    await giveCredential(platform, event, credential);
    const timed = options.timed === true ? await openEvent(platform, true) : undefined;
    if (timed !== undefined) await giveCredential(platform, timed, credential);
    // Edges hear of the event's marks before its first segment: until then they serve none of it.
    await platform.roles.licenseServer?.refresh();
    const wrapIngest = (ingest: Fetch): Fetch => {
      const seen = options.wrapIngest?.(ingest) ?? ingest;
      return timed === undefined ? seen : alsoTo(seen, { from: event, to: timed, credential });
    };
    const source: Stage['source'] = options.scene === false ? { kind: 'none', live: { restarts: 0, stop: () => Promise.resolve() } } : await startSource(platform, { asset: event, credential, clock, segmentDuration: microsFromSeconds(config.packager.segmentSeconds), ...(options.input !== undefined && { input: options.input }), wrapIngest });
    const filming = options.film === false ? Promise.resolve() : addFilm(platform, config, options.font).catch((error: unknown) => options.say(`the film is not available: ${error instanceof Error ? error.message : String(error)}`));
    const { licensing, packager } = config;
    return {
      platform,
      config,
      issuer: issuer as DemoIssuer,
      event,
      timed,
      film: FILM,
      source,
      record: { cut: record.cut, restore: record.restore },
      database: { cut: database.cut, restore: database.restore },
      terms: { interval: licensing.intervalSeconds * 1000, duration: licensing.durationSeconds * 1000, group: packager.periodSeconds * packager.groupPeriods * 1000 },
      async close() {
        await source.live.stop();
        await filming;
        await platform.stop();
      },
    };
  } catch (error) {
    await platform.stop();
    throw error;
  }
};
