// SPDX-License-Identifier: Apache-2.0
/**
 * The core story of the demo, checked step by step on real video in real time: who has a right sees frames, who has none
 * sees nothing, who stops renewing stops within the published bound, who is ended is cut off.
 *
 * Invariant: every step is judged by what could be decrypted or fetched, never by what an interface says.
 */
import { createViewer } from '#client/index.ts';
import { microsFromSeconds, type Micros, type Millis } from '#core/time.ts';
import type { Fetch } from '#ports';
import { type Chapter, type Step, step, until } from './chapter.ts';
import type { Stage } from './stage.ts';
import { demoFetch, watch } from './watching.ts';

const LIVE_SECONDS = 12;
/** Less than the bundled clip has, which stands in for the film where ffmpeg is missing. */
const FILM_FRAMES = 180;

/** The first step of every chapter on the live event. */
export const onAir = (stage: Stage): Promise<Step> =>
  step('on-air', 'a protected live event is on air', async () => {
    const began = Date.now();
    const media = async (): Promise<boolean> => (await stage.platform.roles.packager?.status(stage.event))?.some((track) => track.latestSegment !== undefined) === true;
    const ok = await until(media, 20_000);
    const tracks = (await stage.platform.roles.packager?.status(stage.event)) ?? [];
    return { ok: ok && tracks.length > 0, figures: { secondsToAir: (Date.now() - began) / 1000, tracks: tracks.length } };
  });

const licensed = (stage: Stage): Promise<Step> =>
  step('licensed', 'a licensed viewer decrypts the live event and renews', async () => {
    let renewals = 0;
    const watching = await watch(stage, { account: 'anna', asset: stage.event });
    watching.session.on('renewed', () => renewals++);
    await until(() => watching.viewer.stats().frames >= LIVE_SECONDS * 25 && renewals > 0, 40_000);
    const stats = watching.viewer.stats();
    await watching.stop();
    const ok = stats.frames >= LIVE_SECONDS * 25 && renewals > 0 && stats.implausible === 0 && stats.keysUsed >= 4;
    return { ok, figures: { frames: stats.frames, audioSamples: stats.audioSamples, renewals, keysUsed: stats.keysUsed, implausible: stats.implausible, latencyMs: Math.round(stats.latencyMs?.mean ?? -1) } };
  });

/** Someone without a session, and someone with a media token but no licence. */
const stranger = (stage: Stage): Promise<Step> =>
  step('stranger', 'without a session there are no bytes, without a licence no picture', async () => {
    const base = `${stage.platform.localUrl}/media/${stage.event}`;
    const bare = await demoFetch(new Request(`${base}/manifest.mpd`));
    const forged = await demoFetch(new Request(`${base}/manifest.mpd`, { headers: { authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' } }));
    // All licence traffic is dropped after the start, and the licence's own keys are withheld: what is left is the token.
    const watching = await watch(stage, { account: 'mallory', asset: stage.event, patience: 3000 as Millis });
    const keyless = withoutKeys(watching.session);
    const viewer = createViewer({ session: keyless, baseUrl: `${stage.platform.localUrl}/`, fetch: demoFetch, patience: 3000 as Millis });
    const end = await viewer.done;
    await watching.stop();
    const { frames, audioSamples, bytes } = viewer.stats();
    const ok = bare.status === 401 && forged.status === 401 && frames === 0 && audioSamples === 0 && bytes > 0 && end.kind === 'keys-missing';
    return { ok, figures: { statusWithoutToken: bare.status, statusWithForgedToken: forged.status, ciphertextBytes: bytes, frames, audioSamples } };
  });

const withoutKeys = (session: Awaited<ReturnType<typeof watch>>['session']): typeof session =>
  new Proxy(session, {
    get: (target, name) => (name === 'key' ? async () => undefined : name === 'keysBetween' ? async () => [] : (Reflect.get(target, name) as unknown)),
  });

/** Drops renewals and new licences, as a firewall on the viewer's side would. */
const dropRenewals = (allowed: () => boolean): Fetch => async (request) => {
  const path = new URL(request.url).pathname;
  if (!allowed() && (path === '/v1/renew' || path === '/v1/licenses')) throw new TypeError('blocked by the demo');
  return demoFetch(request);
};

const silenced = (stage: Stage): Promise<Step> =>
  step('silenced', 'a viewer who stops renewing stops decrypting within the published bound', async () => {
    const { duration, group } = stage.terms;
    const startedAt = Date.now();
    const watching = await watch(stage, { account: 'bob', asset: stage.event, fetch: dropRenewals(() => false) });
    const end = await Promise.race([watching.viewer.done, new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), duration + 2 * group + 20_000).unref())]);
    const stats = watching.viewer.stats();
    await watching.stop();
    // Live edge at the licence + D + G, in media time, which is Unix time.
    const bound = startedAt * 1000 + (duration + group) * 1000 + 1_000_000;
    const ok = end?.kind === 'keys-missing' && stats.frames > 0 && (stats.decryptedTo ?? Number.POSITIVE_INFINITY) <= bound;
    return { ok, figures: { frames: stats.frames, playedSeconds: ((stats.decryptedTo ?? 0) - startedAt * 1000) / 1e6, boundSeconds: (duration + group) / 1000, endedBy: end?.kind ?? 'nothing' } };
  });

const ended = (stage: Stage): Promise<Step> =>
  step('ended', 'an operator ends a session: its bytes stop at once, its keys at the next renewal', async () => {
    const watching = await watch(stage, { account: 'carol', asset: stage.event });
    await until(() => watching.viewer.stats().frames >= 50, 15_000);
    const before = Date.now();
    await stage.platform.actions?.endSession(watching.session.id);
    let cut: number | undefined;
    await until(async () => {
      const response = await demoFetch(new Request(`${stage.platform.localUrl}/media/${stage.event}/manifest.mpd`, { headers: { authorization: `Bearer ${watching.session.mediaToken}` } }));
      if (response.status !== 403) return false;
      cut ??= Date.now();
      return true;
    }, 10_000);
    const over = await until(() => watching.session.state === 'ended', stage.terms.interval + 12_000);
    const keys = await watching.session.keysBetween(0 as Micros, microsFromSeconds(4e9));
    await watching.stop();
    return { ok: cut !== undefined && over && keys.length === 0, figures: { bytesCutAfterMs: cut === undefined ? -1 : cut - before, keysLeft: keys.length, reason: watching.session.end?.code ?? 'none' } };
  });

const film = (stage: Stage): Promise<Step> =>
  step('film', 'a film plays from the same edge with its own keys', async () => {
    const ready = await until(async () => (await stage.platform.stores.catalogue.get(stage.film))?.state === 'ready', 60_000);
    if (!ready) return { ok: false, figures: { ready: false } };
    const watching = await watch(stage, { account: 'dave', asset: stage.film, speed: 1 });
    await until(() => watching.viewer.stats().frames >= FILM_FRAMES, 30_000);
    const stats = watching.viewer.stats();
    await watching.stop();
    return { ok: stats.frames >= FILM_FRAMES && stats.implausible === 0, figures: { ready: true, frames: stats.frames, keysUsed: stats.keysUsed, implausible: stats.implausible } };
  });

/** The chapter. Steps that do not depend on each other run side by side: it takes about as long as the longest, `silenced`. */
export const coreChapter: Chapter = {
  name: 'core',
  title: 'Licensed, renewed, denied: a live event and a film',
  async run(stage) {
    const first = await onAir(stage);
    if (!first.ok) return [first];
    return [first, ...(await Promise.all([licensed(stage), stranger(stage), silenced(stage), ended(stage), film(stage)]))];
  },
};
