// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/roots: the root licences of an account's plans, for one registered device.
 *
 * docs/wire/subscription.md, "Root" (B114-B126). The operator's backend decides what was paid for; this turns its plans into
 * keys with dates. Invariant: nothing of a leaf is touched here, so a renewed root finds every leaf as it was.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { problemOf, SealcastError } from '#core/errors.ts';
import type { AccountId } from '#core/ids.ts';
import { accountHash, type LadderHash } from '#core/keys/ladder.ts';
import { membersOf } from '#core/license/shape.ts';
import { parsePlans, type Plan } from '#core/subscription/plans.ts';
import { encodeRootClaims, encodeSealedRoot, ROOT_TYPE, type RootClaims } from '#core/subscription/root.ts';
import type { Micros } from '#core/time.ts';
import { type SealTo, signJws } from '#crypto/jose.ts';
import type { Clock, DeviceStore, EventSink, LeafKeySource, Metrics, Random, RootStore } from '#ports';
import { parseDevice, proveDevice, type ProvenDevice } from './device-proof.ts';
import type { Entitlements } from './entitlements.ts';
import { checkNonce } from './nonce.ts';
import type { ServerSecrets } from './server-secrets.ts';

/** What roots are made from. */
export type RootsOptions = {
  readonly nonceKey: Uint8Array;
  /** `iss` of roots. */
  readonly issuer: string;
  readonly entitlements: Entitlements;
  readonly devices: DeviceStore;
  readonly keys: LeafKeySource;
  readonly roots: RootStore;
  readonly secrets: ServerSecrets;
  readonly hash: LadderHash;
  readonly sealTo: SealTo;
  readonly random: Random;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** Answer to POST /v1/roots. */
export type RootsAnswer = { readonly roots: readonly string[]; readonly time: Micros; readonly refused: readonly { readonly plan: string; readonly code: string; readonly viewer: string }[] };

const DAY = 86_400_000_000;
/** A root without an end is asked for again after this, so that a refund is heard of. */
const REFRESH_OF_PURCHASES: number = 30 * DAY;
const MOST_AHEAD: number = 3 * DAY;
/** Roots without an end say so in `end`; the token itself is good for this long. */
const LONGEST_TOKEN: number = 400 * DAY;

/** When the device may ask for the next root: early enough that a few days offline do no harm. */
export const refreshOf = (plan: Pick<Plan, 'begin' | 'end'>, now: Micros): Micros =>
  (plan.end === undefined ? now + REFRESH_OF_PURCHASES : Math.max(now, plan.end - Math.min(Math.floor((plan.end - plan.begin) / 10), MOST_AHEAD))) as Micros;

/** Answers the body of POST /v1/roots. Throws what docs/wire/subscription.md names. */
export const createRoots = (options: RootsOptions): ((body: unknown) => Promise<RootsAnswer>) => {
  const { entitlements, devices, keys, secrets, hash, random, clock, events, metrics } = options;

  const registered = async ({ device, agree }: ProvenDevice, account: AccountId): Promise<void> => {
    const record = await devices.get(device);
    if (record?.revokedAt !== undefined) throw new SealcastError('device-revoked', 'the device was revoked');
    // What is kept offline outlives a page: only devices that the account can see and revoke hold roots.
    if (record === undefined || record.account !== account) throw new SealcastError('device-unknown', 'roots are given to registered devices only');
    if (record.agree['x'] !== agree.x || record.agree['y'] !== agree.y) throw new SealcastError('proof-invalid', 'proof: the agree key is not the registered one');
  };

  const issue = async (plan: Plan, account: AccountId, device: ProvenDevice, now: Micros): Promise<string> => {
    // A plan that was taken back is answered with a root that is over: the newest root of a plan is the one that counts.
    const end = plan.revoked ? (Math.max(plan.begin + 1, now) as Micros) : plan.end;
    if (!plan.revoked && end !== undefined && end <= now) throw new SealcastError('entitlement-expired', 'the plan has ended');
    const hashed = accountHash(hash, account);
    const nodes = await keys.rootNodes({ collection: plan.collection, scope: plan.scope, account: hashed, ...plan.months });
    const claims: RootClaims = {
      issuer: options.issuer,
      device: device.device,
      jti: encodeBase64url(random.bytes(16)),
      issuedAt: now,
      expiresAt: Math.min(end ?? now + LONGEST_TOKEN, now + LONGEST_TOKEN) as Micros,
      account: hashed,
      plan: plan.plan,
      collection: plan.collection,
      scope: plan.scope,
      months: plan.months,
      begin: plan.begin,
      end,
      first: plan.first,
      actions: plan.actions,
      refresh: refreshOf({ begin: plan.begin, end }, now),
      sealed: await options.sealTo(device.agree, encodeSealedRoot(plan.revoked ? [] : nodes)),
      time: now,
    };
    const token = await signJws(encodeRootClaims(claims), { typ: ROOT_TYPE, key: secrets.signing, kid: secrets.kid });
    await options.roots.put({ account, device: device.device, plan: plan.plan, collection: plan.collection, jti: claims.jti, issuedAt: now, begin: plan.begin, ...(end !== undefined && { end }), revoked: plan.revoked });
    metrics.count('sealcast_roots_issued_total', 'Root licences issued.', { kind: plan.revoked ? 'revoked' : plan.first !== undefined ? 'rental' : plan.end === undefined ? 'purchase' : 'subscription' });
    return token;
  };

  return async (body) => {
    const now = clock.now();
    const members = membersOf(body, 'body', 'bad-request', ['entitlement', 'nonce', 'device', 'proof']);
    const [token, nonce] = [members.text('entitlement', { most: 8192 }), members.text('nonce', { most: 64 })];
    const claimed = parseDevice(members.value('device'));
    checkNonce(options.nonceKey, nonce, now);
    const device = await proveDevice(claimed, { typ: 'root-proof+jwt', proof: members.text('proof', { most: 4096 }), entitlement: token, nonce, asset: '' });
    const entitlement = await entitlements.verify(token, undefined, now);
    const plans = parsePlans(entitlement.plans);
    await entitlements.claim(entitlement, now);
    await registered(device, entitlement.account);
    const roots: string[] = [];
    const refused: { plan: string; code: string; viewer: string }[] = [];
    for (const plan of plans) {
      try {
        roots.push(await issue(plan, entitlement.account, device, now));
      } catch (error) {
        const { code, status, title } = problemOf(error);
        // A fault is nobody's refusal: the device keeps what it has and asks again.
        if (status >= 500) throw error;
        refused.push({ plan: plan.plan, code, viewer: title });
      }
    }
    events({ at: now, kind: 'roots.issued', severity: 'info', message: `${roots.length} root licences were given to a device.`, account: entitlement.account, data: { plans: roots.length, refused: refused.length } });
    return { roots, time: now, refused };
  };
};
