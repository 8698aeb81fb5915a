// SPDX-License-Identifier: Apache-2.0
/** The key server role: `sealcast/key-server`. */
export type { KeyToImport, NewAsset } from './asset-keys.ts';
export { createMarkKeys } from './mark-keys.ts';
export { hashCredential } from './handler.ts';
export type { ServiceCredential, ServiceRole } from './handler.ts';
export { createReleaseFeed, createReleaseFollower, isReleaseFeed, type ReleaseFollower } from './release-feed.ts';
export { createReleaseServer, type ReleaseServer, type ReleaseServerOptions } from './release-server.ts';
export { createTimedResources, type TimedResources } from './timed-resources.ts';
export { createReleaseSecrets, type ReleaseEdge, type ReleaseSecrets, type TimedEvent, type TimedEvents } from './timed-events.ts';
export { createKeyServer } from './key-server.ts';
export type { KeyServer, KeyServerOptions } from './key-server.ts';
