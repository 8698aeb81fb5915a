// SPDX-License-Identifier: Apache-2.0
/**
 * What a client that suppresses renewals can watch at each level, judged by decrypting frames; the source's terms, twelve times
 * faster: a film of 50 min is 600 s long, strict terms of 3 and 5 min are 15 and 25 s.
 */
import { describe, expect, it } from 'vitest';
import type { Session } from '#client/session-types.ts';
import { accountId, assetId } from '#core/ids.ts';
import { ENFORCEMENT_DEFAULTS, type EnforcementPolicy } from '#core/policy/enforcement.ts';
import { micros } from '#core/time.ts';
import { FILM, FILM_SECONDS, LIVE, SCHEDULE, SECOND } from './license-world.ts';
import { createRenewalWorld, dead, hashedAccount, NODES, type Plays, type RenewalWorld, sealMedia } from './renewal-world.ts';

const seconds = (value: number) => micros(value * SECOND);
const SLACK = 150;
const STRICT = 25;
const enforcement: EnforcementPolicy = { ...ENFORCEMENT_DEFAULTS, interval: { 1: seconds(25), 2: seconds(25), 3: seconds(15) }, slack: seconds(SLACK), strict: seconds(STRICT) };
const PERIOD = SCHEDULE.period / SECOND;
const GROUP = PERIOD * SCHEDULE.periodsPerGroup;
const TERMS = { policy: { interval: 15_000, duration: STRICT * 1000, enforcement } };

const atLevel = async (level: 1 | 2 | 3): Promise<{ stage: RenewalWorld; plays: Plays }> => {
  const stage = await createRenewalWorld(TERMS);
  if (level > 1) await stage.world.licenses.accounts.setLevel(accountId('account-1'), level, 'test');
  return { stage, plays: await sealMedia(stage.world, FILM) };
};

/** Watches from `from` at normal speed for at most `most` seconds; answers for how many seconds frames came out, and stops at the first that did not. */
const watchFor = async ({ pass }: RenewalWorld, plays: Plays, session: Session, most: number, from = 0): Promise<number> => {
  let watched = 0;
  while (watched < most) {
    const at = (from + watched) % FILM_SECONDS;
    session.playhead(seconds(at));
    if (!(await plays(session, Math.floor(at / PERIOD)))) return watched;
    await pass(PERIOD, undefined, PERIOD);
    watched += PERIOD;
  }
  return watched;
};
/** Suspicious accounts get three groups with a licence and the rest with its first renewal, so that starting again and again collects little. */
const watchToFirstRenewal = async (stage: RenewalWorld, plays: Plays, session: Session): Promise<number> => {
  let at = 0;
  while (!stage.seen.some((line) => line.endsWith('/v1/renew'))) at += await watchFor(stage, plays, session, PERIOD, at);
  return at;
};
/** Renewals vanish on the way; licences do not. */
const suppress = ({ hosts }: RenewalWorld): void => {
  for (const host of NODES) hosts.set(host, dead);
};

describe('fault 16: a client whose renewals never arrive', () => {
  it('B051 B052 at level 1 watches the film through, and stops at content + x', async () => {
    const { stage, plays } = await atLevel(1);
    const session = await stage.watch(FILM);
    suppress(stage);
    // The film ends and starts over, so that it is the term and not the film that stops it.
    const watched = await watchFor(stage, plays, session, 2 * FILM_SECONDS);
    expect(watched).toBeGreaterThanOrEqual(FILM_SECONDS);
    expect(Math.abs(watched - (FILM_SECONDS + SLACK))).toBeLessThanOrEqual(PERIOD);
  });

  it('B054 B055 at level 2 stops at half of the film', async () => {
    const { stage, plays } = await atLevel(2);
    const session = await stage.watch(FILM);
    const first = await watchToFirstRenewal(stage, plays, session);
    suppress(stage);
    const watched = first + (await watchFor(stage, plays, session, FILM_SECONDS, first));
    expect(watched).toBeGreaterThanOrEqual(FILM_SECONDS / 2 - GROUP);
    expect(watched).toBeLessThanOrEqual(FILM_SECONDS / 2 + first + GROUP);
  });

  it('B059 B060 at level 3 stops after the strict term', async () => {
    const { stage, plays } = await atLevel(3);
    const session = await stage.watch(FILM);
    const first = await watchToFirstRenewal(stage, plays, session);
    suppress(stage);
    const since = await watchFor(stage, plays, session, FILM_SECONDS, first);
    expect(since).toBeGreaterThanOrEqual(STRICT - 2 * PERIOD);
    expect(since).toBeLessThanOrEqual(STRICT + GROUP);
  });

  it('B060 who suppresses even the first renewal has three groups', async () => {
    const { stage, plays } = await atLevel(3);
    const session = await stage.watch(FILM);
    suppress(stage);
    expect(await watchFor(stage, plays, session, FILM_SECONDS)).toBeLessThanOrEqual(3 * GROUP);
  });

  it('B066 a live event at level 3 opens no more than the strict term ahead of the camera', async () => {
    const stage = await createRenewalWorld(TERMS);
    await stage.world.licenses.accounts.setLevel(accountId('account-1'), 3, 'test');
    const plays = await sealMedia(stage.world, LIVE);
    const session = await stage.watch(LIVE);
    const { clock } = stage.world;
    await stage.pass(2);
    suppress(stage);
    const last = clock.now();
    let stopped = 0;
    for (let passed = 0; passed < 60 && stopped === 0; passed += PERIOD) {
      const now = clock.now();
      session.playhead(now);
      if (!(await plays(session, Math.floor(now / SCHEDULE.period)))) stopped = (now - last) / SECOND;
      await stage.pass(PERIOD);
    }
    expect(stopped).toBeGreaterThan(STRICT / 2);
    expect(stopped).toBeLessThanOrEqual(STRICT + GROUP);
  });
});

describe('who renews', () => {
  it.each([1, 2, 3] as const)('B014 B016 at level %i sees every frame of the film at 1x and at 2x, without a new licence', async (level) => {
    for (const speed of [1, 2]) {
      const { stage, plays } = await atLevel(level);
      const session = await stage.watch(FILM);
      let missed = 0;
      for (let at = 0; at < FILM_SECONDS; ) {
        session.playhead(seconds(at));
        if (await plays(session, Math.floor(at / PERIOD))) at += PERIOD;
        else missed += 1;
        await stage.pass(PERIOD / speed, undefined, PERIOD / speed / 2);
        if (missed > 3) break;
      }
      expect(missed, `at ${speed}x`).toBe(0);
      expect(stage.seen.filter((line) => line.endsWith('/v1/licenses'))).toEqual([]);
      await session.stop();
    }
  });

  it('B061 at level 3 an outage of two minutes (10 s here) stops nothing; B052 B056 at levels 1 and 2 a far longer one does not', async () => {
    for (const [level, outage] of [[3, 10], [2, 200], [1, 400]] as const) {
      const { stage, plays } = await atLevel(level);
      const session = await stage.watch(FILM);
      let at = await watchFor(stage, plays, session, 40);
      expect(at).toBe(40);
      // The worst moment: just before a renewal would have come.
      while ((session.renewsAt ?? 0) - session.now() > 2 * PERIOD * SECOND) at += await watchFor(stage, plays, session, PERIOD, at);
      const kept = new Map(stage.hosts);
      suppress(stage);
      expect(await watchFor(stage, plays, session, outage, at), `level ${level}`).toBe(outage);
      for (const [host, handler] of kept) stage.hosts.set(host, handler);
      expect(await watchFor(stage, plays, session, 60, at + outage), `after it, level ${level}`).toBe(60);
      expect(session.state).toBe('active');
      await session.stop();
    }
  });
});

describe('renewals that other processes answer', () => {
  /** Six viewers' evenings in a row, on two devices: half an interval short of suspicious, were it not for renewals that this server did not see. */
  const evenings = async (renews: boolean, renewsElsewhere: boolean): Promise<number> => {
    const stage = await createRenewalWorld({ ...TERMS, renewsElsewhere });
    // Nodes of other processes tell nobody but the record.
    for (const host of NODES) stage.hosts.set(host, renews ? stage.world.renewalNode({ record: stage.record }).handler : dead);
    for (let start = 0; start < 7; start++) {
      const session = await stage.watch(assetId(start % 2 === 0 ? 'film-1' : 'match-1'));
      await stage.pass(60, undefined, 5);
      if (start % 3 !== 0) await session.stop();
    }
    await stage.world.licenses.accounts.flush();
    return (await stage.world.licenses.accounts.standing(hashedAccount('account-1'))).level;
  };

  it('B014 B053 are learned from the record before an account is judged: nobody honest moves, and who holds them back does', async () => {
    expect(await evenings(true, true)).toBe(1);
    expect(await evenings(false, true)).toBe(2);
    // What would happen if nobody asked.
    expect(await evenings(true, false)).toBe(2);
  });
});

describe('reloads', () => {
  const SECOND_FILM = assetId('film-2');

  it('fault 17, B057 B067: reloading at half escalates on the second title, not on the first', async () => {
    const { stage } = await atLevel(2);
    const { world } = stage;
    await world.keyServer.createAsset({ asset: SECOND_FILM, kind: 'title', scheme: 'cbcs', mode: 'untimed', schedule: SCHEDULE });
    await world.stores.catalogue.create({ asset: SECOND_FILM, kind: 'title', name: 'Second film', state: 'ready', createdAt: world.clock.now(), duration: seconds(FILM_SECONDS), clearKey: 'off' });
    const level = async (): Promise<number> => (await world.licenses.accounts.standing(hashedAccount('account-1'))).level;
    suppress(stage);
    // One device, which a browser keeps over reloads.
    const { openDevice } = await import('#client/device.ts');
    const device = await openDevice({ name: 'browser' });
    const reloadAtHalf = async (asset: typeof FILM): Promise<void> => {
      const first = await stage.watch(asset, { device });
      await stage.pass(FILM_SECONDS / 2, undefined, 10);
      void first.stop();
      await stage.watch(asset, { device, position: seconds(FILM_SECONDS / 2) });
      await stage.pass(2);
    };
    expect(await level()).toBe(2);
    await reloadAtHalf(FILM);
    expect(await level()).toBe(2);
    await reloadAtHalf(SECOND_FILM);
    expect(await level()).toBe(3);
  });
});
