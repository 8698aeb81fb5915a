// SPDX-License-Identifier: Apache-2.0
/** The tracer role: `sealcast/tracer`. */
export { createReferenceStore, REFERENCE_FORMAT, REFERENCE_RATE, type Marking, type Reference, type ReferenceStore } from './reference.ts';
export { createFollower, type Follower, type FollowState } from './follow.ts';
export { createLiveReferences, parseLiveDescription, type LiveReferences, type Scratch } from './live-reference.ts';
export type { Observed, Progress, Unreadable } from './observe.ts';
export { createTracer, type TraceAnswer, type Tracer, type TraceRequest, type TracerOptions } from './tracer.ts';
