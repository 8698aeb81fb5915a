// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of a data folder, for commands that work without a running process: references in `tracing/`, mark secrets
 * sealed in the database, every use of them in the audit log.
 *
 * Invariant: a mark secret is random per title, sealed under the key-encryption key, and never leaves this process.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { createFfmpegFrames, createFfmpegTool } from '#adapters/ffmpeg/index.ts';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { createSecretBox, loadKeyEncryptionKey } from '#adapters/node/secret-box.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import type { KeyLookup } from '#core/cenc/decrypt-fragment.ts';
import { isSealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, DeviceId } from '#core/ids.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import { variantCode, variantCodeMessage } from '#core/mark/index.ts';
import { createBook, createCopies } from '#core/trace/index.ts';
import { markKeys, type CodeBook, type EpochKeys } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createKeyServer, createMarkKeys } from '#key-server/index.ts';
import { createMarkReferences, type MarkReferences } from '#packager/index.ts';
import { sealAuditEntry } from '#operations/index.ts';
import { createLiveReferences, createMarkedReferences, createReferenceStore, createTracer, type Reference, type Scratch, type Tracer, parseMarks, type MarkedDescription } from '#tracer/index.ts';
import type { Log, MarkBoxKeySource } from '#ports';
import type { Config } from './config/index.ts';
import { tracedAs } from './marking-plans.ts';
import { createOwnSecrets } from './secrets.ts';

/** One private file for a decoder. */
const createScratch = (): Scratch => {
  let folder: string | undefined;
  return {
    async write(bytes) {
      folder ??= await mkdtemp(join(tmpdir(), 'sealcast-reference-'));
      const file = join(folder, 'original.mp4');
      await writeFile(file, bytes, { mode: 0o600 });
      return file;
    },
    async remove() {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
};

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A tracer with what commands need besides. */
export type LocalTracing = {
  readonly tracer: Tracer;
  /** Who can be accused: N of a trace, from the numbers given out here; undefined if none was. */
  population(asset: AssetId): Promise<number | undefined>;
  /** Whose number it is. */
  holder(asset: AssetId, viewer: number): Promise<{ readonly account: AccountId; readonly device: DeviceId } | undefined>;
  /** The reference of a title, undefined if it was never marked. */
  reference(asset: AssetId): Promise<Reference | undefined>;
  /** The code book of a reference, with its keys. */
  book(reference: Reference): Promise<Pick<CodeBook, 'symbol'>>;
  /** How an asset is marked inside its bitstream, and its code book; undefined if it is not. */
  inBand(asset: AssetId): Promise<(MarkedDescription & { readonly codeBook: CodeBook }) | undefined>;
  /** Epoch keys of an asset's code book. */
  keys(asset: AssetId): Promise<EpochKeys>;
  /** Symbols of the variants that are made of marks inside the bitstream, by segment. */
  variants(asset: AssetId, alphabet: number): Promise<(segment: number, slots: number) => readonly Uint8Array[]>;
  /** Keys of marks inside the bitstream. */
  readonly boxKeys: MarkBoxKeySource;
  /** Where originals of marked renditions go. */
  references(asset: AssetId): MarkReferences;
  /** Content keys of a title that the key server in the data folder has; undefined if it has none. */
  keysOf(reference: Pick<Reference, 'asset' | 'segment' | 'segments'>): Promise<KeyLookup | undefined>;
  /** Writes to the audit log who used the mark keys for what. */
  audit(action: string, asset: AssetId, detail: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  close(): void;
};

/** Opens the data folder; makes its database if there is none. Throws `config-invalid`, `store-unavailable`. */
export const openLocalTracing = async (config: Config): Promise<LocalTracing> => {
  const { file, env } = config.keyEncryptionKey;
  const { kek } = await loadKeyEncryptionKey({ ...(file !== undefined && { file }), ...(env !== undefined && { environment: process.env[env] ?? '' }), developmentFolder: config.data }, silent);
  const stores = createSqliteStores({ path: join(config.data, 'sealcast.sqlite') });
  const box = createSecretBox(kek);
  const secrets = createOwnSecrets({ store: stores.secrets, box, random: systemRandom });
  const keyServer = createKeyServer({
    store: stores.assetKeys, box, random: systemRandom, clock: systemClock, credentials: [], hash: nodeLadderHash, log: silent, events: () => undefined,
    metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
  });
  const markSecret = async (asset: AssetId): Promise<Uint8Array> => decodeBase64url(await secrets.text(`mark/${asset}`));
  const folder = createFileObjectStore({ root: join(config.data, 'tracing') });
  const references = createReferenceStore(folder);
  /** Events change while they run; titles are marked as they were packed. */
  const marked = async (asset: AssetId): Promise<ReturnType<typeof tracedAs> | undefined> => {
    const entry = await stores.catalogue.get(asset);
    return entry?.kind === 'event' && entry.marking !== undefined ? tracedAs(entry.marking) : undefined;
  };
  const frames = createFfmpegFrames();
  /** Timed events stay out of sight until they are over: their references may not run ahead of the release. */
  const until = async (asset: AssetId): Promise<Micros> => {
    const entry = await stores.catalogue.get(asset);
    const mode = await keyServer.keying(asset).then((keying) => keying.mode, () => 'untimed');
    return mode === 'timed' && entry?.state !== 'ended' ? (0 as Micros) : systemClock.now();
  };
  const marks = {
    references: createMarkedReferences({ objects: folder, tool: frames, until, digest: async (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()) }),
    pictures: frames,
  };
  const live = createLiveReferences({ objects: folder, frames, until, scratch: createScratch });
  return {
    async inBand(asset) {
      const text = await folder.get(`${asset}/marks/marks.json`);
      if (text === undefined) return undefined;
      const description = parseMarks(decodeUtf8(text).trim());
      return { ...description, codeBook: createBook(description.book, description.variants ?? 2, markKeys(hmacSha256, await markSecret(asset))) };
    },
    async variants(asset, alphabet) {
      const secret = hmacSha256(await markSecret(asset), variantCodeMessage());
      return (segment, slots) => variantCode({ hmac: hmacSha256, secret, segment, slots, alphabet });
    },
    boxKeys: createMarkKeys({ secret: markSecret }),
    references: (asset) => createMarkReferences(folder, asset),
    tracer: createTracer({ references, marks, live, marked, markSecret, tool: createFfmpegTool(), frames }),
    async population(asset) {
      const given = await stores.viewerNumbers.count(asset);
      return given === 0 ? undefined : FIRST_VIEWER + given;
    },
    holder: (asset, viewer) => stores.viewerNumbers.whose(asset, viewer),
    keys: async (asset) => markKeys(hmacSha256, await markSecret(asset)),
    reference: (asset) => references.read(asset),
    book: async (reference) => createCopies(reference.book, reference.delivery, reference.alphabet, markKeys(hmacSha256, await markSecret(reference.asset))),
    async keysOf({ asset, segment, segments }) {
      try {
        const { schedule } = await keyServer.keying(asset);
        const periods = Math.ceil(((segments + 1) * segment) / schedule.period);
        const known = new Map((await keyServer.contentKeys({ asset, keyGroup: 'video', from: 0 as CryptoPeriod, to: periods as CryptoPeriod })).map(({ kid, key }) => [encodeHex(kid), key]));
        return (kid) => known.get(encodeHex(kid));
      } catch (error) {
        if (isSealcastError(error, 'not-found')) return undefined;
        throw error;
      }
    },
    async audit(action, asset, detail) {
      await stores.audit.append({ at: systemClock.now(), actor: 'command line', action, target: asset, detail }, sealAuditEntry);
    },
    close: () => stores.close(),
  };
};
