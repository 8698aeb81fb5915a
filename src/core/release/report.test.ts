// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSealcastError } from '../errors.ts';
import type { AssetId } from '../ids.ts';
import { encodeEdgeReport, parseEdgeReport } from './report.ts';

describe('reports of edges', () => {
  test('round trip', () => {
    const report = { status: 'sync' as const, error: 1200, events: [{ event: 'final' as AssetId, connections: 12, released: 5, horizon: 9_100_000, held: 'clock' as const, latenessP99: 900, spreadP95: 50, onTime: 0.99, bytesHeld: 1 }, { event: 'semi' as AssetId, connections: 0, released: -1, horizon: 0 }] };
    expect(parseEdgeReport(encodeEdgeReport(report))).toEqual(report);
  });
  test('anything else is bad-request', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.record({ status: fc.jsonValue(), events: fc.jsonValue() }).map((value) => JSON.stringify(value))), (text) => {
        try {
          parseEdgeReport(text);
        } catch (error) {
          expect(isSealcastError(error, 'bad-request')).toBe(true);
        }
      }),
      { seed: 6, numRuns: 1000 },
    );
    expect(() => parseEdgeReport('{"status":"sync","events":[{"event":"final","connections":-1,"released":1,"horizon":1}]}')).toThrow();
  });
});
