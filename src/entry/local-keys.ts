// SPDX-License-Identifier: Apache-2.0
/**
 * The key server and catalogue of a data folder, for commands that work without a running process.
 *
 * Invariant: what is made here is what a running platform on the same folder sees; SQLite keeps the two apart.
 */
import { join } from 'node:path';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { createSecretBox, loadKeyEncryptionKey } from '#adapters/node/secret-box.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import type { AssetId, ProtectionScheme } from '#core/ids.ts';
import type { KeySchedule, Micros } from '#core/time.ts';
import { createKeyServer } from '#key-server/index.ts';
import type { AssetMarking, ContentKeySource, Log } from '#ports';
import type { Config } from './config/index.ts';

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Keys of one title, made in the data folder if it has none. */
export type LocalTitle = {
  readonly source: ContentKeySource;
  /** Lists the title as ready, so that licences can be had for it; `marking`: so that edges choose among its variants. */
  register(name: string, duration: Micros, marking?: AssetMarking): Promise<void>;
  close(): void;
};

/** Opens or makes the keys. Throws `config-invalid`, or `already-exists` where the title has another scheme. */
export const openLocalTitle = async (options: { config: Config; asset: AssetId; scheme: ProtectionScheme; schedule: KeySchedule }): Promise<LocalTitle> => {
  const { config, asset, scheme, schedule } = options;
  const { file, env } = config.keyEncryptionKey;
  const { kek } = await loadKeyEncryptionKey({ ...(file !== undefined && { file }), ...(env !== undefined && { environment: process.env[env] ?? '' }), developmentFolder: config.data }, silent);
  const stores = createSqliteStores({ path: join(config.data, 'sealcast.sqlite') });
  try {
    const keyServer = createKeyServer({
      store: stores.assetKeys, box: createSecretBox(kek), random: systemRandom, clock: systemClock, credentials: [], hash: nodeLadderHash, log: silent, events: () => undefined,
      metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
    });
    try {
      await keyServer.createAsset({ asset, kind: 'title', scheme, mode: 'untimed', schedule });
    } catch (error) {
      if (!isSealcastError(error, 'already-exists')) throw error;
      const known = await keyServer.keying(asset);
      if (known.kind !== 'title' || known.scheme !== scheme) throw new SealcastError('already-exists', `${asset} exists in ${config.data} as a ${known.kind} with ${known.scheme}; choose that scheme or another id`);
    }
    return {
      source: keyServer,
      async register(name, duration, marking) {
        const marked = marking === undefined ? {} : { marking };
        const entry = { asset, kind: 'title', name, state: 'ready', createdAt: systemClock.now(), duration, clearKey: 'off', ...marked } as const;
        if (await stores.catalogue.create(entry)) return;
        // Packed anew without variants it is not marked any more.
        const { marking: _before, ...known } = (await stores.catalogue.get(asset)) ?? entry;
        await stores.catalogue.update({ ...known, state: 'ready', duration, ...marked });
      },
      close: () => stores.close(),
    };
  } catch (error) {
    stores.close();
    throw error;
  }
};
