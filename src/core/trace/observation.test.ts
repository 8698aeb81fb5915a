// SPDX-License-Identifier: Apache-2.0
/** Observation files: what is written is read back, what is damaged is refused, a replay gives the same report. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assetId } from '#core/ids.ts';
import { createAlignedBook, position, startSchedule } from '#core/watermark/index.ts';
import { readings, seeded, testKeys } from '../../../test/trace/pirate.ts';
import { createTracer, formatHeader, formatObservation, parseObservation, parseReading, replay, runTrace, type Observation, type ObservationHeader } from './index.ts';

const schedule = startSchedule({ alphabet: 5, viewers: 1e6 });
const header: ObservationHeader = { asset: assetId('final-2026'), alphabet: 5, slots: 1, book: { kind: 'aligned', schedule }, viewers: 2000, eps: 1e-9, source: 'restream, capture 3' };
const bad = expect.objectContaining({ code: 'bad-request' });

describe('observation files', () => {
  it('survive writing and reading', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<ObservationHeader['book']>(header.book, { kind: 'adaptive', shortest: 4 }, { kind: 'biased', schedule, bias: 'dirichlet' }),
        fc.uniqueArray(fc.tuple(fc.nat(100_000), fc.option(fc.array(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), { minLength: 5, maxLength: 5 }))), { selector: ([at]) => at, maxLength: 40 }),
        (book, lines) => {
          const observation: Observation = {
            header: { ...header, book },
            readings: lines.toSorted((a, b) => a[0] - b[0]).map(([at, likelihoods]) => (likelihoods === null ? { position: position(at), erased: 'lost' } : { position: position(at), likelihoods })),
          };
          expect(parseObservation(formatObservation(observation))).toEqual(observation);
        },
      ),
      { seed: 5, numRuns: 60 },
    );
  });
  it('replay to the report of the live trace', () => {
    const book = createAlignedBook({ alphabet: 5, schedule, keys: testKeys(4) });
    const seen = readings({ book, viewers: [1337], errors: 0.02, erasures: 0.1, random: seeded(44) }, 4000, 40);
    const live = runTrace(createTracer(header, testKeys(4)), seen);
    expect(live).toMatchObject({ verdict: 'accuse', viewer: 1337 });
    const text = formatObservation({ header, readings: seen });
    expect(replay(parseObservation(text), testKeys(4))).toEqual(live);
    expect(text).not.toMatch(/key|secret/i);
    // Another event's keys make the same readings mean nothing.
    expect(replay(parseObservation(text), testKeys(5)).verdict).not.toBe('accuse');
  });
  it.each([['adaptive', { kind: 'adaptive', shortest: 4 }], ['biased', { kind: 'biased', schedule, bias: 'uniform' }]] as const)('describe a %s tracer', (kind, book) => {
    expect(createTracer({ ...header, viewers: 1000, book }, testKeys(1)).report().book).toBe(kind);
  });
  it.each([
    ['nothing', ''],
    ['an array', '[]'],
    ['another format', formatHeader(header).replace('observation/1', 'observation/2')],
    ['a repeated name', formatHeader(header).replace('{', '{"eps":0.5,')],
    ['an unknown member', formatHeader(header).replace('{', '{"key":"x",')],
    ['a hostile asset', formatHeader(header).replace('final-2026', '../final')],
    ['an alphabet of nine', formatHeader({ ...header, alphabet: 9 })],
    ['eps of zero', formatHeader({ ...header, eps: 0 })],
    ['half a viewer', formatHeader({ ...header, viewers: 0.5 })],
    ['slots of zero', formatHeader({ ...header, slots: 0 })],
    ['offsets of another book', formatHeader({ ...header, book: { kind: 'adaptive', shortest: 4 }, offsets: [0, 1] })],
    ['repeated offsets', formatHeader({ ...header, offsets: [1, 1] })],
    ['a schedule with a gap', formatHeader({ ...header, book: { kind: 'aligned', schedule: [...schedule, { from: position(10), length: 9 }] } })],
    ['an empty source', formatHeader({ ...header, source: '' })],
  ])('with %s for a header are refused', (_, line) => expect(() => parseObservation(`${line}\n`)).toThrow(bad));
  it.each([
    '{"position":1,"likelihoods":[1,1,1,1,NaN]}',
    '{"position":1,"likelihoods":[1,1,1,1,-0.1]}',
    '{"position":1,"likelihoods":[1,1,1,1,1e999]}',
    '{"position":1,"likelihoods":[1,1,1,1,null]}',
    '{"position":1,"likelihoods":[1,1,1,1,"1"]}',
    '{"position":1,"likelihoods":[0,0,0,0,0]}',
    '{"position":1,"likelihoods":[1,1,1,1]}',
    '{"position":1,"likelihoods":{"0":1}}',
    '{"position":1}',
    '{"position":1,"likelihoods":[1,1,1,1,1],"erased":"lost"}',
    '{"position":1,"erased":""}',
    '{"position":-1,"erased":"lost"}',
    '{"position":1.5,"erased":"lost"}',
    '{"position":9007199254740992,"erased":"lost"}',
    '{"position":"1","erased":"lost"}',
    '{"position":1,"position":2,"erased":"lost"}',
    '{"position":1,"erased":"lost","viewer":3}',
    '',
    'nonsense',
  ])('with the line %s are refused', (line) => {
    expect(() => parseReading(line, 5)).toThrow(bad);
    expect(() => parseObservation(`${formatHeader(header)}\n{"position":0,"erased":"lost"}\n${line}\n`)).toThrow(expect.objectContaining({ code: 'bad-request', message: expect.stringContaining('line 3') }));
  });
  it('with positions out of order are refused', () => {
    const lines = (a: number, b: number): string => `${formatHeader(header)}\n{"position":${a},"erased":"lost"}\n{"position":${b},"erased":"lost"}\n`;
    expect(parseObservation(lines(1, 2)).readings).toHaveLength(2);
    expect(() => parseObservation(lines(2, 2))).toThrow(bad);
    expect(() => parseObservation(lines(2, 1))).toThrow(bad);
  });
  it('cut anywhere are refused or lose whole lines, never change', () => {
    const whole = formatObservation({ header, readings: [{ position: position(3), likelihoods: [0.5, 0.125, 0.125, 0.125, 0.125] }, { position: position(4), erased: 'lost' }] });
    const full = parseObservation(whole);
    for (let length = 0; length < whole.length; length++) {
      let cut: Observation | undefined;
      try {
        cut = parseObservation(whole.slice(0, length));
      } catch (error) {
        expect(error).toEqual(bad);
        continue;
      }
      expect(cut.header).toEqual(full.header);
      expect(full.readings.slice(0, cut.readings.length)).toEqual(cut.readings);
    }
  });
});
