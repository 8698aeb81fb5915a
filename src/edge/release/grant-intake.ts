// SPDX-License-Identifier: Apache-2.0
/**
 * Checks what a key server gives an edge before a byte of it is kept.
 *
 * docs/wire/release.md, "Grant". Key servers are believed about secrets only as far as their signatures, the signed schedule
 * and this edge's own clock agree.
 * Invariant: a refused grant leaves nothing behind but a counter with its reason; the schedule of an event is pinned by the
 * first signed one and never moves.
 */
import type { AssetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { createReleaseBook, type ReleaseBook } from '#core/release/book.ts';
import type { ClockBound } from '#core/release/clock-bound.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { GRANT_TYPE, MAX_HORIZON, parseGrant, type ReleaseGrant, SECRET_LENGTH } from '#core/release/grant.ts';
import { type BlockSchedule, parseBlockSchedule, parseInfo, type ReleaseInfo, SCHEDULE_TYPE, sameSchedule } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type JwsKey, openSealed, verifyJws } from '#crypto/jose.ts';
import type { EventSink, Metrics } from '#ports';

/** What an edge knows of one key server. */
export type TrustedKeyServer = { readonly name: string; readonly grantKid: string; readonly grantKey: JwsKey; readonly scheduleKid: string; readonly scheduleKey: JwsKey };

/** Why a grant or schedule was not taken. */
export type GrantRefusal = 'shape' | 'signature' | 'audience' | 'event' | 'expired' | 'replayed' | 'shifted' | 'horizon' | 'commitment';

/** What was taken, for whoever else keeps a book of the event (release workers). */
export type Taken =
  | { readonly kind: 'event'; readonly info: ReleaseInfo; readonly urls: readonly string[] }
  | { readonly kind: 'schedule'; readonly event: AssetId; readonly schedule: BlockSchedule; readonly jws: string }
  | { readonly kind: 'secrets'; readonly event: AssetId; readonly from: CryptoPeriod; readonly secrets: Uint8Array };

/** Takes answers of key servers. */
export type GrantIntake = {
  /** One answer's parts for `event`, from `server`. Never throws for anything a key server says. */
  take(event: AssetId, server: string, answer: unknown): Promise<void>;
  book(event: AssetId): ReleaseBook | undefined;
  readonly books: ReadonlyMap<AssetId, ReleaseBook>;
  urls(event: AssetId): readonly string[];
  /** Highest period and block that were given, for the next request; -1 before the first. */
  given(event: AssetId, server: string): { readonly after: number; readonly block: number };
  /** Forgets an event and wipes its secrets. */
  drop(event: AssetId): void;
  /** Forgets everything; answers still under way are passed over. */
  close(): void;
};

const MAX_GRANTS = 8;
const MAX_SCHEDULES = 64;
const MAX_JWE = 65_536;

/** `agreeKey`: this edge's ECDH private key. `now` is the clock's bound; `onTaken` hears of everything that was kept. */
export const createGrantIntake = (options: {
  edge: string;
  agreeKey: CryptoKey;
  servers: readonly TrustedKeyServer[];
  bound: () => ClockBound;
  hash: LadderHash;
  metrics: Metrics;
  events: EventSink;
  now: () => Micros;
  onTaken?: (taken: Taken) => void;
}): GrantIntake => {
  const { edge, servers, bound, metrics } = options;
  const books = new Map<AssetId, ReleaseBook>();
  const addresses = new Map<AssetId, readonly string[]>();
  const sequence = new Map<string, number>();
  let closed = false;
  const dropped = new Set<AssetId>();
  const given = new Map<string, { after: number; block: number }>();

  const refuse = (reason: GrantRefusal, event: AssetId, server: string): void => {
    // What was under way when the event was dropped is no alarm.
    if (closed || dropped.has(event)) return;
    metrics.count('sealcast_release_grants_refused_total', 'Grants and schedules of key servers that were not taken.', { reason });
    options.events({ at: options.now(), kind: 'release.grant-refused', severity: 'alert', message: `A grant for ${event} from key server ${server} was refused: ${reason}.`, asset: event, data: { reason, server } });
  };

  const check = (grant: ReleaseGrant, event: AssetId, server: TrustedKeyServer, book: ReleaseBook): GrantRefusal | undefined => {
    if (grant.edge !== edge) return 'audience';
    if (grant.event !== event || grant.issuer !== server.name) return 'event';
    const { earliest, latest } = bound();
    // An edge that does not know the time yet keeps secrets that it cannot release; the gate knows.
    if (Number.isFinite(latest - earliest) && latest !== Number.MAX_SAFE_INTEGER) {
      if (earliest >= grant.expiresAt) return 'expired';
      const end = (grant.from + grant.secrets.length / SECRET_LENGTH - 1) as CryptoPeriod;
      if (releaseInstant(book.info, end) > latest + MAX_HORIZON) return 'horizon';
    }
    if (!sameSchedule(grant, book.info)) return 'shifted';
    if (grant.seq <= (sequence.get(`${event}/${grant.issuer}`) ?? -1)) return 'replayed';
    return undefined;
  };

  const takeSchedule = async (event: AssetId, server: TrustedKeyServer, jws: unknown, told: ReleaseInfo | undefined): Promise<void> => {
    const payload = typeof jws === 'string' ? await verifyJws(jws, { typ: SCHEDULE_TYPE, key: server.scheduleKey, maxLength: MAX_JWE }) : undefined;
    if (payload === undefined || typeof jws !== 'string') return refuse('signature', event, server.name);
    let schedule: BlockSchedule;
    try {
      schedule = parseBlockSchedule(payload);
    } catch {
      return refuse('shape', event, server.name);
    }
    if (schedule.event !== event) return refuse('event', event, server.name);
    let book = books.get(event);
    if (book === undefined) {
      // The signed schedule pins the times; the rest of the description has to agree with it.
      if (told === undefined || !sameSchedule(schedule, told)) return refuse('shifted', event, server.name);
      book = createReleaseBook({ info: told, hash: options.hash });
      books.set(event, book);
      dropped.delete(event);
      options.onTaken?.({ kind: 'event', info: told, urls: addresses.get(event) ?? [] });
    }
    const known = book.schedule(schedule.block) !== undefined;
    if (!book.addSchedule(schedule, jws)) return refuse('shifted', event, server.name);
    const state = given.get(`${event}/${server.name}`) ?? { after: -1, block: -1 };
    given.set(`${event}/${server.name}`, { ...state, block: Math.max(state.block, schedule.block) });
    // The other key server's signature of the same commitments tells nobody anything new.
    if (!known) options.onTaken?.({ kind: 'schedule', event, schedule, jws });
  };

  const takeGrant = async (event: AssetId, server: TrustedKeyServer, jwe: unknown): Promise<void> => {
    const jws = typeof jwe === 'string' && jwe.length <= MAX_JWE ? await openSealed(jwe, options.agreeKey) : undefined;
    // What does not open was made for another edge, or altered.
    if (jws === undefined) return refuse('audience', event, server.name);
    const payload = await verifyJws(jws, { typ: GRANT_TYPE, key: server.grantKey, maxLength: MAX_JWE });
    if (payload === undefined) return refuse('signature', event, server.name);
    let grant: ReleaseGrant;
    try {
      grant = parseGrant(payload);
    } catch {
      return refuse('shape', event, server.name);
    }
    const book = books.get(event);
    if (book === undefined) return refuse('event', event, server.name);
    const reason = check(grant, event, server, book);
    if (reason !== undefined) return refuse(reason, event, server.name);
    sequence.set(`${event}/${grant.issuer}`, grant.seq);
    const { held, mismatched } = book.addSecrets(grant.from, grant.secrets);
    if (mismatched > 0) refuse('commitment', event, server.name);
    metrics.count('sealcast_release_secrets_received_total', 'Release secrets taken from key servers.', {}, held);
    const state = given.get(`${event}/${server.name}`) ?? { after: -1, block: -1 };
    given.set(`${event}/${server.name}`, { ...state, after: Math.max(state.after, grant.from + grant.secrets.length / SECRET_LENGTH - 1) });
    options.onTaken?.({ kind: 'secrets', event, from: grant.from, secrets: grant.secrets });
  };

  return {
    async take(event, name, answer) {
      if (closed) return;
      const server = servers.find((each) => each.name === name);
      if (server === undefined) return refuse('signature', event, name);
      const body = (typeof answer === 'object' && answer !== null ? answer : {}) as { info?: unknown; urls?: unknown; grants?: unknown; schedules?: unknown };
      let told: ReleaseInfo | undefined;
      try {
        told = parseInfo(body.info);
      } catch {
        return refuse('shape', event, name);
      }
      const [grants, schedules] = [Array.isArray(body.grants) ? body.grants : undefined, Array.isArray(body.schedules) ? body.schedules : undefined];
      if (grants === undefined || schedules === undefined || grants.length > MAX_GRANTS || schedules.length > MAX_SCHEDULES) return refuse('shape', event, name);
      if (Array.isArray(body.urls)) addresses.set(event, body.urls.filter((url): url is string => typeof url === 'string' && url.length <= 512).slice(0, 16));
      for (const jws of schedules) await takeSchedule(event, server, jws, told.event === event ? told : undefined);
      for (const jwe of grants) await takeGrant(event, server, jwe);
    },
    book: (event) => books.get(event),
    books,
    urls: (event) => addresses.get(event) ?? [],
    given: (event, server) => given.get(`${event}/${server}`) ?? { after: -1, block: -1 },
    close() {
      closed = true;
      for (const book of books.values()) book.close();
      books.clear();
    },
    drop(event) {
      if (books.has(event)) dropped.add(event);
      books.get(event)?.close();
      books.delete(event);
      // An edge that is let in again starts from nothing; sequences stay, or old grants could be replayed.
      for (const { name } of servers) given.delete(`${event}/${name}`);
      addresses.delete(event);
    },
  };
};
