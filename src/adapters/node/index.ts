// SPDX-License-Identifier: Apache-2.0
/** What roles need from Node: time, randomness, AES, logs, metrics, an HTTP server, secrets at rest, tools. */
export { nodeSampleAes } from './aes.ts';
export { systemClock } from './clock.ts';
export { bufferedResponse } from './http-response.ts';
export { type RunningServer, serve, type ServeOptions, type ServerHandler } from './http-server.ts';
export { nodeKeyWrapper } from './key-wrap.ts';
export { createLog, type LogLevel, type LogOptions } from './log.ts';
export { createMetrics, type NodeMetrics } from './metrics.ts';
export { type FolderOfflineStorage, openFolderOfflineStorage } from './offline-storage.ts';
export { systemRandom } from './random.ts';
export { createSecretBox, type KekSource, loadKeyEncryptionKey } from './secret-box.ts';
export { ensureTool, type EnsureToolOptions, requireTool, type Tool, type ToolOutcome } from './setup.ts';
