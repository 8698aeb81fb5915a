// SPDX-License-Identifier: Apache-2.0
/**
 * A title marked inside its bitstream with everything to trace it, in memory: what the benchmark and the calibration work on.
 *
 * Invariant: films go through the packager and suspects through the tracer that a service uses; only stores are in memory.
 */
import { writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { createFfmpegFrames, createFfmpegTool } from '#adapters/ffmpeg/index.ts';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { assetId } from '#core/ids.ts';
import { applySymbols, decodeProfile, slotsOf } from '#core/mark/index.ts';
import { microsFromSeconds } from '#core/time.ts';
import { createBook, createTracer as createVerdict, replay, type Observation } from '#core/trace/index.ts';
import { markKeys, position, viewerNumber, type CodeBook } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { inBandMarking } from '#entry/in-band-marking.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createMarkReferences, packTitle } from '#packager/index.ts';
import { createMarkedReferences, createReferenceStore, createTracer, type TraceAnswer, type Tracer } from '#tracer/index.ts';

const SEGMENT_SECONDS = 2;
const ASSET = assetId('film');
const SECRET = new Uint8Array(32).fill(42);
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A marked title. */
export type MarkedTitle = {
  readonly tracer: Tracer;
  readonly book: CodeBook;
  readonly slots: number;
  readonly segments: number;
  readonly places: number;
  /** Computes all differences; answers the seconds it took. */
  build(): Promise<number>;
  /** Writes one viewer's copy, or the original for no viewer. */
  copy(viewer: number | undefined, file: string): Promise<void>;
};

/** Packs a film with marks. */
export const markedTitle = async (file: string): Promise<MarkedTitle> => {
  const objects = createMemoryObjects();
  const tool = createFfmpegTool();
  const frames = createFfmpegFrames();
  const segment = microsFromSeconds(SEGMENT_SECONDS);
  let places = 0;
  const references = createMarkReferences(objects, ASSET);
  const packed = await packTitle({
    asset: ASSET, file, keys: { kind: 'none' }, store: createMemoryObjects(), folder: '', tool, aes: nodeSampleAes, random: systemRandom, clock: systemClock, log: silent, segmentDuration: segment,
    marks: { keys: createMarkKeys({ secret: async () => SECRET }), references, onSegment: (_, { sites }) => (places += sites) },
  });
  const track = packed.tracks.find(({ kind }) => kind === 'video');
  if (track === undefined) throw new Error('the film has no video');
  const marking = inBandMarking({ representations: [track.id], segment, segments: track.segments });
  const slots = slotsOf(segment);
  await references.describe({ schedule: marking.schedule, segment, representations: [track.id], slots, live: false });
  const marks = createMarkedReferences({ objects, tool: frames, digest: async (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()) });
  const at = async (name: string): Promise<Uint8Array> => (await objects.get(`${ASSET}/marks/${track.id}/${name}`)) ?? new Uint8Array(0);
  const book = createBook({ kind: 'aligned', schedule: marking.schedule }, 2, markKeys(hmacSha256, SECRET));
  return {
    tracer: createTracer({ references: createReferenceStore(objects), marks: { references: marks, pictures: frames }, markSecret: async () => SECRET, tool, frames }),
    book, slots, segments: track.segments, places,
    async build() {
      const began = performance.now();
      const reference = await marks.read(ASSET);
      for (const number of reference?.numbers ?? []) await reference?.differences(track.id, number);
      return (performance.now() - began) / 1000;
    },
    async copy(viewer, to) {
      const parts = [await at('init.mp4')];
      for (let number = 0; number < track.segments; number++) {
        const media = (await at(`${number}.m4s`)).slice();
        if (viewer !== undefined) applySymbols(media, decodeProfile(await at(`${number}.marks`)), (slot) => book.symbol(viewerNumber(viewer), position(number * slots + slot)));
        parts.push(media);
      }
      await writeFile(to, concatBytes(...parts));
    },
  };
};

/** Traces a file of the lab among `viewers`; `onRead` is told when the marks are read and only the verdict is missing. */
export const traceFile = ({ tracer }: MarkedTitle, file: string, { viewers = 1_000_000, onRead }: { viewers?: number; onRead?: () => void } = {}): Promise<TraceAnswer> =>
  tracer.trace({ asset: ASSET, file, viewers, eps: 1e-6, onProgress: ({ step }) => step === 'score' && onRead?.() });

/** Slots read, and read wrongly, of a viewer's copy. */
export const errorsOf = (observation: Observation, book: CodeBook, viewer: number): { readonly read: number; readonly wrong: number } => {
  let read = 0;
  let wrong = 0;
  for (const { position: at, likelihoods } of observation.readings) {
    if (likelihoods === undefined) continue;
    read++;
    if (((likelihoods[1] as number) > (likelihoods[0] as number) ? 1 : 0) !== book.symbol(viewerNumber(viewer), at)) wrong++;
  }
  return { read, wrong };
};

/** Seconds of the copy after which one of `culprits` is accused, looking after every segment; Infinity if never. An innocent throws. */
export const secondsToVerdict = ({ header, readings }: Observation, options: { viewers: number; eps: number; culprits: readonly number[] }): number => {
  const keys = markKeys(hmacSha256, SECRET);
  const tracer = createVerdict({ ...header, viewers: options.viewers, eps: options.eps }, keys);
  const perSecond = header.slots / SEGMENT_SECONDS;
  const needed = Math.ceil(2 * Math.log(options.viewers / options.eps));
  for (let count = 1; count <= readings.length; count++) {
    tracer.observe(readings[count - 1] as (typeof readings)[number]);
    // Before so many slots no correlation can reach what is needed.
    if (count < needed || (count % header.slots !== 0 && count < readings.length)) continue;
    const report = tracer.report();
    if (report.verdict !== 'accuse') continue;
    if (!options.culprits.includes(report.viewer as number)) throw new Error(`viewer ${report.viewer} is innocent`);
    return count / perSecond;
  }
  return Number.POSITIVE_INFINITY;
};

/** Accusations of an observation judged under keys it was not marked with: `trials` keys, `viewers` viewers each. */
export const accusedByWrongKeys = ({ header, readings }: Observation, trials: number, viewers: number): number => {
  let accused = 0;
  for (let trial = 0; trial < trials; trial++) {
    const secret = new Uint8Array(32).fill(100);
    new DataView(secret.buffer).setUint32(0, trial);
    if (replay({ header: { ...header, viewers }, readings }, markKeys(hmacSha256, secret)).verdict === 'accuse') accused++;
  }
  return accused;
};
