// SPDX-License-Identifier: Apache-2.0
/**
 * The release side of a session: what its answer says about edges and keys, and the channel opened from it.
 *
 * docs/wire/release.md, "Release token"; docs/wire/session.md. Schedules are trusted by the keys that the licence server names, never by those an edge names.
 * Invariant: one channel per session; it ends with the session.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { membersOf } from '#core/license/shape.ts';
import type { ClientCapability } from '#core/release/messages.ts';
import type { CryptoPeriod, KeySchedule, Micros } from '#core/time.ts';
import { isJsonObject } from '#core/token/strict-json.ts';
import { type JwsKey, importVerifyKey } from '#crypto/jose.ts';
import type { Clock, Fetch, Random } from '#ports';
import type { ReleaseChannel } from './channel-types.ts';
import { openReleaseChannel } from './channel.ts';
import type { OpenSocket } from './edge-link.ts';

/** What a session of a timed event is told: `release` of its answer. */
export type ReleaseAccess = {
  readonly token: string;
  /** Absolute base URLs of edges. */
  readonly urls: readonly string[];
  readonly keys: ReadonlyMap<string, JwsKey>;
};

/** `release` of a session answer; addresses are relative to `base`, the server that answered. Throws `bad-request`. */
export const readReleaseAccess = async (value: unknown, base: string): Promise<ReleaseAccess> => {
  const refuse = (rule: string): never => {
    throw new SealcastError('bad-request', `session release: ${rule}`);
  };
  const m = membersOf(value, 'session release', 'bad-request', ['token', 'urls', 'keys'], [], true);
  const urls = m.list('urls', 32).map((url) => (typeof url === 'string' && URL.canParse(url, base) && /^https?:$/.test(new URL(url, base).protocol) ? new URL(url, base).href : refuse('urls are http(s) addresses')));
  if (urls.length === 0) refuse('urls must hold at least one address');
  const keys = new Map<string, JwsKey>();
  for (const jwk of m.list('keys', 16)) {
    const kid = isJsonObject(jwk) && typeof jwk['kid'] === 'string' ? jwk['kid'] : refuse('keys have a kid');
    keys.set(kid, await importVerifyKey(parsePublicJwk(jwk, 'session release')));
  }
  return { token: m.text('token', { most: 2048 }), urls, keys };
};

/** How a session's channel connects; every member has a default that fits the runtime. */
export type ReleaseOptions = {
  /** Opens WebSockets; `null`: never, server-sent events instead. Default: the runtime's, where it has one. */
  readonly openSocket?: OpenSocket | null;
  /** Edges to be connected to at once. Default 2. */
  readonly edges?: 1 | 2;
  /** What the player decrypts and decodes with. `codecs` (WebCodecs) makes the short δ of strict events possible. */
  readonly caps?: readonly ClientCapability[];
};

/** The channel of one session. */
export type SessionReleases = {
  readonly channel: ReleaseChannel;
  secretOf(period: CryptoPeriod): Uint8Array | undefined;
  /** Fetches released secrets of media time [from, to) that are missing. */
  need(from: Micros, to: Micros): void;
  /** A renewal or a new licence brought a fresh token. */
  renewed(token: string): void;
  stop(): void;
};

const runtimeSocket = (): OpenSocket | undefined => (typeof WebSocket === 'function' ? (url, protocol) => new WebSocket(url, protocol) : undefined);

/** Opens the channel of a timed session. */
export const openSessionReleases = (options: ReleaseOptions & {
  readonly event: AssetId;
  readonly access: ReleaseAccess;
  readonly schedule: KeySchedule;
  readonly clock: Clock;
  readonly random: Random;
  readonly fetch: Fetch;
  /** Asks for a fresh token: a renewal. */
  readonly renew: () => void;
  /** Secrets of media time [from, to) are here. */
  readonly onReleased: (from: Micros, to: Micros) => void;
}): SessionReleases => {
  const { access, schedule } = options;
  let { token } = access;
  const channel = openReleaseChannel({
    event: options.event,
    urls: access.urls,
    token: () => token,
    keyOf: (kid) => access.keys.get(kid ?? ''),
    clock: options.clock,
    random: options.random,
    fetch: options.fetch,
    openSocket: options.openSocket === null ? undefined : (options.openSocket ?? runtimeSocket()),
    caps: options.caps ?? ['ws', 'eme'],
    ...(options.edges === undefined ? {} : { edges: options.edges }),
    renewToken: options.renew,
  });
  channel.on('released', ({ from, to }) => options.onReleased((from * schedule.period) as Micros, (to * schedule.period) as Micros));
  return {
    channel,
    secretOf: channel.secret,
    need: (from, to) => channel.need(Math.floor(Math.max(0, from) / schedule.period) as CryptoPeriod, Math.ceil(Math.max(0, to) / schedule.period) as CryptoPeriod),
    renewed(fresh) {
      if (fresh === token) return;
      token = fresh;
      channel.tokenRenewed();
    },
    stop: channel.stop,
  };
};
