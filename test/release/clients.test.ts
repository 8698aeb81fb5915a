// SPDX-License-Identifier: Apache-2.0
/** What clients of the release channel may do and what becomes of those that do more: real edges on a fake clock. */
import { describe, expect, test } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { decodeRun, secretOf } from '#core/release/block.ts';
import { decodeSyncAnswer, encodeSyncRequest } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { sha256 } from '#crypto/hmac.ts';
import { consecutive, createWorld, early, EVENT, p, periodsOf } from './world.ts';

describe('clients', () => {
  const joined = async (): Promise<{ world: Awaited<ReturnType<typeof createWorld>>; edge: Awaited<ReturnType<Awaited<ReturnType<typeof createWorld>>['edge']>> }> => {
    const world = await createWorld();
    const edge = await world.edge({ alone: true });
    await world.clock.advance(3500);
    return { world, edge };
  };

  test('who does not read is skipped, then closed with 4413; a neighbour misses nothing', async () => {
    const { world, edge } = await joined();
    const [slow, other] = [edge.client(), edge.client({ account: 'berta' })];
    slow.pending = 1;
    await world.clock.advance(1000);
    expect(slow.code).toBe(4413);
    expect(edge.counters.get(`sealcast_release_skipped_total{${EVENT}}`)).toBe(5);
    expect(consecutive(periodsOf(other))).toBe(true);
    await edge.edge.stop();
  });

  test('B169: the order of writing is new every time, and connections of one account are few', async () => {
    const { world, edge } = await joined();
    const many = Array.from({ length: 40 }, (_, index) => edge.client({ account: `viewer-${index}` }));
    const same = Array.from({ length: 8 }, () => edge.client({ account: 'one', connections: 6 }));
    await world.clock.advance(3000);
    expect(same.filter(({ code }) => code === 4409)).toHaveLength(2);
    const seeds = edge.log.map((line) => JSON.parse(line) as { seed?: string }).flatMap(({ seed }) => seed ?? []);
    expect(new Set(seeds).size).toBe(seeds.length);
    expect(many.every((client) => client.frames.length > 20)).toBe(true);
    await edge.edge.stop();
  });

  test('too early, unknown and gone; a flood of pulls is limited, then closed with 4429', async () => {
    const { world, edge } = await joined();
    const client = edge.client();
    await world.clock.advance(500);
    const newest = edge.edge.intake.book(EVENT)?.released ?? 0;
    const before = client.frames.length;
    client.say({ type: 'pull', p: [newest, newest + 30, newest - 5000] });
    expect(client.frames.length).toBe(before + 1);
    expect(client.frames.at(-1)?.frame).toMatchObject({ period: newest, flags: 2 });
    expect(client.messages.filter(({ type }) => type === 'err')).toEqual([{ type: 'err', code: 'too-early', period: newest + 30 }, { type: 'err', code: 'gone', period: newest - 5000 }]);
    for (let turn = 0; turn < 100 && client.code === undefined; turn++) client.say({ type: 'pull', p: Array.from({ length: 50 }, () => newest + 40) });
    expect(client.code).toBe(4429);
    expect(edge.counters.get('sealcast_release_clients_refused_total{flood}')).toBe(1);
    expect(early(client)).toBe(0);
    await edge.edge.stop();
  });

  test('oversized, malformed and unexpected messages end the connection with 4400 and are counted', async () => {
    const { edge } = await joined();
    for (const text of ['{', '{"type":"hello"}', `{"type":"bye","x":"${'x'.repeat(5000)}"}`, '{"type":"stat"}']) {
      const client = edge.client();
      client.text(text);
      expect(client.code).toBe(4400);
    }
    const frame = edge.client();
    frame.bytes(new Uint8Array(15));
    expect(frame.code).toBe(4400);
    const silent = edge.client({ hello: false });
    silent.say({ type: 'pull', p: [1] });
    expect(silent.code).toBe(4400);
    expect(edge.counters.get('sealcast_release_clients_refused_total{malformed}')).toBe(4);
    expect(edge.counters.get('sealcast_release_clients_refused_total{oversized}')).toBe(1);
    await edge.edge.stop();
  });

  test('who says no hello within 5 s, and who says nothing for a minute, is let go with 4408', async () => {
    const { world, edge } = await joined();
    const [mute, quiet] = [edge.client({ hello: false }), edge.client()];
    await world.clock.advance(7000);
    expect(mute.code).toBe(4408);
    expect(quiet.code).toBeUndefined();
    await world.clock.advance(56_000);
    expect(quiet.code).toBe(4408);
    await edge.edge.stop();
  });

  test('an ended session is closed within a second or two, an expired token after its grace; a fresh one keeps the connection', async () => {
    const { world, edge } = await joined();
    const ended = edge.client({ session: 'B'.repeat(24), account: 'b' });
    const expiring = edge.client({ session: 'C'.repeat(24), account: 'c', life: 2_000_000 });
    await world.clock.advance(500);
    world.revoked.add('B'.repeat(24));
    await world.clock.advance(1500);
    expect(ended.code).toBe(4403);
    await world.clock.advance(28_000);
    expect(expiring.code).toBeUndefined();
    await world.clock.advance(5000);
    expect(expiring.code).toBe(4401);
    await edge.edge.stop();
  });

  test('lies about time and RTT change nothing: a clock request is answered with the edge\'s time, however it is dated', async () => {
    const { world, edge } = await joined();
    const client = edge.client();
    await world.clock.advance(1000);
    client.bytes(encodeSyncRequest({ seq: 1, t1: 2n ** 63n }));
    const answer = decodeSyncAnswer(client.binary.at(-1) as Uint8Array);
    expect(Math.abs(answer.sent - world.truth())).toBeLessThan(5000);
    client.say({ type: 'stat', from: 1, to: 2, n: 2, late: 0, skipped: 0, pulled: 0, clock: { offset: -9_000_000_000, error: 0 }, receipts: [[1, 0, 1]] });
    await world.clock.advance(1000);
    expect(early(client)).toBe(0);
    expect(client.code).toBeUndefined();
    await edge.edge.stop();
  });

  test('B179: a client that comes back gets what it missed, up to 50 periods; a whole window comes in one answer of blocks', async () => {
    const { world, edge } = await joined();
    await world.clock.advance(5000);
    const newest = edge.edge.intake.book(EVENT)?.released ?? 0;
    const back = edge.client({ last: newest - 20 });
    expect(periodsOf(back)).toEqual(Array.from({ length: 20 }, (_, index) => newest - 19 + index));
    const long = edge.client({ last: newest - 200 });
    expect(periodsOf(long)).toEqual([newest]);
    // Older than this edge: asked of a key server, once.
    const block = Math.floor(newest / world.info.perBlock);
    const answer = await edge.read(`/v1/events/${EVENT}/release/blocks/${block - 30}?count=30`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toContain('immutable');
    const run = decodeRun(new Uint8Array(await answer.arrayBuffer()));
    expect(run.secrets.length).toBe(30 * 100 * 16);
    for (let period = run.from; period < run.from + 3000; period = p(period + 97)) expect(secretOf(run, period)).toBeDefined();
    await edge.edge.stop();
  });

  test('pulls over HTTP: 425 and not stored before, 200 and immutable after, 429 for a flood, 404 for what nobody has', async () => {
    const { world, edge } = await joined();
    const newest = edge.edge.intake.book(EVENT)?.released ?? 0;
    const ahead = await edge.read(`/v1/events/${EVENT}/release/${newest + 20}`);
    expect([ahead.status, ahead.headers.get('cache-control'), ahead.headers.get('retry-after')]).toEqual([425, 'no-store', '2']);
    expect((await edge.read(`/v1/events/${EVENT}/release/${newest}`)).status).toBe(200);
    expect((await edge.read(`/v1/events/${EVENT}/release/blocks/${Math.floor(newest / 100)}?count=61`)).status).toBe(400);
    expect((await edge.read('/v1/events/other/release')).status).toBe(404);
    expect((await edge.read(`/v1/events/${EVENT}/release/schedule/${Math.floor(newest / 100)}`)).headers.get('content-type')).toBe('application/jwt');
    expect((await edge.read(`/v1/events/${EVENT}/release/schedule/${Math.floor(newest / 100) + 9}`)).status).toBe(425);
    let limited = 0;
    for (let turn = 0; turn < 300; turn++) if ((await edge.read(`/v1/events/${EVENT}/release/${newest + 50}`, {}, '10.9.9.9')).status === 429) limited++;
    expect(limited).toBe(100);
    const epoch = (await (await edge.read(`/v1/events/${EVENT}/epoch?t=${releaseInstant(world.info, p(newest)) + 10}`)).json()) as Record<string, unknown>;
    expect(epoch).toMatchObject({ period: newest, releaseAt: releaseInstant(world.info, p(newest)), nextAt: releaseInstant(world.info, p(newest + 1)), status: 'single-host' });
    await edge.edge.stop();
  });

  test('drain: clients are told where to go and for how long, then closed with 1001', async () => {
    const { world, edge } = await joined();
    const client = edge.client();
    edge.edge.drain(2000);
    await world.clock.advance(100);
    expect(client.messages.at(-1)).toMatchObject({ type: 'drain', spreadMs: 2000 });
    expect(edge.client({ account: 'late' }).code).toBe(1001);
    await world.clock.advance(3000);
    expect(client.code).toBe(1001);
    await edge.edge.stop();
  });

  test('B178: the log chains every release and signs every second; a changed line breaks the chain', async () => {
    const { world, edge } = await joined();
    edge.client();
    await world.clock.advance(3000);
    await edge.edge.stop();
    const intact = (lines: readonly string[]): boolean => {
      let prev = encodeBase64url(new Uint8Array(32));
      return lines.every((line) => {
        const right = (JSON.parse(line) as { prev: string }).prev === prev;
        prev = encodeBase64url(sha256(encodeUtf8(line)));
        return right;
      });
    };
    expect(edge.log.length).toBeGreaterThan(25);
    expect(intact(edge.log)).toBe(true);
    expect(edge.log.filter((line) => line.includes('"t":"signature"')).length).toBeGreaterThanOrEqual(3);
    const at = edge.log.findIndex((line) => line.includes('"t":"release"'));
    const changed = edge.log.map((line, index) => (index === at ? line.replace('"sent":', '"sent" :') : line));
    expect(changed).not.toEqual(edge.log);
    expect(intact(changed)).toBe(false);
  });

  test('B168: clients that do not hold the bytes at the release raise an alarm, with the share', async () => {
    const { world, edge } = await joined();
    const clients = Array.from({ length: 4 }, (_, index) => edge.client({ account: `v${index}` }));
    await world.clock.advance(300);
    for (const client of clients) client.say({ type: 'stat', from: 1, to: 100, n: 100, late: 4, skipped: 0, pulled: 0, held: 0.9, segments: [[900_000_002, world.truth()]] });
    await world.clock.advance(1000);
    expect(edge.events.filter(({ kind }) => kind === 'release.bytes-late')).toHaveLength(1);
    const [standing] = edge.edge.standing();
    expect(standing?.figures).toMatchObject({ reports: 4, held: 0.9, early: 0 });
    expect(standing?.figures.onTime).toBeCloseTo(0.96);
    await edge.edge.stop();
  });
});
