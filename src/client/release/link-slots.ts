// SPDX-License-Identifier: Apache-2.0
/**
 * The places for connections: which edge each has, and when it tries another.
 *
 * docs/wire/release.md; the failure rules are those of its table: after a loss another edge within 250 ms, then full jitter of min(8 s, 250 ms · 2^k);
 * a planned move connects anew before it lets go. Two places take different edges, so that the first copy of a secret wins and one dead edge costs nothing.
 * Invariants: random pauses before every attempt, so that the clients of a dead edge do not come at once; an edge that proved false or refused is left
 * alone for a minute; a place has at most one connection in use and one that is being left.
 */
import type { ReleaseFrame } from '#core/release/frame.ts';
import { CLOSE, type EdgeMessage } from '#core/release/messages.ts';
import type { Millis } from '#core/time.ts';
import type { Clock, Random } from '#ports';
import { fraction } from '../transport.ts';
import type { ClockExchange } from './clock-estimate.ts';
import type { EdgeLink, LinkHandlers } from './edge-link.ts';

/** A connection's place, as seen from outside. */
export type Slot = {
  readonly index: number;
  readonly url: string;
  readonly link: EdgeLink;
  /** Welcome was said. */
  readonly up: boolean;
  /** The edge has suspended releases. */
  readonly holding: boolean;
  /** Highest period it pushed, and pushes missed in a row. */
  pushed: number;
  missed: number;
};

/** Whom the places tell; `slot.index` says which one. */
export type SlotHandlers = {
  message(slot: Slot, message: EdgeMessage): void;
  release(slot: Slot, frame: ReleaseFrame, at: Millis): void;
  exchange(slot: Slot, exchange: ClockExchange): void;
  /** A token is no longer good. */
  tokenRefused(): void;
  changed(): void;
};

/** All places of one channel. */
export type LinkSlots = {
  /** Those that are up, in order of their index. */
  up(): readonly Slot[];
  readonly all: readonly Slot[];
  /** More addresses, from an edge's welcome. */
  offer(urls: readonly string[]): void;
  readonly urls: readonly string[];
  /** Leaves the edge of a slot at once for another; `code` is the reason told. `shun`: not to come back for a minute. */
  leave(slot: Slot, code: number, shun: boolean): void;
  /** Connects anew before it lets go, after a random pause of up to `spread` ms. */
  move(slot: Slot, spread: number): void;
  /** Opens what is missing now, without waiting: the network is back. */
  retry(): void;
  stop(): void;
};

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 8000;
const SHUNNED = 60_000;
const BRIEFLY = 5000;
/** A connection that stood so long was good: the next loss starts with a short pause again. */
const STOOD = 5000;
/** A connection that is being left is closed after this long even if the new one is not up. */
const LEAVING = 3000;
/** Where no WebSocket ever opened, every second attempt is an event stream. */
const STREAM_AFTER = 2;

type Place = { index: number; url: string; link: EdgeLink | undefined; slot: MutableSlot | undefined; attempt: number; cancel: () => void; welcomed: boolean; upAt: number };
type MutableSlot = { -readonly [Name in keyof Slot]: Slot[Name] };

const hostOf = (url: string): string => new URL(url).host;

/** Places for `want` connections to `urls` (absolute base URLs). Nothing is connected before this returns. */
export const createLinkSlots = (options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly urls: readonly string[];
  readonly want: number;
  open(url: string, stream: boolean, handlers: LinkHandlers): EdgeLink;
  readonly handlers: SlotHandlers;
}): LinkSlots => {
  const { clock, random, handlers } = options;
  /** One name per edge: with and without the last slash it is the same. */
  const named = (url: string): string => new URL(url).href;
  let urls: readonly string[] = [...new Set(options.urls.map(named))];
  let want = options.want;
  let stopped = false;
  let everWelcomed = false;
  const shunned = new Map<string, number>();
  const places: Place[] = [];
  const draw = (limit: number): Millis => (fraction(random) * limit) as Millis;

  const slotsUp = (): readonly Slot[] => places.map(({ slot }) => slot).filter((slot): slot is MutableSlot => slot !== undefined && slot.up);

  /** Another edge than the other places have, if there is one; not a shunned one, if there is another. */
  const choose = (place: Place, avoid: string | undefined): string | undefined => {
    const taken = new Set(places.filter((other) => other !== place && other.link !== undefined).map(({ url }) => hostOf(url)));
    const now = clock.monotonic();
    const score = (url: string): number => (taken.has(hostOf(url)) ? 4 : 0) + ((shunned.get(url) ?? 0) > now ? 2 : 0) + (url === avoid ? 1 : 0);
    const least = Math.min(...urls.map(score));
    // One edge needs no second connection to itself.
    if (least >= 4) return undefined;
    const best = urls.filter((url) => score(url) === least);
    return best[Math.floor(fraction(random) * best.length)];
  };

  const connect = (place: Place, avoid?: string): void => {
    if (stopped || place.link !== undefined) return;
    const url = choose(place, avoid);
    if (url === undefined) {
      place.cancel = clock.after((LONGEST_PAUSE / 2 + draw(LONGEST_PAUSE / 2)) as Millis, () => connect(place));
      return;
    }
    place.url = url;
    const stream = !everWelcomed && place.attempt >= STREAM_AFTER && place.attempt % 2 === 0;
    const own: { link?: EdgeLink; over?: true } = {};
    const current = (): boolean => own.link !== undefined && place.link === own.link;
    const slot: MutableSlot = { index: place.index, url, link: undefined as unknown as EdgeLink, up: false, holding: false, pushed: -1, missed: 0 };
    const link = options.open(url, stream, {
      message(message) {
        if (message.type === 'welcome') {
          everWelcomed = true;
          place.upAt = clock.monotonic();
          slot.up = true;
          slot.pushed = message.now;
          if (current()) place.slot = slot;
        }
        if (message.type === 'hold') slot.holding = true;
        if (message.type === 'resume') slot.holding = false;
        handlers.message(slot, message);
        if (message.type === 'welcome' || message.type === 'hold' || message.type === 'resume') handlers.changed();
      },
      release: (frame, at) => handlers.release(slot, frame, at),
      exchange: (exchange) => handlers.exchange(slot, exchange),
      down(code) {
        slot.up = false;
        if (own.link === undefined) own.over = true;
        if (!current()) return;
        lost(place, url, code);
      },
    });
    own.link = link;
    slot.link = link;
    place.link = link;
    place.slot = slot;
    if (own.over) lost(place, url, 0);
  };

  const lost = (place: Place, url: string, code: number): void => {
    const stood = place.slot !== undefined && place.upAt > 0 && clock.monotonic() - place.upAt > STOOD;
    place.link = undefined;
    place.slot = undefined;
    if (stood) place.attempt = 0;
    if (stopped) return;
    if (code === CLOSE.token) handlers.tokenRefused();
    if (code === CLOSE.forbidden || code === CLOSE.unknownEvent || code === CLOSE.malformed) shunned.set(url, clock.monotonic() + SHUNNED);
    if (code === CLOSE.slow || code === CLOSE.flood) shunned.set(url, clock.monotonic() + BRIEFLY);
    // Too many connections of the account: the second one is a luxury.
    if (code === CLOSE.connections) want = 1;
    if (code === CLOSE.connections && place.index > 0) {
      handlers.changed();
      return;
    }
    const pause = place.attempt === 0 ? draw(FIRST_PAUSE) : draw(Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** place.attempt));
    place.attempt += 1;
    place.upAt = 0;
    place.cancel = clock.after(pause, () => connect(place, url));
    handlers.changed();
  };

  const fill = (): void => {
    const hosts = new Set(urls.map(hostOf)).size;
    while (places.length < Math.min(want, hosts)) {
      const place: Place = { index: places.length, url: '', link: undefined, slot: undefined, attempt: 0, cancel: () => undefined, welcomed: false, upAt: 0 };
      places.push(place);
      place.cancel = clock.after(0 as Millis, () => connect(place));
    }
  };
  fill();

  const placeOf = (slot: Slot): Place | undefined => places.find((place) => place.slot === slot);

  return {
    up: slotsUp,
    get all() {
      return places.map(({ slot }) => slot).filter((slot): slot is MutableSlot => slot !== undefined);
    },
    offer(more) {
      urls = [...new Set([...urls, ...more.map(named)])].slice(0, 32);
      if (!stopped) fill();
    },
    get urls() {
      return urls;
    },
    leave(slot, code, shun) {
      const place = placeOf(slot);
      if (shun) shunned.set(slot.url, clock.monotonic() + SHUNNED);
      if (place === undefined) return slot.link.close(code);
      slot.link.close(code);
    },
    move(slot, spread) {
      const place = placeOf(slot);
      if (place === undefined) return;
      place.cancel = clock.after(draw(spread), () => {
        // Where there is no other edge, there is nothing to move to.
        if (place.slot !== slot || stopped || choose(place, slot.url) === slot.url) return;
        shunned.set(slot.url, clock.monotonic() + SHUNNED);
        place.link = undefined;
        place.slot = undefined;
        connect(place, slot.url);
        clock.after(LEAVING as Millis, () => slot.link.close());
      });
    },
    retry() {
      for (const place of places) {
        if (place.link !== undefined) continue;
        place.cancel();
        place.attempt = 0;
        place.cancel = clock.after(draw(FIRST_PAUSE), () => connect(place));
      }
    },
    stop() {
      stopped = true;
      for (const place of places) {
        place.cancel();
        place.link?.close();
      }
    },
  };
};
