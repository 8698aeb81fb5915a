// SPDX-License-Identifier: Apache-2.0
/**
 * Lists of servers with an order and weights: which one is asked first, and which ones after it.
 *
 * Checklist B091-B093. Like SRV records (RFC 2782): lower priorities first, within one priority a draw by weight, so that a
 * million clients spread over equals without knowing of each other.
 * Invariant: every address comes out exactly once, and plain lists keep the order they are written in.
 */
import { SealcastError } from '#core/errors.ts';
import type { Random } from '#ports';
import { fraction } from './transport.ts';

/**
 * An http(s) address, or one with its place. Addresses are asked in the order of the list; those that share a `priority`
 * (0-65535, lower first, default: the place in the list) are put in random order, `weight` (0-65535, default 1) against weight.
 */
export type ServerAddress = string | { readonly url: string; readonly priority?: number; readonly weight?: number };

const MOST = 65_535;
const isShort = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MOST;

type Place = { readonly url: string; readonly priority: number; readonly weight: number };

const placeOf = (address: ServerAddress, index: number, base: string | undefined): Place => {
  const { url, priority = index, weight = 1 } = typeof address === 'string' ? { url: address } : address;
  const parsed = URL.canParse(url, base) ? new URL(url, base) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) throw new SealcastError('bad-request', 'server addresses: each must be an http or https address');
  if (!isShort(priority) || !isShort(weight)) throw new SealcastError('bad-request', `server addresses: priority and weight must be whole numbers of 0-${MOST}`);
  return { url: parsed.href, priority, weight };
};

/** One of `equals`, drawn by weight; those of weight 0 come last. */
const draw = (equals: readonly Place[], random: Random): Place => {
  let left = fraction(random) * equals.reduce((sum, { weight }) => sum + weight, 0);
  for (const place of equals) {
    left -= place.weight;
    if (left < 0) return place;
  }
  return equals[0] as Place;
};

/** The addresses as absolute hrefs in the order to ask them in. Relative ones count from `base`. Throws `bad-request` for what is no http(s) address. */
export const orderAddresses = (addresses: readonly ServerAddress[], random: Random, base?: string): readonly string[] => {
  const places = addresses.map((address, index) => placeOf(address, index, base));
  const ordered: string[] = [];
  for (const priority of [...new Set(places.map((place) => place.priority))].sort((a, b) => a - b)) {
    let equals = places.filter((place) => place.priority === priority);
    while (equals.length > 0) {
      const next = draw(equals, random);
      ordered.push(next.url);
      equals = equals.filter((place) => place !== next);
    }
  }
  return [...new Set(ordered)];
};
