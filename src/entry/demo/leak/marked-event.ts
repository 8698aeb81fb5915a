// SPDX-License-Identifier: Apache-2.0
/**
 * The marked event of the demo: how its copies differ per viewer is decided here and nowhere else in the chapter.
 *
 * In one form the edge changes bytes of the one encrypted copy, in the other the source makes variants and the edge switches
 * between them. Invariant: every interface used is one an operator has.
 */
import { join } from 'node:path';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { type LiveSource, startMarkedScene, startSmallScene } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { decodeProfile, slotsOf } from '#core/mark/index.ts';
import { microsFromSeconds } from '#core/time.ts';
import { WIDTH, HEIGHT } from '#core/picture/index.ts';
import { type LocalTracing, openLocalTracing } from '#entry/tracing.ts';
import type { Stage } from '#entry/demo/stage.ts';
import { operatorCall } from './operator-call.ts';

/** `in-band`: marks inside one encrypted copy, switched on by the edge. `variants`: copies made at the source. */
export type LeakForm = 'in-band' | 'variants';

/** The event while it is on air. */
export type MarkedEvent = {
  readonly asset: AssetId;
  readonly representation: string;
  readonly segmentSeconds: number;
  /** Seconds of video that one symbol of the marks takes. */
  readonly secondsPerSymbol: number;
  /** Renditions that the origin holds of the one picture. */
  readonly copies: number;
  /** How the pirate codes again, as options of ffmpeg, and in words. */
  readonly recoding: { readonly options: readonly string[]; readonly words: string };
  readonly tracing: LocalTracing;
  /** Marked places a second in the newest whole segment, undefined before there is one; absent for variants. */
  places?(): Promise<number | undefined>;
  stop(): Promise<void>;
};

const ALPHABET = 5;
const REPRESENTATION = 'v360';
/** Boxes take at most a hundredth of the bytes, a part of it for every chunk of 200 ms: this leaves room for all places wanted. */
const BITS_PER_SECOND = 2_000_000;

/** Creates the event as an operator and puts the generated scene on air. Throws `tool-missing`. */
export const startMarkedEvent = async (stage: Stage, token: string, form: LeakForm): Promise<MarkedEvent> => {
  const { platform, config } = stage;
  const { segmentSeconds } = config.packager;
  const asset = assetId(`marked-${systemClock.now().toString(36)}`);
  const { ingest } = await operatorCall<{ ingest: { url: string; credential: string } }>(platform, token, 'POST', '/v1/events', { asset, name: 'Marked match', ...(form === 'variants' ? { variants: ALPHABET, marked: REPRESENTATION } : { mark: REPRESENTATION }) });
  const tracing = await openLocalTracing(config);
  const ingestHandler = platform.roles.packager?.ingestHandler;
  const common = { asset, ingestUrl: ingest.url, credential: ingest.credential, clock: systemClock, log: platform.log, events: platform.operations?.events ?? (() => undefined), ...(ingestHandler !== undefined && { send: ingestHandler }) };
  const start = async (): Promise<LiveSource> => {
    if (form === 'in-band') return startSmallScene({ ...common, bitsPerSecond: BITS_PER_SECOND });
    const patterns = await tracing.tracer.patterns(asset, ALPHABET);
    return startMarkedScene({ ...common, marks: { alphabet: ALPHABET, width: WIDTH, height: HEIGHT, every: microsFromSeconds(segmentSeconds), picture: (segment) => patterns.picture(segment) } });
  };
  let source: LiveSource;
  try {
    source = await start();
  } catch (error) {
    tracing.close();
    throw error;
  }
  const half = `${BITS_PER_SECOND / 2000}k`;
  const originals = createFileObjectStore({ root: join(config.data, 'tracing'), durability: 'process' });
  return {
    asset,
    representation: REPRESENTATION,
    segmentSeconds,
    secondsPerSymbol: form === 'in-band' ? segmentSeconds / slotsOf(microsFromSeconds(segmentSeconds)) : segmentSeconds,
    copies: form === 'in-band' ? 1 : ALPHABET,
    recoding:
      form === 'in-band'
        ? { options: ['-b:v', half, '-maxrate', half, '-bufsize', half], words: 'half the rate' }
        : { options: ['-vf', 'scale=426:240:flags=bicubic', '-crf', '28'], words: '240 lines' },
    tracing,
    ...(form === 'in-band' && {
      async places() {
        const newest = (await originals.list(`${asset}/marks/${REPRESENTATION}/`)).filter((path) => path.endsWith('.marks')).sort().at(-1);
        const profile = newest === undefined ? undefined : await originals.get(newest);
        return profile === undefined ? undefined : decodeProfile(profile).sites.count / segmentSeconds;
      },
    }),
    async stop() {
      await source.stop();
      tracing.close();
    },
  };
};
