// SPDX-License-Identifier: Apache-2.0
/**
 * A player for strict timed events: decrypts with WebCrypto, decodes with WebCodecs, draws each frame on a canvas at its instant.
 *
 * W3C WebCodecs; H.264 and AAC. No buffer of a media element lies between a key and its frame, so 35 ms of lead are enough where MSE needs 80-100. Sound is
 * scheduled on the audio clock for the same instants. Live only: no pause, no seek.
 * Invariants: no frame is drawn before it is due; a frame whose successor is due is closed undrawn and counted as skipped; every VideoFrame and AudioData is closed.
 */
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';
import { type MediaTicks, type Micros, type Millis, microsFromTicks } from '#core/time.ts';
import { LATE_AFTER_STANDING } from '#client/release/playout.ts';
import { type ClearChunk, type ClearChunks, type ClearChunksOptions, openClearChunks } from './clear-chunks.ts';
import type { PlayoutReading } from './playout-control.ts';

/** Whether this browser can decode frame by frame. */
export const hasCodecs = (): boolean => typeof VideoDecoder === 'function' && typeof AudioDecoder === 'function';

/** What it plays, by whose clock, and where. */
export type CodecsOptions = ClearChunksOptions & {
  readonly canvas: HTMLCanvasElement;
  /** The media time that is due at this reading of `performance.now()`. */
  readonly due: (monotonic: Millis) => Micros | undefined;
  readonly onDisplay?: (error: Millis) => void;
  readonly onSkip?: (skipped: Micros) => void;
};

/** A running one. */
export type CodecsPlayer = {
  /** Resolves with the first drawn picture; rejects if nothing can be played. */
  readonly loaded: Promise<void>;
  read(): PlayoutReading;
  /** Media time of the newest drawn frame. */
  mediaTime(): Micros | undefined;
  readonly drawn: number;
  destroy(): void;
};

/** Frames and sounds decoded ahead of their turn at once. */
const MAX_DECODED = 40;
const IN_STEP = 50;
/** Without a picture for so long a late one is better than none, ms. */
const STANDSTILL = 500;
/** Sound that would begin so late is left out, s. */
const TOO_LATE_SOUND = 0.02;

const FREQUENCIES = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/** AudioSpecificConfig of AAC-LC (ISO/IEC 14496-3 clause 1.6.2.1). */
export const audioConfig = (sampleRate: number, channels: number): Uint8Array => {
  const index = FREQUENCIES.indexOf(sampleRate);
  if (index === -1) throw new RangeError(`AAC does not know ${sampleRate} Hz`);
  return Uint8Array.of((2 << 3) | (index >> 1), ((index & 1) << 7) | (channels << 3));
};

type Coded = { readonly data: Uint8Array; readonly timestamp: number; readonly duration: number; readonly sync: boolean };

/** The samples of a clear chunk, in decoding order, with their presentation times in µs. */
const samplesOf = (chunk: ClearChunk, description: Track): readonly Coded[] => {
  const run = onlyTrackFragment(parseFragment(chunk.bytes, [description]));
  let decodeAt = run.baseMediaDecodeTime as bigint;
  return run.samples.map(({ offset, size, duration, compositionOffset, sync }) => {
    const timestamp = microsFromTicks((decodeAt + BigInt(compositionOffset)) as MediaTicks, description.timescale);
    decodeAt += BigInt(duration);
    return { data: chunk.bytes.subarray(offset, offset + size), timestamp, duration: microsFromTicks(BigInt(duration) as MediaTicks, description.timescale), sync };
  });
};

/** Starts at once. */
export const startCodecs = (options: CodecsOptions): CodecsPlayer => {
  const { canvas, session, due } = options;
  const picture = canvas.getContext('2d', { alpha: false, desynchronized: true });
  let frames: VideoFrame[] = [];
  let chunks: ClearChunks | undefined;
  let over = false;
  let drawn = 0;
  let last: { readonly at: Micros; readonly error: Millis } | undefined;
  let animation = 0;
  let lastDrawn = 0;
  let started: () => void = () => undefined;
  let failed: (error: Error) => void = () => undefined;
  const first = new Promise<void>((resolve, reject) => {
    started = resolve;
    failed = reject;
  });
  first.catch(() => undefined);
  const audio = new AudioContext({ latencyHint: 'interactive' });
  const wakeAudio = (): void => void audio.resume().catch(() => undefined);
  document.addEventListener('pointerdown', wakeAudio);
  wakeAudio();

  // ---- pictures ----
  const videoDecoder = new VideoDecoder({
    output(frame) {
      frames.push(frame);
      frames.sort((a, b) => a.timestamp - b.timestamp);
      while (frames.length > MAX_DECODED) frames.shift()?.close();
    },
    error: (error) => failed(error),
  });
  const draw = (now: number): void => {
    if (over) return;
    animation = requestAnimationFrame(draw);
    const wanted = due(now as Millis);
    if (wanted === undefined) return;
    // All whose turn has come; the newest of them is the picture.
    const ready = frames.filter(({ timestamp }) => timestamp <= wanted);
    const frame = ready.pop();
    for (const missed of ready) {
      if (last !== undefined) options.onSkip?.((missed.duration ?? 0) as Micros);
      missed.close();
    }
    if (frame === undefined) return;
    frames = frames.filter(({ timestamp }) => timestamp > wanted);
    // Late is skipped, not shown; but a device that is always late shows something twice a second.
    if (wanted - frame.timestamp > LATE_AFTER_STANDING * 1000 && now - lastDrawn < STANDSTILL) {
      options.onSkip?.((frame.duration ?? 0) as Micros);
      frame.close();
      return;
    }
    lastDrawn = now;
    if (canvas.width !== frame.displayWidth) canvas.width = frame.displayWidth;
    if (canvas.height !== frame.displayHeight) canvas.height = frame.displayHeight;
    picture?.drawImage(frame, 0, 0);
    const error = ((frame.timestamp - wanted) / 1000) as Millis;
    last = { at: frame.timestamp as Micros, error };
    frame.close();
    drawn += 1;
    options.onDisplay?.(error);
    started();
  };

  // ---- sound ----
  const audioDecoder = new AudioDecoder({
    output(data) {
      const now = performance.now();
      const wanted = due(now as Millis);
      const when = wanted === undefined ? Number.NaN : audio.currentTime + (data.timestamp - wanted) / 1e6 - (audio.outputLatency || audio.baseLatency);
      if (audio.state === 'running' && when > audio.currentTime - TOO_LATE_SOUND) {
        const buffer = audio.createBuffer(data.numberOfChannels, data.numberOfFrames, data.sampleRate);
        for (let channel = 0; channel < data.numberOfChannels; channel++) {
          const samples = new Float32Array(data.numberOfFrames);
          data.copyTo(samples, { planeIndex: channel, format: 'f32-planar' });
          buffer.copyToChannel(samples, channel);
        }
        const node = audio.createBufferSource();
        node.buffer = buffer;
        node.connect(audio.destination);
        node.start(Math.max(audio.currentTime, when));
      }
      data.close();
    },
    // A picture without sound is better than none.
    error: () => undefined,
  });

  const configure = ({ track, description }: ClearChunks['tracks'][number]): void => {
    if (track.kind === 'video') videoDecoder.configure({ codec: track.codecs, optimizeForLatency: true, ...(description.avcC === undefined ? {} : { description: description.avcC.slice() }) });
    else if (description.audio !== undefined) audioDecoder.configure({ codec: track.codecs, sampleRate: description.audio.sampleRate, numberOfChannels: description.audio.channels, description: audioConfig(description.audio.sampleRate, description.audio.channels) as Uint8Array<ArrayBuffer> });
  };

  let synced = false;
  const take = async (index: number, chunk: ClearChunk): Promise<void> => {
    const chosen = chunks?.tracks[index];
    if (chosen === undefined || over) return;
    for (const { data, timestamp, duration, sync } of samplesOf(chunk, chosen.description)) {
      const init = { type: sync ? ('key' as const) : ('delta' as const), timestamp, duration, data: data as Uint8Array<ArrayBuffer> };
      if (chosen.track.kind === 'video') {
        synced ||= sync;
        if (synced && videoDecoder.state === 'configured') videoDecoder.decode(new EncodedVideoChunk(init));
      } else if (audioDecoder.state === 'configured') audioDecoder.decode(new EncodedAudioChunk({ ...init, type: 'key' }));
    }
  };

  const run = async (): Promise<void> => {
    const media = await openClearChunks(options);
    if (over) return media.stop();
    chunks = media;
    for (const track of media.tracks) configure(track);
    animation = requestAnimationFrame(draw);
    await media.run(take, () => Promise.resolve());
  };
  const tick = setInterval(() => {
    session.playing(true);
    const position = last?.at ?? chunks?.dueNow();
    if (position !== undefined) session.playhead(position);
  }, 250);
  const offEnded = session.on('ended', () => chunks?.stop());
  session.playing(true);
  run().catch((error: unknown) => failed(error instanceof Error ? error : new Error('playback failed')));

  return {
    loaded: first,
    read: () => ({ error: last?.error, rate: 1, seeks: 0, seekTakes: 0 as Millis, state: last !== undefined && Math.abs(last.error) <= IN_STEP ? 'in-step' : 'joining' }),
    mediaTime: () => last?.at,
    get drawn() {
      return drawn;
    },
    destroy() {
      over = true;
      cancelAnimationFrame(animation);
      clearInterval(tick);
      offEnded();
      chunks?.stop();
      document.removeEventListener('pointerdown', wakeAudio);
      for (const frame of frames) frame.close();
      frames = [];
      if (videoDecoder.state !== 'closed') videoDecoder.close();
      if (audioDecoder.state !== 'closed') audioDecoder.close();
      void audio.close();
    },
  };
};
