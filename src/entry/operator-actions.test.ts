// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { assetId } from '#core/ids.ts';
import { type Micros, microsFromSeconds, type Millis } from '#core/time.ts';
import { createMarking } from '#license-server/marking.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createOperatorActions, schedulesOf } from './operator-actions.ts';

const NOW = 1_800_000_000_000_000 as Micros;

describe('an event with variants', () => {
  it('is listed with its marking, from which edges get keys of the epochs around now', async () => {
    const { catalogue, sessions, devices } = createMemoryStores();
    const actions = createOperatorActions({
      catalogue,
      sessions,
      devices,
      keyServer: { createAsset: async () => ({}) as never, keying: async () => ({}) as never },
      licenseServer: {} as never,
      schedules: schedulesOf({ periodSeconds: 2, titlePeriodSeconds: 30, groupPeriods: 3, segmentSeconds: 2 }),
      ingestBase: () => 'http://ingest.test',
      clock: { now: () => NOW, monotonic: () => 0 as Millis, after: () => () => undefined },
      random: { bytes: (length) => new Uint8Array(length) },
    });
    const asset = assetId('cup');
    const { entry } = await actions.createEvent({ asset, name: 'Cup', scheme: 'cenc', clearKey: 'off', marked: { variants: 3, book: 'aligned', delivery: 'always-on', viewers: 1_000_000, edges: [], representations: ['v720', 'v360'] } });
    expect(entry.marking).toMatchObject({ sequencing: true, representations: ['v720', 'v360'], alphabet: 3, book: 'aligned', pace: 'number', segment: microsFromSeconds(2) });
    expect((await actions.createEvent({ asset: assetId('plain'), name: 'Plain', scheme: 'cenc', clearKey: 'off' })).entry).not.toHaveProperty('marking');

    const marking = createMarking({ keys: createMarkKeys({ secret: async () => new Uint8Array(32) }), catalogue, timeShift: microsFromSeconds(30), log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined } });
    await marking.refresh(NOW);
    const [plan, ...more] = marking.plans('edge-1');
    expect(more).toEqual([]);
    const current = Math.floor(NOW / microsFromSeconds(2) / (entry.marking?.schedule[0]?.length ?? 1));
    expect(plan?.keys.map(({ epoch }) => epoch)).toContain(current);
    expect(Math.max(...(plan?.keys.map(({ epoch }) => epoch) ?? []))).toBe(current + 2);
    const { revision } = marking;
    await marking.refresh((NOW + 60_000_000) as Micros);
    expect(marking.revision).not.toBe(revision);
  });
});
