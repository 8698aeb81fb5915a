// SPDX-License-Identifier: Apache-2.0
/**
 * What a device may play without a server: roots of several plans, leaves of many titles, and what both allow now.
 *
 * docs/wire/subscription.md, "Leaf", "Root", "Trusted clock" (B110-B126). Roots stay as they came, sealed to the device's key.
 * Invariant: a title opens only if one root that is valid on trusted time and the title's leaf both allow the action; a root that
 * says its plan is over replaces what the device had of it.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { ERRORS, type ErrorCode } from '#core/errors.ts';
import { type AssetId, isAssetId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Leaf, LicenseAction } from '#core/subscription/leaf.ts';
import { parseRootClaims, parseSealedRoot, ROOT_TYPE, type RootClaims, rootAllows } from '#core/subscription/root.ts';
import type { Micros } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { openSealed } from '#crypto/jose.ts';
import type { OfflineRecords } from '#ports';
import type { Device } from '../device.ts';
import type { SessionDenial } from '../session-types.ts';
import { type Texts, textOf } from '../texts/texts.ts';
import type { Failure } from '../transport.ts';
import type { LeafCatalogue } from './catalogue.ts';
import type { DeviceSeal } from './device-seal.ts';
import type { ServiceLink } from './service-link.ts';
import { openLeaf } from './title-ring.ts';
import type { TrustedClock } from './trusted-clock.ts';

/** A plan as an app shows it. */
export type PlanStatus = {
  readonly plan: string;
  readonly collection: string;
  readonly actions: readonly LicenseAction[];
  readonly begin: Micros;
  /** undefined: for ever. */
  readonly end: Micros | undefined;
  /** When the next root should be asked for. */
  readonly refresh: Micros;
  /** `valid`, or why nothing opens. */
  readonly state: 'valid' | 'clock-unconfirmed' | 'not-yet-valid' | 'license-expired';
  /** One sentence for the viewer; undefined while all is well. */
  readonly notice: string | undefined;
};

/** A title whose key was opened. Holds a key: never log it. */
export type OpenedTitle = { readonly leaf: Leaf; readonly plan: string; readonly account: Uint8Array; readonly titleKey: Uint8Array; /** Trusted instant at which the right is over; undefined: never. */ readonly until: Micros | undefined };

/** Why something is not allowed, as sessions say it. */
export type Refused = { readonly ok: false; readonly denial: SessionDenial };

/** Roots and leaves of a device. */
export type Subscriptions = {
  /** The plans held, in the order of their names. */
  readonly plans: readonly PlanStatus[];
  /** SHA-256 of the account that the roots are for. */
  readonly account: Uint8Array | undefined;
  /** Whether a root is due for its refresh, or the clock for a server's word. */
  readonly due: boolean;
  /** Asks for the roots of an entitlement's plans. `refused`: plans that gave none, with a sentence each. */
  refresh(): Promise<{ readonly ok: true; readonly refused: readonly { readonly plan: string; readonly code: string; readonly text: string }[] } | Refused>;
  /** Fetches leaves that are not there yet, of named titles or a plan's whole collection. Answers titles that there are none of. */
  fetchLeaves(wanted: { readonly titles: readonly AssetId[] } | { readonly plan: string }): Promise<{ readonly ok: true; readonly missing: readonly AssetId[] } | Refused>;
  /** Whether the action is allowed now, and by which plan; asks no server and opens no key. */
  allows(title: AssetId, action: LicenseAction): { readonly ok: true; readonly plan: string } | Refused;
  /** When a plan's right to a title is over; undefined: never. */
  until(title: AssetId, plan: string): Micros | undefined;
  /** Opens a title for an action. Asks no server. */
  open(title: AssetId, action: LicenseAction): Promise<({ readonly ok: true } & OpenedTitle) | Refused>;
  /** Notes the first play of a title under a plan, from which rentals count; durable when it resolves. */
  played(plan: string, title: AssetId): Promise<void>;
  /** The newest root that may be shown as a credential for a title's collection. */
  credential(title: AssetId, action: LicenseAction): string | undefined;
  /** Forgets a plan and what was noted under it. */
  forget(plan: string): Promise<void>;
};

type Held = { readonly jws: string; readonly claims: RootClaims };
const PREFIX = 'root/';
const FIRST = 'first';
const MAX_LEAVES = 1000;

/** Opens what is kept in `records`. Roots that no longer verify are not used. */
export const openSubscriptions = async (options: {
  readonly device: Device;
  readonly link: ServiceLink;
  readonly trusted: TrustedClock;
  readonly catalogue: LeafCatalogue;
  readonly records: OfflineRecords;
  readonly seal: DeviceSeal;
  /** Asks the operator's backend for an entitlement with the claim `plans`. */
  readonly entitlement: () => Promise<string>;
  readonly texts?: Texts;
}): Promise<Subscriptions> => {
  const { device, link, trusted, catalogue, records, seal, texts } = options;
  const held = new Map<string, Held>();
  let first: Record<string, number> = {};

  const refuse = (code: ErrorCode, detail: string, more: Partial<SessionDenial> = {}): Refused => ({ ok: false, denial: { code, text: textOf(code, texts), detail, retry: ERRORS[code].retry, extra: {}, ...more } });
  const failed = ({ code = 'service-unreachable', detail, extra = {} }: Failure): Refused => refuse(code, detail, { extra });

  const readRoot = async (jws: string): Promise<RootClaims | undefined> => {
    const payload = await link.verify(jws, ROOT_TYPE);
    const claims = payload === undefined ? undefined : parseRootClaims(payload);
    return claims?.device === device.id ? claims : undefined;
  };

  const newer = (claims: RootClaims): boolean => {
    const known = held.get(claims.plan)?.claims;
    return known === undefined || claims.issuedAt > known.issuedAt || (claims.issuedAt === known.issuedAt && claims.time >= known.time);
  };

  for (const [, jws] of await records.list(PREFIX)) {
    const claims = await readRoot(jws).catch(() => undefined);
    if (claims !== undefined && newer(claims)) held.set(claims.plan, { jws, claims });
  }
  const notes = seal.open(FIRST, (await records.get(FIRST)) ?? '');
  if (notes !== undefined) first = JSON.parse(notes) as Record<string, number>;

  const firstOf = (plan: string, title: AssetId): Micros | undefined => first[`${plan}/${title}`] as Micros | undefined;
  /** Wraps of the leaf that the root's keys open. */
  const wrapsOf = ({ claims }: Held, leaf: Leaf): Leaf['wraps'] => leaf.wraps.filter((wrap) => wrap.collection === claims.collection && wrap.scope === claims.scope && wrap.month >= claims.months.from && wrap.month < claims.months.to);

  const CODES = { 'clock-unconfirmed': 'clock-unconfirmed', 'not-yet-valid': 'not-yet-valid', 'license-expired': 'license-expired', 'not-allowed': 'forbidden' } as const;
  /** The best of several refusals: what the viewer can do something about comes first. */
  const WORTH = ['clock-unconfirmed', 'license-expired', 'not-yet-valid', 'forbidden', 'license-missing'] as const;

  /** Roots that allow it now, and the refusal to show if there is none. */
  const judge = (title: AssetId, action: LicenseAction): { readonly leaf: Leaf; readonly roots: readonly Held[] } | Refused => {
    const leaf = catalogue.get(title);
    if (leaf === undefined) return refuse('license-missing', 'the device has no leaf of this title');
    const roots: Held[] = [];
    const reasons = new Set<(typeof WORTH)[number]>();
    for (const root of held.values()) {
      const wraps = wrapsOf(root, leaf);
      if (wraps.length === 0) continue;
      const reason = wraps.some(({ actions }) => actions.includes(action)) ? rootAllows(root.claims, action, trusted.now(), firstOf(root.claims.plan, title)) : 'not-allowed';
      if (reason === undefined) roots.push(root);
      else reasons.add(CODES[reason]);
    }
    if (roots.length > 0) return { leaf, roots };
    const code = WORTH.find((each) => reasons.has(each)) ?? 'license-missing';
    return refuse(code, reasons.size === 0 ? 'no plan on this device covers the title' : 'no plan on this device allows it now');
  };

  const untilOf = ({ claims }: Held, title: AssetId): Micros | undefined => {
    const begun = firstOf(claims.plan, title) ?? (claims.first === undefined ? undefined : trusted.now());
    const ends = [claims.end, claims.first === undefined || begun === undefined ? undefined : begun + claims.first].filter((end) => end !== undefined);
    return ends.length === 0 ? undefined : (Math.min(...ends) as Micros);
  };

  const statusOf = ({ claims }: Held): PlanStatus => {
    const refusal = rootAllows(claims, claims.actions[0] ?? 'play', trusted.now(), undefined);
    const state = refusal === undefined || refusal === 'not-allowed' ? 'valid' : refusal;
    const { plan, collection, actions, begin, end, refresh } = claims;
    return { plan, collection, actions, begin, end, refresh, state, notice: state === 'valid' ? undefined : textOf(state, texts) };
  };

  const keep = async (jws: string): Promise<void> => {
    const claims = await readRoot(jws);
    if (claims === undefined) throw new Error('a root licence is not signed by this service for this device');
    if (!newer(claims)) return;
    await records.write([[`${PREFIX}${claims.plan}`, jws]]);
    held.set(claims.plan, { jws, claims });
    await trusted.raise(claims.time);
  };

  const subscriptions: Subscriptions = {
    get plans() {
      return [...held.values()].map(statusOf).sort((a, b) => (a.plan < b.plan ? -1 : 1));
    },
    get account() {
      return [...held.values()][0]?.claims.account;
    },
    get due() {
      const now = trusted.now();
      return trusted.needsSync || now === undefined || [...held.values()].some(({ claims }) => now >= claims.refresh && (claims.end === undefined || claims.end > claims.time));
    },
    async refresh() {
      if (trusted.needsSync) await link.askTime();
      for (let tries = 1; ; tries++) {
        const nonce = await link.nonce();
        if (!nonce.ok) return failed(nonce);
        const entitlement = await options.entitlement();
        const proof = await device.prove('root-proof+jwt', { ent: encodeBase64url(sha256(encodeUtf8(entitlement))), nonce: nonce.value, asset: '', agree: device.agreeThumbprint });
        const answer = await link.post('/v1/roots', { entitlement, nonce: nonce.value, device: device.description, proof }, async (body) => {
          const members = membersOf(body, 'roots', 'bad-request', ['roots', 'refused'], [], true);
          for (const root of members.list('roots', 64)) await keep(String(root));
          return members.list('refused', 64).map((each) => {
            const { plan, code, viewer } = each as { plan?: unknown; code?: unknown; viewer?: unknown };
            const known = typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : undefined;
            return { plan: String(plan), code: String(code), text: known === undefined ? String(viewer) : textOf(known, texts) };
          });
        });
        if (answer.ok) return { ok: true, refused: answer.value };
        const curable = answer.code === 'nonce-invalid' || answer.code === 'entitlement-used' || answer.status === 401;
        if (!curable || tries > 2) return failed(answer);
      }
    },
    async fetchLeaves(wanted) {
      const missing: AssetId[] = [];
      const take = (root: string, rest: object): ReturnType<typeof link.post<AssetId | undefined>> =>
        link.post('/v1/leaves', { root, ...rest }, async (body) => {
          const members = membersOf(body, 'leaves', 'bad-request', ['leaves', 'missing'], ['next'], true);
          await catalogue.add(members.list('leaves', 10_000).map(String));
          missing.push(...members.list('missing', 10_000).filter((title): title is AssetId => typeof title === 'string' && isAssetId(title)));
          const next = members.value('next');
          return typeof next === 'string' && isAssetId(next) ? next : undefined;
        });
      if ('plan' in wanted) {
        const root = held.get(wanted.plan);
        if (root === undefined) return refuse('license-missing', 'the device has no root of this plan');
        for (let after: AssetId | undefined; ; ) {
          const page = await take(root.jws, { collection: root.claims.collection, ...(after !== undefined && { after }) });
          if (!page.ok) return failed(page);
          after = page.value;
          if (after === undefined) return { ok: true, missing };
        }
      }
      // Whose collection a title is in only the service knows: each root is asked for what the ones before had not.
      let left = wanted.titles.filter((title) => !catalogue.has(title));
      let failure: Failure | undefined;
      for (const { jws } of held.values()) {
        const still: AssetId[] = [];
        for (let at = 0; at < left.length; at += MAX_LEAVES) {
          missing.length = 0;
          const answer = await take(jws, { titles: left.slice(at, at + MAX_LEAVES) });
          if (!answer.ok) failure = answer;
          still.push(...(answer.ok ? missing : left.slice(at, at + MAX_LEAVES)));
        }
        left = still;
        if (left.length === 0) break;
      }
      if (left.length > 0 && failure !== undefined) return failed(failure);
      return { ok: true, missing: left };
    },
    allows(title, action) {
      const judged = judge(title, action);
      return 'ok' in judged ? judged : { ok: true, plan: judged.roots[0]?.claims.plan ?? '' };
    },
    until(title, plan) {
      const root = held.get(plan);
      return root === undefined ? undefined : untilOf(root, title);
    },
    async open(title, action) {
      const judged = judge(title, action);
      if ('ok' in judged) return judged;
      for (const root of judged.roots) {
        const plain = await openSealed(root.claims.sealed, device.agreeKey);
        if (plain === undefined) continue;
        // A plan that was taken back comes with no nodes: there is nothing to parse, and its end is over anyway.
        const titleKey = await openLeaf(judged.leaf, { ...root.claims, nodes: nodesOf(plain, root.claims) });
        if (titleKey !== undefined) return { ok: true, leaf: judged.leaf, plan: root.claims.plan, account: root.claims.account, titleKey, until: untilOf(root, title) };
      }
      return refuse('license-missing', 'no root of this device opens the leaf');
    },
    async played(plan, title) {
      const now = trusted.now();
      const key = `${plan}/${title}`;
      if (now === undefined || first[key] !== undefined || held.get(plan)?.claims.first === undefined) return;
      const noted = { ...first, [key]: now };
      await records.write([[FIRST, seal.seal(FIRST, JSON.stringify(noted))]]);
      first = noted;
    },
    credential(title, action) {
      const judged = judge(title, action);
      return 'ok' in judged ? undefined : judged.roots[0]?.jws;
    },
    async forget(plan) {
      held.delete(plan);
      await records.write([[`${PREFIX}${plan}`, undefined]]);
    },
  };
  return subscriptions;
};

const nodesOf = (plain: string, claims: RootClaims): ReturnType<typeof parseSealedRoot> =>
  membersOf(jsonObject(plain, 'sealed root', 'bad-request'), 'sealed root', 'bad-request', ['nodes'], [], true).list('nodes', 64).length === 0 ? [] : parseSealedRoot(plain, claims.months);
