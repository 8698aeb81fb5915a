// SPDX-License-Identifier: Apache-2.0
/** The edge role: `sealcast/edge`. */
export { createBundleClient } from './bundle-client.ts';
export type { BundleSource } from './bundle-loop.ts';
export { createEdge } from './edge.ts';
export type { Edge, EdgeContext, EdgeOptions } from './edge.ts';
export { createUnboxer, DEFAULT_MARK_POLICY } from './mark-boxes.ts';
export type { BoxOutcome, MarkPolicy, Unboxer } from './mark-boxes.ts';
