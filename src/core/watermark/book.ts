// SPDX-License-Identifier: Apache-2.0
/**
 * What every code book answers: which of the m symbols a viewer's copy carries at a position.
 *
 * Invariant: `symbol` is a function of key material, viewer and position alone; every edge answers the same, before and
 * after a restart, in every JavaScript engine (integers and exact arithmetic only).
 */
import { SealcastError } from '#core/errors.ts';
import type { Branded } from '#core/time.ts';

/** Dense number of a viewer of one event (design: 0 is the base copy, 1-15 are probes). Integer, 0..2^44. */
export type ViewerNumber = Branded<number, 'ViewerNumber'>;
/** segment number x slots per segment + slot. Integer, 0..2^53-1. */
export type Position = Branded<number, 'Position'>;

/** Viewer numbers end here; 1e13 viewers of one event. */
export const MAX_VIEWER: number = 2 ** 44;

/** Throws `bad-request` unless an integer of 0..2^44. */
export const viewerNumber = (value: number): ViewerNumber => {
  if (!Number.isInteger(value) || value < 0 || value > MAX_VIEWER) throw new SealcastError('bad-request', 'viewer must be an integer of 0..2^44');
  return value as ViewerNumber;
};

/** Throws `bad-request` unless an integer of 0..2^53-1. */
export const position = (value: number): Position => {
  if (!Number.isSafeInteger(value) || value < 0) throw new SealcastError('bad-request', 'position must be an integer of 0..2^53-1');
  return value as Position;
};

/** One event's code book. */
export interface CodeBook {
  readonly kind: 'adaptive' | 'aligned' | 'biased';
  /** m: symbols are 0..m-1. */
  readonly alphabet: number;
  /**
   * The symbol of a viewer at a position. Throws `key-unavailable` if the position's epoch key is not at hand and
   * `bad-request` for positions before the schedule begins.
   */
  symbol(viewer: ViewerNumber, at: Position): number;
  /** Symbols of viewers `first`, `first`+1, ... at one position, one per byte of `out`: for tracers that score everybody. */
  fill(at: Position, first: ViewerNumber, out: Uint8Array): void;
}

/** Secret of one epoch, 32 bytes; throws `key-unavailable` where it is not at hand. See `markKeys`. */
export type EpochKeys = (epoch: number) => Uint8Array;
