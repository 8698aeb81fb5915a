// SPDX-License-Identifier: Apache-2.0
/**
 * The device's half of the benchmark `subscription`: leaves looked up, and how long a progressive download has to wait.
 *
 * Play over a line is simulated in steps of 10 ms by code of its own, so that the computed prebuffer is not judged by itself.
 */
import { createMemoryOfflineStorage } from '#client/index.ts';
import { openLeafCatalogue } from '#client/offline/catalogue.ts';
import { type AwaitedSegment, leastWait, prebufferWait, type RateForecast } from '#client/offline/prebuffer.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { quantile } from '../figures/timing.ts';
import { seeded } from '../../test/trace/pirate.ts';

const SECOND = 1_000_000;
const MINUTES = 30;
const SEGMENT = 4;
const RATE = 4e6;
const STEP = 0.01;

/** Milliseconds per leaf that is found, parsed and checked for its title; after the catalogue was opened from storage. */
export const lookups = async (texts: readonly string[], count: number): Promise<{ readonly p99: number; readonly median: number; readonly opened: number }> => {
  const { records } = createMemoryOfflineStorage();
  await (await openLeafCatalogue(records)).add(texts);
  const begun = performance.now();
  const catalogue = await openLeafCatalogue(records);
  const opened = performance.now() - begun;
  const titles = catalogue.titles();
  const random = seeded(11);
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const title = titles[Math.floor(random() * titles.length)] as AssetId;
    const start = performance.now();
    const leaf = catalogue.get(title);
    times.push(performance.now() - start);
    if (leaf?.title !== title) throw new Error('another leaf was found');
  }
  return { p99: quantile(times, 0.99), median: quantile(times, 0.5), opened };
};

/** A line between `low` and `high` Mb/s whose mean is the stream's rate or more. */
const wandering = (random: () => number, low: number, high: number, mean: number): readonly number[] => {
  let at = mean;
  const rates = Array.from({ length: MINUTES * 60 }, () => (at = Math.min(high, Math.max(low, at + (random() - 0.5) * (high - low) * 0.4))));
  for (let round = 0; round < 50; round++) {
    const off = mean - rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
    for (let index = 0; index < rates.length; index++) rates[index] = Math.min(high, Math.max(low, (rates[index] as number) + off));
  }
  return rates.map((rate) => rate * 1e6);
};

/** How often play that begins after `wait` seconds stands still. */
const stallsOf = (segments: readonly AwaitedSegment[], rates: readonly number[], wait: number): number => {
  let [time, held, next, stalls] = [0, 0, 0, 0];
  let late = 0;
  while (next < segments.length) {
    const rate = rates[Math.min(rates.length - 1, Math.floor(time))] as number;
    held += rate * STEP;
    time += STEP;
    while (next < segments.length && held >= (segments[next] as AwaitedSegment).bytes * 8) {
      held -= (segments[next] as AwaitedSegment).bytes * 8;
      // One step of slack: the simulation is as coarse as that.
      const behind = time - STEP - (wait + late + (segments[next] as AwaitedSegment).at / SECOND);
      if (behind > 0) {
        stalls += 1;
        late += behind;
      }
      next += 1;
    }
  }
  return stalls;
};

/** The source's line (2-5, average 4 Mb/s for 4 Mb/s) and `count` random ones with sizes of their own. */
export const prebuffer = (count: number): { readonly stalls: number; readonly excess: number; readonly source: number; readonly minutes: number } => {
  const random = seeded(7);
  const stream = (vary: () => number): readonly AwaitedSegment[] => Array.from({ length: (MINUTES * 60) / SEGMENT }, (_, index) => ({ at: (index * SEGMENT * SECOND) as Micros, bytes: Math.round((RATE * SEGMENT * vary()) / 8) }));
  let [stalls, excess, source] = [0, 0, 0];
  for (let trial = 0; trial <= count; trial++) {
    const rates = trial === 0 ? wandering(random, 2, 5, 4) : wandering(random, 0.5 + 2 * random(), 5 + 5 * random(), 3.5 + 1.5 * random());
    const segments = stream(trial === 0 ? () => 1 : () => 0.4 + 1.2 * random());
    const line: RateForecast = { step: SECOND as Micros, rates };
    const wait = prebufferWait(segments, line);
    const least = leastWait(segments, line);
    stalls += stallsOf(segments, rates, wait / SECOND);
    if (least > 0) excess = Math.max(excess, (wait / least - 1) * 100);
    if (trial === 0) source = wait / SECOND;
  }
  return { stalls, excess, source, minutes: MINUTES };
};
