// SPDX-License-Identifier: Apache-2.0
/**
 * The content keys of one key group of one asset, fetched before they are needed.
 *
 * Live keys may be fetched at most 60 s ahead of the key server's clock (docs/wire/keys.md); this asks for 50 s, so that two
 * clocks that differ by a few seconds still agree, and refills when half of it is used.
 * Invariant: a period's key is asked for once; a caller either gets it or `key-unavailable`, never a substitute.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId, KeyGroup } from '#core/ids.ts';
import { periodAt } from '#core/time.ts';
import type { CryptoPeriod, KeySchedule, Micros, Millis } from '#core/time.ts';
import type { Clock, ContentKeySource, Log, PeriodKey } from '#ports';

const LIVE_AHEAD = 50_000_000;
/** Periods of a title fetched at once. */
const TITLE_BATCH = 256;
const RETRY_MILLIS = 250;
/** Periods kept behind the one asked for last: renditions and redundant sources are not quite in step. */
const KEPT_BEHIND = 64;

/** Keys of one key group by crypto period. */
export type KeyRing = {
  /** The key of a period. Waits for the key server up to `patience`, then throws its refusal. */
  get(period: CryptoPeriod): Promise<PeriodKey>;
};

/** A ring for one asset; `patience` bounds how long a caller waits for the key server. */
export const createKeyRing = (options: {
  keys: ContentKeySource;
  asset: AssetId;
  keyGroup: KeyGroup;
  kind: 'event' | 'title';
  /** Asks for the in-band leaves of this collection too. */
  bundle?: string | undefined;
  schedule: KeySchedule;
  clock: Clock;
  log: Log;
  patience: Millis;
}): KeyRing => {
  const { keys, asset, keyGroup, bundle, schedule, clock, log } = options;
  const cached = new Map<number, PeriodKey>();
  let fetching: Promise<void> | undefined;

  /** First period past what may be asked for now. */
  const horizon = (period: CryptoPeriod): CryptoPeriod =>
    options.kind === 'title'
      ? ((period + TITLE_BATCH) as CryptoPeriod)
      : (Math.max(period + 1, Math.min(period + 1024, periodAt((clock.now() + LIVE_AHEAD) as Micros, schedule))) as CryptoPeriod);

  const fetchFrom = (period: CryptoPeriod): Promise<void> => {
    fetching ??= (async () => {
      try {
        for (const key of await keys.contentKeys({ asset, keyGroup, from: period, to: horizon(period), ...(bundle !== undefined && { bundle }) })) cached.set(key.period, key);
        for (const old of cached.keys()) if (old < period - KEPT_BEHIND) cached.delete(old);
      } finally {
        fetching = undefined;
      }
    })();
    return fetching;
  };

  const refill = (period: CryptoPeriod): void => {
    const to = horizon(period);
    const half = (period + Math.ceil((to - period) / 2)) as CryptoPeriod;
    if (half >= to || cached.has(half) || fetching !== undefined) return;
    let next = period;
    while (cached.has(next)) next = (next + 1) as CryptoPeriod;
    fetchFrom(next).catch((error: unknown) => log.warn('content keys could not be fetched ahead', { asset, keyGroup, reason: reason(error) }));
  };

  return {
    async get(period) {
      const deadline = clock.monotonic() + options.patience;
      for (;;) {
        const key = cached.get(period);
        if (key !== undefined) {
          refill(period);
          return key;
        }
        try {
          await fetchFrom(period);
          if (cached.has(period)) continue;
        } catch (error) {
          if (clock.monotonic() + RETRY_MILLIS > deadline)
            throw error instanceof SealcastError ? error : new SealcastError('key-unavailable', 'the key server did not answer', { cause: error });
          log.warn('content keys are not available yet', { asset, keyGroup, reason: reason(error) });
        }
        // A fetch another caller began may have covered other periods only.
        if (clock.monotonic() > deadline) throw new SealcastError('key-unavailable', `the key server answered without the key of period ${period}`);
        await new Promise<void>((wake) => clock.after(RETRY_MILLIS as Millis, wake));
      }
    },
  };
};

const reason = (error: unknown): string => (error instanceof SealcastError ? error.code : 'no answer');
