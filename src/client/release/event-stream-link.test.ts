// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type StreamEvent, createEventSplitter } from './event-stream-link.ts';

const all = (pieces: readonly string[]): StreamEvent[] => {
  const split = createEventSplitter();
  return pieces.flatMap((piece) => split(piece));
};

describe('event stream', () => {
  test('events, several data lines, comments and unknown fields, as the standard reads them', () => {
    const text = ': hello\n\nevent: rel\nid: 7\ndata: QUJD\n\nretry: 5\ndata: one\ndata: two\ndata\n\nevent: hold\r\ndata:{"reason":"clock"}\r\n\r\n';
    expect(all([text])).toEqual([{ event: 'rel', data: 'QUJD' }, { event: 'message', data: 'one\ntwo\n' }, { event: 'hold', data: '{"reason":"clock"}' }]);
  });

  test('however the bytes are cut, the events are the same', () => {
    const text = 'event: welcome\ndata: {"v":1}\n\nevent: rel\nid: 12\ndata: AAAA\n\n: comment\n\nevent: sched\ndata: x\ndata: y\n\n';
    const whole = all([text]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 12 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length];
        expect(all(at.slice(1).map((end, i) => text.slice(at[i], end)))).toEqual(whole);
      }),
      { seed: 2 },
    );
  });

  test('anything may come; a line without end is refused', () => {
    fc.assert(fc.property(fc.array(fc.string(), { maxLength: 20 }), (pieces) => void all(pieces)), { seed: 3 });
    expect(() => all(['data: ', 'x'.repeat(300_000)])).toThrow(RangeError);
    expect(() => all(Array.from({ length: 200 }, () => 'data: x\n'))).toThrow(RangeError);
  });
});
