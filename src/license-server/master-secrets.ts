// SPDX-License-Identifier: Apache-2.0
/**
 * Master secrets MK[e]: made and rotated by epoch, shared by all licence servers through their store, opened in memory.
 *
 * Design section 3, docs/wire/keys.md. Sessions start under an epoch in [notBefore, retireAt) and renew until notAfter, so
 * a rotation interrupts nobody. Invariant: two servers that rotate at once end up with the same secret.
 */
import { SealcastError } from '#core/errors.ts';
import { mediaTokenKey, releaseTokenKey, ticketKey, zoneKey } from '#core/keys/ladder.ts';
import type { ZoneKeys, ZoneKeysFinder } from '#core/license/zone-keys.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Clock, EventSink, Log, MasterSecretRecord, MasterSecretStore, Random, SecretBox } from '#ports';
import type { Zone } from './options.ts';

/** An epoch without its secret. */
export type Epoch = Omit<MasterSecretRecord, 'sealed'>;

/** The epochs that this server knows. */
export type MasterSecrets = {
  /** Loads, rotates what is due, removes what is over. */
  refresh(): Promise<void>;
  /** The epoch that new sessions start under. Throws `key-unavailable` if there is none. */
  current(now: Micros): Epoch;
  /** Epochs known, newest first, without their secrets. */
  epochs(now: Micros): readonly Epoch[];
  /** Throws `epoch-unknown`. */
  keysOf(epoch: number, zoneIndex: number, now: Micros): ZoneKeys;
  readonly find: ZoneKeysFinder;
  /** Key of device tickets of an epoch, by the low byte that tickets carry. */
  ticketKey(epochByte: number, now: Micros): Uint8Array | undefined;
};

/** The next secret is made this share of an epoch ahead, so that every edge has it in time. */
const LEAD = 0.25;

/** Knows no epoch before the first `refresh`. */
export const createMasterSecrets = (options: {
  store: MasterSecretStore;
  box: SecretBox;
  random: Random;
  clock: Clock;
  zones: readonly Zone[];
  epochLength: Micros;
  overlap: Micros;
  log: Log;
  events: EventSink;
}): MasterSecrets => {
  const { store, box, random, clock, zones, epochLength, overlap, log, events } = options;
  let known: readonly (Epoch & { readonly zones: ReadonlyMap<number, ZoneKeys>; readonly ticketKey: Uint8Array })[] = [];

  const contextOf = (epoch: number): string => `master-secret/${epoch}`;

  const open = async (record: MasterSecretRecord): Promise<(typeof known)[number]> => {
    const { epoch, notBefore, retireAt, notAfter } = record;
    const held = known.find((item) => item.epoch === epoch);
    if (held !== undefined) return held;
    const secret = await box.open(record.sealed, contextOf(epoch));
    const keys = zones.map((zone): [number, ZoneKeys] => {
      const key = zoneKey(ladderHash, secret, zone.name);
      return [zone.index, { epoch, zone, zoneKey: key, mediaTokenKey: mediaTokenKey(ladderHash, key), releaseTokenKey: releaseTokenKey(ladderHash, key), notAfter }];
    });
    return { epoch, notBefore, retireAt, notAfter, zones: new Map(keys), ticketKey: ticketKey(ladderHash, secret) };
  };

  const make = async (epoch: number, notBefore: Micros): Promise<void> => {
    const retireAt = (notBefore + epochLength) as Micros;
    const sealed = await box.seal(random.bytes(32), contextOf(epoch));
    const made = await store.create({ epoch, sealed, notBefore, retireAt, notAfter: (retireAt + overlap) as Micros });
    if (!made) return;
    log.info('master secret made', { epoch });
    events({ at: clock.now(), kind: 'license.epoch-made', severity: 'info', message: `Master secret of epoch ${epoch} was made.`, data: { epoch } });
  };

  /** The epoch that has to be made now, if any. */
  const due = (records: readonly MasterSecretRecord[], now: Micros): { epoch: number; notBefore: Micros } | undefined => {
    const newest = records.reduce<MasterSecretRecord | undefined>((best, item) => (best === undefined || item.epoch > best.epoch ? item : best), undefined);
    if (newest === undefined) return { epoch: 1, notBefore: now };
    if (newest.retireAt <= now) return { epoch: newest.epoch + 1, notBefore: now };
    return newest.notBefore <= now && newest.retireAt - now <= epochLength * LEAD ? { epoch: newest.epoch + 1, notBefore: newest.retireAt } : undefined;
  };

  const keysOf = (epoch: number, zoneIndex: number, now: Micros): ZoneKeys => {
    const keys = known.find((item) => item.epoch === epoch && now < item.notAfter)?.zones.get(zoneIndex);
    if (keys === undefined) throw new SealcastError('epoch-unknown', 'no master secret for this epoch and zone');
    return keys;
  };

  return {
    async refresh() {
      const now = clock.now();
      let records = await store.list();
      // Twice: after a long standstill the current epoch and the one after it may both be due.
      for (let round = 0; round < 2; round++) {
        const next = due(records, now);
        if (next === undefined) break;
        await make(next.epoch, next.notBefore);
        records = await store.list();
      }
      const over = records.filter((record) => record.notAfter <= now);
      for (const { epoch } of over) await store.remove(epoch);
      known = await Promise.all(records.filter((record) => record.notAfter > now).sort((a, b) => b.epoch - a.epoch).map(open));
    },
    current(now) {
      const epoch = known.find((item) => item.notBefore <= now && now < item.retireAt);
      if (epoch === undefined) throw new SealcastError('key-unavailable', 'no master secret is valid now');
      return epoch;
    },
    epochs: (now) => known.filter((item) => now < item.notAfter).map(({ epoch, notBefore, retireAt, notAfter }) => ({ epoch, notBefore, retireAt, notAfter })),
    keysOf,
    ticketKey: (epochByte, now) => known.find((item) => item.epoch % 256 === epochByte && now < item.notAfter)?.ticketKey,
    find: (epochByte, zoneIndex, now) => known.find((item) => item.epoch % 256 === epochByte && now < item.notAfter)?.zones.get(zoneIndex),
  };
};
