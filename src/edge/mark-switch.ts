// SPDX-License-Identifier: Apache-2.0
/**
 * Which variant of a segment a viewer gets: token mark and position in, symbol out.
 *
 * ETSI TS 104 002 clauses 5.4 and 5.7; docs/wire/edge-bundle.md, `marks`. Direct mode reads a bit of the token's pattern;
 * indirect mode opens `wmid` to a viewer number and asks the asset's code book, a function of mark keys and position alone:
 * every edge answers the same, before and after a restart.
 * Invariant: without a mark that can be used there is no symbol; nothing falls back to a default variant.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { type Switches, switchesOf } from '#core/mark/index.ts';
import { MAX_POSITION, variantName } from '#core/pace/pace-info.ts';
import { openViewerId, OWN_VENDOR } from '#core/token/viewer-id.ts';
import { patternBit } from '#core/token/wm-claims.ts';
import { createDeliveredCopies, type DeliveredCopies } from '#edge/delivered-copies.ts';
import { type AlignedBook, type CodeBook, createAdaptiveBook, createAlignedBook, createBiasedBook, type EpochKeys, position as positionOfSegment, type ViewerNumber, viewerNumber } from '#core/watermark/index.ts';
import { sipHash, type SipKey, sipKey } from '#core/watermark/siphash.ts';
import { hmacSha256, sha256 } from '#crypto/hmac.ts';
import type { Denial, ViewerMark } from '#edge/granted.ts';
import type { Disguise } from '#edge/respond.ts';

/** A variant, or why there is none. */
export type Choice = { readonly ok: true; readonly symbol: number } | Denial;

/** The switch of one asset. */
export type MarkSwitch = {
  readonly plan: MarkPlan;
  /** Places of segment `number` that are on for a viewer, where marks lie inside the bitstream. */
  switches(mark: ViewerMark, number: number): { readonly ok: true; readonly switches: Switches } | Denial;
  /** `position`: of the segment, counted without end; -1 is not watermarked. */
  choose(mark: ViewerMark, position: number): Choice;
  /** MEK of a box key epoch, where this edge has it. */
  boxKey(epoch: number): Uint8Array | undefined;
  /** Path segment of a variant at the origin. */
  nameOf(symbol: number): string;
  /** Makes entity tags that no two viewers share, and that say nothing about the variant. */
  disguiseFor(mark: ViewerMark, key: string): Disguise;
};

const refused = (detail: string): Denial => ({ ok: false, code: 'token-invalid', detail });
const unopened = refused('the watermark id of this token is not one of this event');

const createBook = ({ book, alphabet, schedule, keys, delivery }: MarkPlan): CodeBook | DeliveredCopies => {
  if (book === 'adaptive') return createAdaptiveBook({ alphabet });
  const held = new Map(keys.map(({ epoch, key }) => [epoch, key]));
  const epochKeys: EpochKeys = (epoch) => {
    const key = held.get(epoch);
    if (key === undefined) throw new SealcastError('key-unavailable', 'the mark key of this epoch is not at this edge');
    return key;
  };
  if (delivery?.kind === 'prefix') return createDeliveredCopies({ kind: 'prefix', alphabet, schedule, blocks: delivery.blocks, keys: epochKeys });
  if (book === 'aligned') return createAlignedBook({ alphabet, schedule, keys: epochKeys });
  const bias = book === 'biased-uniform' ? 'uniform' : book === 'biased-dirichlet' ? 'dirichlet' : 'alternate';
  const biased = createBiasedBook({ alphabet, bias, schedule, keys: epochKeys });
  return delivery === undefined ? biased : createDeliveredCopies({ ...delivery, book: biased });
};

const isAligned = (book: CodeBook | DeliveredCopies): book is AlignedBook => book.kind === 'aligned';

/** The switch of a plan; its code book is made at the first viewer. */
export const createMarkSwitch = (plan: MarkPlan): MarkSwitch => {
  const { alphabet, sequencing } = plan;
  let book: CodeBook | DeliveredCopies | undefined;
  // A remembered token keeps its mark object, so its viewer number is opened once.
  const viewers = new WeakMap<ViewerMark, ViewerNumber>();
  const words = new WeakMap<ViewerMark, { readonly start: number; readonly word: Uint8Array }>();
  const tags = new WeakMap<ViewerMark, SipKey>();

  const viewerOf = (mark: Extract<ViewerMark, { kind: 'id' }>): ViewerNumber | undefined => {
    const known = viewers.get(mark);
    if (known !== undefined) return known;
    const key = mark.vendor === OWN_VENDOR ? plan.viewerKeys.find(({ version }) => version === mark.keyVersion)?.key : undefined;
    const number = key && openViewerId(hmacSha256, key, mark.id);
    if (number === undefined) return undefined;
    const viewer = viewerNumber(number);
    viewers.set(mark, viewer);
    return viewer;
  };

  const symbolOf = (mark: ViewerMark, position: number): Choice => {
    if (mark.kind === 'pattern') return { ok: true, symbol: patternBit(mark.bits, mark.length, position % (MAX_POSITION + 1)) };
    const viewer = viewerOf(mark);
    if (viewer === undefined) return unopened;
    book ??= createBook(plan);
    const at = positionOfSegment(position);
    if (!isAligned(book)) return { ok: true, symbol: book.symbol(viewer, at) };
    // A session stays in one epoch for many segments.
    const known = words.get(mark);
    if (known !== undefined && at >= known.start && at < known.start + known.word.length) return { ok: true, symbol: known.word[at - known.start] as number };
    const epoch = book.epochAt(at);
    const word = book.codeword(viewer, epoch);
    words.set(mark, { start: epoch.start, word });
    return { ok: true, symbol: word[at - epoch.start] as number };
  };

  /** What tags of one viewer are made with: from key material, so that every edge gives the same. */
  const tagKey = (mark: ViewerMark): SipKey => {
    let key = tags.get(mark);
    if (key === undefined) {
      const secret = plan.viewerKeys[0]?.key ?? plan.keys[0]?.key ?? new Uint8Array(32);
      key = sipKey(hmacSha256(secret, encodeUtf8(`sealcast/1/entity-tag ${mark.kind === 'id' ? mark.id : encodeBase64url(mark.bits)}`)));
      tags.set(mark, key);
    }
    return key;
  };
  const tag = new Int32Array(2);

  const choose = (mark: ViewerMark, position: number): Choice => {
    if (position < 0 || !sequencing) return { ok: true, symbol: 0 };
    try {
      const choice = symbolOf(mark, position);
      return choice.ok && choice.symbol >= alphabet ? refused('the pattern has more variants than the asset') : choice;
    } catch (error) {
      if (!isSealcastError(error)) throw error;
      // Positions before the schedule have no epoch: the same as an epoch whose key is not here.
      return { ok: false, code: 'key-unavailable', detail: error.message };
    }
  };

  return {
    plan,
    nameOf: (symbol) => variantName(plan.names, symbol),
    choose,
    boxKey: (epoch) => plan.inBand?.boxKeys.find((held) => held.epoch === epoch)?.key,
    switches: (mark, number) => {
      const slots = plan.inBand?.slots ?? 1;
      if (!sequencing) return { ok: true, switches: switchesOf(slots, () => 0) };
      const symbols = new Uint8Array(slots);
      for (let slot = 0; slot < slots; slot++) {
        const choice = choose(mark, number * slots + slot);
        if (!choice.ok) return choice;
        symbols[slot] = choice.symbol;
      }
      return { ok: true, switches: switchesOf(slots, (slot) => symbols[slot] as number) };
    },
    disguiseFor: (mark, key) => ({
      digest: (originTag) => {
        const [low, high] = sipKey(sha256(encodeUtf8(`${key} ${originTag}`)));
        return [low, high];
      },
      tag: ([low, high]) => {
        sipHash(tagKey(mark), low, high, tag);
        return `"${((tag[0] as number) >>> 0).toString(36)}-${((tag[1] as number) >>> 0).toString(36)}"`;
      },
    }),
  };
};
