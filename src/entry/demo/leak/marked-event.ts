// SPDX-License-Identifier: Apache-2.0
/**
 * The marked event of the demo: how its copies differ per viewer is decided here and nowhere else in the chapter.
 *
 * Variants made at the source, switched at the edge. Whoever marks otherwise replaces this file: the chapter needs an event
 * whose viewers get copies of their own, and a tracer that can read them.
 * Invariant: every interface used is one an operator has.
 */
import { type LiveSource, startMarkedScene } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { microsFromSeconds } from '#core/time.ts';
import { WIDTH, HEIGHT } from '#core/picture/index.ts';
import { type LocalTracing, openLocalTracing } from '#entry/tracing.ts';
import type { Stage } from '#entry/demo/stage.ts';
import { operatorCall } from './operator-call.ts';

/** The event while it is on air. */
export type MarkedEvent = {
  readonly asset: AssetId;
  readonly representation: string;
  readonly segmentSeconds: number;
  readonly tracing: LocalTracing;
  stop(): Promise<void>;
};

const ALPHABET = 5;
const REPRESENTATION = 'v360';

/** Creates the event as an operator and puts the generated scene on air, in five variants. Throws `tool-missing`. */
export const startMarkedEvent = async (stage: Stage, token: string): Promise<MarkedEvent> => {
  const { platform, config } = stage;
  const asset = assetId(`marked-${systemClock.now().toString(36)}`);
  const { ingest } = await operatorCall<{ ingest: { url: string; credential: string } }>(platform, token, 'POST', '/v1/events', { asset, name: 'Marked match', variants: ALPHABET, marked: REPRESENTATION });
  const tracing = await openLocalTracing(config);
  const patterns = await tracing.tracer.patterns(asset, ALPHABET);
  const every = microsFromSeconds(config.packager.segmentSeconds);
  const ingestHandler = platform.roles.packager?.ingestHandler;
  const start = (): LiveSource => startMarkedScene({
    asset, ingestUrl: ingest.url, credential: ingest.credential, clock: systemClock, log: platform.log, events: platform.operations?.events ?? (() => undefined),
    ...(ingestHandler !== undefined && { send: ingestHandler }),
    marks: { alphabet: ALPHABET, width: WIDTH, height: HEIGHT, every, picture: (segment) => patterns.picture(segment) },
  });
  let source: LiveSource;
  try {
    source = start();
  } catch (error) {
    tracing.close();
    throw error;
  }
  return {
    asset,
    representation: REPRESENTATION,
    segmentSeconds: config.packager.segmentSeconds,
    tracing,
    async stop() {
      await source.stop();
      tracing.close();
    },
  };
};
