// SPDX-License-Identifier: Apache-2.0
/**
 * A client that blocks renewals after its first one, on each enforcement level: how much it can decrypt, and for how long.
 *
 * Checklist B051-B060. Time is scaled: the terms of the three levels divided by `SCALE`, on a film that is as much shorter,
 * in a process of its own. Invariant: judged by what the client could decrypt, against the terms of its level.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#adapters/node/clock.ts';
import { createViewer } from '#client/index.ts';
import type { AccountId, AssetId } from '#core/ids.ts';
import { type EnforcementPolicy, ENFORCEMENT_DEFAULTS, type Level } from '#core/policy/enforcement.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Fetch } from '#ports';
import { loadConfig } from '../config/index.ts';
import { type Platform, startPlatform } from '../node.ts';
import { createClipTool } from './clip-tool.ts';
import { type Chapter, type Step, step, until } from './chapter.ts';
import { createDemoIssuer, type DemoIssuer } from './issuer.ts';
import { demoFetch, type Place, watch } from './watching.ts';

/** 8 s of the bundled clip stand for a film of 20 min. */
const SCALE = 150;
const CONTENT_MILLIS = 8000;
const GROUP_MILLIS = 400;
const FILM = 'scaled-film' as AssetId;

const scaled = (span: Micros): Micros => Math.round(span / SCALE) as Micros;
const { interval, slack, strict, liveHorizon } = ENFORCEMENT_DEFAULTS;
const POLICY: EnforcementPolicy = {
  ...ENFORCEMENT_DEFAULTS,
  interval: { 1: scaled(interval[1]), 2: scaled(interval[2]), 3: scaled(interval[3]) },
  slack: scaled(slack),
  strict: scaled(strict),
  liveHorizon: scaled(liveHorizon),
};
/** Milliseconds of real time → minutes of the story. */
const minutes = (millis: number): number => Math.round((millis * SCALE) / 6000) / 10;

/** A platform of its own, with one film and everybody entitled. */
const openPlace = async (data: string): Promise<Place> => {
  let issuer: DemoIssuer | undefined;
  const config = loadConfig(undefined, {
    data,
    listen: { port: 0 },
    // At most 4096 groups to a licence, and these are short.
    licensing: { horizonSeconds: 600 },
    packager: { segmentSeconds: 2, titlePeriodSeconds: GROUP_MILLIS / 1000, groupPeriods: 1 },
    log: { level: 'error' },
  });
  const platform: Platform = await startPlatform({
    config,
    videoTool: createClipTool(),
    terms: { interval: POLICY.interval[3] / 1000, duration: POLICY.strict / 1000, enforcement: POLICY },
    extend: async ({ stores, secrets, clock, random }) => {
      issuer = createDemoIssuer({ kid: 'sealcast-demo', pair: await secrets.keyPair('demo/issuer', 'ES256'), catalogue: stores.catalogue, clock, random });
      return { demo: issuer.handler, entitlementKeys: [{ kid: issuer.kid, alg: 'ES256', key: issuer.publicJwk }] };
    },
  });
  return { platform, issuer: issuer as DemoIssuer };
};

/** Lets renewals through until `close`, which the first accepted one calls, and nothing after it. */
const blockAfterFirst = (): { readonly fetch: Fetch; readonly blocked: () => number; readonly passed: () => number; readonly close: () => void } => {
  let closed = false;
  let passed = 0;
  let blocked = 0;
  return {
    passed: () => passed,
    close: () => void (closed = true),
    blocked: () => blocked,
    async fetch(request) {
      const path = new URL(request.url).pathname;
      if (path !== '/v1/renew' && path !== '/v1/licenses') return demoFetch(request);
      if (path === '/v1/licenses' || closed) {
        blocked += 1;
        throw new TypeError('blocked by the demo');
      }
      passed += 1;
      return demoFetch(request);
    },
  };
};

/** Levels 2 and 3: how far into the film the client gets. */
const cutShort = (place: Place, level: 2 | 3, term: number, claim: string): Promise<Step> =>
  step(`level-${level}`, claim, async () => {
    const account = `blocker-${level}`;
    await place.platform.actions?.setLevel?.(account as AccountId, level, 'demo');
    const wall = blockAfterFirst();
    let renewedAt = 0;
    const watching = await watch(place, { account, asset: FILM, fetch: wall.fetch, patience: 3000 as Millis });
    const began = systemClock.monotonic();
    watching.session.on('renewed', () => {
      wall.close();
      renewedAt = systemClock.monotonic() - began;
    });
    const end = await watching.viewer.done;
    const { frames, decryptedTo = 0, implausible } = watching.viewer.stats();
    await watching.stop();
    const got = decryptedTo / 1000;
    // The term counts from the playhead at the renewal, in whole groups.
    const bound = Math.min(CONTENT_MILLIS, renewedAt + term + 2 * GROUP_MILLIS);
    const ok = end.kind !== 'finished' && frames > 0 && implausible === 0 && wall.passed() > 0 && wall.blocked() > 0 && renewedAt > 0 && got <= bound && got >= term - GROUP_MILLIS && bound < CONTENT_MILLIS;
    return { ok, figures: { time: `scaled x${SCALE}`, filmMinutes: minutes(CONTENT_MILLIS), termMinutes: minutes(term), renewedAtMinute: minutes(renewedAt), decryptedMinutes: minutes(got), boundMinutes: minutes(bound), frames, renewalsBlocked: wall.blocked() } };
  });

/** Level 1: the whole film, as often as one likes, until content + x is over. */
const wholeFilm = (place: Place): Promise<Step> =>
  step('level-1', 'level 1: the client has the whole film, and nothing any more after its length + x (30 min)', async () => {
    const wall = blockAfterFirst();
    const term = CONTENT_MILLIS + POLICY.slack / 1000;
    const watching = await watch(place, { account: 'blocker-1', asset: FILM, fetch: wall.fetch, patience: 1000 as Millis });
    let renewedAt = 0;
    const began = systemClock.monotonic();
    watching.session.on('renewed', () => {
      wall.close();
      renewedAt = systemClock.monotonic() - began;
    });
    await until(() => (watching.viewer.stats().decryptedTo ?? 0) >= CONTENT_MILLIS * 990, CONTENT_MILLIS + 6000);
    const whole = (watching.viewer.stats().decryptedTo ?? 0) / 1000;
    await watching.viewer.stop();
    // From then on it starts over and over, to see for how long that works.
    let last = 0;
    let tries = 0;
    const over = await until(async () => {
      watching.session.playhead(0 as Micros);
      const again = createViewer({ session: watching.session, baseUrl: `${place.platform.localUrl}/`, fetch: demoFetch, patience: 300 as Millis });
      await Promise.race([again.done, until(() => again.stats().frames > 0, 1500)]);
      const { frames } = again.stats();
      await again.stop();
      tries += 1;
      if (frames > 0) last = systemClock.monotonic() - began;
      return frames === 0;
    }, term + 12_000);
    await watching.session.stop();
    const bound = renewedAt + term + GROUP_MILLIS;
    const ok = whole >= CONTENT_MILLIS * 0.99 && over && last > CONTENT_MILLIS && last <= bound && wall.passed() > 0;
    return { ok, figures: { time: `scaled x${SCALE}`, filmMinutes: minutes(CONTENT_MILLIS), termMinutes: minutes(term), decryptedMinutes: minutes(whole), lastDecryptedAtMinute: minutes(last), boundMinutes: minutes(bound), tries } };
  });

/** The chapter; the three clients run side by side. */
export const levelsChapter: Chapter = {
  name: 'levels',
  film: 'none',
  title: `A client that blocks renewals, on each enforcement level (scaled x${SCALE})`,
  async run() {
    const data = await mkdtemp(join(tmpdir(), 'sealcast-levels-'));
    let place: Place | undefined;
    try {
      const open = await openPlace(data);
      place = open;
      const { platform } = open;
      await platform.actions?.addTitle?.({ asset: FILM, name: 'A film of twenty scaled minutes', scheme: 'cenc', clearKey: 'off', source: '/bundled-clip' });
      const ready = await step('film', 'a film is packed', async () => {
        const ok = await until(async () => (await platform.stores.catalogue.get(FILM))?.state === 'ready', 30_000);
        return { ok, figures: { time: `scaled x${SCALE}`, filmMinutes: minutes(CONTENT_MILLIS) } };
      });
      if (!ready.ok) return [ready];
      const term = (level: Exclude<Level, 1>): number => (level === 2 ? CONTENT_MILLIS * POLICY.lightShare : POLICY.strict / 1000);
      return [
        ready,
        ...(await Promise.all([
          wholeFilm(open),
          cutShort(open, 2, term(2), 'level 2: the client gets half of the film from where it renewed, and no more'),
          cutShort(open, 3, term(3), 'level 3: the client gets five minutes from where it renewed, and no more'),
        ])),
      ];
    } finally {
      await place?.platform.stop();
      await rm(data, { recursive: true, force: true });
    }
  },
};
