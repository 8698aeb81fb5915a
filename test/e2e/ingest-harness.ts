// SPDX-License-Identifier: Apache-2.0
/** A packager with random keys behind a real HTTP server, for ingest tests. */
import { createHash } from 'node:crypto';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { assetId } from '#core/ids.ts';
import type { AssetId, ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import { createPackager } from '#packager/index.ts';
import type { Packager, PackagerOptions } from '#packager/index.ts';
import type { AssetKeying, ContentKeySource, Log, Metrics, ObjectStore, OperationalEvent } from '#ports';

export const EVENT: AssetId = assetId('match-1');
export const CREDENTIAL = 'test-ingest-credential';

export const quietLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
export const quietMetrics: Metrics = { count() {}, gauge() {}, observe() {} };

/** Random keys by (key group, period), remembered so that a test can decrypt. */
export const randomKeys = (options: {
  scheme: ProtectionScheme;
  kind?: 'event' | 'title';
  periodMicros?: number;
}): ContentKeySource & { keyOf(kid: Uint8Array): ContentKey | undefined; readonly asked: { from: number; to: number; keyGroup: string }[] } => {
  const byKid = new Map<string, ContentKey>();
  const byPeriod = new Map<string, { kid: KeyId; key: ContentKey }>();
  const asked: { from: number; to: number; keyGroup: string }[] = [];
  const entryKid = systemRandom.bytes(16) as KeyId;
  const salt = systemRandom.bytes(16);
  return {
    asked,
    keyOf: (kid) => byKid.get(encodeHex(kid)),
    async keying(asset): Promise<AssetKeying> {
      return {
        asset,
        kind: options.kind ?? 'event',
        scheme: options.scheme,
        mode: 'untimed',
        gen: 1,
        salt,
        schedule: { period: (options.periodMicros ?? 2_000_000) as Micros, periodsPerGroup: 3 },
        entryKid,
      };
    },
    async contentKeys({ keyGroup, from, to }) {
      asked.push({ from, to, keyGroup });
      return Array.from({ length: to - from }, (_, index) => {
        const period = (from + index) as CryptoPeriod;
        const name = `${keyGroup}|${period}`;
        const made = byPeriod.get(name) ?? { kid: systemRandom.bytes(16) as KeyId, key: systemRandom.bytes(16) as ContentKey };
        byPeriod.set(name, made);
        byKid.set(encodeHex(made.kid), made.key);
        return { period, group: Math.floor(period / 3) as GrantGroup, ...made };
      });
    },
  };
};

export type Harness = {
  readonly packager: Packager;
  readonly url: string;
  readonly ingestUrl: string;
  readonly events: OperationalEvent[];
  readonly store: ObjectStore;
  readonly warnings: string[];
  close(): Promise<void>;
};

export const startHarness = async (keys: ContentKeySource, options: Partial<PackagerOptions> = {}): Promise<Harness> => {
  const events: OperationalEvent[] = [];
  const warnings: string[] = [];
  const store = options.store ?? createMemoryObjects();
  const hash = createHash('sha256').update(CREDENTIAL).digest('base64url');
  const packager = createPackager({
    keys,
    store,
    aes: nodeSampleAes,
    random: systemRandom,
    clock: systemClock,
    metrics: quietMetrics,
    log: { ...quietLog, warn: (message, fields) => warnings.push(`${message} ${JSON.stringify(fields ?? {})}`) },
    events: (event) => events.push(event),
    ingestAccess: async (asset) => (asset === EVENT ? { credentialHash: hash, open: true } : undefined),
    ...options,
  });
  const server = await serve((request) => (new URL(request.url).pathname.startsWith('/ingest/') ? packager.ingestHandler(request) : packager.originHandler(request)), {
    host: '127.0.0.1',
    port: 0,
    log: quietLog,
  });
  return {
    packager,
    events,
    store,
    warnings,
    url: server.url,
    ingestUrl: `${server.url}/ingest/${EVENT}`,
    async close() {
      await packager.stop();
      await server.close(500 as never);
    },
  };
};
