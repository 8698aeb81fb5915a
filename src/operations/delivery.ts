// SPDX-License-Identifier: Apache-2.0
/** What operators are told of inner delivery. Invariant: types only. */

/** What one edge said of one asset: totals since it started. */
export type DeliveryRow = { readonly edge: string; readonly asset: string; readonly segments: number; readonly variants: number; readonly bytes: number; readonly plainBytes: number; readonly heardAt: number };
/** Rows of all edges this process hears of. */
export type DeliverySource = () => readonly DeliveryRow[];
