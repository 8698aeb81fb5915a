// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import { createMemoryHeartbeats } from '#adapters/memory/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { createMetrics } from '#adapters/node/metrics.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { loadConfig } from './config/index.ts';
import { licensingShare, openCounting } from './counting.ts';

const metrics = createMetrics({ process: false });

it('B008 B020 a restarted process counts the streams that its journal kept, and only those that still run', async () => {
  const heartbeats = createMemoryHeartbeats();
  const now = systemClock.now();
  const beat = (number: number, seconds: number) =>
    heartbeats.record({ session: String(number).padStart(24, 's') as SessionId, account: 'a' as AccountId, device: 'd'.repeat(43) as DeviceId, asset: 'film' as AssetId, at: (now - 60_000_000) as Micros, expiresAt: (now + seconds * 1_000_000) as Micros, kind: 'renewal' });
  await beat(1, 240);
  await beat(2, 240);
  await beat(3, -1);
  const counting = await openCounting({ config: loadConfig(undefined), heartbeats, clock: systemClock, events: () => undefined, metrics });
  try {
    expect(await counting.store.counts([{ account: 'a' as AccountId }, 'service'], now)).toEqual([2, 2]);
    expect(counting.load()).toEqual({ factor: 1, sheds: false });
    expect(counting.record.emergency).toBeUndefined();
  } finally {
    await counting.close();
  }
});

it('B071 beside a packager the load that counts is what renewals and starts asked for, those turned away among them', () => {
  const counted = createMetrics({ process: false });
  counted.count('sealcast_renewals_total', 'before', { act: 'extend' }, 1_000_000);
  const share = licensingShare(counted);
  expect(share(1000)).toBe(0);
  counted.count('sealcast_renewals_total', 'now', { act: 'extend' }, 2000);
  expect(share(1000)).toBeCloseTo(0.2);
  counted.count('sealcast_sessions_turned_away_total', 'now', {}, 600);
  counted.count('sealcast_sessions_started_total', 'now', {}, 100);
  expect(share(1000)).toBeCloseTo(0.7);
  expect(share(1000)).toBe(0);
});
