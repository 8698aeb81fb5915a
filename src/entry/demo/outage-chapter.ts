// SPDX-License-Identifier: Apache-2.0
/**
 * The concurrency record is cut off, then the database, and nothing stops: emergency mode, renewals for everybody, counts that are right again.
 *
 * Checklist B090, B097-B105. Invariant: "nothing stops" is judged by decrypted frames of every viewer before, during and after.
 */
import { systemClock } from '#adapters/node/clock.ts';
import type { OperationalEvent } from '#ports';
import { type Chapter, type Step, step, until } from './chapter.ts';
import { onAir } from './core-chapter.ts';
import type { Stage } from './stage.ts';
import { ask, watch, type Watching } from './watching.ts';

const VIEWERS = 8;

type Seat = Watching & { renewals: number; faults: number };

const sit = async (stage: Stage, name: string): Promise<Seat> => {
  const watching = await watch(stage, { account: name, asset: stage.event, device: name, follow: 'segments' });
  const seat: Seat = { ...watching, renewals: 0, faults: 0 };
  watching.session.on('renewed', () => seat.renewals++);
  for (const bad of ['degraded', 'expired', 'ended'] as const) watching.session.on(bad, () => seat.faults++);
  return seat;
};

const counted = async (stage: Stage): Promise<number> => (await stage.platform.counting.store.counts(['service'], systemClock.now()))[0] ?? -1;

const play = async (stage: Stage): Promise<readonly Step[]> => {
  const alerts: OperationalEvent[] = [];
  const unwatch = stage.platform.watch((event) => {
    if (event.severity === 'alert') alerts.push(event);
  });
  const told = (kind: string): number => alerts.filter((event) => event.kind === kind).length;
  const seats: Seat[] = [];
  let before = 0;
  const frames = (): number => Math.min(...seats.map(({ viewer }) => viewer.stats().frames));
  const steps: Step[] = [await onAir(stage)];
  try {
    steps.push(await step('before', `${VIEWERS} viewers watch and are counted`, async () => {
      before = await counted(stage);
      seats.push(...(await Promise.all(Array.from({ length: VIEWERS }, (_, at) => sit(stage, `outage-${at + 1}`)))));
      const playing = await until(() => frames() >= 25, 20_000);
      const streams = (await counted(stage)) - before;
      return { ok: playing && streams === VIEWERS, figures: { viewers: VIEWERS, counted: streams } };
    }));

    const renewed = (): readonly number[] => seats.map(({ renewals }) => renewals);
    let atCut: readonly number[] = [];
    let framesAtCut = 0;
    steps.push(await step('cut', 'the record is cut off: emergency mode begins by itself, with one alert', async () => {
      [atCut, framesAtCut] = [renewed(), frames()];
      const began = Date.now();
      stage.record.cut();
      const entered = await until(() => stage.platform.counting.record.emergency !== undefined, stage.terms.interval + 8000);
      return { ok: entered && told('concurrency.emergency') === 1, figures: { secondsToEmergency: (Date.now() - began) / 1000, cause: stage.platform.counting.record.emergency?.cause ?? 'none', alerts: told('concurrency.emergency') } };
    }));

    steps.push(await step('during', 'meanwhile every viewer renews and plays on, a new one may start, and one leaves', async () => {
      const [leaver] = seats;
      const newcomer = await sit(stage, 'outage-newcomer');
      const all = await until(() => seats.every(({ renewals }, at) => renewals > (atCut[at] ?? 0)), stage.terms.interval + 8000);
      const uncounted = stage.platform.counting.record.emergency?.renewals ?? 0;
      const playedOn = frames() - framesAtCut;
      const faults = seats.reduce((sum, seat) => sum + seat.faults, newcomer.faults);
      const stopped = await until(() => newcomer.viewer.stats().frames > 0, 10_000);
      await leaver?.stop();
      seats.shift();
      seats.push(newcomer);
      return { ok: all && stopped && faults === 0 && playedOn > 0, figures: { renewedWithoutRecord: uncounted, leastFramesPlayedOn: playedOn, faults, newcomerFrames: newcomer.viewer.stats().frames, alerts: told('concurrency.emergency') } };
    }));

    steps.push(await step('database', 'the database is cut off as well: everybody renews and plays on; a new viewer is told to come back, and may start once it is there again', async () => {
      const [then, framesThen] = [renewed(), frames()];
      stage.database.cut();
      const refused = await ask(stage, { account: 'outage-late', asset: stage.event, device: 'outage-late', attempts: 1 });
      const all = await until(() => seats.every(({ renewals }, at) => renewals > (then[at] ?? 0)), stage.terms.interval + 8000);
      const alerted = await until(() => told('store.down') === 1, 5000);
      const playedOn = frames() - framesThen;
      const faults = seats.reduce((sum, seat) => sum + seat.faults, 0);
      stage.database.restore();
      const served = await ask(stage, { account: 'outage-late', asset: stage.event, device: 'outage-late' });
      if (served.ok) await served.session.stop();
      const code = refused.ok ? 'none' : refused.denial.code;
      return { ok: all && alerted && !refused.ok && code === 'store-unavailable' && served.ok && playedOn > 0 && faults === 0, figures: { refusedWith: code, leastFramesPlayedOn: playedOn, faults, alerts: told('store.down') } };
    }));

    steps.push(await step('after', 'the record comes back: heartbeats are written back, counts are right, nobody noticed', async () => {
      const began = Date.now();
      stage.record.restore();
      const back = await until(() => told('concurrency.recovered') > 0, 30_000);
      const seconds = (Date.now() - began) / 1000;
      const right = await until(async () => (await counted(stage)) - before === VIEWERS, 2000);
      const streams = (await counted(stage)) - before;
      const framesThen = frames();
      const plays = await until(() => frames() > framesThen, 20_000);
      const faults = seats.reduce((sum, seat) => sum + seat.faults, 0);
      const written = Number(alerts.find(({ kind }) => kind === 'concurrency.recovered')?.data?.['written'] ?? 0);
      const ok = back && right && plays && faults === 0 && written >= VIEWERS - 1 && told('concurrency.emergency') === 1 && told('concurrency.recovered') === 1;
      return { ok, figures: { secondsToRecover: seconds, writtenBack: written, counted: streams, expected: VIEWERS, faults, alerts: told('concurrency.emergency') + told('concurrency.recovered') } };
    }));
  } finally {
    stage.database.restore();
    stage.record.restore();
    unwatch();
    await Promise.all(seats.map((seat) => seat.stop()));
  }
  return steps;
};

/** The chapter, in real time: the breaker's probes need 15 s to trust the record again. */
export const outageChapter: Chapter = { name: 'outage', film: 'none', title: 'The concurrency record and the database are cut off and nothing stops', run: play };
