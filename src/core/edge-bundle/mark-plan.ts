// SPDX-License-Identifier: Apache-2.0
/**
 * How the segments of one asset are marked per viewer at the edge: which variants exist, and the keys that choose among them.
 *
 * docs/wire/edge-bundle.md, `marks`. Edges get the mark keys of epochs that are served now and at most two ahead, never the
 * secret they come from. Invariant: what leaves `parseMarkPlan` has an alphabet of 2..8, a valid schedule and keys of 32 bytes.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId, isRepresentationId } from '#core/ids.ts';
import { type DeliveryPlan, parseDeliveryPlan } from '#core/edge-bundle/delivery-plan.ts';
import { MAX_SLOTS } from '#core/mark/index.ts';
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';
import { type EpochSchedule, MAX_ALPHABET, MIN_ALPHABET, type Position, requireSchedule } from '#core/watermark/index.ts';

/** Marking of one asset. Holds keys: never log it. */
export type MarkPlan = {
  readonly asset: AssetId;
  /** False: variants exist, but everybody gets the first. */
  readonly sequencing: boolean;
  /** Representations that have variants; others, headers and manifests have one copy. */
  readonly representations: readonly string[];
  /** `a`, `b`, ... or `0`, `1`, ... in origin paths. */
  readonly names: 'letters' | 'digits';
  /** Where positions come from: the segment's number, or the origin's pace information (another maker's origin). */
  readonly pace: 'number' | 'origin';
  /** m. */
  readonly alphabet: number;
  readonly book: 'aligned' | 'adaptive' | 'biased-uniform' | 'biased-dirichlet' | 'biased-alternate';
  /** Of `aligned` and `biased` books. */
  readonly schedule: EpochSchedule;
  /** Which viewers of an edge share variants; absent: none, everybody has a sequence of his own. */
  readonly delivery?: DeliveryPlan;
  /** Marks lie in the one copy there is: slots of a segment, and MEK by box key epoch, 32 bytes. Absent: variants. */
  readonly inBand?: { readonly slots: number; readonly boxKeys: readonly { readonly epoch: number; readonly key: Uint8Array }[] };
  /** Mark keys by epoch, 32 bytes. */
  readonly keys: readonly { readonly epoch: number; readonly key: Uint8Array }[];
  /** Keys that open `wmid` by `wmkeyver`, 32 bytes. */
  readonly viewerKeys: readonly { readonly version: number; readonly key: Uint8Array }[];
};

const BOOKS = ['aligned', 'adaptive', 'biased-uniform', 'biased-dirichlet', 'biased-alternate'] as const;
const MAX_KEYS = 4096;
const MAX_STEPS = 64;
const MAX_REPRESENTATIONS = 64;

const broken = (rule: string): never => {
  throw new SealcastError('key-unavailable', `edge bundle: marks[].${rule}`);
};
const uint = (value: unknown, name: string, max: number = Number.MAX_SAFE_INTEGER): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : broken(`${name} must be an integer of 0-${max}`);
const list = (value: unknown, name: string, max: number): readonly unknown[] => (Array.isArray(value) && value.length <= max ? (value as unknown[]) : broken(`${name} must be a list of at most ${max}`));
const object = (value: unknown, name: string): JsonObject => (isJsonObject(value) ? value : broken(`${name} must be an object`));
const oneOf = <T extends string>(value: unknown, name: string, allowed: readonly T[]): T => allowed.find((item) => item === value) ?? broken(`${name} must be one of ${allowed.join(', ')}`);

const key = (value: unknown, name: string): Uint8Array => {
  let bytes: Uint8Array | undefined;
  try {
    bytes = typeof value === 'string' && value.length <= 64 ? decodeBase64url(value) : undefined;
  } catch {
    bytes = undefined;
  }
  return bytes?.length === 32 ? bytes : broken(`${name} must be base64url of 32 bytes`);
};

const parseInBand = (item: JsonObject): NonNullable<MarkPlan['inBand']> => {
  const slots = uint(item['slots'], 'inBand.slots', MAX_SLOTS);
  if (slots < 1) broken(`inBand.slots must be 1-${MAX_SLOTS}`);
  return {
    slots,
    boxKeys: list(item['boxKeys'], 'inBand.boxKeys', MAX_KEYS).map((entry) => {
      const held = object(entry, 'inBand.boxKeys[]');
      return { epoch: uint(held['epoch'], 'inBand.boxKeys[].epoch', 2 ** 32 - 1), key: key(held['key'], 'inBand.boxKeys[].key') };
    }),
  };
};

/** One element of `marks`. Throws SealcastError('key-unavailable' | 'bad-request') naming the rule it breaks, never a value. */
export const parseMarkPlan = (value: unknown): MarkPlan => {
  const item = object(value, 'element');
  const alphabet = uint(item['alphabet'], 'alphabet', MAX_ALPHABET);
  if (alphabet < MIN_ALPHABET) broken(`alphabet must be ${MIN_ALPHABET}-${MAX_ALPHABET}`);
  if (typeof item['sequencing'] !== 'boolean') broken('sequencing must be true or false');
  const representations = list(item['representations'], 'representations', MAX_REPRESENTATIONS).map((name) =>
    typeof name === 'string' && isRepresentationId(name) ? name : broken('representations must be representation ids'),
  );
  const book = oneOf(item['book'], 'book', BOOKS);
  const schedule = list(item['schedule'], 'schedule', MAX_STEPS).map((step) => {
    const { from, length } = object(step, 'schedule[]');
    return { from: uint(from, 'schedule[].from') as Position, length: uint(length, 'schedule[].length', 64) };
  });
  if (book !== 'adaptive') requireSchedule(schedule, alphabet);
  const frame = { alphabet, epoch: book === 'aligned' && schedule.length === 1 ? schedule[0]?.length : undefined, biased: book.startsWith('biased') };
  const delivery = item['delivery'] === undefined ? undefined : parseDeliveryPlan(item['delivery'], frame, broken);
  const inBand = item['inBand'] === undefined ? undefined : parseInBand(object(item['inBand'], 'inBand'));
  if (inBand !== undefined && (alphabet !== 2 || item['pace'] !== 'number')) broken('inBand needs alphabet 2 and pace number');
  const keys = list(item['keys'], 'keys', MAX_KEYS).map((entry) => {
    const held = object(entry, 'keys[]');
    return { epoch: uint(held['epoch'], 'keys[].epoch'), key: key(held['key'], 'keys[].key') };
  });
  const viewerKeys = list(item['viewerKeys'], 'viewerKeys', MAX_KEYS).map((entry) => {
    const held = object(entry, 'viewerKeys[]');
    return { version: uint(held['version'], 'viewerKeys[].version', 65_535), key: key(held['key'], 'viewerKeys[].key') };
  });
  return {
    asset: assetId(item['asset']),
    sequencing: item['sequencing'] === true,
    representations,
    names: oneOf(item['names'], 'names', ['letters', 'digits']),
    pace: oneOf(item['pace'], 'pace', ['number', 'origin']),
    alphabet,
    book,
    schedule,
    ...(delivery !== undefined && { delivery }),
    ...(inBand !== undefined && { inBand }),
    keys,
    viewerKeys,
  };
};

/** The element as JSON; holds secrets. */
export const encodeMarkPlan = (plan: MarkPlan): JsonObject => ({
  ...plan,
  ...(plan.inBand !== undefined && { inBand: { slots: plan.inBand.slots, boxKeys: plan.inBand.boxKeys.map((item) => ({ epoch: item.epoch, key: encodeBase64url(item.key) })) } }),
  keys: plan.keys.map((item) => ({ epoch: item.epoch, key: encodeBase64url(item.key) })),
  viewerKeys: plan.viewerKeys.map((item) => ({ version: item.version, key: encodeBase64url(item.key) })),
});
