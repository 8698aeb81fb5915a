// SPDX-License-Identifier: Apache-2.0
/**
 * The key server: derives content keys for packagers and grant keys for licence servers from sealed title keys.
 *
 * docs/wire/keys.md, design section 3. In process it is the two ports `ContentKeySource` and `GrantKeySource`; over HTTP
 * the same behind service credentials.
 * Invariant: live keys leave at most 60 s ahead; title keys never leave.
 */
import type { ErrorCode } from '#core/errors.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId, ContentKey, GrantKey, KeyGroup } from '#core/ids.ts';
import { contentKey, grantKey, keyIdOf, type LadderHash } from '#core/keys/ladder.ts';
import { type CryptoPeriod, type GrantGroup, groupLength, groupOf, type Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { AssetKeying, AssetKeyRecord, AssetKeyStore, Clock, ContentKeySource, EventSink, GrantKeySource, KeyWrapper, LeafKeySource, Log, MarkKeySource, Metrics, PeriodKey, Random, SecretBox } from '#ports';
import { createAssetKeys, keyingOf, type KeyToImport, type NewAsset } from './asset-keys.ts';
import { createKeyServerHandler, type ServiceCredential } from './handler.ts';
import { createLeafKeys, type LeafKeys } from './leaves.ts';
import { checkGroups, checkLead, checkRange } from './schedule-bounds.ts';

/** What a key server is built from. */
export type KeyServerOptions = {
  readonly store: AssetKeyStore;
  readonly box: SecretBox;
  readonly random: Random;
  readonly clock: Clock;
  /** Who may call over HTTP; none means that the handler refuses everybody. */
  readonly credentials: readonly ServiceCredential[];
  /** RS[p] of timed events, 16 bytes; `length` is that of a period. Without it timed events cannot be created. */
  readonly releaseSecret?: (asset: AssetId, period: CryptoPeriod, length: Micros) => Promise<Uint8Array>;
  /** Mark keys, for licence servers that run apart; absent: nothing is marked. */
  readonly marks?: MarkKeySource;
  /** Root secrets of collections, 32 bytes each; absent: nothing is sold by subscription. */
  readonly roots?: { readonly secret: (collection: string) => Promise<Uint8Array>; readonly wrapper: KeyWrapper };
  /** Hashes of the key ladder; default: the portable ones. `#adapters/node/ladder-hash.ts` is faster. */
  readonly hash?: LadderHash;
  readonly log: Log;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** Both key ports, asset management and the HTTP handler. */
export type KeyServer = ContentKeySource &
  GrantKeySource &
  LeafKeySource & {
    /** Makes the keys of a new asset. Throws `already-exists`, or `bad-request` naming the rule. */
    createAsset(asset: NewAsset): Promise<AssetKeying>;
    /** Adds fixed keys of another key system. All or none; throws `bad-request` naming the rule. */
    importKeys(asset: AssetId, keys: readonly KeyToImport[]): Promise<void>;
    /** `/v1/keys/...` */
    readonly handler: (request: Request) => Promise<Response>;
  };

/** Grant keys kept per asset: licences of one asset ask for the same hundreds. */
const GRANT_CACHE_GROUPS = 8192;
const GRANT_CACHE_ASSETS = 64;

/** Does nothing until it is asked; throws nothing itself. */
export const createKeyServer = (options: KeyServerOptions): KeyServer => {
  const { clock, metrics, events, log, releaseSecret, hash = ladderHash } = options;
  const assets = createAssetKeys(options);
  const grants = new Map<string, Map<number, GrantKey>>();

  const grantCache = (record: AssetKeyRecord): Map<number, GrantKey> => {
    const id = `${record.asset}/${record.gen}`;
    const known = grants.get(id);
    if (known !== undefined && known.size <= GRANT_CACHE_GROUPS) return known;
    const [oldest] = grants.keys();
    if (grants.size >= GRANT_CACHE_ASSETS && oldest !== undefined) grants.delete(oldest);
    const fresh = new Map<number, GrantKey>();
    grants.set(id, fresh);
    return fresh;
  };

  const grantOf = (record: AssetKeyRecord, titleKey: Uint8Array, cache: Map<number, GrantKey>, group: GrantGroup): GrantKey => {
    let key = cache.get(group);
    if (key === undefined) cache.set(group, (key = grantKey(hash, titleKey, record.asset, record.gen, group)));
    return key;
  };

  const derive = async (record: AssetKeyRecord, keyGroup: KeyGroup, from: CryptoPeriod, to: CryptoPeriod, bundle: ReturnType<LeafKeys['bundle']> | undefined): Promise<readonly PeriodKey[]> => {
    const keying = keyingOf(record);
    const titleKey = await assets.titleKey(record);
    const cache = grantCache(record);
    const keys: PeriodKey[] = [];
    let leaf: { readonly of: GrantGroup; readonly made: NonNullable<PeriodKey['leaf']> } | undefined;
    for (let p = from; p < to; p = (p + 1) as CryptoPeriod) {
      const group = groupOf(p, keying.schedule);
      if (bundle !== undefined && leaf?.of !== group) leaf = { of: group, made: await bundle.leaf({ asset: keying.asset, gen: keying.gen, group, starts: (group * groupLength(keying.schedule)) as Micros, key: grantOf(record, titleKey, cache, group) }) };
      const secret = keying.mode === 'timed' ? await timedSecret(keying.asset, p, keying.schedule.period) : undefined;
      keys.push({ period: p, group, kid: keyIdOf(hash, keying.salt, keying, p, keyGroup), key: contentKey(hash, grantOf(record, titleKey, cache, group), keying, p, keyGroup, secret), ...(leaf !== undefined && { leaf: leaf.made }) });
    }
    return keys;
  };

  const timedSecret = (asset: AssetId, period: CryptoPeriod, length: Micros): Promise<Uint8Array> => {
    if (releaseSecret === undefined) throw new SealcastError('key-unavailable', 'release secrets of timed events are not configured here');
    return releaseSecret(asset, period, length);
  };

  const fixed = async (record: AssetKeyRecord, keyGroup: KeyGroup, from: CryptoPeriod, to: CryptoPeriod): Promise<readonly PeriodKey[]> => {
    const { schedule } = keyingOf(record);
    const imported = (await assets.imported(record)).filter((item) => item.keyGroup === keyGroup);
    const keys: PeriodKey[] = [];
    for (let p = from; p < to; p = (p + 1) as CryptoPeriod) {
      const covering = imported.find((item) => p >= item.from && p < item.to);
      if (covering === undefined) throw new SealcastError('unknown-key', `no imported ${keyGroup} key covers crypto period ${p}`);
      keys.push({ period: p, group: groupOf(p, schedule), kid: covering.kid, key: covering.key as ContentKey });
    }
    return keys;
  };

  const counted = async <T>(what: string, run: () => Promise<T>): Promise<T> => {
    try {
      const result = await run();
      metrics.count('sealcast_key_server_requests_total', 'Key requests by kind and outcome.', { what, outcome: 'ok' });
      return result;
    } catch (error) {
      const code: ErrorCode = error instanceof SealcastError ? error.code : 'internal';
      metrics.count('sealcast_key_server_requests_total', 'Key requests by kind and outcome.', { what, outcome: code });
      throw error;
    }
  };

  const sources: ContentKeySource & GrantKeySource = {
    keying: async (asset) => keyingOf(await assets.record(asset)),

    contentKeys: ({ asset, keyGroup, from, to, bundle }) =>
      counted('content', async () => {
        checkRange('periods', from, to);
        const record = await assets.record(asset);
        checkGroups(keyingOf(record), to);
        checkLead(keyingOf(record), to, clock.now());
        const imported = record.importedKeys.some((item) => item.keyGroup === keyGroup);
        // A leaf opens its group for good: what is released in time, or keyed by somebody else, can have none.
        if (bundle !== undefined && (imported || keyingOf(record).mode === 'timed')) throw new SealcastError('bad-request', 'only untimed events with derived keys can be part of a bundle');
        return imported ? fixed(record, keyGroup, from, to) : derive(record, keyGroup, from, to, bundle === undefined ? undefined : (made ?? unsold()).bundle(bundle));
      }),

    grantKeys: ({ asset, from, to }) =>
      counted('grants', async () => {
        checkRange('groups', from, to);
        const record = await assets.record(asset);
        const titleKey = await assets.titleKey(record);
        const cache = grantCache(record);
        return Array.from({ length: to - from }, (_, index) => {
          const group = (from + index) as GrantGroup;
          return { group, key: grantOf(record, titleKey, cache, group) };
        });
      }),

    entryKey: (asset) =>
      counted('entry', async () => {
        const record = await assets.record(asset);
        return { kid: keyingOf(record).entryKid, key: await assets.entryKey(record) };
      }),

    importedKeys: (asset) => counted('imported', async () => assets.imported(await assets.record(asset))),
  };

  const unsold = (): never => {
    throw new SealcastError('key-unavailable', 'this key server has no root secrets');
  };
  const made = options.roots && createLeafKeys({ assets, rootSecret: options.roots.secret, wrapper: options.roots.wrapper, hash });
  const leaves: LeafKeySource = {
    rootNodes: (request) => counted('roots', async () => (made ?? unsold()).rootNodes(request)),
    leaves: (request) => counted('leaves', async () => (made ?? unsold()).leaves(request)),
  };

  return {
    ...sources,
    ...leaves,
    async createAsset(asset) {
      if (asset.mode === 'timed' && releaseSecret === undefined) throw new SealcastError('bad-request', 'timed events need release secrets, which are not configured here');
      const keying = await assets.create(asset);
      log.info('asset keys created', { asset: asset.asset, kind: asset.kind, scheme: asset.scheme });
      events({ at: clock.now(), kind: 'keys.created', severity: 'info', message: `Keys for ${asset.kind} ${asset.asset} were made.`, asset: asset.asset });
      return keying;
    },
    async importKeys(asset, keys) {
      await assets.importKeys(asset, keys);
      log.info('fixed keys imported', { asset, keys: keys.length });
      events({ at: clock.now(), kind: 'keys.imported', severity: 'info', message: `${keys.length} fixed keys were imported for ${asset}.`, asset, data: { keys: keys.length } });
    },
    handler: createKeyServerHandler({ sources: { ...sources, ...leaves, ...options.marks }, credentials: options.credentials, log }),
  };
};
