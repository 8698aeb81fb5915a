// SPDX-License-Identifier: Apache-2.0
/**
 * Time that offline rights are judged by: what a server last signed, carried on, and never below what this device has lived through.
 *
 * docs/wire/subscription.md, "Trusted clock" (B124, B156-B158). Between confirmations the wall clock is believed forwards only;
 * the high-water mark follows the monotonic clock, so that a wall clock set forward and back again does no lasting harm.
 * Invariant: with the wall clock more than 30 s behind the mark, or without any confirmation, there is no trusted time at all.
 */
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, OfflineRecords } from '#ports';
import type { DeviceSeal } from './device-seal.ts';

/** Trusted time on one device. */
export type TrustedClock = {
  /** Undefined while it cannot be trusted. */
  now(): Micros | undefined;
  /** Why `now` is undefined: no server was ever heard, or the wall clock was set back. */
  readonly state: 'confirmed' | 'never-confirmed' | 'set-back';
  /** How far off `now` may be; infinite while it is undefined. */
  uncertainty(): Micros;
  /** Whether a server should be asked: never heard, set back, or less certain than 30 s. */
  readonly needsSync: boolean;
  /** A server's word that cannot be an old one: it answered our nonce. `sent` and `received` are monotonic. */
  confirm(time: Micros, sent: Millis, received: Millis): Promise<void>;
  /** A signed instant that may be an old one: time is not before it. */
  raise(time: Micros): Promise<void>;
  /** Keeps the mark where a restart finds it. */
  save(): Promise<void>;
};

/** How far behind the mark a wall clock may be: daylight of adjustments by NTP. */
const SLACK = 30_000_000;
/** How uncertain time may get before a server is asked. */
const RESYNC: number = 30_000_000;
/** Two crystal clocks differ by less than 100 ppm. */
const DRIFT = 1e-4;
const NAME = 'clock';

type Confirmed = { readonly time: number; readonly wall: number; readonly error: number };

/** The clock kept in `records`; a record that this device did not write counts as none. */
export const openTrustedClock = async ({ records, seal, clock }: { readonly records: OfflineRecords; readonly seal: DeviceSeal; readonly clock: Clock }): Promise<TrustedClock> => {
  let confirmed: Confirmed | undefined;
  let mark = 0;
  let markAt = clock.monotonic();

  const read = async (): Promise<void> => {
    const text = seal.open(NAME, (await records.get(NAME)) ?? '');
    if (text === undefined) return;
    const record = membersOf(jsonObject(text, 'clock record', 'bad-request'), 'clock record', 'bad-request', ['time', 'wall', 'error', 'mark']);
    const number = (name: string): number => record.integer(name, 0, Number.MAX_SAFE_INTEGER);
    confirmed = { time: number('time'), wall: number('wall'), error: number('error') };
    mark = number('mark');
  };
  await read();

  /** The mark lives on with the process: that time really passed. */
  const markNow = (): number => mark + Math.round((clock.monotonic() - markAt) * 1000);
  const byWall = (at: Confirmed): number => at.time + (clock.now() - at.wall);
  const stateOf = (): TrustedClock['state'] => (confirmed === undefined ? 'never-confirmed' : byWall(confirmed) < markNow() - SLACK ? 'set-back' : 'confirmed');
  const now = (): Micros | undefined => (confirmed === undefined || stateOf() !== 'confirmed' ? undefined : (Math.max(byWall(confirmed), markNow()) as Micros));
  const uncertainty = (): Micros => {
    const at = now();
    return (at === undefined || confirmed === undefined ? Number.POSITIVE_INFINITY : Math.round(confirmed.error + Math.abs(at - confirmed.time) * DRIFT)) as Micros;
  };
  const save = async (): Promise<void> => {
    if (confirmed === undefined) return;
    mark = markNow();
    markAt = clock.monotonic();
    await records.write([[NAME, seal.seal(NAME, JSON.stringify({ ...confirmed, mark }))]]);
  };

  return {
    now,
    get state() {
      return stateOf();
    },
    uncertainty,
    get needsSync() {
      return !(uncertainty() <= RESYNC);
    },
    async confirm(time, sent, received) {
      const age = Math.round((clock.monotonic() - (sent + received) / 2) * 1000);
      const error = Math.round((Math.max(0, received - sent) / 2) * 1000);
      const at = time + age;
      // A slow answer does not replace a good estimate that it agrees with.
      const known = now();
      if (known !== undefined && uncertainty() < error && Math.abs(known - at) <= uncertainty() + error) return;
      confirmed = { time: at, wall: clock.now(), error };
      mark = at;
      markAt = clock.monotonic();
      await save();
    },
    async raise(time) {
      if (confirmed === undefined) confirmed = { time, wall: clock.now(), error: RESYNC };
      else if (time <= markNow()) return;
      else if (time > byWall(confirmed)) confirmed = { time, wall: clock.now(), error: RESYNC };
      mark = Math.max(markNow(), time);
      markAt = clock.monotonic();
      await save();
    },
    save,
  };
};
