// SPDX-License-Identifier: Apache-2.0
/**
 * Live sources by ffmpeg, supervised: the generated scene, a looped file, a relayed rtmp or srt contribution.
 *
 * ffmpeg writes each track as CMAF chunks to a pipe, and this process sends the pipes to ingest. Over ffmpeg's own HTTP client a
 * refusal (4xx) is invisible, and the ingest credential would stand in the process list.
 * Invariants: tracks of one source start and stop together; after any end but `stop` the source starts again, with a growing
 * pause; no child is left behind.
 */
import { existsSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { Readable, type Writable } from 'node:stream';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import type { Millis } from '#core/time.ts';
import type { Clock, EventSink, Fetch, Log, VariantMarks } from '#ports';
import { probe } from './probe.ts';
import { findTool, INSTALL_COMMAND, localInput, run } from './process.ts';
import { audioCoding, fontCandidates, inputGraph, liveMuxing, markedSceneGraph, sceneGraph, smallSceneGraph, videoCoding } from './scene.ts';
import { feedMarks, marksInput } from './variants.ts';

/** Where a live source sends its tracks, and as whom. */
export type LiveSourceOptions = {
  readonly asset: AssetId;
  /** Base address of ingest, e.g. `http://127.0.0.1:8080/ingest/match-1`. */
  readonly ingestUrl: string;
  /** Ingest credential of the event. */
  readonly credential: string;
  /** How requests reach ingest. Default: HTTP by `fetch`. */
  readonly send?: Fetch;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  /** Default 200 ms. */
  readonly chunkMicros?: number;
};

/** A running source; it restarts by itself until it is stopped. */
export type LiveSource = {
  /** How often it had to be started again. */
  readonly restarts: number;
  /** Ends the child and waits for it. */
  stop(): Promise<void>;
};

type Output = { readonly label: string; readonly name: string; readonly type: string; readonly coding: readonly string[]; /** Of a variant: `a`, `b`, ... */ readonly folder?: string };
type Plan = { readonly input: readonly string[]; readonly graph: string; readonly outputs: readonly Output[]; /** Read by ffmpeg from the pipe after those of the outputs. */ readonly marks?: VariantMarks };

const VIDEO: readonly Output[] = [
  { label: '[v1]', name: 'v720.cmfv', type: 'video/mp4', coding: videoCoding(23, 1_600_000) },
  { label: '[v2]', name: 'v360.cmfv', type: 'video/mp4', coding: videoCoding(24, 500_000) },
];
const AUDIO: readonly Output[] = [{ label: '[a]', name: 'a.cmfa', type: 'audio/mp4', coding: audioCoding }];

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** A run this long counts as good again. */
const HEALTHY = 30_000;
const PATIENCE_MICROS = '10000000';

/** The generated scene: 720p25 and 360p25 H.264, AAC. Throws `tool-missing` without ffmpeg or the clock's font. */
export const startLiveScene = (options: LiveSourceOptions): LiveSource => {
  const font = fontCandidates.find((path) => existsSync(path));
  if (font === undefined)
    throw new SealcastError('tool-missing', `the font of the scene's clock (DejaVu Sans Mono) was not found; install it with: ${INSTALL_COMMAND}`, {
      extra: { tool: 'fonts-dejavu-core', install: INSTALL_COMMAND },
    });
  return supervise(options, { input: [], graph: sceneGraph(font), outputs: [...VIDEO, ...AUDIO] });
};

/** A file, over and over, with fresh time stamps. Throws like `probe`, and `media-unsupported` for one without sound and picture. */
export const startLoop = async (options: LiveSourceOptions & { readonly file: string }): Promise<LiveSource> => {
  const { streams } = await probe(options.file);
  const has = { video: streams.some((stream) => stream.kind === 'video'), audio: streams.some((stream) => stream.kind === 'audio') };
  if (!has.video && !has.audio) throw new SealcastError('media-unsupported', 'the file has neither video nor audio');
  return supervise(options, {
    input: ['-re', '-stream_loop', '-1', ...localInput(options.file)],
    graph: inputGraph(has),
    outputs: [...(has.video ? VIDEO : []), ...(has.audio ? AUDIO : [])],
  });
};

/** A contribution by rtmp or srt with video and audio. `listen`: waits for the encoder (OBS) to connect instead of connecting itself. */
export const startRelay = (options: LiveSourceOptions & { readonly url: string; readonly listen?: boolean }): LiveSource => {
  const scheme = /^(rtmps?|srt):\/\//.exec(options.url)?.[1];
  if (scheme === undefined) throw new SealcastError('media-unsupported', 'a relay takes rtmp://, rtmps:// or srt:// addresses');
  const listening = options.listen === true && scheme !== 'srt' ? ['-listen', '1'] : ['-rw_timeout', PATIENCE_MICROS];
  return supervise(options, {
    input: ['-protocol_whitelist', 'rtmp,rtmps,srt,udp,tcp,tls,crypto', ...listening, '-i', options.url],
    graph: inputGraph({ video: true, audio: true }),
    outputs: [...VIDEO, ...AUDIO],
  });
};

/**
 * The generated scene at 360p in marked variants, without sound: `marks` are those of segment numbers, which count from 1970.
 * Each start waits for a segment boundary, because which mark a frame gets is decided before it has a time stamp.
 */
export const startMarkedScene = (options: LiveSourceOptions & { readonly marks: VariantMarks }): LiveSource => {
  const { marks } = options;
  const outputs = Array.from({ length: marks.alphabet }, (_, variant) => ({ label: `[m${variant}]`, name: 'v360.cmfv', type: 'video/mp4', coding: videoCoding(25, 600_000, 'ultrafast'), folder: String.fromCharCode(97 + variant) }));
  return supervise(options, async () => {
    const now = options.clock.now();
    const first = Math.ceil((now + START_UP) / marks.every);
    await new Promise<void>((resolve) => options.clock.after(((first * marks.every - START_UP - now) / 1000) as Millis, resolve));
    return {
      input: marksInput(marks, outputs.length + 3),
      graph: markedSceneGraph(marks, (first * marks.every) / 1_000_000),
      outputs,
      marks: { ...marks, picture: (interval) => marks.picture(first + interval) },
    };
  });
};
/** The generated scene at 360p, one ordinary stream of at most `bitsPerSecond` without sound: for events that are marked behind ingest. */
export const startSmallScene = (options: LiveSourceOptions & { readonly bitsPerSecond: number }): LiveSource =>
  supervise(options, { input: [], graph: smallSceneGraph(), outputs: [{ label: '[v]', name: 'v360.cmfv', type: 'video/mp4', coding: videoCoding(20, options.bitsPerSecond, 'ultrafast') }] });

/** What ffmpeg takes from its start to the first frame, roughly; media is dated late by what it takes longer. */
const START_UP = 300_000;

const supervise = (options: LiveSourceOptions, given: Plan | (() => Promise<Plan>)): LiveSource => {
  const { clock, log, events, asset } = options;
  const tool = findTool('ffmpeg');
  const send: Fetch = options.send ?? ((request) => fetch(request));
  let child: ChildProcess | undefined;
  let stopped = false;
  let restarts = 0;
  let wakeUp: (() => void) | undefined;

  /** One life of the source; answers why it ended. */
  const live = async (): Promise<string> => {
    const plan = typeof given === 'function' ? await given() : given;
    if (stopped) return 'stopped';
    const outputs = plan.outputs.flatMap((output, index) => ['-map', output.label, ...output.coding, ...liveMuxing(options.chunkMicros ?? 200_000), `pipe:${index + 3}`]);
    const args = ['-nostdin', '-hide_banner', '-loglevel', 'warning', ...plan.input, '-filter_complex', plan.graph, ...outputs];
    const running = run(tool, args, { pipes: plan.outputs.length + (plan.marks === undefined ? 0 : 1) });
    child = running.child;
    child.stdout?.resume();
    if (plan.marks !== undefined) void feedMarks(running.child.stdio[plan.outputs.length + 3] as unknown as Writable, plan.marks);
    const gone = new AbortController();
    const pushes = plan.outputs.map(async (output, index) => {
      const pipe = running.child.stdio[index + 3] as Readable;
      const request = new Request(`${options.ingestUrl}/${output.folder === undefined ? '' : `${output.folder}/`}Streams(${output.name})`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${options.credential}`, 'content-type': output.type },
        body: Readable.toWeb(pipe) as ReadableStream<Uint8Array>,
        duplex: 'half',
        signal: gone.signal,
      } as RequestInit);
      const response = await send(request);
      if (response.ok) return 'the source ended';
      const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
      throw new Error(`ingest refused ${output.name}: ${problem.code ?? response.status} ${problem.detail ?? ''}`.trim());
    });
    const ends = [...pushes, running.done.then(() => 'ffmpeg ended')];
    const reason = await Promise.race(ends).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    running.child.kill('SIGTERM');
    const killer = clock.after(3_000 as Millis, () => running.child.kill('SIGKILL'));
    await running.done.catch(() => undefined);
    killer();
    // ffmpeg flushes its last chunk on SIGTERM; the pushes end with it, or are cut.
    const cut = clock.after(2_000 as Millis, () => gone.abort());
    await Promise.allSettled(pushes);
    cut();
    return reason;
  };

  const loop = async (): Promise<void> => {
    let pause = FIRST_PAUSE;
    while (!stopped) {
      const began = clock.monotonic();
      const reason = await live().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
      if (stopped) return;
      if (clock.monotonic() - began > HEALTHY) pause = FIRST_PAUSE;
      restarts += 1;
      log.warn('live source ended and starts again', { asset, reason, pauseMillis: pause, restarts });
      events({ at: clock.now(), kind: 'source.restarted', severity: 'warning', message: `The live source starts again: ${reason}`, asset, data: { restarts } });
      await new Promise<void>((resolve) => {
        const cancel = clock.after(pause as Millis, resolve);
        wakeUp = () => {
          cancel();
          resolve();
        };
      });
      wakeUp = undefined;
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    }
  };
  const finished = loop();

  return {
    get restarts() {
      return restarts;
    },
    async stop() {
      stopped = true;
      child?.kill('SIGTERM');
      wakeUp?.();
      await finished;
    },
  };
};
