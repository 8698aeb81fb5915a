// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSealcastError } from '../errors.ts';
import type { AssetId } from '../ids.ts';
import { parseReleaseClaims } from '../token/release-claims.ts';
import type { CryptoPeriod, Micros } from '../time.ts';
import { decodeRun, encodeRun, secretOf } from './block.ts';
import { encodeGrant, parseGrant, type ReleaseGrant } from './grant.ts';
import { type ClientMessage, type EdgeMessage, edgeMessageData, encodeClientMessage, encodeEdgeMessage, parseClientMessage, parseEdgeMessage } from './messages.ts';
import { type BlockSchedule, blockOf, commitmentOf, displayInstant, encodeBlockSchedule, encodeEdgeInfo, firstOfBlock, lastReleasedBy, parseBlockSchedule, parseEdgeInfo, periodsPerBlock } from './schedule.ts';
import { releaseInstant } from './gate.ts';

const p = (value: number): CryptoPeriod => value as CryptoPeriod;
const us = (value: number): Micros => value as Micros;
const event = 'final' as AssetId;
const info = { event, version: 1, mode: 'standard' as const, firstRelease: us(4_850_000), period: us(100_000), delta: us(150_000), fallbackDelta: us(150_000), perBlock: 100 };
const edgeInfo = { ...info, edge: 'edge-1', urls: ['/', 'https://edge-2.example'] };

const clientMessages: readonly ClientMessage[] = [
  { type: 'hello', token: 'a.b.c', event, last: p(17), caps: ['ws', 'subtle'] },
  { type: 'hello', token: 'a.b.c', event, caps: [] },
  { type: 'pull', periods: [p(1), p(2)] },
  { type: 'token', token: 'x.y.z' },
  { type: 'stat', from: p(1), to: p(100), n: 100, late: 0, skipped: 1, pulled: 2 },
  { type: 'stat', from: p(1), to: p(100), n: 100, late: 0, skipped: 1, pulled: 2, arrival: { p50: -3, high: 900 }, display: { p50: 4, high: 8 }, clock: { offset: -12, error: 3 }, held: 0.5, delta: us(150_000), receipts: [{ period: p(4), earliest: us(5), latest: us(6) }], segments: [{ segment: 9, at: us(7) }] },
  { type: 'bye' },
];
const edgeMessages: readonly EdgeMessage[] = [
  { type: 'welcome', alias: 7, now: -1, info: edgeInfo, alt: [], schedules: ['a.b.c'] },
  { type: 'sched', schedules: ['a.b.c'] },
  { type: 'err', code: 'too-early', period: p(9) },
  { type: 'err', code: 'rate-limited' },
  { type: 'drain', alt: ['https://edge-2.example'], spreadMs: 5000 },
  { type: 'hold', reason: 'clock' },
  { type: 'resume', now: 12 },
];

const refuses = (run: () => unknown): void => {
  let caught: unknown;
  try {
    run();
  } catch (error) {
    caught = error;
  }
  expect(isSealcastError(caught, 'bad-request')).toBe(true);
};

describe('messages', () => {
  test.each(clientMessages)('client message $type round trip', (message) => {
    expect(parseClientMessage(encodeClientMessage(message))).toEqual(message);
  });
  test.each(edgeMessages)('edge message $type round trip, over WebSocket and SSE', (message) => {
    expect(parseEdgeMessage(encodeEdgeMessage(message))).toEqual(message);
    expect(parseEdgeMessage(JSON.stringify(edgeMessageData(message)), message.type)).toEqual(message);
  });
  test.each([
    '', '[]', '{}', '{"type":"bye","more":1}', '{"type":"bye","type":"bye"}', '{"type":"pull","p":[]}', `{"type":"pull","p":[${'1,'.repeat(50)}1]}`, '{"type":"pull","p":[-1]}', '{"type":"pull","p":[1.5]}',
    '{"type":"hello","v":2,"token":"a","event":"final"}', '{"type":"hello","v":1,"token":"a b","event":"final"}', '{"type":"hello","v":1,"token":"a","event":"FINAL"}', '{"type":"hello","v":1,"token":"a","event":"final","caps":["root"]}',
    '{"type":"stat","from":1,"to":2,"n":1,"late":0,"skipped":0,"pulled":0,"held":2}', `{"type":"token","token":"${'a'.repeat(5000)}"}`,
  ])('refuses %s', (text) => {
    refuses(() => parseClientMessage(text));
  });
  test('whatever comes, the answer is a message or bad-request', () => {
    const json = fc.oneof(fc.string(), fc.json(), fc.record({ type: fc.constantFrom('hello', 'pull', 'token', 'stat', 'bye', 'welcome', 'sched', 'err', 'drain', 'hold', 'resume'), v: fc.jsonValue(), p: fc.jsonValue(), token: fc.jsonValue(), event: fc.jsonValue(), alt: fc.jsonValue(), jws: fc.jsonValue() }, { requiredKeys: ['type'] }).map((value) => JSON.stringify(value)));
    fc.assert(
      fc.property(json, (text) => {
        for (const parse of [parseClientMessage, parseEdgeMessage]) {
          try {
            parse(text);
          } catch (error) {
            expect(isSealcastError(error, 'bad-request')).toBe(true);
          }
        }
      }),
      { seed: 11, numRuns: 2000 },
    );
  });
});

describe('schedule', () => {
  test('blocks tile the periods, for every period length', () => {
    fc.assert(
      fc.property(fc.integer({ min: 20_000, max: 12_000_000 }), fc.integer({ min: 0, max: 2 ** 40 }), (period, at) => {
        const perBlock = periodsPerBlock(us(period));
        const block = blockOf(p(at), perBlock);
        expect(firstOfBlock(block, perBlock)).toBeLessThanOrEqual(at);
        expect(firstOfBlock(block + 1, perBlock)).toBeGreaterThan(at);
        expect(perBlock).toBeLessThanOrEqual(500);
      }),
      { seed: 5 },
    );
  });
  test('the last released period is the one whose successor is not due', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4_850_000, max: 2 ** 50 }), (at) => {
        const last = lastReleasedBy(info, us(at));
        expect(releaseInstant(info, last)).toBeLessThanOrEqual(at);
        expect(releaseInstant(info, p(last + 1))).toBeGreaterThan(at);
      }),
      { seed: 6 },
    );
    expect(lastReleasedBy(info, us(0))).toBe(-1);
  });
  test('a frame is shown δ after the release of its period, plus its place in the period', () => {
    expect(displayInstant(info, info.delta, us(100_000 * 7 + 40_000))).toBe(releaseInstant(info, p(7)) + 150_000 + 40_000);
  });
  test('info and block schedule round trips', () => {
    expect(parseEdgeInfo(JSON.stringify(encodeEdgeInfo(edgeInfo)))).toEqual(edgeInfo);
    const { fallbackDelta: _fallback, perBlock: _perBlock, ...common } = info;
    const schedule: BlockSchedule = { ...common, block: 3, from: p(300), commitments: Uint8Array.from({ length: 3200 }, (_, index) => index & 255) };
    expect(parseBlockSchedule(JSON.parse(JSON.stringify(encodeBlockSchedule(schedule))))).toEqual(schedule);
    expect(commitmentOf(schedule, p(301))).toEqual(schedule.commitments.subarray(32, 64));
    expect(commitmentOf(schedule, p(299))).toBeUndefined();
    expect(commitmentOf(schedule, p(400))).toBeUndefined();
    refuses(() => parseBlockSchedule({ ...encodeBlockSchedule(schedule), from: 301 }));
    refuses(() => parseEdgeInfo(JSON.stringify({ ...encodeEdgeInfo(edgeInfo), perBlock: 99 })));
    refuses(() => parseEdgeInfo(JSON.stringify({ ...encodeEdgeInfo(edgeInfo), urls: ['javascript:alert(1)'] })));
  });
});

describe('grants, blocks of past secrets, release tokens', () => {
  const grant: ReleaseGrant = { issuer: 'ks-1', edge: 'edge-1', event, version: 1, firstRelease: info.firstRelease, period: info.period, delta: info.delta, from: p(5), secrets: Uint8Array.from({ length: 48 }, (_, index) => index + 1), issuedAt: us(1), expiresAt: us(2), seq: 3 };
  test('grant round trip; a count that is not that of its secrets is refused', () => {
    expect(parseGrant(JSON.parse(JSON.stringify(encodeGrant(grant))))).toEqual(grant);
    refuses(() => parseGrant({ ...encodeGrant(grant), n: 2 }));
    refuses(() => parseGrant({ ...encodeGrant(grant), extra: 1 }));
  });
  test('run round trip, and zeros are "not here"', () => {
    const secrets = grant.secrets.slice();
    secrets.fill(0, 16, 32);
    const run = { from: p(5), releaseAt: us(10), period: us(100_000), version: 1, secrets };
    const read = decodeRun(encodeRun(run));
    expect(read).toEqual(run);
    expect(secretOf(read, p(5))).toEqual(grant.secrets.subarray(0, 16));
    expect(secretOf(read, p(6))).toBeUndefined();
    expect(secretOf(read, p(8))).toBeUndefined();
  });
  test('fuzzed runs are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        try {
          decodeRun(bytes);
        } catch (error) {
          expect(isSealcastError(error, 'bad-request')).toBe(true);
        }
      }),
      { seed: 8, numRuns: 2000 },
    );
  });
  test.each(['', '{}', '{"iss":"sealcast","aud":"media"}'])('release claims %s are none', (text) => {
    expect(parseReleaseClaims(text)).toBeUndefined();
  });
});
