// SPDX-License-Identifier: Apache-2.0
/**
 * A fourth stream on a limit of three, in each mode: refused, let in at the cost of the oldest, only noted, and the viewer
 * who chooses which of the others to end.
 *
 * Checklist B040-B047. Invariant: whether a stream was ended is judged by its media and its keys, not by what was answered.
 */
import type { Session, StartedSession } from '#client/index.ts';
import { microsFromSeconds, type Micros } from '#core/time.ts';
import type { AccountId } from '#core/ids.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import { type Chapter, type Step, step, until } from './chapter.ts';
import { onAir } from './core-chapter.ts';
import type { Stage } from './stage.ts';
import { ask, demoFetch } from './watching.ts';

const LIMIT = 3;
const DEVICES = ['living room', 'kitchen', 'phone'] as const;

const sessionOf = (started: StartedSession): Session => {
  if (!started.ok) throw new Error(`a stream within the limit was refused: ${started.denial.code}`);
  return started.session;
};

/** Three streams of an account, oldest first, under an override of its own. */
const threeStreams = async (stage: Stage, account: string, mode: NonNullable<PolicyOverride['mode']>): Promise<readonly Session[]> => {
  await stage.platform.actions?.setOverride?.(account as AccountId, { limit: LIMIT, mode });
  const sessions: Session[] = [];
  for (const device of DEVICES) sessions.push(sessionOf(await ask(stage, { account, asset: stage.event, device })));
  return sessions;
};
const fourth = (stage: Stage, account: string, end?: readonly string[]): Promise<StartedSession> => ask(stage, { account, asset: stage.event, device: 'tablet', ...(end !== undefined && { end }) });

const mediaStatus = async (stage: Stage, session: Session): Promise<number> => {
  const response = await demoFetch(new Request(`${stage.platform.localUrl}/media/${stage.event}/manifest.mpd`, { headers: { authorization: `Bearer ${session.mediaToken}` } }));
  await response.body?.cancel();
  return response.status;
};
const keysOf = async (session: Session): Promise<number> => (await session.keysBetween(0 as Micros, microsFromSeconds(4e9))).length;
/** Which of the sessions have neither media nor keys, after as long as an ended one may go on. */
const whoIsOut = async (stage: Stage, sessions: readonly Session[], expected: number): Promise<readonly number[]> => {
  let out: readonly number[] = [];
  await until(async () => {
    const states = await Promise.all(sessions.map(async (session) => (await mediaStatus(stage, session)) === 403 && (await keysOf(session)) === 0));
    out = states.flatMap((isOut, at) => (isOut ? [at] : []));
    return out.length >= expected;
  }, stage.terms.interval + 4000);
  return out;
};
const stopAll = (sessions: readonly Session[]): Promise<unknown> => Promise.all(sessions.map((session) => session.stop()));

const denyNew = (stage: Stage): Promise<Step> =>
  step('deny-new', 'deny-new: the fourth stream is refused with 409 and the three that run; those go on', async () => {
    const sessions = await threeStreams(stage, 'limit-deny', 'deny-new');
    let status = 0;
    const denied = await ask(stage, { account: 'limit-deny', asset: stage.event, device: 'tablet', fetch: async (request) => {
      const response = await demoFetch(request);
      if (new URL(request.url).pathname === '/v1/sessions') status = response.status;
      return response;
    } });
    const conflicts = denied.ok ? [] : (denied.denial.conflicts ?? []);
    const named = new Set(conflicts.map(({ session }) => session));
    const running = (await Promise.all(sessions.map((session) => mediaStatus(stage, session)))).filter((answer) => answer === 200).length;
    await stopAll(sessions);
    const ok = !denied.ok && status === 409 && denied.denial.code === 'concurrency-limit' && sessions.every(({ id }) => named.has(id)) && conflicts.every(({ terminationCode }) => terminationCode !== '') && running === LIMIT;
    return { ok, figures: { status, code: denied.ok ? 'none' : denied.denial.code, conflicts: conflicts.length, running } };
  });

const choose = (stage: Stage): Promise<Step> =>
  step('choose', 'the viewer ends the second of the three from the list and watches here instead', async () => {
    const sessions = await threeStreams(stage, 'limit-choose', 'deny-new');
    const denied = await fourth(stage, 'limit-choose');
    const code = denied.ok ? undefined : denied.denial.conflicts?.find(({ session }) => session === sessions[1]?.id)?.terminationCode;
    const mine = sessionOf(await fourth(stage, 'limit-choose', code === undefined ? [] : [code]));
    const out = await whoIsOut(stage, sessions, 1);
    const told = await until(() => sessions[1]?.state === 'ended', 2000);
    const reason = sessions[1]?.end?.code ?? 'none';
    const here = await mediaStatus(stage, mine);
    await stopAll([...sessions, mine]);
    return { ok: out.join() === '1' && told && reason === 'replaced' && here === 200, figures: { ended: out.length, endedDevice: DEVICES[out[0] ?? -1] ?? 'none', reason, mediaHere: here } };
  });

const terminateOldest = (stage: Stage): Promise<Step> =>
  step('terminate-oldest', 'terminate-oldest: the fourth stream starts and exactly the oldest ends', async () => {
    const sessions = await threeStreams(stage, 'limit-oldest', 'terminate-oldest');
    const mine = sessionOf(await fourth(stage, 'limit-oldest'));
    const out = await whoIsOut(stage, sessions, 1);
    const told = await until(() => sessions[0]?.state === 'ended', 2000);
    const reason = sessions[0]?.end?.code ?? 'none';
    const named = sessions[0]?.end?.by === mine.id;
    const here = await mediaStatus(stage, mine);
    await stopAll([...sessions, mine]);
    return { ok: out.join() === '0' && told && named && reason === 'concurrency' && here === 200, figures: { ended: out.length, endedDevice: DEVICES[out[0] ?? -1] ?? 'none', reason, namesTheOther: named, mediaHere: here } };
  });

const detectionOnly = (stage: Stage): Promise<Step> =>
  step('detection-only', 'detection-only: all four play, and the operator is told', async () => {
    let streams = 0;
    let limit = 0;
    const unwatch = stage.platform.watch((event) => {
      if (event.kind !== 'concurrency.over' || event.account !== 'limit-detect') return;
      streams = Number(event.data?.['streams'] ?? 0);
      limit = Number(event.data?.['limit'] ?? 0);
    });
    try {
      const sessions = [...(await threeStreams(stage, 'limit-detect', 'detection-only'))];
      const quiet = streams === 0;
      sessions.push(sessionOf(await fourth(stage, 'limit-detect')));
      const told = await until(() => streams > 0, 2000);
      const running = (await Promise.all(sessions.map((session) => mediaStatus(stage, session)))).filter((answer) => answer === 200).length;
      await stopAll(sessions);
      return { ok: quiet && told && streams === LIMIT + 1 && limit === LIMIT && running === LIMIT + 1, figures: { running, streams, limit } };
    } finally {
      unwatch();
    }
  });

/** The chapter; each mode has an account of its own, so they run side by side. */
export const limitChapter: Chapter = {
  name: 'limit',
  film: 'none',
  title: 'A fourth stream on a limit of three, in each mode',
  async run(stage) {
    const first = await onAir(stage);
    if (!first.ok) return [first];
    return [first, ...(await Promise.all([denyNew(stage), choose(stage), terminateOldest(stage), detectionOnly(stage)]))];
  },
};
