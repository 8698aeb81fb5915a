// SPDX-License-Identifier: Apache-2.0
/** Plans of inner delivery and traffic reports from outside: what is well-formed comes back as it was, everything else is a typed error. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deliveryFor, edgeNumber, parseDeliveryPlan, tracedDelivery, parseTracedDelivery, type AssetDelivery } from '#core/edge-bundle/delivery-plan.ts';
import { parseEdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import { encodeMarkPlan, type MarkPlan, parseMarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { planBlocks, position } from '#core/watermark/index.ts';

const refuse = (rule: string): never => {
  throw new SealcastError('bad-request', rule);
};
const frame = { alphabet: 3, epoch: 6, biased: true };
const bad = expect.objectContaining({ code: 'bad-request' });

describe('delivery plans', () => {
  const blocks = planBlocks({ alphabet: 3, edges: [{ edge: 0, viewers: 20 }, { edge: 1, viewers: 5 }, { edge: 2, viewers: 1 }] }).blocks;
  const phases: AssetDelivery = { kind: 'two-phase', edges: ['ams', 'fra'], switched: [{ edge: 1, from: position(5), until: position(9) }, { edge: 1, from: position(9) }] };

  it('tell every edge its number; edges that are not listed share the one after the last', () => {
    expect(['ams', 'fra', 'lhr', 'waw'].map((name) => edgeNumber(phases, name))).toEqual([0, 1, 2, 2]);
    expect(deliveryFor(phases, 'fra')).toEqual({ kind: 'two-phase', edge: 1, switched: phases.kind === 'two-phase' ? phases.switched : [] });
    expect(deliveryFor({ kind: 'prefix', edges: ['ams'], blocks }, 'lhr')).toEqual({ kind: 'prefix', blocks });
    expect(tracedDelivery(phases)).toMatchObject({ edges: 3 });
  });
  it('come back from the wire as they were', () => {
    for (const plan of [deliveryFor(phases, 'fra'), deliveryFor({ kind: 'prefix', edges: [], blocks }, 'x')]) {
      const biased = plan.kind === 'two-phase';
      const marks: MarkPlan = { asset: assetId('cup'), sequencing: true, representations: ['v1'], names: 'letters', pace: 'number', alphabet: 3, book: biased ? 'biased-uniform' : 'aligned', schedule: [{ from: position(0), length: 6 }], delivery: plan, keys: [], viewerKeys: [] };
      expect(parseMarkPlan(JSON.parse(JSON.stringify(encodeMarkPlan(marks))))).toEqual(marks);
    }
  });
  it.each<[string, object]>([
    ['a switch that ends before it begins', { kind: 'two-phase', edge: 0, switched: [{ edge: 0, from: 5, until: 5 }] }],
    ['switches of one edge that overlap', { kind: 'two-phase', edge: 0, switched: [{ edge: 0, from: 5, until: 9 }, { edge: 0, from: 8 }] }],
    ['a switch behind one without an end', { kind: 'two-phase', edge: 0, switched: [{ edge: 0, from: 5 }, { edge: 0, from: 80 }] }],
    ['an edge that is no number', { kind: 'two-phase', edge: 'ams', switched: [] }],
    ['an edge beyond 2^20', { kind: 'two-phase', edge: 2 ** 20 + 1, switched: [] }],
    ['positions that are negative', { kind: 'two-phase', edge: 0, switched: [{ edge: 0, from: -1 }] }],
    ['blocks without digits', { kind: 'prefix', blocks: [{ edge: 0, first: 0, digits: 0 }] }],
    ['blocks that overlap', { kind: 'prefix', blocks: [{ edge: 0, first: 0, digits: 2 }, { edge: 1, first: 3, digits: 1 }] }],
    ['nothing known', { kind: 'most' }],
  ])('with %s are refused', (_name, plan) => {
    expect(() => parseDeliveryPlan(plan, frame, refuse)).toThrow(bad);
  });
  it('any JSON is a plan or a typed error', () => {
    const member = fc.oneof(fc.jsonValue(), fc.record({ edge: fc.integer(), first: fc.integer(), digits: fc.integer({ min: -1, max: 7 }), from: fc.integer() }).map((item) => [item]));
    fc.assert(
      fc.property(fc.record({ kind: fc.constantFrom('prefix', 'two-phase', 'x'), blocks: member, edge: fc.jsonValue(), edges: fc.jsonValue(), switched: member }), (plan) => {
        for (const parse of [parseDeliveryPlan, parseTracedDelivery]) {
          try {
            parse(plan, frame, refuse);
          } catch (error) {
            if (!isSealcastError(error, 'bad-request')) throw error;
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('traffic reports', () => {
  const row = { asset: 'cup', segments: 10, variants: 13, bytes: 1300, plainBytes: 1000 };
  it('are taken as they are', () => expect(parseEdgeTraffic([row])).toEqual([row]));
  it.each<[string, unknown]>([
    ['fewer variants than segments', [{ ...row, variants: 9 }]],
    ['fewer bytes than one copy', [{ ...row, bytes: 999 }]],
    ['a fraction', [{ ...row, segments: 1.5 }]],
    ['a negative number', [{ ...row, plainBytes: -1 }]],
    ['no asset', [{ ...row, asset: '../x' }]],
    ['too many rows', Array.from({ length: 17 }, () => row)],
    ['no list', { 0: row }],
    ['a list of text', ['cup']],
  ])('with %s are refused', (_name, report) => expect(() => parseEdgeTraffic(report)).toThrow(bad));
  it('any JSON is a report or a typed error', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        try {
          parseEdgeTraffic(value);
        } catch (error) {
          if (!isSealcastError(error, 'bad-request')) throw error;
        }
      }),
    );
  });
});
