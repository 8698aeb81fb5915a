// SPDX-License-Identifier: Apache-2.0
/**
 * The key server's assets: made with random keys, sealed before they are stored, opened once and kept in memory.
 *
 * Design section 3 (TK, entry key, imported keys). Invariant: no plain key reaches a store, an error or a log; a record is
 * read at every use, so that a new generation takes effect at once, and only its opened secrets are cached; where thousands are
 * needed the store is asked whether any changed.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, type ContentKey, type KeyGroup, type KeyId, type ProtectionScheme, type ReleaseMode } from '#core/ids.ts';
import type { CryptoPeriod, KeySchedule, Micros } from '#core/time.ts';
import type { AssetKeying, AssetKeyRecord, AssetKeyStore, Clock, ImportedKey, Random, SecretBox } from '#ports';

/** An asset that gets keys. Period: 20 ms to 1 h in whole ms; groups last at most 1 h. */
export type NewAsset = {
  readonly asset: AssetId;
  readonly kind: 'event' | 'title';
  readonly scheme: ProtectionScheme;
  readonly mode: ReleaseMode;
  readonly schedule: KeySchedule;
};

/** A fixed key as another system made it; sizes are checked here. */
export type KeyToImport = { readonly kid: Uint8Array; readonly key: Uint8Array; readonly keyGroup: KeyGroup; readonly from: number; readonly to: number };

/** The assets of one key server, over its store. */
export type AssetKeys = {
  create(asset: NewAsset): Promise<AssetKeying>;
  importKeys(asset: AssetId, keys: readonly KeyToImport[]): Promise<void>;
  /** Throws `not-found`. */
  record(asset: AssetId): Promise<AssetKeyRecord>;
  /** Records of many, read at once and kept until the store says that one changed; undefined for unknown assets. */
  records(assets: readonly AssetId[]): Promise<readonly (AssetKeyRecord | undefined)[]>;
  /** TK of the record's current generation. */
  titleKey(record: AssetKeyRecord): Promise<Uint8Array>;
  entryKey(record: AssetKeyRecord): Promise<Uint8Array>;
  imported(record: AssetKeyRecord): Promise<readonly ImportedKey[]>;
};

const FIRST_GENERATION = 1;
const MAX_IMPORTED = 4096;
/** Opened secrets in memory; the least recently opened is forgotten. */
const CACHE_LIMIT = 32_768;
const MAX_PERIOD: Micros = 3_600_000_000 as Micros;
const MIN_PERIOD: Micros = 20_000 as Micros;

/** The public part of a record. */
export const keyingOf = (record: AssetKeyRecord): AssetKeying => ({
  asset: record.asset,
  kind: record.kind,
  scheme: record.scheme,
  mode: record.mode,
  gen: record.gen,
  salt: record.salt,
  schedule: { period: record.periodMicros as Micros, periodsPerGroup: record.periodsPerGroup },
  entryKid: record.entryKid as KeyId,
});

const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', rule);
};

const checkSchedule = ({ period, periodsPerGroup }: KeySchedule): void => {
  if (!Number.isSafeInteger(period) || period < MIN_PERIOD || period > MAX_PERIOD || period % 1000 !== 0) refuse('a crypto period is 20 ms to 1 h, in whole milliseconds');
  if (!Number.isSafeInteger(periodsPerGroup) || periodsPerGroup < 1 || period * periodsPerGroup > MAX_PERIOD) refuse('a grant group holds at least one period and lasts at most 1 h');
};

/** Opened secrets are cached per returned object. */
export const createAssetKeys = (options: { store: AssetKeyStore; box: SecretBox; random: Random; clock: Clock }): AssetKeys => {
  const { store, box, random, clock } = options;
  let kept: { readonly revision: number; readonly records: Map<AssetId, AssetKeyRecord> } = { revision: Number.NaN, records: new Map() };
  const opened = new Map<string, { readonly sealed: Uint8Array; readonly plain: Uint8Array }>();

  const open = async (sealed: Uint8Array, context: string): Promise<Uint8Array> => {
    const known = opened.get(context);
    if (known !== undefined && equalBytes(known.sealed, sealed)) return known.plain;
    const plain = await box.open(sealed, context);
    opened.delete(context);
    opened.set(context, { sealed, plain });
    const [oldest] = opened.keys();
    if (opened.size > CACHE_LIMIT && oldest !== undefined) opened.delete(oldest);
    return plain;
  };

  const contexts = {
    title: (asset: AssetId, gen: number) => `title-key/${asset}/${gen}`,
    entry: (asset: AssetId) => `entry-key/${asset}`,
    imported: (asset: AssetId, kid: Uint8Array) => `imported-key/${asset}/${encodeHex(kid)}`,
  };

  const keys: AssetKeys = {
    async create({ asset, kind, scheme, mode, schedule }) {
      checkSchedule(schedule);
      if (mode === 'timed' && kind !== 'event') refuse('only events can be timed');
      const record: AssetKeyRecord = {
        asset,
        kind,
        scheme,
        mode,
        gen: FIRST_GENERATION,
        salt: random.bytes(16),
        periodMicros: schedule.period,
        periodsPerGroup: schedule.periodsPerGroup,
        entryKid: random.bytes(16),
        sealedEntryKey: await box.seal(random.bytes(16), contexts.entry(asset)),
        sealedTitleKeys: [{ gen: FIRST_GENERATION, sealed: await box.seal(random.bytes(32), contexts.title(asset, FIRST_GENERATION)) }],
        importedKeys: [],
        createdAt: clock.now(),
      };
      if (!(await store.create(record))) throw new SealcastError('already-exists', 'an asset of this id has keys already');
      return keyingOf(record);
    },

    async importKeys(asset, list) {
      const record = await keys.record(asset);
      for (const item of list) checkImport(item, record.mode);
      const spans = [...record.importedKeys, ...list];
      if (spans.length > MAX_IMPORTED) refuse(`an asset has at most ${MAX_IMPORTED} imported keys`);
      checkOverlaps(spans);
      const sealed = await Promise.all(list.map(async ({ kid, key, keyGroup, from, to }) => ({ kid, keyGroup, from, to, sealed: await box.seal(key, contexts.imported(asset, kid)) })));
      const stored = await store.replace({ ...record, importedKeys: [...record.importedKeys, ...sealed] }, record.gen);
      if (!stored) throw new SealcastError('already-exists', 'the asset was given a new key generation meanwhile; import again');
    },

    async record(asset) {
      const record = await store.get(asset);
      if (record === undefined) throw new SealcastError('not-found', 'no asset of this id has keys');
      return record;
    },

    async records(assets) {
      const revision = await store.revision();
      if (revision !== kept.revision) kept = { revision, records: new Map() };
      const { records } = kept;
      const unknown = assets.filter((asset) => !records.has(asset));
      if (unknown.length === 0) return assets.map((asset) => records.get(asset));
      const found = await store.getMany(unknown);
      const fresh = new Map(unknown.map((asset, index) => [asset, found[index]]));
      const answer = assets.map((asset) => fresh.get(asset) ?? records.get(asset));
      // Only what exists is kept: names of nothing would fill the memory.
      for (const [asset, record] of fresh) if (record !== undefined && records.size < CACHE_LIMIT) records.set(asset, record);
      return answer;
    },

    async titleKey(record) {
      const entry = record.sealedTitleKeys.find(({ gen }) => gen === record.gen);
      if (entry === undefined) throw new SealcastError('unknown-key', `the asset has no title key of generation ${record.gen}`);
      return open(entry.sealed, contexts.title(record.asset, entry.gen));
    },

    entryKey: (record) => open(record.sealedEntryKey, contexts.entry(record.asset)),

    imported: (record) =>
      Promise.all(
        record.importedKeys.map(async ({ kid, sealed, keyGroup, from, to }) => ({
          kid: kid as KeyId,
          key: (await open(sealed, contexts.imported(record.asset, kid))) as ContentKey,
          keyGroup,
          from: from as CryptoPeriod,
          to: to as CryptoPeriod,
        })),
      ),
  };
  return keys;
};

const checkImport = ({ kid, key, from, to }: KeyToImport, mode: ReleaseMode): void => {
  if (kid.length !== 16) refuse(`an imported key id is 16 bytes; got ${kid.length}`);
  if (key.length !== 16) refuse(`an imported key is 16 bytes (AES-128); got ${key.length}`);
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to <= from) refuse('an imported key is valid for a range of crypto periods, from < to');
  // A key spanning several periods of a timed event would be opened with the first of them.
  if (mode === 'timed' && to - from > 1) refuse('timed events take imported keys of one crypto period each');
};

type Span = { readonly kid: Uint8Array; readonly keyGroup: KeyGroup; readonly from: number; readonly to: number };

const checkOverlaps = (spans: readonly Span[]): void => {
  const kids = new Set(spans.map(({ kid }) => encodeHex(kid)));
  if (kids.size !== spans.length) refuse('imported key ids must be unique');
  for (const keyGroup of ['video', 'audio'] satisfies KeyGroup[]) {
    const sorted = spans.filter((span) => span.keyGroup === keyGroup).sort((a, b) => a.from - b.from);
    if (sorted.some((span, index) => index > 0 && span.from < (sorted[index - 1]?.to ?? 0))) refuse(`imported ${keyGroup} keys must not overlap in time`);
  }
};
