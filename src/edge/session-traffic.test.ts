// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { createCarrierReports } from '#edge/carrier-reports.ts';
import { createSessionTraffic, type OpenAnswer } from '#edge/session-traffic.ts';

const id = (n: number): SessionId => `${n}`.padStart(24, 's') as SessionId;
const at = (seconds: number): Micros => (seconds * 1_000_000) as Micros;
const open = (): OpenAnswer & { cuts: number; done: boolean } => ({
  done: false,
  cuts: 0,
  cut() {
    this.cuts++;
    this.done = true;
  },
});

describe('traffic of a session', () => {
  it('is kept by network and kind of client, with its bytes, and without an address', () => {
    const traffic = createSessionTraffic();
    traffic.opened(id(1), '203.0.113.7', 'TV/1', undefined, at(1));
    traffic.sent(id(1), 1000);
    traffic.opened(id(1), '203.0.113.99', 'TV/1', undefined, at(2));
    traffic.sent(id(1), 500);
    traffic.opened(id(1), '198.51.100.1', 'curl', undefined, at(3));
    traffic.sent(id(1), 7);
    const rows = traffic.rowsOf(id(1));
    expect(rows).toMatchObject([{ prefix: '203.0.113.0/24', bytes: 1500, from: at(1), to: at(2) }, { prefix: '198.51.100.0/24', bytes: 7 }]);
    expect(new Set(rows.map(({ agent }) => agent)).size).toBe(2);
    expect(JSON.stringify(rows)).not.toMatch(/203\.0\.113\.7|TV|curl/);
    expect(traffic.rowsOf(id(2))).toEqual([]);
  });
  it('is bounded: ways of a session, and minutes', () => {
    const traffic = createSessionTraffic();
    for (let n = 0; n < 200; n++) traffic.opened(id(1), `10.0.${n}.1`, 'x', undefined, at(1));
    expect(traffic.rowsOf(id(1)).length).toBeLessThanOrEqual(16);
    for (let n = 2; n < 52; n++) traffic.opened(id(n), '10.0.0.1', 'x', undefined, at(500));
    traffic.sweep(at(590));
    expect(traffic.size).toBe(51);
    traffic.sweep(at(700));
    expect(traffic.size).toBe(50);
    traffic.sweep(at(1200));
    expect(traffic.size).toBe(0);
  });
  it('cuts what runs, and only that', () => {
    const traffic = createSessionTraffic();
    const [mine, finished, other] = [open(), open(), open()];
    traffic.opened(id(1), 'a', 'x', finished, at(1));
    finished.done = true;
    traffic.opened(id(1), 'a', 'x', mine, at(1));
    traffic.opened(id(2), 'a', 'x', other, at(1));
    expect([traffic.cut(id(1)), traffic.cut(id(1)), traffic.cut(id(9))]).toEqual([1, 0, 0]);
    expect([mine.cuts, finished.cuts, other.cuts]).toEqual([1, 0, 0]);
  });
});

describe('carrier reports', () => {
  it('B203 tell once of sessions that ended because of a leak, in pieces, and again what did not arrive', () => {
    const traffic = createSessionTraffic();
    const answers = Array.from({ length: 40 }, (_, n) => {
      const answer = open();
      traffic.opened(id(n), '203.0.113.7', 'TV/1', answer, at(1));
      return answer;
    });
    const reports = createCarrierReports(traffic);
    const revoked = answers.map((_, n) => ({ session: id(n), until: at(1000), reason: n < 30 ? 'leak' : 'viewer' }));
    expect(reports.ended([...revoked, { session: id(99), until: at(1000), reason: 'leak' }])).toBe(40);
    expect(answers.every(({ cuts }) => cuts === 1)).toBe(true);
    expect(reports.next()).toHaveLength(24);
    expect(reports.next()).toHaveLength(24);
    reports.told(24);
    expect(reports.next()).toHaveLength(6);
    reports.told(6);
    reports.ended(revoked);
    expect(reports.next()).toEqual([]);
  });
});
