// SPDX-License-Identifier: Apache-2.0
/**
 * The whole platform in one process on a private port and data folder, with small live sources and titles to play.
 *
 * Real time, real ffmpeg, real encryption; nothing of it is faked but the picture.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '#adapters/ffmpeg/process.ts';
import { openDevice } from '#client/device.ts';
import type { Session } from '#client/session-types.ts';
import { type SessionOptions, startSession } from '#client/start-session.ts';
import { type AssetId, type ProtectionScheme, accountId, assetId } from '#core/ids.ts';
import { loadConfig } from '#entry/config/index.ts';
import { type DemoIssuer, createDemoIssuer } from '#entry/demo/issuer.ts';
import { type Platform, startPlatform } from '#entry/node.ts';

/** Terms small enough to see a session end within a test. Group length = period x periods per group. */
export const TERMS = { intervalSeconds: 3, durationSeconds: 6, periodSeconds: 1, groupPeriods: 2 } as const;
export const GROUP_SECONDS: number = TERMS.periodSeconds * TERMS.groupPeriods;

export type Stack = {
  readonly platform: Platform;
  readonly url: string;
  /** Its data folder. */
  readonly data: string;
  /** A running event of that scheme; the source is started at the first call. */
  event(scheme: ProtectionScheme): Promise<AssetId>;
  /** A running event of that scheme whose video is marked inside the bitstream for every viewer. */
  markedEvent(scheme: ProtectionScheme): Promise<AssetId>;
  /** A running timed event of that scheme: 100 ms periods, shown `TIMED_LATENCY` seconds behind the camera. */
  timedEvent(scheme: ProtectionScheme, mode?: 'standard' | 'strict'): Promise<AssetId>;
  /** A packed title of that scheme, `TITLE_SECONDS` long. */
  title(scheme: ProtectionScheme): Promise<AssetId>;
  entitlement(asset: AssetId, account?: string): Promise<string>;
  /** Starts a session of the headless client; throws its denial. */
  session(asset: AssetId, options?: Partial<SessionOptions> & { readonly account?: string }): Promise<Session>;
  stop(): Promise<void>;
};

/** Camera to picture of timed events. */
export const TIMED_LATENCY = 4;
export const TITLE_SECONDS = 14;
const VIDEO = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-bf', '0', '-sc_threshold', '0', '-pix_fmt', 'yuv420p', '-b:v', '400k', '-maxrate', '500k', '-bufsize', '500k', '-threads', '1'];
const AUDIO = ['-c:a', 'aac', '-b:a', '64k', '-ac', '2'];

/** A colourful moving picture on the UTC grid: 320x180 at 25 frames a second, 200 ms chunks. */
const startSource = (ingest: { readonly url: string; readonly credential: string }): ChildProcess => {
  const muxing = ['-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+frag_discont+skip_trailer', '-frag_duration', '200000', '-write_prft', 'pts', '-avoid_negative_ts', 'disabled', '-flush_packets', '1'];
  const push = ['-method', 'PUT', '-chunked_post', '1', '-send_expect_100', '0', '-headers', `Authorization: Bearer ${ingest.credential}\r\n`];
  const graph =
    "testsrc2=s=320x180:r=25,settb=1/25,realtime=limit=10,setpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*25/1000000),PREV_OUTPTS+1)'[v];" +
    "sine=frequency=440:sample_rate=48000,arealtime=limit=10,asetpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*48000/1000000),PREV_OUTPTS+NB_SAMPLES)',asettb=1/48000[a]";
  return spawn(
    findTool('ffmpeg'),
    ['-nostdin', '-hide_banner', '-loglevel', 'error', '-filter_complex', graph,
      '-map', '[v]', '-fps_mode', 'passthrough', ...VIDEO, '-g', '1000', '-force_key_frames', 'expr:eq(mod(floor(t*25+0.5),50),0)', ...muxing, ...push, '-content_type', 'video/mp4', `${ingest.url}/Streams(v180.cmfv)`,
      '-map', '[a]', ...AUDIO, ...muxing, ...push, '-content_type', 'audio/mp4', `${ingest.url}/Streams(a-en.cmfa)`],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
};

const makeClip = async (file: string): Promise<void> => {
  await promisify(execFile)(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=s=320x180:r=25:d=${TITLE_SECONDS}`, '-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:d=${TITLE_SECONDS}`, ...VIDEO, '-g', '50', ...AUDIO, file]);
};

const until = async (what: string, condition: () => Promise<boolean>, seconds: number): Promise<void> => {
  const deadline = performance.now() + seconds * 1000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen in ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

/** Starts the platform. Sources and titles come with the first call that wants them. */
export const startStack = async (): Promise<Stack> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-interop-'));
  const sources: ChildProcess[] = [];
  let issuer: DemoIssuer | undefined;
  const config = loadConfig(undefined, {
    data: folder,
    listen: { host: '127.0.0.1', port: 0 },
    licensing: { levels: 'strict', intervalSeconds: TERMS.intervalSeconds, durationSeconds: TERMS.durationSeconds, horizonSeconds: 600 },
    packager: { periodSeconds: TERMS.periodSeconds, titlePeriodSeconds: TERMS.periodSeconds, groupPeriods: TERMS.groupPeriods },
    release: { latencySeconds: TIMED_LATENCY, groupSeconds: GROUP_SECONDS },
    log: { level: 'error', format: 'json' },
  });
  const platform = await startPlatform({
    config,
    async extend({ stores, secrets, clock, random }) {
      const made = createDemoIssuer({ kid: 'interop', pair: await secrets.keyPair('interop/issuer', 'ES256'), catalogue: stores.catalogue, clock, random });
      issuer = made;
      return { demo: (request) => made.handler(request), entitlementKeys: [{ kid: made.kid, alg: 'ES256', key: made.publicJwk as JsonWebKey }] };
    },
  });
  const { actions, stores } = platform;
  if (actions?.addTitle === undefined || issuer === undefined) throw new Error('the platform runs without its roles');
  const { addTitle, createEvent } = actions;
  const { issue } = issuer;
  const once = <T>(make: (scheme: ProtectionScheme) => Promise<T>): ((scheme: ProtectionScheme) => Promise<T>) => {
    const made = new Map<ProtectionScheme, Promise<T>>();
    return (scheme) => {
      const known = made.get(scheme) ?? make(scheme);
      made.set(scheme, known);
      return known;
    };
  };
  const clip = join(folder, 'clip.mp4');
  let clipMade: Promise<void> | undefined;
  const entitlement = (asset: AssetId, account = 'viewer-1'): Promise<string> => issue(accountId(account), asset);
  const timedOf = (mode: 'standard' | 'strict') =>
    once(async (scheme) => {
      const asset = assetId(`${mode}-${scheme}`);
      const { ingest } = await createEvent({ asset, name: `Timed ${scheme}`, scheme, clearKey: 'off', timed: mode });
      sources.push(startSource(ingest));
      await until(`event ${asset}`, async () => (await stores.catalogue.get(asset))?.state === 'live', 15);
      return asset;
    });
  const timedEvents = { standard: timedOf('standard'), strict: timedOf('strict') };
  return {
    platform,
    url: platform.url,
    data: folder,
    entitlement,
    event: once(async (scheme) => {
      const asset = assetId(`live-${scheme}`);
      const { ingest } = await createEvent({ asset, name: `Live ${scheme}`, scheme, clearKey: 'off' });
      sources.push(startSource(ingest));
      await until(`event ${asset}`, async () => (await stores.catalogue.get(asset))?.state === 'live', 15);
      return asset;
    }),
    markedEvent: once(async (scheme) => {
      const asset = assetId(`marked-${scheme}`);
      const { ingest } = await createEvent({ asset, name: `Marked ${scheme}`, scheme, clearKey: 'off', inBand: ['v180'] });
      sources.push(startSource(ingest));
      await until(`event ${asset}`, async () => (await stores.catalogue.get(asset))?.state === 'live', 15);
      await until(`the edge's plan of ${asset}`, async () => {
        await platform.roles.licenseServer?.refresh();
        return platform.roles.edge?.keys()?.markSwitch(asset) !== undefined;
      }, 30);
      return asset;
    }),
    timedEvent: (scheme, mode = 'standard') => timedEvents[mode](scheme),
    title: once(async (scheme) => {
      const asset = assetId(`title-${scheme}`);
      await (clipMade ??= makeClip(clip));
      await addTitle({ asset, name: `Title ${scheme}`, scheme, clearKey: 'off', source: clip });
      await until(`title ${asset}`, async () => (await stores.catalogue.get(asset))?.state === 'ready', 30);
      return asset;
    }),
    async session(asset, { account, ...options } = {}) {
      const started = await startSession({ servers: [platform.url], asset, entitlement: () => entitlement(asset, account), device: await openDevice({ name: 'interop' }), ...options });
      if (!started.ok) throw new Error(`${started.denial.code}: ${started.denial.detail}`);
      return started.session;
    },
    async stop() {
      for (const source of sources) source.kill('SIGTERM');
      await platform.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
};
