// SPDX-License-Identifier: Apache-2.0
/** A packager process for restart tests: `node ingest-server.ts FOLDER`. Prints its address; its keys are the same at every start. */
import { createHash } from 'node:crypto';
import { createFileObjectStore } from '#adapters/files/index.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import type { ContentKeySource } from '#ports';
import { startHarness } from './ingest-harness.ts';

const digest = (text: string): Uint8Array => new Uint8Array(createHash('sha256').update(text).digest().subarray(0, 16));

/** Keys made from their names, so that a test and two lives of a process agree. */
export const namedKeys = (scheme: 'cenc' | 'cbcs'): ContentKeySource & { keyOf(kid: Uint8Array): ContentKey | undefined } => {
  const known = new Map<string, ContentKey>();
  const make = (keyGroup: string, period: number): { kid: KeyId; key: ContentKey } => ({
    kid: digest(`kid|${keyGroup}|${period}`) as KeyId,
    key: digest(`key|${keyGroup}|${period}`) as ContentKey,
  });
  const around = Math.floor(Date.now() / 1000);
  for (let period = around - 120; period < around + 120; period += 1) {
    for (const keyGroup of ['video', 'audio']) {
      const { kid, key } = make(keyGroup, period);
      known.set(Buffer.from(kid).toString('hex'), key);
    }
  }
  return {
    keyOf: (kid) => known.get(Buffer.from(kid).toString('hex')),
    keying: async (asset) => ({
      asset,
      kind: 'event',
      scheme,
      mode: 'untimed',
      gen: 1,
      salt: digest('salt'),
      schedule: { period: 1_000_000 as Micros, periodsPerGroup: 1 },
      entryKid: digest('entry') as KeyId,
    }),
    contentKeys: async ({ keyGroup, from, to }) =>
      Array.from({ length: to - from }, (_, index) => ({ period: (from + index) as CryptoPeriod, group: (from + index) as GrantGroup, ...make(keyGroup, from + index) })),
  };
};

if (process.argv[1]?.endsWith('ingest-server.ts') === true) {
  const [, , folder = '', scheme = 'cenc'] = process.argv;
  const harness = await startHarness(namedKeys(scheme === 'cbcs' ? 'cbcs' : 'cenc'), { store: createFileObjectStore({ root: folder }) });
  process.stdout.write(`${harness.url}\n`);
  process.on('SIGTERM', () => void harness.close().then(() => process.exit(0)));
}
