// SPDX-License-Identifier: Apache-2.0
/** The headless viewer on the real platform: live and title, both schemes, rotation, a stopped renewal, a denied session, no session. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDevice, textDeviceStorage } from '#client/device.ts';
import { registerDevice, startSession } from '#client/start-session.ts';
import { createViewer } from '#client/viewer.ts';
import type { ContentKey } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { GROUP_SECONDS, type Stack, startStack, TERMS, TITLE_SECONDS } from './stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack?.stop());

const seconds = (count: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, count * 1000));

describe.each(['cenc', 'cbcs'] as const)('%s', (scheme) => {
  test.concurrent('a live event plays on across many key periods', async () => {
    const session = await stack.session(await stack.event(scheme));
    const { mediaToken } = session;
    const viewer = createViewer({ session, baseUrl: stack.url });
    await seconds(8);
    const stats = viewer.stats();
    expect(session.mediaToken).not.toBe(mediaToken);
    expect(await viewer.stop()).toEqual({ kind: 'stopped' });
    expect(stats).toMatchObject({ errors: 0, missingKeys: 0, implausible: 0 });
    expect(stats.frames).toBeGreaterThan(150);
    expect(stats.audioSamples).toBeGreaterThan(200);
    expect(stats.keysUsed).toBeGreaterThanOrEqual(12);
    expect(stats.latencyMs?.mean).toBeLessThan(2000);
    expect(await session.stop()).toBe(true);
  });

  test.concurrent('a title plays to its end', async () => {
    const session = await stack.session(await stack.title(scheme));
    const viewer = createViewer({ session, baseUrl: stack.url });
    expect(await viewer.done).toEqual({ kind: 'finished' });
    expect(viewer.stats()).toMatchObject({ errors: 0, missingKeys: 0, implausible: 0, frames: TITLE_SECONDS * 25 });
    await session.stop();
  });
});

test.concurrent.each(['cenc', 'cbcs'] as const)('a wrong key is noticed, %s', async (scheme) => {
  const session = await stack.session(await stack.event(scheme));
  const key = async (kid: Uint8Array): Promise<ContentKey> => sha256(kid).subarray(0, 16) as ContentKey;
  const viewer = createViewer({ session: { ...session, key, get mediaToken() { return session.mediaToken; }, get end() { return session.end; } }, baseUrl: stack.url });
  await seconds(2);
  await viewer.stop();
  const { audioSamples, implausible } = viewer.stats();
  expect(audioSamples).toBeGreaterThan(20);
  expect(implausible / audioSamples).toBeGreaterThan(0.2);
  await session.stop();
});

test('a device registers once and stays the same in a text of its own', async () => {
  const asset = await stack.title('cenc');
  let text: string | undefined;
  const storage = textDeviceStorage({ read: async () => text, write: async (written) => void (text = written) });
  const options = { servers: [stack.url], entitlement: () => stack.entitlement(asset, 'viewer-3') };
  const first = await openDevice({ name: 'set-top box', storage });
  const again = await openDevice({ name: 'set-top box', storage });
  expect(again.id).toBe(first.id);
  expect(await registerDevice({ ...options, device: first })).toEqual({ ok: true, device: first.id });
  expect(await registerDevice({ ...options, device: again })).toEqual({ ok: true, device: first.id });
  const started = await startSession({ ...options, asset, device: again });
  expect(started.ok && (await started.session.stop())).toBe(true);
  expect(await stack.platform.actions?.revokeDevice(first.id)).toBe(true);
  expect(await startSession({ ...options, asset, device: again })).toMatchObject({ ok: false, denial: { code: 'device-revoked', retry: 'never' } });
});

describe('endings', () => {
  test('a viewer that stops renewing decrypts nothing past its bound, and says why', async () => {
    let blocked = false;
    const session = await stack.session(await stack.event('cenc'), {
      fetch: (request) => (blocked && /\/v1\/(renew|licenses)/.test(request.url) ? Promise.reject(new TypeError('blocked')) : fetch(request)),
    });
    let lastPosition = session.now();
    session.on('renewed', () => (lastPosition = session.now()));
    const viewer = createViewer({ session, baseUrl: stack.url, patience: 2000 as Millis });
    await seconds(4);
    blocked = true;
    const bound = (): number => lastPosition + (TERMS.durationSeconds + GROUP_SECONDS) * 1e6;
    const end = await viewer.done;
    expect(end).toMatchObject({ kind: 'keys-missing', text: expect.stringContaining('connection') as string });
    expect(session.state).toBe('expired');
    expect(viewer.stats().decryptedTo).toBeLessThanOrEqual(bound());
    expect(viewer.stats().decryptedTo).toBeGreaterThan(lastPosition);
    await session.stop();
  });

  test('a session that the operator ends stops at its next renewal, with the reason', async () => {
    const session = await stack.session(await stack.event('cenc'));
    const viewer = createViewer({ session, baseUrl: stack.url });
    await seconds(1);
    expect(await stack.platform.actions?.endSession(session.id)).toBe(true);
    const before = performance.now();
    const end = await viewer.done;
    expect(performance.now() - before).toBeLessThan((TERMS.intervalSeconds + 1) * 1000);
    expect(end).toMatchObject({ kind: 'ended', end: { code: 'operator', text: 'This viewing session was ended by the service.' } });
    expect(await session.keysBetween(0 as Micros, (session.now() + 60e6) as Micros)).toEqual([]);
  });

  test('without a session media is refused, and with another session\'s token nothing decrypts', async () => {
    const asset = await stack.event('cenc');
    const other = await stack.title('cenc');
    expect((await fetch(`${stack.url}/media/${asset}/manifest.mpd`)).status).toBe(401);
    const session = await stack.session(other);
    expect((await fetch(`${stack.url}/media/${asset}/manifest.mpd`, { headers: { authorization: `Bearer ${session.mediaToken}` } })).status).toBe(403);
    const watching = await stack.session(asset);
    // A thief with a good token for the bytes, but the keys of another session.
    const viewer = createViewer({ session: { ...session, kind: 'event', asset, get mediaToken() { return watching.mediaToken; }, get end() { return undefined; } }, baseUrl: stack.url, patience: 1500 as Millis });
    expect(await viewer.done).toMatchObject({ kind: 'keys-missing' });
    expect(viewer.stats().frames).toBe(0);
    await Promise.all([session.stop(), watching.stop()]);
  });
});
