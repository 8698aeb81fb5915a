// SPDX-License-Identifier: Apache-2.0
/** The tracer role: `sealcast/tracer`. */
export { createReferenceStore, REFERENCE_FORMAT, REFERENCE_RATE, type Marking, type Reference, type ReferenceStore } from './reference.ts';
export { createFollower, type Follower, type FollowState } from './follow.ts';
export { createLiveReferences, parseLiveDescription, type LiveReferences, type Scratch } from './live-reference.ts';
export { createMarkedReferences, MARKS_FORMAT, type MarkedReference, type MarkedReferences } from './marked-reference.ts';
export type { SegmentReading } from './detector.ts';
export { geometryOf, type Geometry } from './registration/homography.ts';
export { reportPage, type ReportPage } from './report-page.ts';
export { softValueOf, weighedValues } from './soft-values.ts';
export type { Observed, Progress, Unreadable } from './observe.ts';
export { createTracer, type TraceAnswer, type Tracer, type TraceRequest, type TracerOptions } from './tracer.ts';
export { parseMarks, type MarkedDescription } from './marked-reference.ts';
