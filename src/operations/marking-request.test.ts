// SPDX-License-Identifier: Apache-2.0
/** Marking of new events and titles: what fits together is planned, what does not is refused with the rule. */
import { describe, expect, it } from 'vitest';
import { readBody } from '#operations/answers.ts';
import { MARKING_RULES, markingRequest, type MarkingRequest } from '#operations/marking-request.ts';

const ask = async (body: object): Promise<MarkingRequest | undefined> =>
  markingRequest(await readBody(new Request('http://x/', { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }), MARKING_RULES));

describe('marking requests', () => {
  it('have defaults', async () => {
    expect(await ask({})).toBeUndefined();
    expect(await ask({ variants: 5 })).toEqual({ variants: 5, book: 'aligned', delivery: 'always-on', viewers: 1_000_000, edges: [] });
    expect(await ask({ variants: 5, delivery: 'two-phase' })).toMatchObject({ book: 'biased-uniform' });
    expect(await ask({ variants: 2, delivery: 'prefix', edges: 'ams=50000, fra=20' })).toMatchObject({ edges: [{ edge: 'ams', viewers: 50_000 }, { edge: 'fra', viewers: 20 }] });
  });
  it.each<[string, object]>([
    ['a book without variants', { book: 'aligned' }],
    ['nine variants', { variants: 9 }],
    ['one variant', { variants: 1 }],
    ['two phases over an aligned book', { variants: 2, delivery: 'two-phase', book: 'aligned' }],
    ['a prefix code with another book', { variants: 2, delivery: 'prefix', book: 'biased-uniform', edges: 'a=1' }],
    ['a prefix code without edges', { variants: 2, delivery: 'prefix' }],
    ['edges without a prefix code', { variants: 2, edges: 'a=1' }],
    ['an edge twice', { variants: 2, delivery: 'prefix', edges: 'a=1,a=2' }],
    ['an edge without viewers', { variants: 2, delivery: 'prefix', edges: 'a=0' }],
    ['edges that are no list', { variants: 2, delivery: 'prefix', edges: 'a' }],
    ['a fraction of a viewer', { variants: 2, viewers: 1.5 }],
    ['an unknown strategy', { variants: 2, delivery: 'some' }],
  ])('with %s are refused', async (_name, body) => {
    await expect(ask(body)).rejects.toMatchObject({ code: 'bad-request' });
  });
});
