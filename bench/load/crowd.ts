// SPDX-License-Identifier: Apache-2.0
/**
 * Thousands of viewers in one child process: each renews when its last answer said, over a few shared connections.
 *
 * Everything a client must do is done: requests are authenticated, answers verified, states carried on, the right to the
 * group that plays checked at every renewal. Leavers go silent; those who come take the whole way of a session start.
 * Latency counts from the instant that a renewal was due.
 */
import { openSealed, importVerifyKey, verifyJws } from '#crypto/jose.ts';
import { nodeLadderHash as hash } from '#adapters/node/ladder-hash.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { LICENSE_TYPE, parseLicenseClaims, parseSealedLicense } from '#core/license/license-claims.ts';
import { encodeRequest, nextState, openAnswer } from '#core/license/renewal-message.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import { Agent, request as httpRequest } from 'node:http';
import { createStarter, makeDevice } from '../licensing/starts.ts';

export type CrowdOrder = {
  readonly url: string;
  readonly backend: JsonWebKey;
  readonly licenseKey: PublicJwk;
  readonly sessions: readonly { readonly renewalKey: Uint8Array; readonly state: Uint8Array }[];
  readonly connections: number;
  /** Group length, µs. */
  readonly group: number;
  /** ms between two renewals at most; first renewals spread over it. */
  readonly interval: number;
  /** ms of a right. */
  readonly duration: number;
  /** Sessions that leave, and as many that come, per second. */
  readonly churn: number;
  readonly millis: number;
};
export type CrowdResult = {
  readonly renewals: number;
  readonly starts: number;
  /** Failures by kind; empty if there was none. */
  readonly failures: Readonly<Record<string, number>>;
  /** Renewal latencies, ms. */
  readonly latencies: Float64Array;
  /** Latencies of session starts (without their nonce), ms. */
  readonly startLatencies: Float64Array;
};

type Viewer = { renewalKey: Uint8Array; state: Uint8Array; due: number; gone: boolean; /** First group it may not play. */ opened: number };

const run = async (order: CrowdOrder): Promise<CrowdResult> => {
  const { url, interval } = order;
  const agent = new Agent({ keepAlive: true, maxSockets: order.connections });
  const failures: Record<string, number> = {};
  const failed = (kind: string): void => void (failures[kind] = (failures[kind] ?? 0) + 1);
  const latencies: number[] = [];
  const startLatencies: number[] = [];
  let renewals = 0;
  let underWay = 0;

  const post = (path: string, type: string, body: Uint8Array | string): Promise<{ status: number; bytes: Buffer }> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest(`${url}${path}`, { method: 'POST', agent, headers: { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) } }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, bytes: Buffer.concat(chunks) }));
        answer.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });

  const starter = await createStarter(url, order.backend);
  const devices = await Promise.all(Array.from({ length: 16 }, makeDevice));
  const licenseKey = await importVerifyKey(order.licenseKey);
  const begun = performance.now();
  const over = begun + order.millis;
  const viewers = order.sessions.map(({ renewalKey, state }, index): Viewer => ({ renewalKey, state, due: begun + (interval * (index + 1)) / order.sessions.length, gone: false, opened: Number.POSITIVE_INFINITY }));

  const renew = async (viewer: Viewer): Promise<void> => {
    const { due } = viewer;
    const now = Date.now() * 1000;
    const position = Math.floor(now / order.group) as GrantGroup;
    if (position >= viewer.opened) failed('the right was over before the renewal');
    const { bytes, mac } = encodeRequest(hash, viewer.renewalKey, { position, clientTime: now as Micros, state: viewer.state });
    const { status, bytes: answerBytes } = await post('/v1/renew', 'application/octet-stream', bytes);
    latencies.push(performance.now() - due);
    renewals += 1;
    if (status !== 200) return failed(`status ${status}`);
    const answer = openAnswer(hash, viewer.renewalKey, mac, answerBytes);
    if (answer.act !== 'extend') return failed(`act ${answer.act}, ${answer.reason}`);
    viewer.state = nextState(viewer.state, answer);
    viewer.opened = answer.opened;
    viewer.due = due + answer.after;
  };

  let came = 0;
  /** One leaves, one comes. */
  const replace = async (): Promise<void> => {
    const leaver = viewers.find(({ gone }) => !gone);
    if (leaver !== undefined) leaver.gone = true;
    const device = devices[came++ % devices.length];
    if (device === undefined) return;
    const body = await starter.body(device, { terms: { interval: interval / 1000, duration: order.duration / 1000 } });
    const sent = performance.now();
    const { status, bytes } = await post('/v1/sessions', 'application/json', body);
    startLatencies.push(performance.now() - sent);
    if (status !== 201) return failed(`start: status ${status}`);
    const { license } = JSON.parse(bytes.toString()) as { license: string };
    const payload = await verifyJws(license, { typ: LICENSE_TYPE, key: licenseKey, maxLength: 2 ** 22 });
    const claims = payload === undefined ? undefined : parseLicenseClaims(payload);
    const plain = claims === undefined ? undefined : await openSealed(claims.sealed, device.agreeKey);
    if (claims === undefined || plain === undefined) return failed('start: the licence does not open');
    const { renewalKey, state, opened } = parseSealedLicense(plain, claims.horizon);
    viewers.push({ renewalKey, state, opened, due: sent + claims.terms.interval, gone: false });
  };

  const attempt = async (step: () => Promise<void>): Promise<void> => {
    underWay += 1;
    try {
      await step();
    } catch (error) {
      failed(error instanceof Error ? error.message : String(error));
    } finally {
      underWay -= 1;
    }
  };

  const busy = new Set<Viewer>();
  while (performance.now() < over) {
    const now = performance.now();
    for (const viewer of viewers) {
      if (viewer.gone || viewer.due > now || busy.has(viewer)) continue;
      busy.add(viewer);
      void attempt(() => renew(viewer)).finally(() => busy.delete(viewer));
    }
    while (startLatencies.length + 1 <= (order.churn * (now - begun)) / 1000 && came <= startLatencies.length) void attempt(replace);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  while (underWay > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  agent.destroy();
  return { renewals, starts: startLatencies.length, failures, latencies: Float64Array.from(latencies), startLatencies: Float64Array.from(startLatencies) };
};

process.on('message', (order: CrowdOrder) => {
  run(order).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
