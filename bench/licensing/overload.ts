// SPDX-License-Identifier: Apache-2.0
/**
 * Ten times the starts that a live process can serve, beside a steady stream of renewals: what it does and how it comes back.
 *
 * Server, starts, renewals and the viewer that looks on are four processes. What a process can serve is measured first, in the same
 * run; so is what renewals wait for without the rush. One viewer renews throughout and reads the interval it is told.
 */
import { nodeLadderHash as hash } from '#adapters/node/ladder-hash.ts';
import { encodeRequest, nextState, openAnswer } from '#core/license/renewal-message.ts';
import { OVERLOAD_DEFAULTS, type OverloadPolicy } from '#core/policy/overload.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import type { LoadMessage, LoadResult } from '../load/http.ts';
import { startLoad } from '../load/start.ts';
import type { MadeSession } from './installation.ts';
import type { OverloadedAnswer, OverloadedOrder } from './overload-process.ts';
import { createStarter, makeDevice, post } from './starts.ts';

const TIMES = 10;
/** The default of `licensing.startsAtOnce`. */
const STARTS_AT_ONCE = 100;
/** Renewals per second beside it all: a small part of what a process answers. */
const RENEWALS = 100;
const DEVICES = 16;

/** `short`: the rules in a tenth of their time, a little less for samples that come a little early. */
const SCALES = {
  full: { policy: OVERLOAD_DEFAULTS, before: 5000, rush: 60_000, capacity: 400, recovery: 60_000 },
  short: { policy: { ...OVERLOAD_DEFAULTS, stepUpAfter: 900_000 as Micros, stepDownAfter: 1_400_000 as Micros }, before: 1500, rush: 6000, capacity: 100, recovery: 60_000 },
} as const satisfies Record<string, { policy: OverloadPolicy; before: number; rush: number; capacity: number; recovery: number }>;

export type OverloadOutcome = {
  /** Starts served per second while nothing else happened, and asked for during the rush. */
  readonly capacity: number;
  readonly asked: number;
  /** Largest interval that the viewer was told, over the one before the rush. */
  readonly longest: number;
  /** During the rush. */
  readonly starts: { readonly served: number; readonly shed: number; readonly otherwise: number };
  readonly renewals: { readonly asked: number; readonly served: number; readonly refused: number };
  /** ms from the instant a renewal was due. */
  readonly p99: { readonly before: number; readonly during: number };
  /** ms from the end of the rush until the interval is as before and a start is served. */
  readonly recovery: number;
  /** The process that answers at the end is the one that answered at the beginning. */
  readonly sameProcess: boolean;
};

/** A viewer who renews and carries the state on; answers the interval it is told, less its jitter. */
const createOnlooker = (url: string, made: MadeSession): (() => Promise<number>) => {
  let { state } = made;
  let nth = 0;
  return async () => {
    const { bytes, mac } = encodeRequest(hash, made.renewalKey, { position: made.position as GrantGroup, clientTime: (Date.now() * 1000 + nth++) as Micros, state });
    const response = await fetch(`${url}/v1/renew`, { method: 'POST', body: bytes as BodyInit });
    if (response.status !== 200) throw new Error(`a renewal was answered with ${response.status}`);
    const answer = openAnswer(hash, made.renewalKey, mac, new Uint8Array(await response.arrayBuffer()));
    if (answer.act !== 'extend') throw new Error(`a renewal was answered with ${answer.act}`);
    state = nextState(state, answer);
    return answer.interval;
  };
};

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Overloads a process and watches it. */
export const runOverload = async (form: keyof typeof SCALES, log: (line: string) => void = () => undefined): Promise<OverloadOutcome> => {
  const scale = SCALES[form];
  const server = startLoad<OverloadedOrder, OverloadedAnswer>('../licensing/overload-process.ts');
  const [rush, renewing] = [startLoad<LoadMessage, LoadResult>('http.ts'), startLoad<LoadMessage, LoadResult>('http.ts')];
  try {
    const started = await server.order({ policy: scale.policy, startsAtOnce: STARTS_AT_ONCE });
    if (!('port' in started)) throw new Error('the installation did not start');
    const { port, url, backend } = started;
    const sessionsOf = async (sessions: number): Promise<readonly MadeSession[]> => {
      const answer = await server.order({ sessions });
      return 'made' in answer ? answer.made : [];
    };
    const starter = await createStarter(url, backend);
    const devices = await Promise.all(Array.from({ length: DEVICES }, makeDevice));
    const startBodies = async (count: number): Promise<Uint8Array[]> => {
      const pool: Uint8Array[] = [];
      for (let index = 0; index < count; index++) pool.push(post('/v1/sessions', 'application/json', Buffer.from(await starter.body(devices[index % DEVICES] as (typeof devices)[0]))));
      return pool;
    };
    const renewalBodies = (sessions: readonly MadeSession[]): Uint8Array[] =>
      sessions.map(({ renewalKey, state, position }) => post('/v1/renew', 'application/octet-stream', encodeRequest(hash, renewalKey, { position, clientTime: (Date.now() * 1000) as Micros, state }).bytes));
    const renewFor = async (millis: number): Promise<LoadResult> => {
      await renewing.order({ pool: renewalBodies(await sessionsOf(Math.ceil((RENEWALS * millis) / 1000) + 100)) });
      return renewing.order({ port, connections: 16, millis, rate: RENEWALS, refusable: true });
    };

    const [viewer] = await sessionsOf(1);
    if (viewer === undefined) throw new Error('no session was made');
    const look = createOnlooker(url, viewer);
    const usual = await look();
    /** Waits until the viewer is told the usual interval again; a busy machine is an overload too. */
    const calm = async (most: number): Promise<void> => {
      for (const began = performance.now(); performance.now() - began < most && (await look()) > usual; ) await pause(100);
    };

    // Once to compile what is measured, then to measure; a round in which the server turned somebody away says nothing.
    let capacity = 0;
    for (let round = 0; round < 6 && (round < 2 || capacity === 0); round++) {
      await calm(scale.recovery);
      await rush.order({ pool: await startBodies(scale.capacity) });
      const { requests, seconds } = await rush.order({ port, connections: 32, millis: 0, rate: 0, once: true, refusable: true });
      if (round > 0 && requests === scale.capacity) capacity = requests / seconds;
    }
    if (capacity === 0) throw new Error('the machine is too busy to say what the server can serve');
    await renewFor(500);
    await calm(scale.recovery);
    const before = await renewFor(scale.before);
    log(`one process serves ${capacity.toFixed(0)} starts/s; ${RENEWALS} renewals/s beside nothing wait ${before.p99.toFixed(1)} ms (p99)`);

    // Whoever is turned away asks again: a start that was not read can be sent once more, and one that was is answered with a refusal.
    const asked = Math.ceil(capacity * TIMES);
    await rush.order({ pool: await startBodies(Math.min(2000, Math.ceil(capacity))) });
    let over = false;
    let longest = usual;
    const looking = (async () => {
      while (!over) {
        longest = Math.max(longest, await look());
        await pause(200);
      }
    })();
    const [during, starts] = await Promise.all([renewFor(scale.rush), rush.order({ port, connections: 256, millis: scale.rush, rate: asked, refusable: true })]);
    over = true;
    const ended = performance.now();
    await looking;
    let recovery = Number.POSITIVE_INFINITY;
    while (performance.now() - ended < scale.recovery * 1.5) {
      const back = await look();
      const status = back <= usual * 1.01 ? (await fetch(`${url}/v1/sessions`, { method: 'POST', body: await starter.body(devices[0] as (typeof devices)[0]) })).status : 0;
      if (status === 201) {
        recovery = performance.now() - ended;
        break;
      }
      await pause(100);
    }
    const shed = starts.refused['503'] ?? 0;
    const otherwise = Object.values(starts.refused).reduce((sum, count) => sum + count, 0) - shed;
    const refused = Object.values(during.refused).reduce((sum, count) => sum + count, 0);
    log(`${asked} starts/s asked for ${scale.rush / 1000} s: ${starts.requests} served, ${shed} turned away; renewals p99 ${during.p99.toFixed(1)} ms, ${refused} refused; intervals x ${(longest / usual).toFixed(2)}; as before after ${(recovery / 1000).toFixed(1)} s`);
    return {
      capacity, asked, longest: longest / usual,
      starts: { served: starts.requests, shed, otherwise },
      renewals: { asked: during.requests + refused, served: during.requests, refused },
      p99: { before: before.p99, during: during.p99 },
      recovery,
      // A child that ends takes its orders with it; sessions are made by the one that holds the installation.
      sameProcess: (await sessionsOf(1)).length === 1,
    };
  } finally {
    for (const one of [server, rush, renewing]) one.close();
  }
};

type Judge = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason: string) => void;

/** Reports the full form by `judge`. */
export const measureOverload = async (log: (line: string) => void, judge: Judge): Promise<void> => {
  const { capacity, asked, longest, starts, renewals, p99, recovery } = await runOverload('full', log);
  const who = `${asked} starts/s for a minute at a live process that serves ${capacity.toFixed(0)}/s, ${RENEWALS} renewals/s beside them`;
  judge('overload-periods', longest, 'x', `${who}; interval before the rush`, '>= 2', longest >= 2, 'the watch saw no lasting overload');
  judge('overload-shed', starts.shed, 'starts', `${who}; ${starts.served} served`, '> 0', starts.shed > 0, 'nothing was turned away');
  judge('overload-renewals-refused', renewals.refused, 'renewals', `${who}; ${renewals.served} served`, '0', renewals.refused === 0, 'renewals were refused before starts');
  judge('overload-renewal-p99', p99.during, 'ms', `${who}; without them ${p99.before.toFixed(1)} ms`, '<= 50 ms', p99.during <= 50, 'server, rush and renewals share the cores of one machine');
  judge('overload-recovery', recovery / 1000, 's', `${who}; until intervals are as before and a start is served`, '<= 60 s', recovery <= 60_000, 'the factor fell too slowly');
};
