// SPDX-License-Identifier: Apache-2.0
/**
 * The W3C Clear Key JSON exchange (EME, section 9.1), for players that know nothing of us, and the raw entry key for HLS.
 *
 * docs/wire/session.md; facts/standards.md C.1, C.2: Chromium refuses a whole set for one key of a wrong size, an empty set or
 * padding, so the answer always holds at least the decoy.
 * Invariant: content keys are added only with the asset's `clearKey: detect`, a valid media token of a running session, and
 * never for a timed asset.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { AssetId, ContentKey, KeyGroup, KeyId } from '#core/ids.ts';
import { contentKey, keyIdOf } from '#core/keys/ladder.ts';
import { openedRange } from '#core/license/opened-range.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { membersOf } from '#core/license/shape.ts';
import type { PolicyVersion } from '#core/license/decide.ts';
import { firstPeriodOf, type GrantGroup, groupAt, groupLength, groupOf, type Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { verifyMediaToken } from '#crypto/media-token.ts';
import type { CatalogueStore, Clock, DeviceStore, GrantKeySource, HeartbeatStore, SessionRecord, SessionStore } from '#ports';
import type { Licensable, Licensing } from './grant-license.ts';
import type { MasterSecrets } from './master-secrets.ts';

type Jwk = { readonly kty: 'oct'; readonly kid: string; readonly k: string };
/** A licence of EME, section 9.1.4. */
export type ClearKeySet = { readonly keys: readonly Jwk[]; readonly type: 'temporary' };

const KEY_GROUPS: readonly KeyGroup[] = ['video', 'audio'];
/** What Chromium was seen to take in one update. */
const MAX_KEYS = 500;
const jwk = (kid: Uint8Array, key: Uint8Array): Jwk => ({ kty: 'oct', kid: encodeBase64url(kid), k: encodeBase64url(key) });

/** Answers to players without our client. */
export type ClearKey = {
  answer(asset: AssetId, token: string | undefined, body: unknown): Promise<ClearKeySet>;
  entryKey(asset: AssetId): Promise<Uint8Array>;
};

/** Needs the stores, since a token alone does not say that its session still runs. */
export const createClearKey = (options: {
  keys: GrantKeySource;
  catalogue: Pick<CatalogueStore, 'get'>;
  sessions: SessionStore;
  devices: DeviceStore;
  heartbeats: HeartbeatStore;
  licensing: Licensing;
  masterSecrets: MasterSecrets;
  policy: PolicyVersion;
  timeShift: Micros;
  clock: Clock;
}): ClearKey => {
  const { keys, catalogue, sessions, devices, heartbeats, licensing, masterSecrets, policy, timeShift, clock } = options;

  /** The running session that a media token names, or undefined: a bad token only means that there is no more than the decoy. */
  const sessionOf = async (asset: AssetId, token: string | undefined, now: Micros): Promise<SessionRecord | undefined> => {
    if (token === undefined) return undefined;
    const keyOf = ({ epoch, zone }: { epoch: number; zone: number }): Uint8Array | undefined => {
      const keys = masterSecrets.find(epoch % 256, zone, now);
      return keys?.epoch === epoch ? keys.mediaTokenKey : undefined;
    };
    const verdict = verifyMediaToken(token, { keyOf, now });
    if (!verdict.ok || verdict.claims.asset !== asset) return undefined;
    const session = await sessions.get(verdict.claims.session);
    if (session === undefined || session.asset !== asset || session.endedAt !== undefined || now >= session.entitledUntil) return undefined;
    return (await devices.get(session.device))?.revokedAt === undefined ? session : undefined;
  };

  const termOf = ({ keying }: Licensable, session: SessionRecord): Micros =>
    (Math.min(policy.duration, session.terms.duration ?? Number.POSITIVE_INFINITY, keying.kind === 'event' ? policy.maxLiveGrant : Number.POSITIVE_INFINITY) * 1000) as Micros;

  /** The same range that a session with our client would have opened by now. */
  const windowOf = (asset: Licensable, session: SessionRecord, now: Micros): { from: GrantGroup; to: GrantGroup } => {
    const { keying, title } = asset;
    const length = groupLength(keying.schedule);
    const common = { groupLength: length, term: termOf(asset, session), now };
    if (keying.kind === 'event') {
      const live = groupAt(now, keying.schedule);
      const from = groupAt(Math.max(0, now - timeShift) as Micros, keying.schedule);
      return { from, to: openedRange({ ...common, opened: from, end: (2 ** 32 - 1) as GrantGroup, position: live, g0: live, t0: now }) };
    }
    const start = 0 as GrantGroup;
    const end = Math.ceil((title.duration ?? 0) / length) as GrantGroup;
    return { from: start, to: openedRange({ ...common, opened: start, end, position: end, g0: start, t0: session.startedAt }) };
  };

  const contentKeys = async (asset: Licensable, session: SessionRecord, now: Micros): Promise<readonly Jwk[]> => {
    const { keying } = asset;
    const { from, to } = windowOf(asset, session, now);
    if (to <= from) return [];
    const { schedule } = keying;
    const [first, end] = [firstPeriodOf(from, schedule), firstPeriodOf(to, schedule)];
    const imported = await keys.importedKeys(keying.asset);
    if (imported.length > 0) return imported.filter((item) => item.to > first && item.from < end).map(({ kid, key }) => jwk(kid, key));
    const grants = new Map((await keys.grantKeys({ asset: keying.asset, from: Math.max(from, to - 4096) as GrantGroup, to })).map(({ group, key }) => [group, key]));
    const found: [KeyId, ContentKey][] = [];
    // Newest last: if there are too many, the oldest are the ones a player needs least.
    for (let p = first; p < end; p++) {
      const grant = grants.get(groupOf(p, schedule));
      if (grant !== undefined) for (const keyGroup of KEY_GROUPS) found.push([keyIdOf(ladderHash, keying.salt, keying, p, keyGroup), contentKey(ladderHash, grant, keying, p, keyGroup)]);
    }
    return found.slice(-(MAX_KEYS - 1)).map(([kid, key]) => jwk(kid, key));
  };

  return {
    async answer(asset, token, body) {
      // EME's licence request; its kids are a wish list that we answer by right, not by name.
      membersOf(body, 'Clear Key request', 'bad-request', ['kids'], ['type'], true).list('kids', 1000);
      const now = clock.now();
      const { kid, key } = await keys.entryKey(asset);
      const decoy = jwk(kid, key);
      if ((await catalogue.get(asset))?.clearKey !== 'detect') return { keys: [decoy], type: 'temporary' };
      const session = await sessionOf(asset, token, now);
      const licensable = session === undefined ? undefined : await licensing.find(asset);
      if (session === undefined || licensable === undefined || licensable.keying.mode === 'timed') return { keys: [decoy], type: 'temporary' };
      const found = await contentKeys(licensable, session, now);
      await heartbeats.record({
        session: session.session,
        account: heartbeatAccount(ladderHash, session.account),
        device: session.device,
        asset,
        at: now,
        expiresAt: (now + termOf(licensable, session)) as Micros,
        kind: 'renewal',
      });
      return { keys: [decoy, ...found], type: 'temporary' };
    },
    entryKey: async (asset) => (await keys.entryKey(asset)).key,
  };
};
