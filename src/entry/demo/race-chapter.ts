// SPDX-License-Identifier: Apache-2.0
/**
 * A race: hacked players against honest viewers of the timed event, with the measured advantage, and the log that proves it.
 *
 * Checklist B163, B165, B169, B178. The racers are the reference ones of `client/race`, on the same sockets as everybody; the honest viewers decrypt the
 * real event and show it at T + δ.
 * Invariant: what the racers claim is measured by the host's own clock, and the bound is the schedule's P + δ, not a figure of the demo.
 */
import { hash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { ACCOUNTS, runCourse } from '#client/race/course.ts';
import type { OpenSocket } from '#client/release/edge-link.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { importJwsKey, type JwsKey } from '#crypto/jose.ts';
import { auditReleases } from '#crypto/release-audit.ts';
import { type Chapter, type Step, step, until } from './chapter.ts';
import { displaySpread, type ScreenLog } from './race/spread.ts';
import { raceAccess, type RaceAccess } from './race/race-token.ts';
import type { Stage } from './stage.ts';
import { watch, type Watching } from './watching.ts';

const VIEWERS = 3;
const SECONDS = 15;
/** Two cores that encode, package and serve all of it may keep a viewer waiting at the start. */
const PATIENCE = 20_000 as Millis;
/** 3GPP's use case: all clients within 200 ms. */
const WINDOW = 200_000;
/** How far the host's system clock and the edge's view of it may differ. */
const CLOCK_ERROR = 200 as Micros;
const openSocket: OpenSocket = (url, protocol) => new WebSocket(url, protocol) as never;
const millis = (micros: number): number => Number((micros / 1000).toFixed(1));

type Scene = { readonly event: AssetId; readonly audience: Watching[]; readonly screens: ScreenLog[]; racers: RaceAccess[]; before: DisplayedBefore };
/** Frames shown and skipped when the race begins: viewers that are still joining skip some. */
type DisplayedBefore = { readonly shown: number; readonly skipped: number };

const displayed = (audience: readonly Watching[]): DisplayedBefore => {
  const counts = audience.map(({ viewer }) => viewer.stats().display);
  return { shown: counts.reduce((sum, each) => sum + (each?.shown ?? 0), 0), skipped: counts.reduce((sum, each) => sum + (each?.skipped ?? 0), 0) };
};

const onAir = (stage: Stage, scene: Scene): Promise<Step> =>
  step('on-air', 'a timed event is on air: everybody gets it encrypted ahead, nobody can open it before T', async () => {
    const released = (): number => stage.platform.release.edge()?.standing().find(({ event }) => event === scene.event)?.figures.releases ?? 0;
    const ok = await until(() => released() >= 10, 40_000);
    const info = stage.platform.release.edge()?.host.info(scene.event);
    return { ok: ok && info !== undefined, figures: { periodMs: (info?.period ?? 0) / 1000, deltaMs: (info?.delta ?? 0) / 1000, released: released() } };
  });

const audience = (stage: Stage, scene: Scene): Promise<Step> =>
  step('audience', 'honest viewers hold the bytes, get the key at T, and show each frame at T + δ', async () => {
    for (let nth = 1; nth <= VIEWERS; nth++) {
      const screen: ScreenLog = new Map();
      scene.screens.push(screen);
      scene.audience.push(await watch(stage, { account: `honest-${nth}`, asset: scene.event, device: `screen ${nth}`, patience: PATIENCE, onFrame: (mediaTime, at) => void screen.set(mediaTime, at) }));
    }
    const ok = await until(() => scene.screens.every((screen) => screen.size >= 50), 40_000);
    const [faulty] = scene.audience.map(({ viewer }) => viewer.stats()).filter(({ lastError }) => lastError !== undefined);
    return { ok, figures: { viewers: VIEWERS, ...(faulty?.lastError !== undefined && !ok && { lastError: faulty.lastError }), leastFramesShown: Math.min(...scene.screens.map(({ size }) => size)) } };
  });

const race = (stage: Stage, scene: Scene): Promise<Step> =>
  step('race', 'racers with every trick get no key before T: what they are ahead of the honest screens stays below P + δ', async () => {
    for (let nth = 0; nth < ACCOUNTS; nth++) scene.racers.push(await raceAccess(stage, `racer-${nth}`, scene.event));
    const urls = [...new Set((scene.racers[0]?.urls ?? []).map((url) => new URL(url, stage.platform.localUrl).origin))];
    scene.before = displayed(scene.audience);
    const precise = createPreciseTime();
    const result = await runCourse({ event: scene.event, urls, token: (account) => scene.racers[account]?.token ?? '', openSocket, fetch: (request) => fetch(request), utc: () => precise.system().utc, error: CLOCK_ERROR, timers: systemClock, seconds: SECONDS });
    const { info, best, tricks } = result;
    const most = tricks.reduce((a, b) => (a.gain.median > b.gain.median ? a : b));
    const hammer = tricks.find(({ name }) => name === 'hammers pulls')?.refusals ?? {};
    return {
      ok: best.early === 0 && best.periods > SECONDS * 5 && best.worst <= info.period + info.delta + CLOCK_ERROR,
      figures: {
        periods: best.periods, early: best.early, keyAfterTMs: millis(best.lag.p50), advantageFirstFrameMs: millis(best.first), advantageMeanMs: millis(best.mean), advantageMaxMs: millis(best.max), boundMs: (info.period + info.delta) / 1000,
        bestTrick: most.name, bestTrickGainMs: millis(most.gain.median), pullsRefusedTooEarly: (hammer['too-early'] ?? 0) + (hammer['http 425'] ?? 0),
      },
    };
  });

const fair = (_stage: Stage, scene: Scene): Promise<Step> =>
  step('fair', 'meanwhile the honest screens show the same frame at the same instant; what a busy machine decrypts too late is skipped, never shown late', async () => {
    const spread = displaySpread(scene.screens, WINDOW);
    const stats = scene.audience.map(({ viewer }) => viewer.stats());
    const now = displayed(scene.audience);
    const [shown, skipped] = [now.shown - scene.before.shown, now.skipped - scene.before.skipped];
    const ok = spread.frames > 50 && spread.inside >= 0.95 && stats.every(({ implausible }) => implausible === 0);
    return { ok, figures: { framesCompared: spread.frames, apartP50Ms: millis(spread.p50), apartP95Ms: millis(spread.p95), inside200Ms: `${(100 * spread.inside).toFixed(1)} %`, shown, skipped } };
  });

const proof = (stage: Stage, scene: Scene): Promise<Step> =>
  step('proof', 'the edge\'s signed log proves offline that nothing left early', async () => {
    // The second under way is signed first.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const folder = stage.config.release.log ?? join(stage.config.data, 'release');
    const names = await readdir(folder);
    const keys = new Map<string, JwsKey>();
    for (const name of names.filter((each) => each.endsWith('.public.json'))) {
      const jwk = JSON.parse(await readFile(join(folder, name), 'utf8')) as { readonly kid: string };
      keys.set(jwk.kid, await importJwsKey(jwk as never, 'EdDSA'));
    }
    for (const jwk of stage.platform.release.releases().keys as readonly { readonly kid: string }[]) keys.set(jwk.kid, await importJwsKey(jwk as never, 'ES256'));
    const read = async (file: string): Promise<{ name: string; text: string }> => {
      const text = await readFile(file, 'utf8');
      return { name: basename(file), text: text.slice(0, text.lastIndexOf('\n') + 1) };
    };
    // Heads first: a log that grows meanwhile holds them all the same. There are none in the first minute.
    const heads = await read(join(stage.config.data, 'release-log-heads.jsonl')).then((one) => [one], () => []);
    const logs = await Promise.all(names.filter((each) => each.startsWith(`${stage.config.edge.id}-`) && each.endsWith('.jsonl')).map((name) => read(join(folder, name))));
    const audit = await auditReleases({ logs, heads, receipts: [], secrets: [], keyOf: (kid) => keys.get(kid), hash: nodeLadderHash, hashLine: (line) => hash('sha256', line, 'base64url') });
    const mine = audit.edges.find(({ event }) => event === scene.event);
    return { ok: audit.ok && audit.early === 0 && mine !== undefined, figures: { releases: audit.releases, early: audit.early, faults: audit.faults.length, latenessP50Ms: millis(mine?.lateness.p50 ?? 0), fanOutP99Ms: millis(mine?.spread.p99 ?? 0), ...(audit.faults[0] !== undefined && { fault: `line ${audit.faults[0].line}: ${audit.faults[0].what}` }) } };
  });

/** The chapter; its steps build on each other. */
export const raceChapter: Chapter = {
  name: 'race',
  title: 'Hacked players against honest viewers of a timed event',
  film: 'none',
  timed: true,
  async run(stage) {
    if (stage.timed === undefined) return [await step('on-air', 'a timed event is on air', async () => ({ ok: false, figures: { timed: false } }))];
    const scene: Scene = { event: stage.timed, audience: [], screens: [], racers: [], before: { shown: 0, skipped: 0 } };
    const steps: Step[] = [];
    try {
      for (const play of [onAir, audience, race, fair, proof]) {
        const done = await play(stage, scene);
        steps.push(done);
        if (!done.ok && (play === onAir || play === audience)) break;
      }
      return steps;
    } finally {
      await Promise.all([...scene.audience.map((watching) => watching.stop()), ...scene.racers.map(({ session }) => session.stop())]);
    }
  },
};
