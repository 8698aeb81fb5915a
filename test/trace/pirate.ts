// SPDX-License-Identifier: Apache-2.0
/**
 * Simulated pirates for tests and benchmarks: who leaks, how colluders choose, what the detector misreads.
 *
 * Invariant: everything follows from the seed, so a failing trace can be repeated.
 */
import { createHmac } from 'node:crypto';
import { hardReading, type Reading } from '#core/trace/index.ts';
import { markKeys, position, viewerNumber, type CodeBook, type EpochKeys } from '#core/watermark/index.ts';

/** Numbers of [0, 1) from a seed (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
};

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
/** Mark keys of a test event. */
export const testKeys = (event: number): EpochKeys => markKeys(hmac, new Uint8Array(32).fill(event & 0xff, 0, 16).fill(event >> 8, 16));

export type PirateAttack = 'interleaving' | 'plurality' | 'minority';
export type Pirate = {
  readonly book: CodeBook;
  /** Colluding viewers; one of them alone is a plain leak. */
  readonly viewers: readonly number[];
  readonly attack?: PirateAttack;
  /** Probability that the detector names another symbol, and that it reads nothing. */
  readonly errors?: number;
  readonly erasures?: number;
  /** Error rate the detector believes in; `errors` by default, 1e-4 at least. */
  readonly believed?: number;
  readonly random: () => number;
};

/** What the colluders publish at a position. */
export const published = ({ book, viewers, attack = 'interleaving', random }: Pirate, at: number): number => {
  const held = viewers.map((viewer) => book.symbol(viewerNumber(viewer), position(at)));
  if (attack === 'interleaving') return held[Math.floor(random() * held.length)] as number;
  const counts = new Map<number, number>();
  for (const symbol of held) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  const wanted = attack === 'plurality' ? Math.max(...counts.values()) : Math.min(...counts.values());
  const choices = [...counts].filter(([, count]) => count === wanted).map(([symbol]) => symbol);
  return choices[Math.floor(random() * choices.length)] as number;
};

/** What the detector reads there. */
export const readAt = (pirate: Pirate, at: number): Reading => {
  const { book, errors = 0, erasures = 0, believed = Math.max(errors, 1e-4), random } = pirate;
  if (random() < erasures) return { position: position(at) };
  let symbol = published(pirate, at);
  if (random() < errors) symbol = (symbol + 1 + Math.floor(random() * (book.alphabet - 1))) % book.alphabet;
  return { position: position(at), likelihoods: hardReading(book.alphabet, symbol, believed) };
};

export const readings = (pirate: Pirate, from: number, count: number): Reading[] => Array.from({ length: count }, (_, i) => readAt(pirate, from + i));
