// SPDX-License-Identifier: Apache-2.0
/**
 * Makes a licence: wraps the grant keys of its horizon, opens the first term, seals it to the device and signs it.
 *
 * docs/wire/session.md, "Licence"; design section 3. Invariant: SK and STK stay here; GK leave wrapped under unlock keys of
 * which the licence opens only the first term's.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, DeviceId, GrantKey, KeyGroup, SessionId } from '#core/ids.ts';
import { accountHash, importWrapKey, type LadderHash, renewalKey, sessionKey, stateKey } from '#core/keys/ladder.ts';
import { openNodes, unlockKeys } from '#core/keys/unlock.ts';
import type { Decision } from '#core/license/decide.ts';
import { encodeLicenseClaims, encodeSealedLicense, LICENSE_TYPE, type SealedTicket, WRAPPED_GRANT_LENGTH, type WrappedImport } from '#core/license/license-claims.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { encodeState } from '#core/license/renewal-state.ts';
import { sessionIdBytes } from '#core/license/session-id.ts';
import type { ZoneKeys } from '#core/license/zone-keys.ts';
import { type CryptoPeriod, firstPeriodOf, type GrantGroup, groupLength, groupOf, type Micros } from '#core/time.ts';
import type { ViewerId } from '#core/token/viewer-id.ts';
import { type SealTo, sealTo, signJws, thumbprintBytes } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { AssetKeying, GrantKeySource, ImportedKey, KeyWrapper, Random } from '#ports';
import type { Coverage } from './coverage.ts';
import type { ServerSecrets } from './server-secrets.ts';

/** What a licence is made for. */
export type Issue = {
  readonly sid: SessionId;
  readonly account: AccountId;
  readonly device: DeviceId;
  readonly agree: PublicJwk;
  readonly keying: AssetKeying;
  readonly coverage: Coverage;
  readonly decision: Decision;
  readonly policyVersion: number;
  readonly zone: ZoneKeys;
  readonly entitledUntil: Micros;
  /** Marked assets: the viewer's id. */
  readonly mark?: ViewerId | undefined;
  /** For the device's later starts. */
  readonly ticket?: SealedTicket | undefined;
  readonly now: Micros;
};

const KEY_GROUPS: readonly KeyGroup[] = ['video', 'audio'];

/** Makes one licence: a compact JWS. Throws `key-unavailable` if the key server gives too little. */
export type Issuer = (issue: Issue) => Promise<string>;

/** `issuer` is the `iss` of the licences. */
export const createIssuer = (options: { issuer: string; keys: GrantKeySource; wrapper: KeyWrapper; random: Random; secrets: ServerSecrets; hash?: LadderHash; sealTo?: SealTo }): Issuer => {
  const { keys, wrapper, random, secrets, hash = ladderHash, sealTo: seal = sealTo } = options;

  /** GK of the horizon, each wrapped under its unlock key, in one buffer. */
  const wrapGrants = (sk: Uint8Array, grants: readonly GrantKey[], from: GrantGroup): Uint8Array => {
    const out = new Uint8Array(grants.length * WRAPPED_GRANT_LENGTH);
    const unlocks = unlockKeys(hash, sk, from, from + grants.length);
    grants.forEach((grant, index) => out.set(wrapper.wrap(unlocks[index] as Uint8Array, grant), index * WRAPPED_GRANT_LENGTH));
    return out;
  };

  /**
   * A fixed key is wrapped under the grant of its first period. One that began before the licence does is carried as from
   * the licence's first period, since earlier grants are never opened by it.
   */
  const wrapImports = (imported: readonly ImportedKey[], grants: readonly GrantKey[], { keying, coverage: { horizon } }: Issue): readonly WrappedImport[] => {
    const first = firstPeriodOf(horizon.from, keying.schedule);
    const end = firstPeriodOf(horizon.to, keying.schedule);
    return imported
      .filter(({ from, to }) => to > first && from < end)
      .map(({ kid, key, keyGroup, from, to }) => {
        const start = Math.max(from, first) as CryptoPeriod;
        const grant = grants[groupOf(start, keying.schedule) - horizon.from] as GrantKey;
        return { kid, keyGroup, from: start, to, wrapped: wrapper.wrap(importWrapKey(hash, grant, keying, start, keyGroup), key) };
      });
  };

  const grantsOf = async (asset: AssetId, { from, to }: Coverage['horizon']): Promise<readonly GrantKey[]> => {
    const grants = await keys.grantKeys({ asset, from, to });
    if (grants.length !== to - from || grants.some(({ group, key }, index) => group !== from + index || key.length !== 32)) throw new SealcastError('key-unavailable', 'the key server did not give one 32-byte grant key for every group');
    return grants.map(({ key }) => key);
  };

  return async (issue) => {
    const { sid, account, device, keying, coverage, decision, zone, now } = issue;
    const { horizon, g0, t0, opened } = coverage;
    // A timed event's imported keys need its release secrets to be wrapped; it has none in this process.
    const [grants, imported] = await Promise.all([grantsOf(keying.asset, horizon), keying.mode === 'timed' ? [] : keys.importedKeys(keying.asset)]);
    const hashed = accountHash(hash, account);
    const thumbprint = thumbprintBytes(device);
    const sk = sessionKey(hash, zone.zoneKey, { sid: sessionIdBytes(sid), accountHash: hashed, device: thumbprint, asset: keying.asset, gen: keying.gen });
    const state = encodeState(hash, stateKey(hash, sk), {
      sid,
      accountHash: hashed,
      device: thumbprint,
      asset: keying.asset,
      gen: keying.gen,
      level: decision.nextLevel,
      policy: issue.policyVersion,
      groupMillis: groupLength(keying.schedule) / 1000,
      interval: decision.interval,
      duration: decision.duration,
      ownInterval: decision.own.interval,
      ownDuration: decision.own.duration,
      live: keying.kind === 'event',
      timed: keying.mode === 'timed',
      end: horizon.to,
      g0,
      t0,
      opened,
      issued: now,
      spent: 0,
      ...(issue.mark !== undefined && { mark: issue.mark }),
    });
    const plain = encodeSealedLicense({
      renewalKey: renewalKey(hash, sk),
      nodes: openNodes(hash, sk, horizon.from, opened),
      grants: wrapGrants(sk, grants, horizon.from),
      opened,
      state,
      imported: wrapImports(imported, grants, issue),
      ...(issue.ticket !== undefined && { ticket: issue.ticket }),
    });
    const claims = encodeLicenseClaims({
      issuer: options.issuer,
      device,
      jti: encodeBase64url(random.bytes(16)),
      issuedAt: now,
      expiresAt: issue.entitledUntil,
      sid,
      asset: keying.asset,
      kind: keying.kind,
      mode: keying.mode,
      scheme: keying.scheme,
      gen: keying.gen,
      salt: keying.salt,
      entryKid: keying.entryKid,
      schedule: keying.schedule,
      keyGroups: KEY_GROUPS,
      horizon,
      sealed: await seal(issue.agree, plain),
      terms: { interval: decision.interval, duration: decision.duration },
      time: now,
    });
    return signJws(claims, { typ: LICENSE_TYPE, key: secrets.signing, kid: secrets.kid });
  };
};
