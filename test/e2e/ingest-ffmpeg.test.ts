// SPDX-License-Identifier: Apache-2.0
/** ffmpeg's own HTTP output, both forms of it, and ffmpeg as a reader of our live manifests. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { bytesOf, openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT, randomKeys, startHarness } from './ingest-harness.ts';
import type { Harness } from './ingest-harness.ts';

let harness: Harness;
let child: ChildProcess | undefined;
afterEach(async () => {
  child?.kill('SIGKILL');
  await harness.close();
});

const GRAPH =
  "testsrc2=s=320x180:r=25,realtime=limit=10,setpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*25/1000000),PREV_OUTPTS+1)',select='if(isnan(prev_selected_t),not(mod(floor(t*25+0.5),50)),1)'[v];" +
  "sine=f=440:r=48000,arealtime=limit=10,asetpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*48000/1000000),PREV_OUTPTS+NB_SAMPLES)',asettb=1/48000[a]";
const VIDEO = [
  '-fps_mode',
  'passthrough',
  '-c:v',
  'libx264',
  '-preset',
  'ultrafast',
  '-tune',
  'zerolatency',
  '-bf',
  '0',
  '-sc_threshold',
  '0',
  '-g',
  '1000',
  '-force_key_frames',
  'expr:eq(mod(floor(t*25+0.5),50),0)',
  '-threads',
  '1',
  '-pix_fmt',
  'yuv420p',
];
const HTTP = ['-method', 'PUT', '-headers', `Authorization: Bearer ${CREDENTIAL}\r\n`];
const start = (args: readonly string[]): void => {
  child = spawn(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'error', '-filter_complex', GRAPH, ...args], { stdio: 'ignore' });
};
const arrived = async (tracks: number): Promise<void> => {
  for (let tries = 0; tries < 200; tries += 1) {
    const status = await harness.packager.status(EVENT);
    if (status.length === tracks && status.every((track) => track.latestSegment !== undefined)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`nothing arrived: ${harness.warnings.join(' ')}`);
};
/** A whole segment of each track, opened. */
const check = async (tracks: readonly string[], keys: ReturnType<typeof randomKeys>): Promise<void> => {
  const number = Math.floor(Date.now() / 2000) + 1;
  for (const track of tracks) {
    const init = await bytesOf(await fetch(`${harness.url}/origin/${EVENT}/${track}/init.mp4`));
    const opened = openSegment(init, await bytesOf(await fetch(`${harness.url}/origin/${EVENT}/${track}/${number}.m4s`)), keys.keyOf);
    expect(opened.encrypted).toBe(true);
    expect([50, 93, 94]).toContain(opened.samples.length);
  }
};

test('one never-ending chunked PUT per track', async () => {
  const keys = randomKeys({ scheme: 'cbcs' });
  harness = await startHarness(keys);
  const muxing = [
    '-f',
    'mp4',
    '-movflags',
    '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+frag_discont+skip_trailer',
    '-frag_duration',
    '200000',
    '-write_prft',
    'pts',
    '-avoid_negative_ts',
    'disabled',
    '-flush_packets',
    '1',
    ...HTTP,
    '-chunked_post',
    '1',
    '-send_expect_100',
    '0',
  ];
  start([
    '-map',
    '[v]',
    ...VIDEO,
    ...muxing,
    '-content_type',
    'video/mp4',
    `${harness.ingestUrl}/Streams(cam1.cmfv)`,
    '-map',
    '[a]',
    '-c:a',
    'aac',
    ...muxing,
    '-content_type',
    'audio/mp4',
    `${harness.ingestUrl}/Streams(mic1.cmfa)`,
  ]);
  await arrived(2);
  await check(['cam1', 'mic1'], keys);
  expect(harness.warnings).toEqual([]);
});

test('the dash muxer: a request per segment, no content type, its own numbers, HTTP Basic after a challenge', async () => {
  const keys = randomKeys({ scheme: 'cenc' });
  harness = await startHarness(keys);
  start([
    '-map',
    '[v]',
    '-map',
    '[a]',
    ...VIDEO,
    '-c:a',
    'aac',
    '-f',
    'dash',
    '-method',
    'PUT',
    '-http_persistent',
    '1',
    '-streaming',
    '1',
    '-ldash',
    '1',
    '-use_template',
    '1',
    '-use_timeline',
    '0',
    '-seg_duration',
    '2',
    '-frag_type',
    'duration',
    '-frag_duration',
    '0.2',
    '-window_size',
    '3',
    '-remove_at_exit',
    '0',
    '-write_prft',
    '1',
    '-adaptation_sets',
    'id=0,streams=v id=1,streams=a',
    '-utc_timing_url',
    'http://127.0.0.1/time',
    '-target_latency',
    '2',
    `${harness.ingestUrl.replace('//', `//encoder:${CREDENTIAL}@`)}/manifest.mpd`,
  ]);
  await arrived(2);
  await check(['stream0', 'stream1'], keys);
  expect(harness.warnings.filter((line) => !line.includes('token-missing'))).toEqual([]);
});

test('ffprobe reads both manifests of a running event (unprotected, for it has no keys)', async () => {
  harness = await startHarness(randomKeys({ scheme: 'cenc' }), { unprotected: true });
  const muxing = [
    '-f',
    'mp4',
    '-movflags',
    '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+frag_discont+skip_trailer',
    '-frag_duration',
    '200000',
    '-write_prft',
    'pts',
    '-avoid_negative_ts',
    'disabled',
    '-flush_packets',
    '1',
    ...HTTP,
    '-chunked_post',
    '1',
    '-send_expect_100',
    '0',
  ];
  start(['-map', '[v]', ...VIDEO, ...muxing, `${harness.ingestUrl}/Streams(v.cmfv)`, '-map', '[a]', '-c:a', 'aac', ...muxing, `${harness.ingestUrl}/Streams(a.cmfa)`]);
  await arrived(2);
  await new Promise((resolve) => setTimeout(resolve, 4500));
  for (const manifest of ['master.m3u8', 'manifest.mpd']) {
    const { stdout } = await promisify(execFile)(
      findTool('ffprobe'),
      ['-v', 'error', '-print_format', 'json', '-show_streams', '-read_intervals', '%+1', `${harness.url}/origin/${EVENT}/${manifest}`],
      { timeout: 15_000 },
    );
    const streams = (JSON.parse(stdout) as { streams: { codec_name: string }[] }).streams.map((stream) => stream.codec_name).sort();
    expect([manifest, [...new Set(streams)]]).toEqual([manifest, ['aac', 'h264']]);
  }
});
