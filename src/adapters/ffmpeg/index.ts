// SPDX-License-Identifier: Apache-2.0
/** ffmpeg as a child process: probing, conversion, live sources. */
export { findTool, INSTALL_COMMAND } from './process.ts';
export { createFfmpegFrames } from './frames.ts';
export { captureStream, type Capture } from './capture.ts';
export { probe } from './probe.ts';
export { createFfmpegTool } from './tool.ts';
export { startLiveScene, startLoop, startMarkedScene, startRelay, startSmallScene } from './live-source.ts';
export type { LiveSource, LiveSourceOptions } from './live-source.ts';
export { readFallbackClip } from './fallback-clip.ts';
export type { FallbackTrack } from './fallback-clip.ts';
