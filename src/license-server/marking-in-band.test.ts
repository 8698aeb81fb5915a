// SPDX-License-Identifier: Apache-2.0
/** Plans of assets marked inside their bitstream: every position that can be asked for has its keys, and no more than two epochs ahead. */
import { describe, expect, it } from 'vitest';
import { assetId } from '#core/ids.ts';
import { boxEpochOf, slotsOf } from '#core/mark/index.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { createAlignedBook, epochAt, position, viewerNumber } from '#core/watermark/index.ts';
import { createMarkKeys } from '#key-server/mark-keys.ts';
import type { AssetMarking, CatalogueEntry } from '#ports';
import { createMarking } from './marking.ts';

const SEGMENT = microsFromSeconds(2);
const SLOTS = slotsOf(SEGMENT);
const SHIFT = microsFromSeconds(60);
const NOW = microsFromSeconds(1_800_000_000);
const marking: AssetMarking = {
  sequencing: true, representations: ['v360'], names: 'letters', pace: 'number', alphabet: 2, book: 'aligned', schedule: [{ from: position(0), length: 48 }], segment: SEGMENT, inBand: { slots: SLOTS },
};
const planAt = async (entry: Partial<CatalogueEntry>, now: Micros) => {
  const catalogue = { list: async () => [{ asset: assetId('derby'), kind: 'event', name: 'Derby', state: 'live', createdAt: NOW, clearKey: 'off', marking, ...entry } as CatalogueEntry] };
  const made = createMarking({ keys: createMarkKeys({ secret: async () => new Uint8Array(32).fill(9) }), catalogue, timeShift: SHIFT, log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined } });
  await made.refresh(now);
  const [plan] = made.plans('edge-1');
  if (plan?.inBand === undefined) throw new Error('no plan of marks inside the bitstream');
  return { plan, inBand: plan.inBand, revision: made.revision };
};

describe('plans of marks inside the bitstream', () => {
  it('of an event hold keys from the time shift to two epochs ahead, of marks and of boxes', async () => {
    const { plan, inBand } = await planAt({}, NOW);
    const live = Math.floor(NOW / SEGMENT);
    const last = plan.keys.at(-1)?.epoch ?? 0;
    expect(last).toBe(epochAt(marking.schedule, live * SLOTS).epoch + 2);
    expect(inBand.boxKeys.at(-1)?.epoch).toBe(boxEpochOf(live) + 2);
    const book = createAlignedBook({ alphabet: 2, schedule: plan.schedule, keys: (epoch) => plan.keys.find((held) => held.epoch === epoch)?.key ?? (() => { throw new Error('no key'); })() });
    // A player may be a window behind, and ask for the segment that is being made.
    for (let number = Math.floor((NOW - SHIFT) / SEGMENT); number <= live + 1; number++) {
      for (let slot = 0; slot < SLOTS; slot++) expect([0, 1]).toContain(book.symbol(viewerNumber(77), position(number * SLOTS + slot)));
      expect(inBand.boxKeys.some(({ epoch }) => epoch === boxEpochOf(number))).toBe(true);
    }
    expect(plan.keys.length).toBeLessThan(60);
  });
  it('of an event change with its epochs, so that edges hear of it', async () => {
    const first = await planAt({}, NOW);
    expect((await planAt({}, NOW)).revision).toBe(first.revision);
    expect((await planAt({}, (NOW + microsFromSeconds(6)) as Micros)).revision).not.toBe(first.revision);
  });
  it('of a title hold the keys of all its segments', async () => {
    const { plan, inBand } = await planAt({ kind: 'title', state: 'ready', marking: { ...marking, segments: 1800 } }, NOW);
    expect(plan.keys.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 600 }, (_, epoch) => epoch));
    expect(inBand.boxKeys.map(({ epoch }) => epoch)).toEqual([0, 1, 2, 3]);
  });
});
