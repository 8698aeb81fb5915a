// SPDX-License-Identifier: Apache-2.0
/**
 * What the benchmark `subscription` measures: a licence and key server on SQLite, a catalogue of ten thousand titles, devices
 * that report what they played.
 *
 * Requests are made outside the measured time, with real keys and signatures. Invariant: the baseline of metering writes the
 * very rows that ingest writes, in transactions of the same size, to the same kind of file.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeEs256 } from '#adapters/node/es256.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { nodeSealTo } from '#adapters/node/seal.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import { createSqliteStores, type SqliteStores } from '#adapters/sqlite/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { type AccountId, type AssetId, assetId, type DeviceId } from '#core/ids.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import { EMPTY_CHAIN, encodeUsageRecord, encodeUsageReport, parseUsageRecord, USAGE_TYPE, usageRecordHash } from '#core/subscription/usage.ts';
import type { Micros } from '#core/time.ts';
import { importSigningKey, type JwsKey, makeKeyPair, signJws, thumbprint } from '#crypto/jose.ts';
import { createKeyServer, type KeyServer } from '#key-server/key-server.ts';
import { createLicenseServer } from '#license-server/license-server.ts';
import type { LicenseServer } from '#license-server/options.ts';
import type { LeafOrder, Log, Metrics, StoredUsage } from '#ports';

/** Titles of the collection. */
export const TITLES = 10_000;
const COLLECTION = 'films';
const ACCOUNT = 'account-1' as AccountId;
const RECORDS_PER_REPORT = 500;
/** Reports on their way at a time. */
const AT_ONCE = 8;
const HOUR = 3_600_000_000;

const loud = (message: string, fields?: unknown): void => console.error(message, fields);
const log: Log = { debug: () => undefined, info: () => undefined, warn: loud, error: loud };
const metrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
const common = { random: systemRandom, clock: systemClock, log, metrics, events: () => undefined };

type Service = { readonly stores: SqliteStores; readonly keyServer: KeyServer; readonly licenses: LicenseServer; readonly shop: JwsKey; post(path: string, body: string | object): Promise<{ status: number; text: string }>; close(): void };

const openService = async (path: string): Promise<Service> => {
  const stores = createSqliteStores({ path });
  const box = createSecretBox(systemRandom.bytes(32));
  const roots = { wrapper: nodeKeyWrapper, secret: async (collection: string) => new Uint8Array(createHash('sha256').update(collection).digest()) };
  const keyServer = createKeyServer({ store: stores.assetKeys, box, credentials: [], roots, hash: nodeLadderHash, ...common });
  const shop = await makeKeyPair('sign');
  const { heartbeats } = createMemoryStores();
  const licenses = await createLicenseServer({
    issuer: 'https://license.example', keys: keyServer, ...stores, heartbeats, box, wrapper: nodeKeyWrapper, hash: nodeLadderHash, sealTo: nodeSealTo, es256: nodeEs256,
    subscriptions: { keys: keyServer, collections: stores.collections, roots: stores.roots, usage: stores.usage },
    entitlementKeys: [{ kid: 'shop', alg: 'ES256', key: shop.publicJwk as JsonWebKey, issuer: 'https://shop.example' }],
    ...common,
  });
  return {
    stores,
    keyServer,
    licenses,
    shop: await importSigningKey(shop.privateJwk),
    async post(path_, body) {
      const response = await licenses.handler(new Request(`https://license.example${path_}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body) }));
      return { status: response.status, text: await response.text() };
    },
    close() {
      licenses.close();
      stores.close();
    },
  };
};

type OwnDevice = { readonly id: DeviceId; readonly sign: JwsKey; readonly signJwk: PublicJwk; readonly agreeJwk: PublicJwk };
const makeDevice = async (): Promise<OwnDevice> => {
  const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
  return { id: (await thumbprint(sign.publicJwk)) as DeviceId, sign: await importSigningKey(sign.privateJwk), signJwk: sign.publicJwk, agreeJwk: agree.publicJwk };
};
const register = (service: Service, device: OwnDevice, account: AccountId): Promise<unknown> =>
  service.stores.devices.register({ device: device.id, account, name: 'TV', sign: device.signJwk as never, agree: device.agreeJwk as never, registeredAt: systemClock.now() }, 100);

/** A catalogue of titles in one collection, and a device that has a root for it. */
export type LeafBatch = {
  /** Milliseconds of the first batch, whose title keys were all sealed. */
  readonly cold: number;
  /** Milliseconds of a batch for an account that never asked before. */
  run(round: number): Promise<number>;
  /** Milliseconds of the whole request, the least of three. */
  request(): Promise<number>;
  /** Texts of all leaves. */
  texts(): Promise<readonly string[]>;
  readonly service: Service;
  readonly device: OwnDevice;
  close(): void;
};

const root = async ({ service, device }: Pick<LeafBatch, 'service' | 'device'>, end: number): Promise<{ requests: number; bytes: number; token: string }> => {
  const now = Math.floor(systemClock.now() / 1_000_000);
  const month = monthAt(systemClock.now());
  const plan = { plan: 'family', collection: COLLECTION, months: [month - 120, month + 2], begin: now - 86_400, end: now + end, actions: ['play', 'download'] };
  const entitlement = await signJws({ iss: 'https://shop.example', aud: 'sealcast', sub: ACCOUNT, jti: crypto.randomUUID(), iat: now, exp: now + 120, plans: [plan] }, { typ: 'entitlement+jwt', key: service.shop, kid: 'shop' });
  const { nonce } = (await (await service.licenses.handler(new Request('https://license.example/v1/sessions'))).json()) as { nonce: string };
  const payload = { ent: encodeBase64url(nodeLadderHash.sha256(encodeUtf8(entitlement))), nonce, asset: '', agree: await thumbprint(device.agreeJwk) };
  const proof = await signJws(payload, { typ: 'root-proof+jwt', key: device.sign });
  const { status, text } = await service.post('/v1/roots', { entitlement, nonce, device: { sign: device.signJwk, agree: device.agreeJwk, name: 'TV' }, proof });
  if (status !== 201) throw new Error(`root refused: ${text}`);
  return { requests: 1, bytes: text.length, token: (JSON.parse(text) as { roots: string[] }).roots[0] ?? '' };
};

const leavesOf = async (service: Service, token: string, titles: readonly AssetId[]): Promise<readonly string[]> => {
  const { status, text } = await service.post('/v1/leaves', { root: token, titles });
  if (status !== 200) throw new Error(`leaves refused: ${text}`);
  return (JSON.parse(text) as { leaves: string[] }).leaves;
};
const titleIds = Array.from({ length: TITLES }, (_, index) => assetId(`title-${String(index).padStart(5, '0')}`));

/** Makes the catalogue and its first batch. */
export const leafBatch = async (path: string, say: (line: string) => void): Promise<LeafBatch> => {
  const service = await openService(path);
  const device = await makeDevice();
  await register(service, device, ACCOUNT);
  const now = systemClock.now();
  for (let at = 0; at < TITLES; at += 1000) {
    await Promise.all(
      titleIds.slice(at, at + 1000).map(async (asset, index) => {
        await service.keyServer.createAsset({ asset, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule: { period: 10_000_000 as Micros, periodsPerGroup: 6 } });
        await service.stores.catalogue.create({ asset, kind: 'title', name: asset, state: 'ready', createdAt: now, duration: (2 * HOUR) as Micros, clearKey: 'off' });
        // Ten years of releases.
        await service.stores.collections.put({ collection: COLLECTION, asset, published: (now - (((at + index) % 120) + 1) * 30 * 24 * HOUR) as Micros, scope: 'account', actions: ['play', 'download'], owner: `owner-${index % 10}` });
      }),
    );
  }
  say(`${TITLES} titles made`);
  const orders = titleIds.map((asset, index): LeafOrder => ({ asset, duration: (2 * HOUR) as Micros, under: [{ collection: COLLECTION, scope: 'account', month: monthAt(now) - (index % 120), actions: ['play', 'download'] }] }));
  const run = async (round: number): Promise<number> => {
    const account = nodeLadderHash.sha256(encodeUtf8(`account ${round}`));
    const begun = performance.now();
    const leaves = await service.keyServer.leaves({ account, orders });
    const took = performance.now() - begun;
    if (leaves.length !== TITLES || leaves.some((leaf) => leaf === undefined)) throw new Error('a leaf is missing');
    return took;
  };
  const cold = await run(-1);
  const { token } = await root({ service, device }, 30 * 86_400);
  return {
    cold,
    run,
    service,
    device,
    texts: () => leavesOf(service, token, titleIds),
    async request() {
      let least = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < 3; attempt++) {
        const begun = performance.now();
        await leavesOf(service, token, titleIds);
        least = Math.min(least, performance.now() - begun);
      }
      return least;
    },
    close: service.close,
  };
};

/** Renews the root for another month and compares every leaf with what it was. */
export const renewal = async (batch: LeafBatch): Promise<{ readonly requests: number; readonly bytes: number; readonly changed: number }> => {
  const before = await leavesOf(batch.service, (await root(batch, 30 * 86_400)).token, titleIds);
  const renewed = await root(batch, 60 * 86_400);
  const after = await leavesOf(batch.service, renewed.token, titleIds);
  return { ...renewed, changed: after.filter((leaf, index) => leaf !== before[index]).length + Math.abs(after.length - before.length) };
};

/** Devices that report `records`. */
export const accounts = (records: number): number => Math.ceil(records / (RECORDS_PER_REPORT * 4));

type Report = { readonly body: string; readonly rows: readonly StoredUsage[] };

const reportsOf = async (device: OwnDevice, account: AccountId, count: number): Promise<readonly Report[]> => {
  const reports: Report[] = [];
  let head = EMPTY_CHAIN;
  const start = systemClock.now() - 24 * HOUR;
  const accountHash = nodeLadderHash.sha256(encodeUtf8(account));
  for (let number = 0; number < count; number++) {
    const first = head.seq + 1;
    const rows: StoredUsage[] = [];
    const texts: string[] = [];
    for (let index = 0; index < RECORDS_PER_REPORT; index++) {
      const seq = first + index;
      const started = (start + seq * 60_000_000) as Micros;
      const text = encodeUsageRecord({ seq, prev: head.head, title: titleIds[(seq * 7919) % TITLES] as AssetId, gen: 1, action: 'play', plan: 'family', started, ended: (started + 50_000_000) as Micros, played: 50_000_000 as Micros, from: 0 as Micros, offline: seq % 3 === 0, certain: 1000 as Micros });
      head = { seq, head: usageRecordHash(nodeLadderHash, text) };
      texts.push(text);
      const { title, played, offline } = parseUsageRecord(text);
      rows.push({ device: device.id, chain: 1, seq, hash: head.head, text, account, title, owner: 'owner-1', action: 'play', plan: 'family', started, played, offline, counted: true, uncertain: false, receivedAt: start as Micros });
    }
    const report = encodeUsageReport({ account: accountHash, transaction: systemRandom.bytes(16), first, records: texts, head: head.head, lost: false });
    reports.push({ body: JSON.stringify({ device: device.id, report: await signJws(report, { typ: USAGE_TYPE, key: device.sign }) }), rows });
  }
  return reports;
};

/** Records per second through POST /v1/usage, and as bare inserts; both in turns, in one run. */
export const meteringRun = async (folder: string, records: number, say: (line: string) => void): Promise<{ readonly ratio: number; readonly perSecond: number; readonly barePerSecond: number; readonly countedTwice: number }> => {
  const service = await openService(join(folder, 'usage.sqlite'));
  const bare = createSqliteStores({ path: join(folder, 'bare.sqlite') });
  const rounds = Math.ceil(accounts(records) / AT_ONCE);
  let [ingest, plain, sent] = [0, 0, 0];
  try {
    for (let round = 0; round < rounds; round++) {
      const devices = await Promise.all(
        Array.from({ length: AT_ONCE }, async (_, index) => {
          const account = `account-${round}-${index}` as AccountId;
          const device = await makeDevice();
          await register(service, device, account);
          return { device, account, reports: await reportsOf(device, account, 4) };
        }),
      );
      for (let number = 0; number < 4; number++) {
        const batch = devices.map(({ device, account, reports }) => ({ device, account, report: reports[number] as Report }));
        let begun = performance.now();
        const answers = await Promise.all(batch.map(({ report }) => service.post('/v1/usage', report.body)));
        ingest += performance.now() - begun;
        if (answers.some(({ status }) => status !== 200)) throw new Error(`a report was refused: ${answers.find(({ status }) => status !== 200)?.text}`);
        begun = performance.now();
        await Promise.all(
          batch.map(({ device, account, report: { rows } }) => {
            const last = rows.at(-1) as StoredUsage;
            const first = rows[0] as StoredUsage;
            const earlier = devices.find((each) => each.device === device)?.reports[number - 1]?.rows.at(-1)?.hash ?? new Uint8Array(32);
            const before = first.seq === 1 ? undefined : { seq: first.seq - 1, head: earlier };
            return bare.usage.append({ device: device.id, chain: 1, seq: last.seq, head: last.hash, account, updatedAt: last.receivedAt }, before, rows);
          }),
        );
        plain += performance.now() - begun;
        // Every report once more, as after a lost acknowledgement.
        await Promise.all(batch.map(({ report }) => service.post('/v1/usage', report.body)));
        sent += batch.length * RECORDS_PER_REPORT;
      }
      if (round % 8 === 7) say(`${sent} records`);
    }
    const totals = await service.stores.usage.totals('account', { from: 0 as Micros, to: Number.MAX_SAFE_INTEGER as Micros, limit: 1_000_000 });
    return { ratio: plain / ingest, perSecond: (sent * 1000) / ingest, barePerSecond: (sent * 1000) / plain, countedTwice: totals.reduce((sum, { plays }) => sum + plays, 0) - sent };
  } finally {
    bare.close();
    service.close();
  }
};
