// SPDX-License-Identifier: Apache-2.0
/**
 * Edge bundles: what an edge needs to know, sealed to it, in answers that wait for the next change.
 *
 * docs/wire/edge-bundle.md. Invariant: an edge is told who it is by its signature, and only gets the zone it is enrolled for;
 * a version is never reused for other content, and rises with time across restarts and servers.
 */
import { SealcastError } from '#core/errors.ts';
import { type EdgeBundle, encodeEdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { type EdgeCarrier, parseEdgeCarriers } from '#core/edge-bundle/edge-carriers.ts';
import { type EdgeTraffic, parseEdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Micros, Millis } from '#core/time.ts';
import { importVerifyKey, sealTo, verifyJws } from '#crypto/jose.ts';
import type { Clock, SingleUseStore } from '#ports';
import type { Marking } from './marking.ts';
import type { MasterSecrets } from './master-secrets.ts';
import type { EnrolledEdge, Zone } from './options.ts';
import type { Revocations } from './revocations.ts';

/** An edge that hears nothing new serves for so long. */
export const BUNDLE_VALIDITY: Micros = 600_000_000 as Micros;
/** A bundle without news is issued anew so often, which moves `validUntil`. */
const REISSUE = 60_000_000;
/** Edges' clocks may be behind ours: keys are valid there a little earlier. */
const CLOCK_MARGIN = 60_000_000;
const REQUEST_AGE = 60_000_000;
/** A signed request with a traffic report. */
const MAX_REQUEST = 16_384;

type Wait = { readonly version: number; readonly wait: Millis; readonly signal: AbortSignal };

/** Bundles of all edges, and who waits for the next. */
export type Bundles = {
  /** The edge's bundle at once if its version differs, else at the next change; undefined after `wait`. */
  next(edge: Pick<EnrolledEdge, 'edge' | 'zone' | 'renews'>, request: Wait): Promise<EdgeBundle | undefined>;
  /** GET /v1/edges/{id}/bundle: compact JWE, or undefined for 204. */
  answer(edge: string, request: Request): Promise<string | undefined>;
  /** Wakes everybody who waits if anything changed. */
  changed(): void;
  close(): void;
};

/** Versions start anew with every call, later than those of any call before. */
export const createBundles = (options: {
  edges: (edge: string) => EnrolledEdge | undefined | Promise<EnrolledEdge | undefined>;
  zones: readonly Zone[];
  masterSecrets: MasterSecrets;
  revocations: Revocations;
  singleUse: SingleUseStore;
  marking: Pick<Marking, 'revision' | 'plans'>;
  onCarriers?: ((edge: string, carriers: readonly EdgeCarrier[]) => void) | undefined;
  onTraffic?: ((edge: string, traffic: readonly EdgeTraffic[]) => void) | undefined;
  clock: Clock;
}): Bundles => {
  const { edges, zones, masterSecrets, revocations, singleUse, marking, onTraffic, onCarriers, clock } = options;
  let version = 0;
  let issuedAt = 0 as Micros;
  let content = '';
  let closed = false;
  const waiting = new Set<() => void>();

  /** Raises the version if keys or revocations changed since it was given, or if it is time to say so again. */
  const settle = (): void => {
    const now = clock.now();
    const fingerprint = `${revocations.revision}|${marking.revision}|${masterSecrets.epochs(now).map(({ epoch }) => epoch).join(',')}`;
    if (fingerprint === content && now < issuedAt + REISSUE) return;
    content = fingerprint;
    issuedAt = now;
    // The time of the change, so that another server's version is close by and a restart never repeats one.
    version = Math.max(version + 1, now);
  };

  const build = ({ edge, zone: index, renews }: Pick<EnrolledEdge, 'edge' | 'zone' | 'renews'>): EdgeBundle => {
    const zone = zones.find((item) => item.index === index);
    if (zone === undefined) throw new SealcastError('config-invalid', `edge ${edge}: no zone of index ${index}`);
    const now = clock.now();
    const marks = marking.plans(edge);
    return {
      version,
      issuedAt,
      edge,
      zone,
      epochs: masterSecrets.epochs(now).map(({ epoch, notBefore, notAfter }) => {
        const keys = masterSecrets.keysOf(epoch, index, now);
        return { epoch, mediaTokenKey: keys.mediaTokenKey, releaseTokenKey: keys.releaseTokenKey, ...(renews && { zoneKey: keys.zoneKey }), notBefore: (notBefore - CLOCK_MARGIN) as Micros, notAfter };
      }),
      revokedSessions: revocations.sessions(now),
      revokedDevices: revocations.devices(now),
      ...(marks.length > 0 && { marks }),
      validUntil: (issuedAt + BUNDLE_VALIDITY) as Micros,
    };
  };

  /** Resolves at the next wake-up, after `wait`, or when the caller gives up. */
  const pause = (wait: Millis, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        cancel();
        waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = clock.after(wait, done);
      waiting.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted || closed) done();
    });

  const bundles: Bundles = {
    async next(edge, request) {
      settle();
      if (request.version === version && request.wait > 0) await pause(request.wait, request.signal);
      settle();
      return request.version === version || request.signal.aborted ? undefined : build(edge);
    },

    async answer(id, request) {
      const edge = await authenticate(id, request);
      const query = new URL(request.url).searchParams;
      const known = numberOf(query.get('version'), 'version', Number.MAX_SAFE_INTEGER);
      const wait = (numberOf(query.get('wait'), 'wait', 25) * 1000) as Millis;
      const bundle = await bundles.next(edge, { version: known, wait, signal: request.signal });
      return bundle === undefined ? undefined : sealTo(edge.agree, encodeEdgeBundle(bundle));
    },

    changed() {
      const before = version;
      settle();
      if (version !== before) for (const wake of [...waiting]) wake();
    },
    close() {
      closed = true;
      for (const wake of [...waiting]) wake();
    },
  };

  const authenticate = async (id: string, request: Request): Promise<EnrolledEdge> => {
    const token = /^Bearer ([A-Za-z0-9_.-]{1,16384})$/.exec(request.headers.get('authorization') ?? '')?.[1];
    if (token === undefined) throw new SealcastError('token-missing', 'a request signed by the edge is required');
    const edge = await edges(id);
    const payload = edge === undefined ? undefined : await verifyJws(token, { typ: 'edge-request+jwt', key: await importVerifyKey(edge.sign), maxLength: MAX_REQUEST });
    if (edge === undefined || payload === undefined) throw new SealcastError('credential-invalid', 'the request is not signed by an enrolled edge of this name');
    const claims = membersOf(payload, 'edge request', 'credential-invalid', ['edge', 'iat', 'jti'], ['traffic', 'carriers']);
    const now = clock.now();
    if (claims.value('edge') !== id) throw new SealcastError('credential-invalid', 'the request was signed for another edge');
    if (Math.abs(claims.integer('iat', 0, 2 ** 42) * 1_000_000 - now) > REQUEST_AGE) throw new SealcastError('credential-invalid', 'the request was signed more than 60 s from now');
    const use = `edge:${id}:${claims.text('jti', { most: 128 })}`;
    if (!(await singleUse.claim(use, (now + 2 * REQUEST_AGE) as Micros, now))) throw new SealcastError('credential-invalid', 'the request was used before');
    if (claims.value('carriers') !== undefined) onCarriers?.(id, parseEdgeCarriers(claims.value('carriers')));
    if (claims.value('traffic') !== undefined) onTraffic?.(id, parseEdgeTraffic(claims.value('traffic')));
    return edge;
  };

  return bundles;
};

const numberOf = (text: string | null, name: string, most: number): number => {
  const value = text === null ? 0 : /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= most)) throw new SealcastError('bad-request', `${name} must be an integer of 0-${most}`);
  return value;
};
