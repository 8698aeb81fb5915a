// SPDX-License-Identifier: Apache-2.0
import { expect, describe, it } from 'vitest';
import type { Millis } from '#core/time.ts';
import { createWorld, objectAnswer, settled } from '../../test/runtimes/edge-in-process.ts';

const text = async (response: Promise<Response> | Response): Promise<string> => (await response).text();
const code = async (response: Promise<Response>): Promise<unknown> => ((await (await response).json()) as { code: unknown }).code;

/** A body that a test writes. */
const written = (): { body: ReadableStream<Uint8Array>; write(chunk: string): void; close(): void; fail(reason: Error): void; cancelled: unknown[] } => {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const cancelled: unknown[] = [];
  const body = new ReadableStream<Uint8Array>({
    start: (own) => {
      controller = own;
    },
    cancel: (reason) => void cancelled.push(reason),
  });
  return {
    body,
    write: (chunk) => controller.enqueue(new TextEncoder().encode(chunk)),
    close: () => controller.close(),
    fail: (reason) => controller.error(reason),
    cancelled,
  };
};
const streamed = (body: ReadableStream<Uint8Array>, fields: Record<string, string> = {}): Response =>
  new Response(body, { headers: { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable', ...fields } });

describe('sharing one fetch', () => {
  it('gives chunks in order to each reader, whenever it came', async () => {
    const source = written();
    const world = await createWorld(() => streamed(source.body));
    const first = (await world.get('v720/1.m4s')).body?.getReader();
    const heard = async (reader: typeof first): Promise<string> => new TextDecoder().decode((await reader?.read())?.value);
    source.write('one');
    expect(await heard(first)).toBe('one');
    const second = (await world.get('v720/1.m4s')).body?.getReader();
    expect(await heard(second)).toBe('one');
    source.write('two');
    expect([await heard(first), await heard(second)]).toEqual(['two', 'two']);
    source.close();
    expect([(await first?.read())?.done, (await second?.read())?.done]).toEqual([true, true]);
    expect(await text(world.get('v720/1.m4s'))).toBe('onetwo');
    expect(world.asked).toHaveLength(1);
  });
  it('goes on when every reader has left', async () => {
    const source = written();
    const world = await createWorld(() => streamed(source.body));
    const response = await world.get('v720/1.m4s');
    source.write('one');
    await response.body?.cancel();
    source.write('two');
    source.close();
    await settled();
    expect(source.cancelled).toEqual([]);
    expect(await text(world.get('v720/1.m4s'))).toBe('onetwo');
    expect(world.asked).toHaveLength(1);
  });
  it('answers HEAD at once from the first fields, and the object is fetched once for the GET after it', async () => {
    const source = written();
    const world = await createWorld(() => streamed(source.body, { 'content-length': '6' }));
    const head = await world.get('v720/1.m4s', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), head.body]).toEqual([200, '6', null]);
    const get = world.get('v720/1.m4s');
    source.write('onetwo');
    source.close();
    expect(await text(get)).toBe('onetwo');
    expect(world.asked).toHaveLength(1);
  });
  it('gives the fault to all readers and keeps nothing', async () => {
    const sources = [written(), written()];
    let turn = 0;
    const world = await createWorld(() => streamed((sources[turn++] ?? written()).body));
    const [first, second] = await Promise.all([world.get('v720/1.m4s'), world.get('v720/1.m4s')]);
    sources[0]?.write('one');
    sources[0]?.fail(new Error('reset'));
    await expect(first.text()).rejects.toThrow('reset');
    await expect(second.text()).rejects.toThrow('reset');
    const third = world.get('v720/1.m4s');
    await settled();
    sources[1]?.write('whole');
    sources[1]?.close();
    expect(await text(third)).toBe('whole');
    expect(world.edge.stats().cachedObjects).toBe(1);
  });
  it.each<[string, string]>([
    ['3', 'more than it announced'],
    ['30', 'less than it announced'],
  ])('an origin announcing %s bytes for 6: readers see a fault', async (length, reason) => {
    const world = await createWorld(() => streamed(new Response('onetwo').body as ReadableStream<Uint8Array>, { 'content-length': length }));
    // What was announced may be all that a reader takes; the object is not kept in any case.
    const body = await (await world.get('v720/1.m4s')).text().catch((error: unknown) => String(error));
    await settled();
    expect(world.edge.stats().cachedObjects).toBe(0);
    expect(world.logged.join()).toContain(reason);
    expect(body.startsWith('onetwo')).toBe(false);
  });
  it('believes no length when the body was encoded', async () => {
    const world = await createWorld(() => objectAnswer('onetwo', undefined, { 'content-encoding': 'gzip', 'content-length': '26' }));
    const response = await world.get('v720/1.m4s');
    expect([await response.text(), response.headers.get('content-encoding')]).toEqual(['onetwo', null]);
    expect((await world.get('v720/1.m4s')).headers.get('content-length')).toBe('6');
  });
  it('gives up an origin that falls silent, and does not mind a slow one', async () => {
    const source = written();
    const world = await createWorld(() => streamed(source.body), { originIdleTimeout: 20_000 as Millis });
    const response = await world.get('v720/1.m4s');
    for (let second = 0; second < 60; second += 10) {
      source.write('x');
      await settled();
      world.clock.advance(10);
    }
    source.close();
    expect(await response.text()).toBe('xxxxxx');
    await settled();
    expect(world.clock.timers).toBe(0);

    const silent = await createWorld(
      (_key, request) => new Promise((_resolve, reject) => request.signal.addEventListener('abort', () => reject(request.signal.reason as Error))),
      { originIdleTimeout: 20_000 as Millis },
    );
    const asking = silent.get('v720/1.m4s');
    await settled();
    silent.clock.advance(20);
    expect(await code(asking)).toBe('origin-unavailable');
    expect(silent.clock.timers).toBe(0);
  });
  it('stop() ends running fetches', async () => {
    const world = await createWorld((_key, request) => new Promise((_resolve, reject) => request.signal.addEventListener('abort', () => reject(request.signal.reason as Error))));
    const asking = world.get('v720/1.m4s');
    await settled();
    world.edge.stop();
    expect(await code(asking)).toBe('origin-unavailable');
  });
});
