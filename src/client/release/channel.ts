// SPDX-License-Identifier: Apache-2.0
/**
 * A viewer's end of the timed release of one event: secrets as they are released, the schedule, and the time.
 *
 * docs/wire/release.md. Two edges push the same secrets and the first copy counts; what both miss is pulled; what is past comes in blocks. Each secret is
 * checked against its signed commitment before anybody hears of it.
 * Invariants: a secret leaves only if it matches its commitment; an edge whose secret does not match is closed with 4400 and left; pulls and
 * reconnections are spread by chance and slow down while they bring nothing, so an outage makes no storm; nothing an edge sends moves δ or T0.
 */
import { SealcastError } from '#core/errors.ts';
import { secretOf } from '#core/release/block.ts';
import { REPLAY, type ReleaseFrame } from '#core/release/frame.ts';
import { CLOSE, type HoldReason } from '#core/release/messages.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type EdgeInfo, type ReleaseInfo, blockOf, firstOfBlock, lastReleasedBy } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { createEmitter } from '../emitter.ts';
import { fraction } from '../transport.ts';
import { createChannelClock } from './channel-clock.ts';
import type { ReleaseChannel, ReleaseChannelOptions, ReleaseEvents } from './channel-types.ts';
import type { ClockReading } from './clock-estimate.ts';
import { openSocketLink } from './edge-link.ts';
import { openStreamLink } from './event-stream-link.ts';
import { type Slot, createLinkSlots } from './link-slots.ts';
import { createReleaseHttp } from './past-secrets.ts';
import { createPuller } from './puller.ts';
import { createReceived } from './received.ts';
import { type Bearer, createSecretKeeper } from './secret-keeper.ts';
import { type Way, createStatistics } from './statistics.ts';

const STAT_PAUSE = 10_000;
const STAT_JITTER = 3000;
/** A push that is not here so long before its first frame is due counts as missing, µs. */
const MISSING_BEFORE = 40_000;
/** Pushes missed in a row after which a connection is not worth keeping. */
const MAX_MISSED = 3;
/** The same where no other connection had them either: a busy edge must not be made busier. */
const MAX_MISSED_ALONE = 15;
const INFO_PAUSE = 1000;
/** Blocks of one request for the past: a minute. */
const MAX_BLOCKS = 6;

/** Connects at once. Throws `bad-request` for a list of edges without an http(s) address. */
export const openReleaseChannel = (options: ReleaseChannelOptions): ReleaseChannel => {
  const { event, clock, random, caps } = options;
  if (options.urls.length === 0) throw new SealcastError('bad-request', 'a release channel needs at least one edge');
  const stopping = new AbortController();
  const emitter = createEmitter<ReleaseEvents>();
  const http = createReleaseHttp(event, options.fetch, clock, stopping.signal);
  const statistics = createStatistics();
  const received = createReceived();
  const secrets = createSecretKeeper({
    event,
    keyOf: options.keyOf,
    wanted: (period) => info !== undefined && fetchSchedule(blockOf(period, info.perBlock)),
    kept: (period) => puller.arrived(period),
  });
  const { commitments } = secrets;
  let info: ReleaseInfo | undefined;
  let checked = -1;
  let hold: HoldReason | undefined;
  let cancelReport = (): void => undefined;
  let cancelPause = (): void => undefined;
  const draw = (): number => fraction(random);
  const time = createChannelClock({
    clock,
    draw,
    ask: () => slots.up().some(({ link }) => link.sync()),
    askHttp: () => http.exchange(anyEdge()),
    stepped: () => emitter.emit('stepped', {}),
  });
  const now = (): ClockReading | undefined => time.at();
  const fallback = (): boolean => info?.mode === 'strict' && !caps.includes('codecs');
  const delta = (of: ReleaseInfo): Micros => (fallback() ? of.fallbackDelta : of.delta);

  // ---- secrets ----------------------------------------------------------------------------------------------------

  const count = (known: ReleaseInfo, period: CryptoPeriod, way: Way, at: Millis): void => {
    const reading = time.at(at);
    if (reading === undefined) return;
    const releaseAt = releaseInstant(known, period);
    const bytesAt = received.since(((period + 1) * known.period) as Micros);
    statistics.arrived({ period, way, releaseAt, at: reading.now, error: reading.error, shownAt: (releaseAt + delta(known)) as Micros, ...(bytesAt === undefined ? {} : { bytesAt }) });
  };

  const released = (from: CryptoPeriod, to: number, way: Way): void => emitter.emit('released', { from, to: to as CryptoPeriod, way });
  /** What becomes of a single secret: counted and told. */
  const bearer = (known: ReleaseInfo, period: CryptoPeriod, way: Way, at: Millis, mismatch: () => void = () => undefined): Bearer => ({
    good() {
      count(known, period, way, at);
      released(period, period + 1, way);
    },
    mismatch,
  });

  const mistrust = (slot: Slot, what: 'secret' | 'schedule' | 'early', period: CryptoPeriod): void => {
    emitter.emit('mistrusted', { edge: slot.url, what, period });
    slots.leave(slot, CLOSE.malformed, true);
  };

  const takeRelease = (slot: Slot, frame: ReleaseFrame, at: Millis): void => {
    const known = info;
    if (known === undefined || frame.releaseAt !== releaseInstant(known, frame.period)) return mistrust(slot, 'schedule', frame.period);
    const replay = (frame.flags & REPLAY) !== 0;
    if (!replay) {
      slot.pushed = Math.max(slot.pushed, frame.period);
      slot.missed = 0;
    }
    const reading = time.at(at);
    // Not before its time, whatever this edge's clock says; the secret is as good as any, the edge is not.
    if (reading !== undefined && reading.now + reading.error < frame.releaseAt) mistrust(slot, 'early', frame.period);
    const way: Way = !replay ? (slot.index === 0 ? 'push' : 'second') : puller.asked(frame.period) ? 'pull' : 'block';
    secrets.take(frame.period, frame.secret, bearer(known, frame.period, way, at, () => mistrust(slot, 'secret', frame.period)));
  };

  // ---- schedules --------------------------------------------------------------------------------------------------

  const useInfo = (found: ReleaseInfo): void => {
    if (info !== undefined) return;
    info = found;
    emitter.emit('info', { info });
    scheduleCheck();
  };

  const takeSchedules = async (slot: Slot | undefined, list: readonly string[]): Promise<void> => {
    const good = await secrets.offer(list);
    if (slot !== undefined && !good) mistrust(slot, 'schedule', 0 as CryptoPeriod);
    const { pinned } = commitments;
    // What was said of T0, P and δ before the first signed schedule came must be what is signed.
    if (info !== undefined && pinned !== undefined && !commitments.agrees(info)) info = { ...info, ...pinned };
    for (const other of slots.all) {
      const told = said.get(other);
      if (told !== undefined && !commitments.agrees(told)) mistrust(other, 'schedule', 0 as CryptoPeriod);
    }
  };

  const said = new WeakMap<Slot, ReleaseInfo>();
  const fetching = new Set<number>();
  const fetchSchedule = (block: number): void => {
    if (commitments.holds(block) || fetching.has(block) || fetching.size >= 3) return;
    fetching.add(block);
    void http
      .schedule(anyEdge(), block)
      .then((jws) => (jws === undefined ? undefined : takeSchedules(undefined, [jws])))
      .finally(() => clock.after(INFO_PAUSE as Millis, () => fetching.delete(block)));
  };

  // ---- connections ------------------------------------------------------------------------------------------------

  const slots = createLinkSlots({
    clock,
    random,
    urls: options.urls,
    want: options.edges ?? 2,
    open(url, stream, handlers) {
      const link = { url, event, token: options.token(), last: secrets.last, caps, clock };
      return stream || options.openSocket === undefined ? openStreamLink(link, options.fetch, handlers) : openSocketLink(link, options.openSocket, handlers);
    },
    handlers: {
      message(slot, message) {
        switch (message.type) {
          case 'welcome': {
            if (message.info.event !== event || !commitments.agrees(message.info)) return mistrust(slot, 'schedule', 0 as CryptoPeriod);
            slots.offer([...message.info.urls, ...message.alt].map((url) => new URL(url, slot.url).href));
            said.set(slot, message.info);
            useInfo(message.info);
            void takeSchedules(slot, message.schedules);
            time.hurry();
            return;
          }
          case 'sched':
            return void takeSchedules(slot, message.schedules);
          case 'drain':
            slots.offer(message.alt.map((url) => new URL(url, slot.url).href));
            return slots.move(slot, message.spreadMs);
          case 'hold':
            hold = message.reason;
            return slots.move(slot, 2000);
          case 'err':
            return message.period === undefined ? undefined : puller.refused(message.period);
          case 'resume':
            return;
        }
      },
      release: takeRelease,
      exchange: (_slot, exchange) => time.take(exchange),
      tokenRefused: () => options.renewToken?.(),
      changed() {
        const up = slots.up();
        const held = up.length > 0 && up.every(({ holding }) => holding) ? hold : undefined;
        if (held !== wasHeld) emitter.emit('held', { reason: held });
        wasHeld = held;
      },
    },
  });
  let wasHeld: HoldReason | undefined;
  const anyEdge = (): string => slots.up()[0]?.url ?? (slots.urls[Math.floor(draw() * slots.urls.length)] as string);

  const puller = createPuller({
    clock,
    draw,
    known: (period) => secrets.has(period),
    slots: slots.up,
    one: async (period) => {
      const frame = await http.secret(anyEdge(), period);
      const known = info;
      if (frame === undefined || known === undefined || frame.releaseAt !== releaseInstant(known, period) || frame.period !== period) return;
      secrets.take(period, frame.secret, bearer(known, period, 'pull', clock.monotonic()));
    },
    block: (periods) => fetchBlocks(periods[0] as CryptoPeriod, ((periods.at(-1) as number) + 1) as CryptoPeriod),
    missed: (period) => statistics.missed(period),
  });

  // ---- the past ---------------------------------------------------------------------------------------------------

  let fetchingBlocks = false;
  const fetchBlocks = async (from: CryptoPeriod, to: CryptoPeriod): Promise<void> => {
    const known = info;
    if (known === undefined || fetchingBlocks || stopping.signal.aborted) return;
    fetchingBlocks = true;
    const first = blockOf(from, known.perBlock);
    const blocks = Math.min(MAX_BLOCKS, blockOf((to - 1) as CryptoPeriod, known.perBlock) - first + 1);
    for (let block = first; block < first + blocks; block++) fetchSchedule(block);
    const run = await http.blocks(anyEdge(), first, blocks);
    if (run !== undefined && run.period === known.period && run.from === firstOfBlock(first, known.perBlock)) {
      let end = run.from as number;
      for (let period = run.from; period < run.from + run.secrets.length / 16; period = (period + 1) as CryptoPeriod) {
        const secret = secretOf(run, period);
        if (secret === undefined) continue;
        const way = puller.asked(period) ? 'pull' : 'block';
        const single = bearer(known, period, way, clock.monotonic());
        const taken = secrets.take(period, secret.slice(), { ...single, good: (waited) => (waited ? single.good(true) : count(known, period, way, clock.monotonic())) });
        if (taken) end = period + 1;
      }
      if (end > run.from) released(run.from, end, 'block');
    }
    fetchingBlocks = false;
  };

  const asked = new Map<number, Millis>();
  const need = (from: CryptoPeriod, to: CryptoPeriod): void => {
    const reading = now();
    if (info === undefined) return;
    const until = Math.min(to, lastReleasedBy(info, (reading?.now ?? clock.now()) as Micros) + 1);
    let low = from;
    while (low < until && secrets.has(low)) low = (low + 1) as CryptoPeriod;
    let high = until;
    while (high > low && secrets.has((high - 1) as CryptoPeriod)) high -= 1;
    if (high <= low || fetchingBlocks) return;
    const block = blockOf(low, info.perBlock);
    if (clock.monotonic() - (asked.get(block) ?? Number.NEGATIVE_INFINITY) < INFO_PAUSE) return;
    asked.set(block, clock.monotonic());
    if (asked.size > 50) asked.clear();
    void fetchBlocks(low, high as CryptoPeriod);
  };

  const reportLater = (): void => {
    cancelReport = clock.after((STAT_PAUSE - STAT_JITTER + draw() * 2 * STAT_JITTER) as Millis, () => {
        reportLater();
        const report = statistics.report();
        const reading = now();
        if (report === undefined) return;
        const clockPart = reading === undefined ? {} : { clock: { offset: reading.now - clock.now(), error: reading.error } };
        slots.up().some(({ link }) => link.report({ ...report, ...clockPart, ...(info === undefined ? {} : { delta: delta(info) }) }));
    });
  };
  reportLater();

  // ---- missing pushes ---------------------------------------------------------------------------------------------

  let cancelCheck = (): void => undefined;
  const scheduleCheck = (): void => {
    cancelCheck();
    if (stopping.signal.aborted || info === undefined) return;
    const reading = now();
    if (reading === undefined) {
      cancelCheck = clock.after(50 as Millis, scheduleCheck);
      return;
    }
    const lead = delta(info) - MISSING_BEFORE;
    const passed = lastReleasedBy(info, (reading.now - lead) as Micros);
    // After a join, a sleep or a stall what is long past is a matter of blocks.
    if (checked < 0 || passed - checked > 20) checked = passed;
    while (checked < passed) look((checked += 1) as CryptoPeriod);
    const next = releaseInstant(info, (passed + 1) as CryptoPeriod) + lead;
    cancelCheck = clock.after(Math.max(1, (next - reading.now) / 1000) as Millis, scheduleCheck);
  };
  const look = (period: CryptoPeriod): void => {
    const up = slots.up().filter(({ holding }) => !holding);
    for (const slot of up) {
      slot.missed = slot.pushed < period ? slot.missed + 1 : 0;
      // What no edge pushed is no fault of this connection; it is given up later, in case it is dead.
      const others = up.some((other) => other !== slot && other.pushed >= period);
      if (slot.missed >= (others ? MAX_MISSED : MAX_MISSED_ALONE)) slots.leave(slot, 1000, false);
    }
    if (!secrets.came(period)) puller.miss(period);
  };

  const firstLook = async (): Promise<void> => {
    for (let pause = INFO_PAUSE; info === undefined && !stopping.signal.aborted; pause = Math.min(8000, pause * 2)) {
      const found: EdgeInfo | undefined = await http.info(anyEdge());
      if (found !== undefined && found.event === event && commitments.agrees(found)) {
        slots.offer(found.urls.map((url) => new URL(url, anyEdge()).href));
        useInfo(found);
        return;
      }
      await new Promise<void>((resolve) => (cancelPause = clock.after((draw() * pause) as Millis, resolve)));
    }
  };
  void firstLook();

  return {
    get info() {
      return info;
    },
    get plan() {
      return info === undefined ? undefined : { firstRelease: info.firstRelease, period: info.period, delta: delta(info) };
    },
    get fallback() {
      return fallback();
    },
    now,
    monotonicAt: time.monotonicAt,
    secret: (period) => secrets.get(period),
    need,
    get connections() {
      return slots.all.map(({ url, up, holding }) => ({ url, up, holding }));
    },
    get statistics() {
      return statistics.read();
    },
    tokenRenewed: () => slots.all.forEach(({ link }) => link.renewToken(options.token())),
    received(to) {
      const reading = now();
      if (reading !== undefined) received.mark(to, reading.now);
    },
    displayed: statistics.displayed,
    skipped: statistics.skipped,
    segment: statistics.segment,
    wake() {
      time.restart();
      slots.retry();
      scheduleCheck();
    },
    on: emitter.on,
    stop() {
      stopping.abort();
      cancelCheck();
      time.stop();
      cancelReport();
      cancelPause();
      puller.stop();
      slots.stop();
      secrets.clear();
    },
  };
};
