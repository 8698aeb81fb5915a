// SPDX-License-Identifier: Apache-2.0
/**
 * What a session start and a new licence have in common: keys, terms, coverage, licence, media token, answer.
 *
 * docs/wire/session.md, the 201 answer. Invariant: nothing is decided and nothing is stored here; that the caller has done.
 */
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import { SealcastError } from '#core/errors.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { type Decision, mediaTokenLife, type PolicyVersion } from '#core/license/decide.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { placeOf } from '#core/license/session-id.ts';
import { markClaimsOf } from '#core/token/viewer-id.ts';
import type { Micros } from '#core/time.ts';
import type { ZoneKeys } from '#core/license/zone-keys.ts';
import { accountHash } from '#core/keys/ladder.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { DEFAULT_CONNECTIONS } from '#core/token/release-claims.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { mintReleaseToken } from '#crypto/release-token.ts';
import type { AssetKeying, CatalogueEntry, CatalogueStore, GrantKeySource } from '#ports';
import { coverageOf } from './coverage.ts';
import type { Issuer } from './issue.ts';
import type { Marking } from './marking.ts';
import type { Epoch, MasterSecrets } from './master-secrets.ts';
import type { LicenseServerOptions } from './options.ts';

/** An asset as a licence needs it. */
export type Licensable = { readonly keying: AssetKeying; readonly title: CatalogueEntry };

/** A session that has been let in. */
export type AdmittedSession = {
  readonly sid: SessionId;
  readonly epoch: Epoch;
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly registered: boolean;
  readonly agree: PublicJwk;
  readonly position: Micros | undefined;
  readonly entitledUntil: Micros;
  readonly terms: { readonly interval?: number; readonly duration?: number };
  /** Goes into the licence. */
  readonly ticket?: SealedTicket | undefined;
  /** Where the operator's backend sends the viewer. */
  readonly edge?: string | undefined;
};

/** Body of the 201 answer. */
export type LicenseAnswer = {
  readonly sid: SessionId;
  readonly license: string;
  readonly mediaToken: string;
  readonly mediaTokenExpires: Micros;
  readonly time: Micros;
  readonly renew: { readonly urls: readonly string[] };
  readonly licenses: { readonly urls: readonly string[] };
  /** Timed events: where and with what releases are followed (docs/wire/release.md). */
  readonly release?: { readonly token: string; readonly expires: Micros; readonly urls: readonly string[]; readonly keys: readonly object[] };
};

/** From an admitted session to a licence. */
export type Licensing = {
  /** Throws `not-found` unless catalogue and key server know the asset. */
  find(asset: AssetId): Promise<Licensable>;
  /** The caller has counted the session already, and records its heartbeat before it lets the answer out (facts B020, B102). */
  grant(session: AdmittedSession, asset: Licensable, decision: Decision, now: Micros): Promise<LicenseAnswer>;
};

/** Holds no state of its own. */
export const createLicensing = (options: {
  keys: GrantKeySource;
  catalogue: Pick<CatalogueStore, 'get'>;
  masterSecrets: MasterSecrets;
  issuer: Issuer;
  hmac?: LadderHash['hmac'] | undefined;
  policy: PolicyVersion;
  liveHorizon: Micros;
  timeShift: Micros;
  renewUrls: readonly string[];
  licenseUrls: readonly string[];
  marking: Pick<Marking, 'viewerId'>;
  releases?: LicenseServerOptions['releases'];
}): Licensing => {
  const { keys, catalogue, masterSecrets, issuer, hmac, policy, liveHorizon, timeShift, renewUrls, licenseUrls, marking } = options;

  /** The release token lives as long as the media token. */
  const releaseOf = (session: AdmittedSession, keying: AssetKeying, zone: ZoneKeys, now: Micros, expires: Micros): Pick<LicenseAnswer, 'release'> => {
    if (keying.mode !== 'timed') return {};
    const { urls = ['/'], keys: signing = [], connections = DEFAULT_CONNECTIONS } = options.releases?.() ?? {};
    const claims = { session: session.sid, asset: keying.asset, account: encodeBase64url(accountHash(ladderHash, session.account)), connections, issuedAt: now, expiresAt: expires };
    return { release: { token: mintReleaseToken({ key: zone.releaseTokenKey, kid: { epoch: zone.epoch, zone: zone.zone.index }, claims }), expires, urls, keys: signing } };
  };

  return {
    async find(asset) {
      const [title, keying] = await Promise.all([catalogue.get(asset), keys.keying(asset)]);
      if (title === undefined) throw new SealcastError('not-found', 'no event or title of this id');
      return { title, keying };
    },

    async grant(session, asset, decision, now) {
      const { sid, entitledUntil } = session;
      const { keying, title } = asset;
      const zone = masterSecrets.keysOf(session.epoch.epoch, placeOf(sid).zone, now);
      const coverage = coverageOf({ keying, title, position: session.position, decision, liveHorizon, timeShift, entitledUntil, now });
      const mark = await marking.viewerId(title, { account: session.account, device: session.device, edge: session.edge });
      const license = await issuer({ sid, account: session.account, device: session.device, agree: session.agree, keying, coverage, decision, policyVersion: policy.version, zone, entitledUntil, mark, ticket: session.ticket, now });
      const mediaTokenExpires = (now + mediaTokenLife(policy, decision.duration) * 1000) as Micros;
      const mediaToken = mintMediaToken({ ...(hmac !== undefined && { hmac }), key: zone.mediaTokenKey, kid: { epoch: zone.epoch, zone: zone.zone.index }, claims: { session: sid, asset: keying.asset, issuedAt: now, expiresAt: mediaTokenExpires, ...(mark !== undefined && { mark: markClaimsOf(mark) }) } });
      return { sid, license, mediaToken, mediaTokenExpires, time: now, renew: { urls: renewUrls }, licenses: { urls: licenseUrls }, ...releaseOf(session, keying, zone, now, mediaTokenExpires) };
    },
  };
};
