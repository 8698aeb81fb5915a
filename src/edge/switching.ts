// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the object behind a marked segment's address: position, then symbol, then the variant's path at the origin; or, where
 * marks lie inside the bitstream, the one object there is and which of its places are on for the viewer.
 *
 * ETSI TS 104 002 clause 5.7. A viewer asks `{rep}/{file}`; the origin is asked `{rep}/{variant}/{file}`, and where it sets
 * the pace also `{rep}/WMPaceInfo/{file}`. Variants have cache keys of their own and are shared by all who get them.
 * Invariant: what a viewer sees of an answer (fields, errors, address) is the same for every variant.
 */
import type { PaceInfo } from '#core/pace/pace-info.ts';
import { positionOf } from '#core/pace/pace-info.ts';
import { createMarkBoxOpener } from '#crypto/mark-box.ts';
import { decodePaceInfo } from '#crypto/pace-cbor.ts';
import type { Denial, Granted } from '#edge/granted.ts';
import type { MarkSwitch } from '#edge/mark-switch.ts';
import { type MediaAddress, PACE_FOLDER } from '#edge/media-path.ts';
import type { StoredObject } from '#edge/memory-tier.ts';
import { type BoxOutcome, createUnboxer, type MarkPolicy } from '#edge/mark-boxes.ts';
import type { CacheAnswer, KeepAlive, MakeUnboxer, PullThrough } from '#edge/pull-through.ts';
import { resolveRange } from '#edge/range.ts';
import type { Disguise } from '#edge/respond.ts';
import type { Micros } from '#core/time.ts';

/** The object to serve, and how to hide which variant it is. */
export type Switched = { readonly ok: true; readonly key: string; readonly disguise: Disguise; /** Of objects with mark boxes. */ readonly unboxer?: MakeUnboxer } | Denial;

/** A request for an object of a marked asset. */
export type SwitchRequest = { readonly address: MediaAddress; readonly claims: Granted; readonly marks: MarkSwitch; readonly range: string | null; readonly now: Micros; readonly keepAlive: KeepAlive };

const UNMARKED: Denial = { ok: false, code: 'token-invalid', detail: 'a marked segment needs a token with watermark claims' };
/** Pace information is a few hundred bytes; a file of 32,768 ranges some hundred kB. */
const MAX_PACE_BYTES = 1_048_576;

const isMarked = ({ kind, representation }: MediaAddress, { plan }: MarkSwitch): boolean => (kind === 'segment' || kind === 'part') && plan.representations.includes(representation);

const bodyOf = async (answer: Exclude<CacheAnswer, { kind: 'refused' }>): Promise<Uint8Array | undefined> => {
  if (answer.kind === 'stored') return answer.object.body;
  const body = answer.kind === 'arriving' ? answer.bytes.stream(0, answer.length) : answer.body;
  if (body === null || (answer.length ?? 0) > MAX_PACE_BYTES) return undefined;
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_PACE_BYTES) return undefined;
    parts.push(chunk);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** What becomes of mark boxes, and who is told. */
export type MarkBoxRules = { readonly policy?: MarkPolicy | undefined; readonly onBox: (address: MediaAddress, outcome: BoxOutcome) => void };

/** `undefined` where the address has one copy for everybody. At once where everything needed is in memory. */
export const createSwitching = (objects: PullThrough, boxes: MarkBoxRules): ((request: SwitchRequest) => Switched | undefined | Promise<Switched>) => {
  const decoded = new WeakMap<StoredObject, PaceInfo>();

  const finish = ({ address, claims, marks }: SwitchRequest, position: number): Switched => {
    const { mark } = claims;
    if (mark === undefined) return UNMARKED;
    const choice = marks.choose(mark, position);
    if (!choice.ok) return choice;
    const { asset, representation, file, key } = address;
    return {
      ok: true,
      key: `${asset}/${representation}/${marks.nameOf(choice.symbol)}/${file}`,
      disguise: marks.disguiseFor(mark, key),
    };
  };

  /** Marks inside the bitstream: one object for all, the viewer's places switched on as it is answered. */
  const patched = ({ address, claims, marks }: SwitchRequest, slots: number): Switched => {
    const { asset, representation, number, key } = address;
    if (claims.mark === undefined) return UNMARKED;
    const found = marks.switches(claims.mark, number);
    if (!found.ok) return found;
    const unboxer: MakeUnboxer = () =>
      createUnboxer({
        opener: createMarkBoxOpener({ asset, representation, segment: number }, marks.boxKey),
        slots,
        ...(boxes.policy && { policy: boxes.policy }),
        onBox: (outcome) => boxes.onBox(address, outcome),
      });
    return { ok: true, key, disguise: { ...marks.disguiseFor(claims.mark, key), switches: found.switches }, unboxer };
  };

  const withPace = (request: SwitchRequest, pace: PaceInfo | undefined): Switched => {
    if (pace === undefined) return { ok: false, code: 'bad-request', detail: 'there is no pace information for this object' };
    const resolved = pace.kind === 'byterange' ? resolveRange(request.range, pace.fileSize) : undefined;
    const position = positionOf(pace, resolved?.kind === 'part' ? resolved : undefined);
    return position === undefined ? { ok: false, code: 'bad-request', detail: 'a byte range of a marked file may not span two positions' } : finish(request, position);
  };

  const fetchPace = async (request: SwitchRequest, key: string): Promise<Switched> => {
    const answer = await objects.open(key, request.keepAlive);
    if (answer.kind === 'refused') return answer.code === 'not-found' ? withPace(request, undefined) : { ok: false, code: answer.code, detail: answer.detail };
    try {
      const body = await bodyOf(answer);
      return withPace(request, body && decodePaceInfo(body));
    } catch {
      return { ok: false, code: 'origin-unavailable', detail: 'the pace information broke off' };
    }
  };

  return (request) => {
    const { address, marks, now } = request;
    if (!isMarked(address, marks)) return undefined;
    const { inBand } = marks.plan;
    if (inBand !== undefined) return patched(request, inBand.slots);
    if (marks.plan.pace === 'number') return finish(request, address.number);
    // Refused before the origin is asked: a token without a mark may not find out which objects have a pace.
    if (request.claims.mark === undefined) return UNMARKED;
    const key = `${address.asset}/${address.representation}/${PACE_FOLDER}/${address.file}`;
    const known = objects.peek(key, now);
    if (known === undefined) return fetchPace(request, key);
    const pace = decoded.get(known) ?? decodePaceInfo(known.body);
    if (pace !== undefined) decoded.set(known, pace);
    return withPace(request, pace);
  };
};
