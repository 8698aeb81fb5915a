// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer role: keeps references, and turns a suspect file into a verdict with its evidence.
 *
 * observe -> align -> score -> verdict; the observation between them can be saved, replayed and contested.
 * Invariant: a report without certified evidence never has the verdict `accuse`, whatever the suspect is.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { createPatterns, pictureSecret, type Patterns } from '#core/picture/index.ts';
import { replay, type Observation, type TraceReport } from '#core/trace/index.ts';
import { markKeys } from '#core/watermark/index.ts';
import { variantCode, variantCodeMessage } from '#core/mark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { FrameTool, PictureTool, VideoTool } from '#ports';
import type { MarkedReference, MarkedReferences } from './marked-reference.ts';
import { foldVariants } from './fold-variants.ts';
import { observeMarks, type ObservedMarks } from './observe-marks.ts';
import { observe, type Progress, type Unreadable } from './observe.ts';
import { createFollower, type Follower } from './follow.ts';
import type { LiveReferences } from './live-reference.ts';
import { readClip, REFERENCE_RATE, type Marking, type Reference, type ReferenceStore } from './reference.ts';

/** Minutes of an event looked at for a file, and for a copy on air. */
const REMEMBERED = 60;
const FOLLOWED = 5;

/** What a tracer works with. */
export type TracerOptions = {
  readonly references: ReferenceStore;
  /** Where marks inside the bitstream are traced: originals and places, and a decoder for them. */
  readonly marks?: { readonly references: MarkedReferences; readonly pictures: PictureTool };
  /** Where events are traced: what is kept of them. */
  readonly live?: LiveReferences;
  /**
   * How an asset is marked by now, where that is known better than its reference says: epochs of events grow, and edges are
   * switched to copies of their own.
   */
  marked?(asset: AssetId): Promise<Pick<Marking, 'book' | 'delivery'> | undefined>;
  /** MW of an asset, 32 bytes; undefined where there is none. Only tracer and key server hold it. */
  markSecret(asset: AssetId): Promise<Uint8Array | undefined>;
  readonly tool: VideoTool;
  readonly frames: FrameTool;
};

/** One file to trace. */
export type TraceRequest = {
  readonly asset: AssetId;
  readonly file: string;
  /** Viewer numbers given out for the asset: everybody who could be accused. */
  readonly viewers: number;
  /** Allowed probability that any innocent viewer is accused. */
  readonly eps: number;
  /** For people: where the file comes from. */
  readonly source?: string;
  /** Events: how far back the copy may have been taken. Default 60. */
  readonly minutes?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
};

/** A verdict, or why there can be none. */
export type TraceAnswer =
  | {
      readonly readable: true;
      readonly report: TraceReport;
      readonly observation: Observation;
      /** Seconds of the suspect, and of it the stretches that show the title. */
      readonly seconds: number;
      readonly stretches: readonly { readonly from: number; readonly to: number; readonly shift: number; readonly score: number }[];
      /** Marks inside the bitstream: where and how each segment was read, for reports. */
      readonly marks?: Omit<Extract<ObservedMarks, { ok: true }>, 'ok' | 'readings' | 'stretches' | 'seconds'> & { readonly slots: number };
    }
  | { readonly readable: false; readonly reason: Unreadable; readonly detail: string; readonly seconds: number };

/** The tracer of one installation. */
export type Tracer = {
  /** Keeps the reference of an asset from its unmarked source. */
  record(request: { marking: Marking; file: string; signal?: AbortSignal }): Promise<void>;
  /** Patterns for the packager. Throws `key-unavailable` without a mark secret. */
  patterns(asset: AssetId, alphabet: number): Promise<Patterns>;
  /** Traces a copy that is still being published. Throws `key-unavailable`. `minutes`: of the event that are looked at, default 5. */
  follow(request: { readonly asset: AssetId; readonly eps: number; readonly viewers: () => Promise<number>; readonly source?: string; readonly minutes?: number }): Promise<Follower>;
  /** Throws `not-found` for an asset without reference or a file that is not there. */
  trace(request: TraceRequest): Promise<TraceAnswer>;
};

/** Wires the pipeline. */
export const createTracer = (options: TracerOptions): Tracer => {
  const { references, tool, frames } = options;
  const secretOf = async (asset: AssetId): Promise<Uint8Array> => {
    const secret = await options.markSecret(asset);
    if (secret === undefined) throw new SealcastError('key-unavailable', 'this title has no mark secret here: trace where it was packed');
    return secret;
  };
  const referenceOf = async (asset: AssetId, minutes: number): Promise<Reference | undefined> => {
    const found = (await references.read(asset)) ?? (await options.live?.read(asset, minutes));
    return found && { ...found, ...(await options.marked?.(asset)) };
  };
  /** Marks in the bitstream; of events only the last minutes. */
  const marksOf = async (asset: AssetId, minutes: number, onProgress?: (progress: Progress) => void, signal?: AbortSignal): Promise<MarkedReference | undefined> => {
    if (options.marks === undefined) return undefined;
    const found = await options.marks.references.read(asset, {
      minutes,
      onProgress: (done, total) => onProgress?.({ step: 'prepare', done, total }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (found === undefined || found.numbers.length === 0) return undefined;
    const now = await options.marked?.(asset);
    return now === undefined ? found : { ...found, book: now.book };
  };
  const marksIn = async (reference: MarkedReference, file: string, onProgress?: (progress: Progress) => void, signal?: AbortSignal): Promise<ObservedMarks> => {
    const { pictures } = options.marks as NonNullable<TracerOptions['marks']>;
    return observeMarks({
      reference, tool, frames: { grayFrames: (request) => frames.grayFrames(request), filePictures: (request) => pictures.filePictures(request), codedPictures: (request) => pictures.codedPictures(request) }, file,
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
  };
  /** What slots mean: positions of their own, or together the variant of their segment. */
  const symbolsOf = ({ slots, variants }: MarkedReference, secret: Uint8Array): { readonly alphabet: number; readonly slots: number; read(observed: ObservedMarks): ObservedMarks } => {
    if (variants === undefined) return { alphabet: 2, slots, read: (observed) => observed };
    const codeSecret = hmacSha256(secret, variantCodeMessage());
    const code = (segment: number): readonly Uint8Array[] => variantCode({ hmac: hmacSha256, secret: codeSecret, segment, slots, alphabet: variants });
    return { alphabet: variants, slots: 1, read: (observed) => (observed.ok ? { ...observed, readings: foldVariants(observed.readings, { slots, alphabet: variants, code }) } : observed) };
  };
  const patternsOf = (asset: AssetId, alphabet: number, secret: Uint8Array): Patterns => createPatterns({ hmac: hmacSha256, secret: pictureSecret(hmacSha256, secret, asset), alphabet });

  return {
    async record({ marking, file, signal }) {
      const clip = await readClip({ tool: frames, file, framesPerSecond: REFERENCE_RATE, ...(signal === undefined ? {} : { signal }) });
      await references.write({ ...marking, clip });
    },
    async patterns(asset, alphabet) {
      return patternsOf(asset, alphabet, await secretOf(asset));
    },
    async follow({ asset, eps, viewers, source, minutes = FOLLOWED }) {
      const secret = await secretOf(asset);
      return createFollower({
        asset, eps, viewers, source, keys: markKeys(hmacSha256, secret),
        reference: async () => {
          const marked = await marksOf(asset, minutes);
          if (marked === undefined) return referenceOf(asset, minutes);
          const { alphabet, slots, read } = symbolsOf(marked, secret);
          return { alphabet, slots, book: marked.book, observe: async (file: string) => read(await marksIn(marked, file)) };
        },
        observe: (reference, file) => 'observe' in reference ? reference.observe(file) : observe({ reference, patterns: patternsOf(asset, reference.alphabet, secret), tool, frames, file }),
      });
    },
    async trace({ asset, file, viewers, eps, source, minutes = REMEMBERED, onProgress, signal }) {
      const marked = await marksOf(asset, minutes, onProgress, signal);
      if (marked !== undefined) {
        const secret = await secretOf(asset);
        const keys = markKeys(hmacSha256, secret);
        const { alphabet, slots, read } = symbolsOf(marked, secret);
        const observed = read(await marksIn(marked, file, onProgress, signal));
        if (!observed.ok) return { readable: false, reason: observed.reason, detail: observed.detail, seconds: observed.seconds };
        onProgress?.({ step: 'score' });
        const { readings, stretches, seconds, segments, hypotheses, picture } = observed;
        const { book } = marked;
        const observation: Observation = { header: { asset, alphabet, slots, book, viewers, eps, hypotheses, ...(source === undefined ? {} : { source }) }, readings };
        return { readable: true, report: replay(observation, keys), observation, seconds, stretches, marks: { segments, hypotheses, picture, slots: marked.slots } };
      }
      const reference = await referenceOf(asset, minutes);
      if (reference === undefined) throw new SealcastError('not-found', `there is no tracing reference of ${asset}: titles packed with marks or variants and events with marked tracks can be traced`);
      const secret = await secretOf(asset);
      const { alphabet, book, delivery } = reference;
      const observed = await observe({
        reference,
        patterns: patternsOf(asset, alphabet, secret),
        tool,
        frames,
        file,
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(signal === undefined ? {} : { signal }),
      });
      if (!observed.ok) return { readable: false, reason: observed.reason, detail: observed.detail, seconds: observed.seconds };
      onProgress?.({ step: 'score' });
      const observation: Observation = { header: { asset, alphabet, slots: 1, book, ...(delivery === undefined ? {} : { delivery }), viewers, eps, ...(source === undefined ? {} : { source }) }, readings: observed.readings };
      return { readable: true, report: replay(observation, markKeys(hmacSha256, secret)), observation, seconds: observed.seconds, stretches: observed.stretches };
    },
  };
};
