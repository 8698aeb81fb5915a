// SPDX-License-Identifier: Apache-2.0
/** Stops of the real client: kept until acknowledged, sent again after a crash, never for somebody else's session. */
import { beforeEach, describe, expect, it } from 'vitest';
import { startSession } from '#client/start-session.ts';
import type { Session } from '#client/session-types.ts';
import type { Micros } from '#core/time.ts';
import { FILM, SECOND, until } from './license-world.ts';
import { createOfflineWorld, equipped, type OfflineClient, type OfflineWorld } from './offline-world.ts';

type Offline = Awaited<ReturnType<OfflineClient['open']>>;
let world: OfflineWorld;
let client: OfflineClient;
beforeEach(async () => {
  world = await createOfflineWorld();
  client = await world.client();
});

const kept = (): string[] => [...client.storage.texts.keys()].filter((key) => key.startsWith('stop/'));
const start = async (offline: Offline, more: { lose?: (request: Request) => 'request' | 'answer' | undefined } = {}): Promise<Session> => {
  const before = kept().length;
  const started = await startSession({
    servers: ['https://license.example'],
    renewalServers: ['https://license.example'],
    asset: FILM,
    device: client.device,
    clock: client.clock,
    stops: offline.stops,
    entitlement: () => world.entitlement(),
    async fetch(request) {
      const lost = more.lose?.(request);
      if (lost === 'request') throw new TypeError('lost');
      const answer = await world.licenses.handler(request);
      if (lost === 'answer') throw new TypeError('lost');
      return answer;
    },
  });
  if (!started.ok) throw new Error(started.denial.detail);
  await until(() => kept().length > before);
  return started.session;
};
const endOf = async (session: Session): Promise<string | undefined> => (await world.stores.sessions.get(session.id))?.endReason;
const isStop = (request: Request): boolean => new URL(request.url).pathname === '/v1/stop';

describe('secure stop', () => {
  it('B150: a stop erases the keys before anything of it is recorded or sent', async () => {
    const offline = await client.open();
    const { write } = client.storage.records;
    const order: string[] = [];
    (client.storage.records as { write: typeof write }).write = async (entries) => {
      if (entries.some(([key, text]) => key.startsWith('stop/') && text?.includes('"due"') === true)) order.push(session.state === 'ended' ? 'recorded after keys' : 'recorded before keys');
      await write(entries);
    };
    const session: Session = await start(offline, {
      lose: (request) => {
        if (isStop(request)) order.push(session.state === 'ended' ? 'sent after keys' : 'sent before keys');
        return undefined;
      },
    });
    const keysAtSend = (await session.keysBetween(0 as Micros, (10 * SECOND) as Micros)).length;
    expect(keysAtSend).toBeGreaterThan(0);
    const stopping = session.stop();
    expect(await session.keysBetween(0 as Micros, (10 * SECOND) as Micros)).toEqual([]);
    expect(await stopping).toBe(true);
    expect(order.sort()).toEqual(['recorded after keys', 'sent after keys']);
    expect(await endOf(session)).toBe('viewer');
    expect(kept()).toEqual([]);
  });

  it.each(['request', 'answer'] as const)('B152: a stop whose %s was lost is kept, and sent until it is acknowledged', async (lost) => {
    let offline = await client.open();
    const session = await start(offline, { lose: (request) => (isStop(request) ? lost : undefined) });
    expect(await session.stop()).toBe(false);
    expect(kept()).toHaveLength(1);
    client.cut = true;
    expect((await offline.reconnected()).stops).toBe(false);
    expect(kept()).toHaveLength(1);
    client.cut = false;
    offline = await client.restart();
    expect((await offline.reconnected()).stops).toBe(true);
    expect(kept()).toEqual([]);
    expect(await endOf(session)).toBe('viewer');
  });

  it('B151: after a crash the next start sends the stops of all sessions that were open', async () => {
    const offline = await client.open();
    const sessions = [await start(offline), await start(offline)];
    expect(kept().length).toBe(2);
    const restarted = await client.restart();
    expect((await restarted.reconnected()).stops).toBe(true);
    for (const session of sessions) expect(await endOf(session)).toBe('viewer');
    expect(kept()).toEqual([]);
  });

  it('B151: a page does not stop what another page of the same storage plays, until that one is gone', async () => {
    const living = new Set(['page-1']);
    const alive = async (owner: string): Promise<boolean> => living.has(owner);
    const first = await client.open({ owner: 'page-1', alive });
    const session = await start(first);
    const second = await client.open({ owner: 'page-2', alive });
    await second.reconnected();
    await first.reconnected();
    expect(await endOf(session)).toBeUndefined();
    living.clear();
    await second.reconnected();
    expect(await endOf(session)).toBe('viewer');
  });

  it('B153: a kept stop is no use on another device: it is refused, alerted and dropped', async () => {
    const offline = await client.open();
    const session = await start(offline);
    const thief = await world.client({ account: 'account-2' });
    const text = client.storage.texts.get(`stop/${session.id}`) as string;
    const proof = (JSON.parse(text) as { proof: string }).proof;
    thief.storage.texts.set(`stop/${session.id}`, text.replace(proof, `${proof.slice(0, -8)}AAAAAAAA`));
    await (await thief.open()).reconnected();
    expect(await endOf(session)).toBeUndefined();
    expect(world.told.filter(({ kind }) => kind === 'session.stop-forged')).toHaveLength(1);
    expect([...thief.storage.texts.keys()].filter((key) => key.startsWith('stop/'))).toEqual([]);
  });

  it('a session that the service ended leaves no stop behind', async () => {
    const offline = await client.open();
    const session = await start(offline);
    await world.licenses.endSession(session.id, 'operator');
    session.renew().catch(() => undefined);
    await session.stop();
    expect(kept()).toEqual([]);
    expect(await endOf(session)).toBe('operator');
  });

  it('B155: what plays from the device is metered; it sends no stop and holds no place', async () => {
    const offline = await equipped(client);
    client.asked.length = 0;
    const playing = await offline.play(FILM);
    expect(playing.ok && (await playing.session.stop())).toBe(true);
    expect(client.asked).toEqual([]);
    expect(kept()).toEqual([]);
    await offline.reconnected();
    expect(client.asked).not.toContain('POST /v1/stop');
    expect(client.asked).toContain('POST /v1/usage');
  });
});
