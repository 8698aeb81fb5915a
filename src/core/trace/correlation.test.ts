// SPDX-License-Identifier: Apache-2.0
/** The second opinion: its bound holds for innocents, both opinions are needed, and the screening finds whom the search misses. */
import { describe, expect, it } from 'vitest';
import { createAlignedBook, position, viewerNumber, type EpochSchedule } from '#core/watermark/index.ts';
import { seeded } from '../../../test/trace/pirate.ts';
import { correlationOf, createCorrelation, createTracer, formatHeader, parseHeader, scoreNeeded, type ObservationHeader, type Reading } from './index.ts';
import { assetId } from '#core/ids.ts';

const schedule: EpochSchedule = [{ from: position(0), length: 48 }];
const keys = (epoch: number): Uint8Array => new Uint8Array(32).fill(epoch + 1);
const book = createAlignedBook({ alphabet: 2, schedule, keys });
/** Readings of a viewer's copy whose bits are wrong with probability `errors`, each read with `right`. */
const readingsOf = (viewers: readonly number[], count: number, errors: number, random: () => number, right = 0.95): Reading[] =>
  Array.from({ length: count }, (_, i) => {
    const whose = viewers[Math.floor(random() * viewers.length)] as number;
    const symbol = book.symbol(viewerNumber(whose), position(i)) ^ (random() < errors ? 1 : 0);
    return { position: position(i), likelihoods: symbol === 1 ? [1 - right, right] : [right, 1 - right] };
  });
const headerFor = (viewers: number, eps: number, hypotheses?: number): ObservationHeader => ({ asset: assetId('film'), alphabet: 2, slots: 16, book: { kind: 'aligned', schedule }, viewers, eps, ...(hypotheses === undefined ? {} : { hypotheses }) });
const judge = (header: ObservationHeader, readings: readonly Reading[]) => {
  const tracer = createTracer(header, keys);
  for (const reading of readings) tracer.observe(reading);
  return tracer.report();
};

describe('correlation', () => {
  it('is the sum of matched signs over the root of their number where all readings are alike', () => {
    const readings = readingsOf([77], 64, 0, seeded(1));
    expect(createCorrelation(book, readings).score(viewerNumber(77))).toBeCloseTo(8, 6);
    expect(correlationOf({ book, readings, viewer: viewerNumber(77), viewers: 1e6, eps: 1e-6, hypotheses: 1 })).toMatchObject({ count: 64 });
    expect(scoreNeeded(1e6, 1e-6, 1)).toBeCloseTo(7.43, 2);
  });
  it('of innocents stays below its bound in as many cases as Hoeffding says', () => {
    const score = createCorrelation(book, readingsOf([5], 240, 0.1, seeded(2)));
    const scores = Array.from({ length: 5000 }, (_, i) => score.score(viewerNumber(i + 100)));
    for (const t of [1, 2, 3]) expect(scores.filter((value) => value >= t).length / scores.length).toBeLessThanOrEqual(Math.exp((-t * t) / 2));
    expect(Math.max(...scores)).toBeLessThan(5.5);
    expect(score.score(viewerNumber(5))).toBeGreaterThan(11);
  });
});

describe('a trace of several slots a segment', () => {
  it('accuses only where evidence and correlation agree', () => {
    // 46 clean bits certify by evidence among a thousand viewers at 1e-6 but for the correlation, which needs 6.4 squared.
    const random = seeded(3);
    const header = headerFor(1000, 1e-6);
    const short = judge(header, readingsOf([42], 38, 0, random, 0.9999));
    expect(short).toMatchObject({ verdict: 'more', viewer: 42 });
    expect(short.evidence).toBeGreaterThanOrEqual(short.bound);
    expect(short.correlation?.score).toBeLessThan(short.correlation?.needed as number);
    expect(short.segmentsNeeded).toBeGreaterThan(0);
    const long = judge(header, readingsOf([42], 64, 0, random, 0.9999));
    expect(long).toMatchObject({ verdict: 'accuse', viewer: 42 });
    expect(long.correlation?.falseAccusation).toBeLessThan(1e-6);
  });
  it('pays for every rendition that was compared', () => {
    const one = judge(headerFor(1000, 1e-6), readingsOf([42], 64, 0, seeded(4)));
    const four = judge(headerFor(1000, 1e-6, 4), readingsOf([42], 64, 0, seeded(4)));
    expect(four.bound - one.bound).toBeCloseTo(Math.log(4), 9);
    expect(four.correlation?.needed).toBeGreaterThan(one.correlation?.needed as number);
    expect(parseHeader(formatHeader(headerFor(1000, 1e-6, 4)))).toEqual(headerFor(1000, 1e-6, 4));
    for (const wrong of [0, 1.5, 1025]) expect(() => parseHeader(formatHeader(headerFor(1000, 1e-6, wrong)))).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
  it('finds one of three colluders whose symbols are mixed, among a population the search cannot list', () => {
    const random = seeded(5);
    const pirates = [4_711, 31_415, 50_001];
    const report = judge(headerFor(60_000, 1e-6), readingsOf(pirates, 900, 0.01, random, 0.97));
    expect(report.verdict).toBe('accuse');
    expect(pirates).toContain(report.viewer);
  }, 60_000);
  it('never accuses from readings that are noise', () => {
    for (let trial = 0; trial < 6; trial++) expect(judge(headerFor(60_000, 1e-3), readingsOf([1], 96, 0.5, seeded(trial + 10))).verdict).not.toBe('accuse');
  }, 60_000);
});
