// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import type { AssetId } from '#core/ids.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { createSegmentTimeline } from './timeline.ts';

const us = (value: number): Micros => value as Micros;
const EVENT = 'final' as AssetId;
const info = { event: EVENT, version: 1, mode: 'standard' as const, firstRelease: us(4_850_000), period: us(100_000), delta: us(150_000), fallbackDelta: us(150_000), perBlock: 100 };
const SEGMENT = 900_000_000;
const START = SEGMENT * 2_000_000;
const PERIOD = (START / 100_000) as CryptoPeriod;
const known = (): ReturnType<typeof createSegmentTimeline> => {
  const timeline = createSegmentTimeline(us(2_000_000));
  timeline.view(info, [], us(START), 0);
  return timeline;
};

describe('the instants of a segment', () => {
  test('B167: captured, packaged, sent, held by the first and the last, key at the edge, key pushed: as one line, in order', () => {
    const timeline = known();
    timeline.granted(EVENT, (PERIOD - 5) as CryptoPeriod, 20, us(START - 5_000_000));
    timeline.sent(EVENT, SEGMENT, us(START + 300_000));
    timeline.sent(EVENT, SEGMENT, us(START + 900_000));
    timeline.packaged(EVENT, SEGMENT, us(START + 1_000_000));
    timeline.packaged(EVENT, SEGMENT, us(START + 2_100_000));
    for (let period = PERIOD - 3; period < PERIOD + 4; period++) timeline.pushed(EVENT, period as CryptoPeriod, us(period * 100_000 + 4_851_000));
    const [line] = timeline.view(info, [{ segment: SEGMENT, first: us(START + 2_300_000), last: us(START + 3_000_000), clients: 12 }], us(START + 6_000_000), 5);
    expect(line).toEqual({
      segment: SEGMENT, captured: START, packaged: START + 2_100_000, sent: START + 300_000, firstHeld: START + 2_300_000, lastHeld: START + 3_000_000, reports: 12,
      keyAtEdge: START - 5_000_000, keyPushed: START + 4_851_000, releaseAt: START + 4_850_000, inOrder: true,
    });
  });

  test('instants out of order are said to be: bytes after the key, a key pushed before it was there, a source from the future', () => {
    const late = known();
    late.pushed(EVENT, PERIOD, us(START + 4_851_000));
    expect(late.view(info, [{ segment: SEGMENT, first: us(START + 6_000_000), last: us(START + 6_000_000), clients: 1 }], us(START + 7_000_000), 1)[0]?.inOrder).toBe(false);
    const magic = known();
    magic.granted(EVENT, PERIOD, 1, us(START + 4_900_000));
    magic.pushed(EVENT, PERIOD, us(START + 4_851_000));
    expect(magic.view(info, [], us(START + 7_000_000), 1)[0]?.inOrder).toBe(false);
    const future = known();
    future.packaged(EVENT, SEGMENT, us(START - 1));
    expect(future.view(info, [], us(START + 7_000_000), 1)[0]?.inOrder).toBe(false);
  });

  test('what was not seen is absent, and memory is bounded', () => {
    const timeline = known();
    expect(timeline.view(info, [], us(START + 7_000_000), 5)).toEqual([]);
    for (let segment = 0; segment < 1000; segment++) timeline.packaged(EVENT, SEGMENT + segment, us(START));
    expect(timeline.view(info, [], us(START + 2_000_000_000), 1000).length).toBeLessThanOrEqual(64);
    timeline.drop(EVENT);
    expect(timeline.view(info, [], us(START + 2_000_000_000), 1000)).toEqual([]);
  });
});
