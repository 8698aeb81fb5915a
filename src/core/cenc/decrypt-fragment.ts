// SPDX-License-Identifier: Apache-2.0
/**
 * Decrypts fragments: plans which ranges go through the cipher under which key and vector, so that the synchronous
 * (Node) and the asynchronous (WebCrypto) decrypter share everything but the cipher call (ISO/IEC 23001-7 clauses 9, 10).
 *
 * Invariants: a missing key is a value; nothing is deciphered before all keys are there; the result is the fragment
 * without its encryption boxes, all other bytes as they were.
 */
import { SealcastError } from '#core/errors.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { fourCharacters, readFullBox } from '#core/isobmff/box.ts';
import type { Box } from '#core/isobmff/box.ts';
import { parseFragment } from '#core/isobmff/fragment.ts';
import type { Fragment } from '#core/isobmff/fragment.ts';
import { withDataOffset } from '#core/isobmff/fragment-writer.ts';
import type { Track } from '#core/isobmff/init.ts';
import { editBoxes, editChildren } from '#core/isobmff/rewrite.ts';
import { gatherPattern, patternLength, scatterPattern } from './pattern.ts';
import type { Pattern } from './pattern.ts';
import { readProtection } from './read-protection.ts';
import type { SampleProtection } from './read-protection.ts';
import type { SampleAes } from './sample-aes.ts';

/** Content key of a KID; undefined where the client does not have it (yet). */
export type KeyLookup = (kid: KeyId) => ContentKey | undefined;

/** The fragment without encryption and its boxes, or the key that has to be there first. */
export type DecryptedFragment =
  | { readonly clear: Uint8Array /** Samples in the fragment. */; readonly samples: number }
  | { /** The first key that is not there. */ readonly missing: KeyId };

/** Bytes [offset, offset + length) of the fragment, of which the pattern ciphers some; `iv` starts a CBC chain anew. */
type Span = { readonly offset: number; readonly length: number; readonly pattern: Pattern | undefined; readonly iv: Uint8Array };

/** One cipher call: `input()` goes in, what comes out goes to `output()`. */
export type CipherCall = {
  readonly kid: KeyId;
  readonly mode: 'ctr' | 'cbc';
  /** 16 bytes: first counter, or first CBC vector. */
  readonly iv: Uint8Array;
  /** Ciphered bytes side by side. */
  input(source: Uint8Array): Uint8Array;
  /** Puts the clear bytes back to their places. */
  output(clear: Uint8Array, target: Uint8Array): void;
};

/** The cipher calls of a fragment, in any order, and the keys they need (each KID once). */
export type DecryptionPlan = { readonly fragment: Fragment; readonly calls: readonly CipherCall[]; readonly kids: readonly KeyId[]; readonly samples: number };

/** What it takes to decrypt a fragment of `tracks` (one or more, from `parseInit`). */
export const planDecryption = (bytes: Uint8Array, tracks: readonly Track[]): DecryptionPlan => {
  const fragment = parseFragment(bytes, tracks);
  const calls: CipherCall[] = [];
  const kids = new Map<string, KeyId>();
  const chains = new Map<string, Span[]>();
  let samples = 0;
  for (const run of fragment.tracks) {
    const track = tracks.find((candidate) => candidate.id === run.trackId) as Track;
    const protections = readProtection(fragment, run, track);
    const scheme = track.protection?.scheme;
    samples += run.samples.length;
    run.samples.forEach((sample, i) => {
      const protection = protections[i];
      if (protection === undefined) return;
      const { kid } = protection.parameters;
      const name = encodeHex(kid);
      const spans = spansOf(protection, sample.offset, sample.size, scheme === 'cbcs');
      if (spans.length === 0) return;
      if (!kids.has(name)) kids.set(name, kid);
      if (scheme === 'cenc') calls.push(ctrCall(kid, protection.iv, spans));
      else {
        const chain = chains.get(name);
        if (chain === undefined) chains.set(name, [...spans]);
        else chain.push(...spans);
      }
    });
  }
  for (const [name, spans] of chains) calls.push(cbcCall(kids.get(name) as KeyId, spans));
  return { fragment, calls, kids: [...kids.values()], samples };
};

/** The plan's keys by KID, all of them, or the first that is not there. */
export const collectKeys = (plan: DecryptionPlan, keyOf: KeyLookup): { readonly keyFor: (kid: KeyId) => ContentKey } | { readonly missing: KeyId } => {
  const keys = new Map<string, ContentKey>();
  for (const kid of plan.kids) {
    const key = keyOf(kid);
    if (key === undefined) return { missing: kid };
    keys.set(encodeHex(kid), key);
  }
  return { keyFor: (kid) => keys.get(encodeHex(kid)) as ContentKey };
};

/** Decrypts a fragment at once. `tracks` are those of `parseInit`; the input is not changed. */
export const decryptFragment = (bytes: Uint8Array, tracks: readonly Track[], keyOf: KeyLookup, aes: SampleAes): DecryptedFragment => {
  const plan = planDecryption(bytes, tracks);
  const keys = collectKeys(plan, keyOf);
  if ('missing' in keys) return keys;
  const clear = bytes.slice();
  for (const call of plan.calls) {
    const input = call.input(bytes);
    const key = keys.keyFor(call.kid);
    call.output(call.mode === 'ctr' ? aes.ctr(key, call.iv, input) : aes.cbcDecrypt(key, call.iv, input), clear);
  }
  return { clear: withoutEncryptionBoxes(clear), samples: plan.samples };
};

const WHOLE: Pattern = { crypt: 0, skip: 0 };

const spansOf = (protection: SampleProtection, from: number, size: number, blocks: boolean): readonly Span[] => {
  const { parameters, iv } = protection;
  if (parameters.skipBlocks > 0 && parameters.cryptBlocks === 0) throw new SealcastError('media-malformed', 'an encryption pattern ciphers no block');
  const pattern: Pattern | undefined = blocks ? (parameters.skipBlocks > 0 ? { crypt: parameters.cryptBlocks, skip: parameters.skipBlocks } : WHOLE) : undefined;
  const spans: Span[] = [];
  let at = from;
  for (const subsample of protection.subsamples ?? [{ clear: 0, protected: size }]) {
    at += subsample.clear;
    const span = { offset: at, length: subsample.protected, pattern, iv };
    if (cipheredLength(span) > 0) spans.push(span);
    at += subsample.protected;
  }
  return spans;
};

const cipheredLength = (span: Span): number => (span.pattern === undefined ? span.length : patternLength(span.length, span.pattern));

/** One counter runs across the protected ranges of a sample. */
const ctrCall = (kid: KeyId, iv: Uint8Array, spans: readonly Span[]): CipherCall => {
  const total = spans.reduce((sum, span) => sum + span.length, 0);
  return {
    kid,
    mode: 'ctr',
    iv,
    input(source) {
      const [only, second] = spans;
      if (only !== undefined && second === undefined) return source.subarray(only.offset, only.offset + only.length);
      const gathered = new Uint8Array(total);
      let at = 0;
      for (const span of spans) {
        gathered.set(source.subarray(span.offset, span.offset + span.length), at);
        at += span.length;
      }
      return gathered;
    },
    output(clear, target) {
      let at = 0;
      for (const span of spans) {
        target.set(clear.subarray(at, at + span.length), span.offset);
        at += span.length;
      }
    },
  };
};

/**
 * All chains of one key in one call: CBC decryption looks at two neighbouring cipher blocks only, so a chain restarts
 * by putting its vector in front of it as if it were a cipher block. What that block decrypts to is thrown away.
 */
const cbcCall = (kid: KeyId, spans: readonly Span[]): CipherCall => ({
  kid,
  mode: 'cbc',
  iv: (spans[0] as Span).iv,
  input(source) {
    const gathered = new Uint8Array(spans.reduce((sum, span) => sum + 16 + cipheredLength(span), -16));
    let at = 0;
    spans.forEach((span, i) => {
      if (i > 0) {
        gathered.set(span.iv, at);
        at += 16;
      }
      at += gatherPattern(source, span.offset, span.length, span.pattern ?? WHOLE, gathered, at);
    });
    return gathered;
  },
  output(clear, target) {
    let at = 0;
    spans.forEach((span, i) => {
      if (i > 0) at += 16;
      at += scatterPattern(clear, at, target, span.offset, span.length, span.pattern ?? WHOLE);
    });
  },
});

const ENCRYPTION_BOXES = new Set(['senc', 'saiz', 'saio']);
const isSeig = (box: Box): boolean => fourCharacters(readFullBox(box).reader.take(4), 0) === 'seig';

/** The fragment without senc, saiz, saio, seig groups and pssh; sample data moves up, data offsets follow. */
export const withoutEncryptionBoxes = (bytes: Uint8Array): Uint8Array => {
  const strip = (moof: Box, shrink: number): Uint8Array =>
    editChildren(moof, 0, (child) => {
      if (child.type === 'pssh') return [];
      if (child.type !== 'traf') return undefined;
      return editChildren(child, 0, (box) => {
        if (ENCRYPTION_BOXES.has(box.type) || ((box.type === 'sgpd' || box.type === 'sbgp') && isSeig(box))) return [];
        return box.type === 'trun' ? withDataOffset(box, -shrink) : undefined;
      });
    });
  return editBoxes(bytes, (box) => (box.type === 'moof' ? strip(box, box.bytes.length - strip(box, 0).length) : undefined));
};
