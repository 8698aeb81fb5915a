// SPDX-License-Identifier: Apache-2.0
/** The tracer role: `sealcast/tracer`. */
export { createReferenceStore, REFERENCE_FORMAT, REFERENCE_RATE, type Marking, type Reference, type ReferenceStore } from './reference.ts';
export type { Observed, Progress, Unreadable } from './observe.ts';
export { createTracer, type TraceAnswer, type Tracer, type TraceRequest, type TracerOptions } from './tracer.ts';
