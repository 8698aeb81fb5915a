// SPDX-License-Identifier: Apache-2.0
/**
 * Device tickets against those who would like to have one: forgers, thieves, other accounts, revoked devices, replays, old age.
 *
 * docs/wire/session.md, "Device ticket"; facts line 26. Every refusal leaves nonce and entitlement unused, so that the full proof
 * that follows needs neither anew.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { memoryDeviceStorage, openDevice, startSession } from '#client/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { isSealcastError } from '#core/errors.ts';
import type { DeviceId, SessionId } from '#core/ids.ts';
import { decodeTicket, encodeTicket, TICKET_LENGTH, ticketMessage, ticketSecret } from '#core/license/device-ticket.ts';
import { ticketKey } from '#core/keys/ladder.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { createWorld, FILM, LIVE, makeDevice, SECOND, START, type TestDevice, type World } from './license-world.ts';

const DAY = 86_400;

/** A body that proves itself by `ticket`; `asked` is what the MAC is made over, where that differs from what is sent. */
const ticketBody = async (world: World, device: TestDevice, ticket: SealedTicket, changes: { entitlement?: string; asset?: string; asked?: Partial<{ entitlement: string; nonce: string; asset: string }>; body?: Record<string, unknown> } = {}): Promise<Record<string, unknown>> => {
  const { proof: _proof, ...body } = await world.startBody(device, LIVE, { ...(changes.entitlement !== undefined && { entitlement: changes.entitlement }) });
  const { entitlement, nonce, asset } = { ...body, ...changes.asked };
  const mac = hash.hmac(ticket.secret, ticketMessage({ entitlement: hash.sha256(encodeUtf8(entitlement)), nonce, asset }));
  return { ...body, ticket: encodeBase64url(ticket.value), mac: encodeBase64url(mac), ...changes.body };
};

describe('the device ticket', () => {
  let world: World;
  let device: TestDevice;
  let ticket: SealedTicket;
  const codeOf = async (body: unknown): Promise<unknown> => (await world.post('/v1/sessions', body)).body.code ?? 'granted';

  beforeAll(async () => {
    world = await createWorld({ epochOverlap: (48 * 3600 * SECOND) as Micros });
    device = await makeDevice();
    const viewer = await world.start(device, LIVE);
    if (viewer.sealed.ticket === undefined) throw new Error('the first licence brings a ticket');
    ticket = viewer.sealed.ticket;
  });

  it('comes with the first licence, sealed to the device, and lasts a day at most', async () => {
    expect(ticket.value).toHaveLength(TICKET_LENGTH);
    expect(ticket.expiresAt - START).toBeLessThanOrEqual(DAY * SECOND);
    expect(decodeTicket(ticket.value).expiresAt).toBe(ticket.expiresAt);
    const answer = await world.post('/v1/sessions', await world.startBody(device, LIVE));
    // Neither the ticket nor its secret is in the open part of the answer.
    expect(JSON.stringify(answer.body)).not.toContain(encodeBase64url(ticket.value));
    const claims = JSON.parse(Buffer.from(String(answer.body['license']).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
    expect(Object.keys(claims)).not.toContain('ticket');
  });

  it('starts a session without a signature, whose licence brings no further ticket', async () => {
    const answer = await world.post('/v1/sessions', await ticketBody(world, device, ticket));
    expect(answer.status).toBe(201);
    const viewer = await world.open(answer.body, device);
    expect(viewer.sealed.ticket).toBeUndefined();
    expect(viewer.claims.device).toBe(device.id);
    const now = Math.floor(world.clock.now() / (6 * SECOND));
    expect(viewer.opens(now)).toBe(true);
  });

  it('is good at any licence server of the installation, also one that began later', async () => {
    const other = await world.licenseNode();
    const response = await other.handler(new Request('https://license.example/v1/sessions', { method: 'POST', body: JSON.stringify(await ticketBody(world, device, ticket)) }));
    expect(response.status).toBe(201);
    other.close();
  });

  it('a start that is repeated finds its entitlement used up', async () => {
    const body = await ticketBody(world, device, ticket);
    expect(await codeOf(body)).toBe('granted');
    expect(await codeOf(body)).toBe('entitlement-used');
  });

  it('a MAC for another entitlement, nonce or asset is refused', async () => {
    for (const asked of [{ entitlement: 'x' }, { nonce: 'x' }, { asset: FILM }]) expect(await codeOf(await ticketBody(world, device, ticket, { asked }))).toBe('ticket-invalid');
  });

  it('another device, or an exchanged agree key, cannot use it', async () => {
    const other = await makeDevice();
    expect(await codeOf(await ticketBody(world, other, ticket))).toBe('ticket-invalid');
    expect(await codeOf(await ticketBody(world, device, ticket, { body: { device: { sign: device.signJwk, agree: other.agreeJwk } } }))).toBe('ticket-invalid');
  });

  it('another account cannot use it, and the refusal does not use its entitlement up', async () => {
    const entitlement = await world.entitlement({ sub: 'account-2' });
    expect(await codeOf(await ticketBody(world, device, ticket, { entitlement }))).toBe('ticket-invalid');
    expect(await codeOf(await world.startBody(device, LIVE, { entitlement }))).toBe('granted');
  });

  it('every altered bit of the ticket, and every other length, is refused', async () => {
    for (let bit = 0; bit < TICKET_LENGTH * 8; bit += 7) {
      const value = ticket.value.slice();
      value[bit >> 3] = (value[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await codeOf(await ticketBody(world, device, { ...ticket, value }))).toBe('ticket-invalid');
    }
    for (const value of [ticket.value.subarray(1), ticket.value.subarray(0, 10), concatBytes(ticket.value, Uint8Array.of(0))]) expect(await codeOf(await ticketBody(world, device, { ...ticket, value }))).toBe('ticket-invalid');
  });

  it('a ticket forged under a zone key is refused: only master secrets make tickets', async () => {
    const zone = world.licenses.zoneKeys(1, 0, world.clock.now());
    if (zone === undefined) throw new Error('no zone');
    const value = encodeTicket({ epochByte: 1, expiresAt: (START + DAY * SECOND) as Micros, accountHash: hash.sha256(encodeUtf8('account-1')) }, new Uint8Array(16));
    const thumbs = [Buffer.from(device.id, 'base64url'), Buffer.from(hash.sha256(encodeUtf8(JSON.stringify({ crv: 'P-256', kty: 'EC', x: device.agreeJwk.x, y: device.agreeJwk.y }))))] as const;
    for (const key of [zone.zoneKey, zone.mediaTokenKey, ticketKey(hash, zone.zoneKey), new Uint8Array(32)]) {
      const secret = ticketSecret(hash, key, value, new Uint8Array(thumbs[0]), new Uint8Array(thumbs[1]));
      expect(await codeOf(await ticketBody(world, device, { value, secret, expiresAt: ticket.expiresAt }))).toBe('ticket-invalid');
    }
  });

  it('a body has either a proof or a ticket with its MAC', async () => {
    const both = { ...(await world.startBody(device, LIVE)), ticket: encodeBase64url(ticket.value), mac: encodeBase64url(new Uint8Array(32)) };
    const { ticket: _ticket, ...macOnly } = await ticketBody(world, device, ticket);
    const { mac: _mac, ...ticketOnly } = await ticketBody(world, device, ticket);
    const neither: Record<string, unknown> = { ...macOnly };
    delete neither['mac'];
    for (const body of [both, macOnly, ticketOnly, neither, { ...ticketOnly, mac: 'AAAA' }, { ...macOnly, ticket: 'A'.repeat(400) }]) expect(await codeOf(body)).toBe('bad-request');
  });

  it('nothing of it is logged, told or counted', () => {
    const all = JSON.stringify([world.logged, world.told, world.counted]);
    for (const secret of [ticket.value, ticket.secret]) for (const text of [encodeBase64url(secret), Buffer.from(secret).toString('hex')]) expect(all).not.toContain(text);
  });

  it('several items of a batch start by one ticket', async () => {
    const entitlement = await world.entitlement();
    const items = [await ticketBody(world, device, ticket, { entitlement }), await ticketBody(world, device, ticket, { entitlement }), await ticketBody(world, device, ticket, { entitlement, asked: { nonce: 'x' } })];
    const answer = await world.post('/v1/licenses/batch', { items });
    expect((answer.body['items'] as { status: number; code?: string }[]).map(({ status, code }) => code ?? status)).toEqual([201, 201, 'ticket-invalid']);
  });

  it('a revoked device is refused, whatever its ticket says', async () => {
    const own = await makeDevice();
    const registered = await world.startBody(own, LIVE, { proofTyp: 'device-proof+jwt' });
    const { asset: _asset, ...body } = registered;
    expect((await world.post('/v1/devices', body)).status).toBe(201);
    const viewer = await world.start(own, LIVE);
    const held = viewer.sealed.ticket as SealedTicket;
    expect(await codeOf(await ticketBody(world, own, held))).toBe('granted');
    expect(await world.licenses.revokeDevice(own.id as DeviceId)).toBe(true);
    expect(await codeOf(await ticketBody(world, own, held))).toBe('device-revoked');
  });

  it('is refused from the microsecond of its expiry on, and when its epoch is gone', async () => {
    world.clock.set((ticket.expiresAt - 1) as Micros);
    await world.licenses.refresh();
    expect(await codeOf(await ticketBody(world, device, ticket))).toBe('granted');
    world.clock.set(ticket.expiresAt);
    expect(await codeOf(await ticketBody(world, device, ticket))).toBe('ticket-invalid');
    world.clock.set((ticket.expiresAt + 3 * DAY * SECOND) as Micros);
    await world.licenses.refresh();
    expect(await codeOf(await ticketBody(world, device, ticket))).toBe('ticket-invalid');
  });

  it('the parser refuses any other bytes with one code', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ minLength: TICKET_LENGTH - 1, maxLength: TICKET_LENGTH - 1 }).map((rest) => Uint8Array.of(1, ...rest))), (bytes) => {
        try {
          const { accountHash } = decodeTicket(bytes);
            return bytes.length === TICKET_LENGTH && bytes[0] === 1 && accountHash.length === 32;
        } catch (error) {
          return isSealcastError(error, 'ticket-invalid');
        }
      }),
    );
  });
});

describe('the client and its ticket', () => {
  const watch = async (world: World, device: Awaited<ReturnType<typeof openDevice>>, sent: Record<string, unknown>[], sub = 'account-1'): Promise<SessionId> => {
    const started = await startSession({
      servers: ['https://license.example'],
      device,
      asset: LIVE,
      entitlement: () => world.entitlement({ sub }),
      clock: world.clock,
      fetch: async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === '/v1/sessions' && request.method === 'POST') sent.push(JSON.parse(await request.clone().text()) as Record<string, unknown>);
        return pathname === '/v1/renew' ? world.renewal.handler(request) : world.licenses.handler(request);
      },
    });
    if (!started.ok) throw new Error(`${started.denial.code}: ${started.denial.detail}`);
    const { id } = started.session;
    await started.session.stop();
    return id;
  };
  const shape = (sent: readonly Record<string, unknown>[]): string[] => sent.map((body) => ('ticket' in body ? 'ticket' : 'proof'));

  it('proves itself in full once, then by ticket, and in full again after its account or its epoch changed', async () => {
    const world = await createWorld();
    const device = await openDevice({ name: 'TV' });
    const sent: Record<string, unknown>[] = [];
    await watch(world, device, sent);
    await watch(world, device, sent);
    expect(shape(sent)).toEqual(['proof', 'ticket']);
    // The other account's first start is refused by ticket and goes on with a proof, with the same entitlement and nonce.
    sent.length = 0;
    await watch(world, device, sent, 'account-2');
    expect(shape(sent)).toEqual(['ticket', 'proof']);
    expect(sent[0]?.['nonce']).toBe(sent[1]?.['nonce']);
    expect(sent[0]?.['entitlement']).toBe(sent[1]?.['entitlement']);
    sent.length = 0;
    await watch(world, device, sent, 'account-2');
    expect(shape(sent)).toEqual(['ticket']);
    // It knows by itself that a ticket has expired.
    sent.length = 0;
    world.clock.set((START + (DAY + 60) * SECOND) as Micros);
    await world.licenses.refresh();
    await watch(world, device, sent, 'account-2');
    expect(shape(sent)).toEqual(['proof']);
  });

  it('a storage that keeps tickets brings them back at the next visit; one that fails costs one signature', async () => {
    const world = await createWorld();
    const storage = memoryDeviceStorage();
    const sent: Record<string, unknown>[] = [];
    await watch(world, await openDevice({ storage }), sent);
    await watch(world, await openDevice({ storage }), sent);
    const broken = { ...storage, loadTicket: () => Promise.reject(new Error('blocked')), saveTicket: () => Promise.reject(new Error('blocked')) };
    const device = await openDevice({ storage: broken });
    await watch(world, device, sent);
    await watch(world, device, sent);
    expect(shape(sent)).toEqual(['proof', 'ticket', 'proof', 'ticket']);
  });
});
