// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_DEPTH, parseStrictObject } from '#core/token/strict-json.ts';

describe('parseStrictObject', () => {
  it('reads an object with nested lists, escapes and white space', () => {
    expect(parseStrictObject(' { "a" : [ {"b":"x\\"{,:"}, {"b":2} ] , "c" : "}" } ')).toEqual({ a: [{ b: 'x"{,:' }, { b: 2 }], c: '}' });
  });

  it.each([
    ['a repeated name', '{"exp":1,"exp":2}'],
    ['a repeated name after a nested object', '{"a":{"a":1},"b":[{"a":1}],"a":2}'],
    ['a repeated nested name', '{"a":{"b":1,"b":2}}'],
    ['a name repeated in escapes', '{"exp":1,"\\u0065xp":2}'],
    ['__proto__', '{"__proto__":{"asset":"x"}}'],
    ['an escaped __proto__', '{"\\u005f_proto__":1}'],
    ['a list', '[{"a":1}]'],
    ['a string', '"{}"'],
    ['null', 'null'],
    ['nothing', ''],
    ['a cut object', '{"a":1'],
    ['something behind the object', '{"a":1}{'],
    ['too deep nesting', `${'{"a":'.repeat(MAX_DEPTH + 1)}1${'}'.repeat(MAX_DEPTH + 1)}`],
  ])('refuses %s', (_name, text) => {
    expect(parseStrictObject(text)).toBeUndefined();
  });

  it('agrees with JSON.parse on every object a serialiser writes', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
        const text = JSON.stringify(value);
        const answer = parseStrictObject(text);
        if (text.includes('"__proto__":')) return answer === undefined;
        expect(answer).toEqual(JSON.parse(text));
        return true;
      }),
    );
  });

  it('answers, and does not throw, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', 'a', '1', ' ') }), (text) => {
        const answer = parseStrictObject(text);
        return answer === undefined || typeof answer === 'object';
      }),
      { numRuns: 500 },
    );
  });
});
