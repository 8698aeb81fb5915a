// SPDX-License-Identifier: Apache-2.0
/** Timed release at an edge: Node only (sockets and blocking waits), so not part of the edge role's own door. */
export { createClockTask, createEdgeClock, type EdgeClock, type TimeSource } from './clock-task.ts';
export type { Connection, TokenCheck } from './connection.ts';
export type { Taken, TrustedKeyServer } from './grant-intake.ts';
export { createReleaseHost, type HostEvents, type ReleaseHost } from './host.ts';
export { createReleasePull, ownsReleasePath, releaseEvent } from './pull.ts';
export { createReleaseEdge, createTokenCheck, type ReleaseEdge, type ReleaseEdgeOptions, type ReleaseFollower, type ReleaseStanding, type ReleaseTokenKeys } from './release-edge.ts';
export type { Released } from './room.ts';
