// SPDX-License-Identifier: Apache-2.0
/**
 * A leak, from its first second on air to the last byte its account gets: published, traced, accused, cut off.
 *
 * Design section 5; B203. Everything happens in real time over the real interfaces: the pirate's copy is coded again
 * and cut; the tracer sees nothing but its public address; operations get the report as from `sealcast trace --accuse`.
 * Invariant: the pirate's account is compared with the verdict only after the accusation was made.
 */
import type { LeakView } from '#operations/index.ts';
import type { Session } from '#client/index.ts';
import { type Chapter, type Step, step, until } from './chapter.ts';
import { type LeakForm, type MarkedEvent, startMarkedEvent } from './leak/marked-event.ts';
import { operatorCall } from './leak/operator-call.ts';
import { type Pirate, startPirate } from './leak/pirate.ts';
import { runTracer, type TracerAnswer } from './leak/tracer-command.ts';
import type { Stage } from './stage.ts';
import { ask, watch, type Watching } from './watching.ts';

/** Viewer numbers searched at least: a service has more viewers than a demo. */
const VIEWERS = 1_000_000;
const EPS = 1e-6;
const HONEST = 2;
const PIRATE = 'zoe';
/** The whole chapter takes at most 120 s. */
const TRACE_MINUTES = 1.25;
/** How long the pirate goes on asking after it was accused. */
const STUBBORN_MILLIS = 3000;

type Scene = { readonly event: MarkedEvent; readonly token: string; audience: Watching[]; session?: Session; pirate?: Pirate; startedAt: number; answer?: TracerAnswer };

const onAir = (stage: Stage, scene: Scene): Promise<Step> =>
  step('on-air', 'a live event is on air, of which every viewer gets a copy of his own', async () => {
    const began = Date.now();
    const media = async (): Promise<boolean> => ((await stage.platform.roles.packager?.status(scene.event.asset)) ?? []).filter((track) => track.latestSegment !== undefined).length >= scene.event.copies;
    const marked = async (): Promise<boolean> => scene.event.places === undefined || ((await scene.event.places()) ?? 0) > 0;
    const ok = (await until(media, 25_000)) && (await until(marked, 15_000));
    const places = await scene.event.places?.();
    for (let number = 1; number <= HONEST; number++) scene.audience.push(await watch(stage, { account: `honest-${number}`, asset: scene.event.asset, device: `television ${number}`, follow: 'segments' }));
    return { ok, figures: { secondsToAir: (Date.now() - began) / 1000, copiesAtOrigin: scene.event.copies, ...(places !== undefined && { placesPerSecond: places }), viewers: HONEST + 1 } };
  });

const leaked = (stage: Stage, scene: Scene): Promise<Step> =>
  step('leaked', 'one of the viewers publishes it: decrypted, coded again, cut at a random start', async () => {
    const started = await ask(stage, { account: PIRATE, asset: scene.event.asset, device: 'capture box' });
    if (!started.ok) return { ok: false, figures: { refused: started.denial.code } };
    const { asset, representation, segmentSeconds, recoding } = scene.event;
    scene.session = started.session;
    const skip = Math.random() * segmentSeconds;
    scene.pirate = await startPirate({ session: started.session, mediaUrl: `${stage.platform.localUrl}/media/${asset}`, representation, segmentSeconds, skip, recoding: recoding.options });
    scene.startedAt = Date.now();
    const ok = await until(() => (scene.pirate?.published() ?? 0) > 0, 15_000);
    return { ok, figures: { codedAgainAt: recoding.words, cutAtSeconds: Number(skip.toFixed(2)) } };
  });

const traced = (stage: Stage, scene: Scene): Promise<Step> =>
  step('traced', 'the tracer names the account from what is on air, with a bound on accusing anyone else', async () => {
    const { event, pirate, token } = scene;
    if (pirate === undefined) return { ok: false, figures: { pirate: false } };
    const gone = new AbortController();
    const timer = setTimeout(() => gone.abort(), (TRACE_MINUTES * 60 + 15) * 1000);
    const answer = await runTracer({ address: pirate.address, asset: event.asset, data: stage.config.data, url: stage.platform.localUrl, token, viewers: VIEWERS, eps: EPS, limitMinutes: TRACE_MINUTES, signal: gone.signal }).finally(() => clearTimeout(timer));
    scene.answer = answer;
    return {
      ok: answer.verdict === 'accuse' && answer.account === PIRATE,
      figures: {
        verdict: answer.verdict, viewer: answer.viewer ?? -1, account: answer.account ?? 'nobody', evidenceNats: answer.evidence ?? 0, boundNats: answer.bound ?? 0, falseAccusationAtMost: (answer.falseAccusation ?? 1).toExponential(1),
        viewersSearched: answer.viewers ?? 0, secondsOfVideoUsed: answer.observed * event.secondsPerSymbol, secondsOnAir: ((answer.leak?.at ?? Date.now() * 1000) / 1000 - scene.startedAt) / 1000,
        ...(answer.detail !== undefined && { detail: answer.detail }),
      },
    };
  });

const cutOff = (_stage: Stage, scene: Scene): Promise<Step> =>
  step('cut-off', 'the accusation ends its sessions: no byte of media after a second, whatever it asks', async () => {
    const leak = scene.answer?.leak;
    const { pirate } = scene;
    if (leak === undefined || pirate === undefined) return { ok: false, figures: { accused: false } };
    const accusedAt = leak.at / 1000;
    await new Promise<void>((resolve) => setTimeout(resolve, Math.max(0, accusedAt + STUBBORN_MILLIS - Date.now())));
    const lastByteMs = Math.max(0, pirate.lastByte() - accusedAt);
    const denials = pirate.denials();
    const refused = denials['403 session-ended'] ?? 0;
    return {
      ok: leak.replayed && leak.account === PIRATE && leak.sessions.length > 0 && lastByteMs <= 1000 && refused > 0,
      figures: { sessionsEnded: leak.sessions.length, lastByteAfterAccusationMs: Number(lastByteMs.toFixed(1)), denialsAnswered: refused, connectionsCut: denials['cut off'] ?? 0, secondsFromLeakToCutOff: (accusedAt + lastByteMs - scene.startedAt) / 1000 },
    };
  });

const denied = (stage: Stage, scene: Scene): Promise<Step> =>
  step('denied', 'its next renewal is denied with the reason, and its keys are gone', async () => {
    const { session } = scene;
    if (session === undefined) return { ok: false, figures: { session: false } };
    const over = await until(() => session.state === 'ended', stage.terms.interval + 8000);
    return { ok: over && session.end?.code === 'leak', figures: { reason: session.end?.code ?? 'none', secondsAfterAccusation: (Date.now() - (scene.answer?.leak?.at ?? 0) / 1000) / 1000 } };
  });

const others = (stage: Stage, scene: Scene): Promise<Step> =>
  step('others', 'nobody else notices, and the control room has the evidence', async () => {
    const before = scene.audience.map(({ viewer }) => viewer.stats().frames);
    await until(() => scene.audience.every(({ viewer }, index) => viewer.stats().frames > (before[index] ?? 0)), 10_000);
    const gained = scene.audience.map(({ viewer }, index) => viewer.stats().frames - (before[index] ?? 0));
    const { leaks } = await operatorCall<{ leaks: readonly LeakView[] }>(stage.platform, scene.token, 'GET', '/v1/leaks');
    const [leak] = leaks;
    const ok = gained.every((frames) => frames > 0) && scene.audience.every(({ session }) => session.state === 'active') && leak !== undefined && leak.leak === scene.answer?.leak?.leak;
    return { ok, figures: { othersWatching: gained.filter((frames) => frames > 0).length, growthPoints: leak?.growth.length ?? 0, carriers: leak?.carriers.length ?? 0, signOfSharedToken: leak?.signs.shared ?? false } };
  });

/** The chapter; its steps build on each other. */
const leakChapterOf = (form: LeakForm, name: string, title: string): Chapter => ({
  name,
  title,
  film: 'none',
  scene: 'none',
  async run(stage) {
    const token = (await stage.platform.operations?.issueToken(`tracer-${Date.now().toString(36)}`, 'operate')) ?? '';
    let event: MarkedEvent;
    try {
      event = await startMarkedEvent(stage, token, form);
    } catch (error) {
      return [await step('on-air', 'a live event is on air, of which every viewer gets a copy of his own', () => Promise.reject(error))];
    }
    const scene: Scene = { event, token, audience: [], startedAt: 0 };
    const steps: Step[] = [];
    try {
      for (const play of [onAir, leaked, traced, cutOff, denied, others]) {
        const done = await play(stage, scene);
        steps.push(done);
        if (!done.ok && play !== others && play !== denied) break;
      }
      return steps;
    } finally {
      await scene.pirate?.stop();
      await scene.session?.stop();
      await Promise.all(scene.audience.map((watching) => watching.stop()));
      await event.stop();
    }
  },
});

/** A leak of an event whose source sends variants, between which edges switch. */
export const leakChapter: Chapter = leakChapterOf('variants', 'leak', 'Published, traced, cut off: a leak of a live event');
/** The same leak of an event that is marked inside its one encrypted copy. */
export const leakInBandChapter: Chapter = leakChapterOf('in-band', 'leak-in-band', 'Published, traced, cut off: a leak of one encrypted copy');
