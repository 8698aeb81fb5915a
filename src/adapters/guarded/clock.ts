// SPDX-License-Identifier: Apache-2.0
/**
 * Watches this process's clock, asks its peers for theirs, and says whether licences may be dated by it.
 *
 * Facts 4.9, fault 6. The rules are `#core/policy/clock-watch.ts`; here they meet timers and `GET /v1/time` of other servers.
 * Invariants: every question looks at the clock first, so not one answer is given between a step and its discovery; each loss of
 * trust is one alert.
 */
import { type ClockWatch, type ClockWatchPolicy, observeClock, observePeers, skewOf, startClockWatch } from '#core/policy/clock-watch.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, EventSink, Fetch, Metrics } from '#ports';

/** What the watch is made of. */
export type ClockGuardOptions = {
  readonly clock: Clock;
  /** Base addresses of other servers, which have `/v1/time`. */
  readonly peers: readonly string[];
  /** How long, ms, until a step that no peer can judge is believed; Infinity: never. */
  readonly acceptAfter: number;
  readonly tolerance?: Micros;
  readonly fetch: Fetch;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** The watch of one process. */
export type ClockGuard = { /** Whether the clock may date licences now. */ readonly trusted: () => boolean; close(): void };

const TOLERANCE = 1_000_000 as Micros;
/** Beyond it a clock leaves the rotation, however it came there (B159). */
const SKEW = 5_000_000 as Micros;
/** An answer that took longer says too little. */
const SLOWEST = 1_000_000;
const LOOK_EVERY = 1000 as Millis;
const ASK_EVERY = 60_000;
const ASK_SUSPECT_EVERY = 5000;
const PATIENCE = 2000 as Millis;
const MOST_ANSWER = 1024;

/** How far this clock is ahead of the peer's, µs; undefined if it gave no usable answer or took longer than the tolerance can bear. */
const askPeer = async (base: string, { clock, fetch }: Pick<ClockGuardOptions, 'clock' | 'fetch'>): Promise<number | undefined> => {
  const controller = new AbortController();
  const cancel = clock.after(PATIENCE, () => controller.abort());
  try {
    const [sent, sentAt] = [clock.now(), clock.monotonic()];
    const response = await fetch(new Request(new URL('/v1/time', base), { signal: controller.signal, redirect: 'error' }));
    const text = await response.text();
    const took = (clock.monotonic() - sentAt) * 1000;
    if (!response.ok || text.length > MOST_ANSWER || took > SLOWEST) return undefined;
    const time = (JSON.parse(text) as { time?: unknown }).time;
    return Number.isSafeInteger(time) ? sent + took / 2 - (time as number) : undefined;
  } catch {
    return undefined;
  } finally {
    cancel();
  }
};

/** Trusts the clock as it finds it, until it steps or peers contradict. */
export const createClockGuard = (options: ClockGuardOptions): ClockGuard => {
  const { clock, peers, events, metrics } = options;
  const policy: ClockWatchPolicy = { tolerance: options.tolerance ?? TOLERANCE, skew: SKEW, acceptAfter: (peers.length > 0 ? Number.POSITIVE_INFINITY : options.acceptAfter) as Millis };
  let watch: ClockWatch = startClockWatch(clock.now(), clock.monotonic());
  let askedAt = Number.NEGATIVE_INFINITY;
  /** A process that starts may have a wrong clock from the beginning: its peers are heard first, if they answer. */
  let compared = peers.length === 0;
  let skewed = false;
  let cancel = (): void => undefined;
  let closed = false;

  const become = (next: ClockWatch): void => {
    const before = watch.suspect;
    watch = next;
    const { suspect } = next;
    if ((before === undefined) === (suspect === undefined)) return;
    metrics.gauge('sealcast_clock_untrusted', '1 while this process gives no licences because of its clock.', suspect === undefined ? 0 : 1);
    if (suspect === undefined) events({ at: clock.now(), kind: 'clock.trusted', severity: 'info', message: 'The clock of this server is trusted again.' });
    else {
      askedAt = Number.NEGATIVE_INFINITY;
      const seconds = Math.round((suspect.offset - next.offset) / 100_000) / 10;
      events({
        at: clock.now(), kind: 'clock.untrusted', severity: 'alert',
        message: suspect.cause === 'step' ? `The clock of this server stepped by ${seconds} s. It gives no licences and answers no renewals until that is settled.` : 'The clock of this server differs from its peers\'. It gives no licences and answers no renewals until they agree.',
        data: { cause: suspect.cause, seconds },
      });
    }
  };
  const look = (): boolean => {
    become(observeClock(watch, policy, clock.now(), clock.monotonic()));
    return compared && watch.suspect === undefined;
  };
  /** One alert for each time that the clock drifts off. */
  const tellSkew = (skew: number | undefined): void => {
    if (skew === undefined) return;
    metrics.gauge('sealcast_clock_skew_seconds', 'How far this clock is ahead of its peers.', skew / 1_000_000);
    const distance = Math.abs(skew);
    // Further off, or while it is not trusted anyway, the loss of trust is the alert.
    const off = distance > policy.tolerance && distance <= policy.skew && watch.suspect === undefined;
    if (off === skewed) return;
    skewed = off;
    if (distance > policy.skew) return;
    const seconds = Math.round(skew / 100_000) / 10;
    if (off) events({ at: clock.now(), kind: 'clock.skewed', severity: 'alert', message: `The clock of this server is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} its peers. Beyond ${policy.skew / 1_000_000} s it gives no licences.`, data: { seconds } });
    else events({ at: clock.now(), kind: 'clock.in-step', severity: 'info', message: 'The clock of this server agrees with its peers again.', data: { seconds } });
  };
  const ask = async (): Promise<void> => {
    askedAt = clock.monotonic();
    const answers = await Promise.all(peers.map((peer) => askPeer(peer, options)));
    compared = true;
    if (closed) return;
    const ahead = answers.filter((answer) => answer !== undefined);
    tellSkew(skewOf(ahead, peers.length));
    become(observePeers(watch, policy, clock.now(), clock.monotonic(), ahead, peers.length));
  };
  const tick = (): void => {
    if (closed) return;
    look();
    if (peers.length > 0 && clock.monotonic() - askedAt >= (watch.suspect === undefined ? ASK_EVERY : ASK_SUSPECT_EVERY)) void ask();
    cancel = clock.after(LOOK_EVERY, tick);
  };
  tick();

  return {
    trusted: look,
    close() {
      closed = true;
      cancel();
    },
  };
};
