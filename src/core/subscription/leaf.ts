// SPDX-License-Identifier: Apache-2.0
/**
 * Leaves: a title's key under root keys, without any date, as static bytes beside the content.
 *
 * docs/wire/subscription.md, "Leaf" (B116-B122). Wrapping needs AES, so the wrapped bytes come from outside; what is bound here
 * is everything else. Invariant: the text of a leaf is a function of its content, so that a renewed root finds the same bytes.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId, type KeyGroup, type KeyId, type ProtectionScheme } from '#core/ids.ts';
import { msg, u32 } from '#core/keys/encoding.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { KeySchedule, Micros } from '#core/time.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH, type LeafScope, type RootMonth } from './root-keys.ts';

/** What a licence may allow. */
export type LicenseAction = 'play' | 'download';
/** Every action, in the order in which documents list them. */
export const LICENSE_ACTIONS: readonly LicenseAction[] = ['play', 'download'];

/** The title's key under one root key. */
export type LeafWrap = {
  readonly collection: string;
  readonly scope: LeafScope;
  readonly month: RootMonth;
  /** What this collection sells; a root of another one does not widen it. */
  readonly actions: readonly LicenseAction[];
  /** AES-256-KW(leafWrapKey, TK), 40 bytes. */
  readonly wrap: Uint8Array;
  /** 16 bytes that bind the open part to the root key. */
  readonly tag: Uint8Array;
};

/** The part of a leaf that is the same under every root. */
export type LeafClaims = {
  readonly title: AssetId;
  readonly gen: number;
  readonly scheme: ProtectionScheme;
  /** 16 bytes. */
  readonly salt: Uint8Array;
  readonly entryKid: KeyId;
  readonly schedule: KeySchedule;
  readonly keyGroups: readonly KeyGroup[];
  readonly duration: Micros;
};

/** A leaf: one valid root for one of its wraps is enough. */
export type Leaf = LeafClaims & { readonly wraps: readonly LeafWrap[] };

/** Longest text of a leaf. */
export const MAX_LEAF_LENGTH = 3072;
const MAX_WRAPS = 8;
const TAG_LENGTH = 16;
const WRAP_LENGTH = 40;

const openPart = (claims: LeafClaims): Record<string, unknown> => ({
  v: 1,
  title: claims.title,
  gen: claims.gen,
  scheme: claims.scheme,
  salt: encodeBase64url(claims.salt),
  entryKid: encodeBase64url(claims.entryKid),
  period: claims.schedule.period,
  periodsPerGroup: claims.schedule.periodsPerGroup,
  keyGroups: claims.keyGroups,
  duration: claims.duration,
});

/** The open part of a leaf as text, up to its wraps: made once, it serves the tags of all wraps and the leaf. */
export type LeafText = string & { readonly __brand: 'LeafText' };

/** Text of the open part. */
export const leafText = (claims: LeafClaims): LeafText => `${JSON.stringify(openPart(claims)).slice(0, -1)},"wraps":[` as LeafText;

/** The bytes of a leaf without wraps, which tags are made over. */
export const taggedBytes = (text: LeafText): Uint8Array => encodeUtf8(`${text}]}`);

/** Tag of one wrap, under the root key of its month; `claims` as such or as `taggedBytes`. */
export const leafTag = (hash: LadderHash, key: Uint8Array, claims: LeafClaims | Uint8Array, wrap: Pick<LeafWrap, 'collection' | 'scope' | 'month' | 'actions'>): Uint8Array =>
  hash.hmac(key, msg('leaf-claims', claims instanceof Uint8Array ? claims : taggedBytes(leafText(claims)), wrap.collection, wrap.scope, u32(wrap.month), wrap.actions.join(','))).subarray(0, TAG_LENGTH);

/** Whether `key` is the root key that this wrap was made under, and the open part is as it was then. Constant time. */
export const leafTagMatches = (hash: LadderHash, key: Uint8Array, leaf: Leaf, wrap: LeafWrap): boolean => equalBytes(leafTag(hash, key, leaf, wrap), wrap.tag);

/** Text of a leaf: always the same for the same content. */
export const encodeLeaf = (leaf: Leaf): string => leafFromText(leafText(leaf), leaf.wraps);

/** The same from its open part. Nothing in a wrap needs escaping: names of collections and base64url are plain. */
export const leafFromText = (text: LeafText, wraps: readonly LeafWrap[]): string =>
  `${text}${wraps.map(({ collection, scope, month, actions, wrap, tag }) => `{"collection":"${collection}","scope":"${scope}","month":${month},"actions":${JSON.stringify(actions)},"wrap":"${encodeBase64url(wrap)}","tag":"${encodeBase64url(tag)}"}`).join(',')}]}`;

const bad = (rule: string): SealcastError => new SealcastError('bad-request', `leaf: ${rule}`);

/** Members of `allowed`, each at most once and at least one, in their own order. Throws `bad-request`. */
export const namesFrom = <T extends string>(list: readonly unknown[], allowed: readonly T[], what: string): readonly T[] => {
  const names = allowed.filter((name) => list.includes(name));
  if (names.length === 0 || names.length !== list.length) throw new SealcastError('bad-request', `${what} must be some of ${allowed.join(', ')}, once each; got ${list.length} items`);
  return names;
};

const parseWrap = (value: unknown): LeafWrap => {
  const wrap = membersOf(value, 'leaf wrap', 'bad-request', ['collection', 'scope', 'month', 'actions', 'wrap', 'tag']);
  return {
    collection: wrap.text('collection', { most: 64, pattern: COLLECTION }),
    scope: wrap.oneOf('scope', ['account', 'shared']),
    month: wrap.integer('month', FIRST_MONTH, END_OF_MONTHS - 1),
    actions: namesFrom(wrap.list('actions', LICENSE_ACTIONS.length), LICENSE_ACTIONS, 'leaf actions'),
    wrap: wrap.bytes('wrap', WRAP_LENGTH),
    tag: wrap.bytes('tag', TAG_LENGTH),
  };
};

/** A leaf from its text; throws `bad-request`. What it says is not to be trusted before a wrap's tag matched. */
export const parseLeaf = (text: string): Leaf => {
  if (text.length > MAX_LEAF_LENGTH) throw bad(`has at most ${MAX_LEAF_LENGTH} characters; got ${text.length}`);
  const leaf = membersOf(jsonObject(text, 'leaf', 'bad-request'), 'leaf', 'bad-request', ['v', 'title', 'gen', 'scheme', 'salt', 'entryKid', 'period', 'periodsPerGroup', 'keyGroups', 'duration', 'wraps']);
  if (leaf.value('v') !== 1) throw bad('only version 1 is known');
  const wraps = leaf.list('wraps', MAX_WRAPS).map(parseWrap);
  if (wraps.length === 0) throw bad('has at least one wrap');
  return {
    title: assetId(leaf.value('title')),
    gen: leaf.integer('gen', 0, 0xffff),
    scheme: leaf.oneOf('scheme', ['cenc', 'cbcs']),
    salt: leaf.bytes('salt', 16),
    entryKid: leaf.bytes('entryKid', 16) as KeyId,
    schedule: { period: leaf.integer('period', 1, 2 ** 40) as Micros, periodsPerGroup: leaf.integer('periodsPerGroup', 1, 2 ** 20) },
    keyGroups: namesFrom(leaf.list('keyGroups', 2), ['video', 'audio'], 'leaf keyGroups'),
    duration: leaf.integer('duration', 0, Number.MAX_SAFE_INTEGER) as Micros,
    wraps,
  };
};
