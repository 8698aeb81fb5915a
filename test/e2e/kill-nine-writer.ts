// SPDX-License-Identifier: Apache-2.0
/**
 * The process that `kill-nine.test.ts` kills: writes to every durable store as fast as it can and names each write on
 * stdout once it was acknowledged. Arguments: folder, first number.
 */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { createFileObjectStore, openJournalledHeartbeats } from '#adapters/files/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import { assetKeyRecord, at, bytes, catalogueEntry, deviceRecord, heartbeat, sessionRecord } from '../contracts/values.ts';
import { auditEntry, never, sealAudit } from './kill-nine-values.ts';

const [folder = '', first = '0'] = process.argv.slice(2);
const stores = createSqliteStores({ path: join(folder, 'sealcast.db') });
const objects = createFileObjectStore({ root: join(folder, 'objects') });
const heartbeats = await openJournalledHeartbeats({ path: join(folder, 'heartbeats.ndjson'), clock: systemClock, compactAfterLines: 100 });

const writes: Readonly<Record<string, (number: number) => Promise<unknown>>> = {
  assetKeys: (number) => stores.assetKeys.create(assetKeyRecord(`a${number}`, { sealedTitleKeys: [{ gen: 0, sealed: bytes(40, number) }] })),
  catalogue: (number) => stores.catalogue.create(catalogueEntry(`c${number}`)),
  devices: (number) => stores.devices.register(deviceRecord(number, `account-${number}`), 1),
  sessions: (number) => stores.sessions.create(sessionRecord(number)),
  singleUse: (number) => stores.singleUse.claim(`jti-${number}`, never, at(0)),
  secrets: (number) => stores.secrets.putIfAbsent(`secret-${number}`, bytes(32, number)),
  audit: (number) => stores.audit.append(auditEntry(number), sealAudit),
  objects: (number) => objects.put(`titles/t${number % 7}/segment-${number}`, bytes(2000 + (number % 5000), number)),
  heartbeats: (number) => heartbeats.record(heartbeat(number % 200, { at: at(number), expiresAt: never })),
};

let next = Number(first);
/** Several writers at once, so that kills fall into groups of writes too. */
const writer = async (): Promise<void> => {
  for (;;) {
    for (const [kind, write] of Object.entries(writes)) {
      const number = next++;
      await write(number);
      writeSync(1, `${kind} ${number}\n`);
    }
  }
};
await Promise.all([writer(), writer(), writer(), writer()]);
