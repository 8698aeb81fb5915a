// SPDX-License-Identifier: Apache-2.0
/** The tracer of a running process: references in the data folder, mark secrets out of its sealed store. */
import { join } from 'node:path';
import { createFfmpegFrames } from '#adapters/ffmpeg/index.ts';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { createReferenceStore, createTracer, type Tracer } from '#tracer/index.ts';
import type { VideoTool } from '#ports';
import type { OwnSecrets } from './secrets.ts';

/** Nothing is opened before it is used; a mark secret is made when patterns are first asked for. */
export const createPlatformTracer = (options: { data: string; secrets: OwnSecrets; tool: VideoTool }): Tracer =>
  createTracer({
    references: createReferenceStore(createFileObjectStore({ root: join(options.data, 'tracing') })),
    markSecret: async (asset) => decodeBase64url(await options.secrets.text(`mark/${asset}`)),
    tool: options.tool,
    frames: createFfmpegFrames(),
  });
