// SPDX-License-Identifier: Apache-2.0
/**
 * Decryption against a naive second encryptor: one block at a time, every combination that ISO/IEC 23001-7 allows
 * (both schemes, any pattern and IV size, groups per sample, senc or saiz/saio).
 */
import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { readBoxes, writeBox, writeFullBox } from '#core/isobmff/box.ts';
import { writeFragment } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import type { Track } from '#core/isobmff/init.ts';
import { editBoxes, editChildren } from '#core/isobmff/rewrite.ts';
import type { EncryptionParameters } from '#core/isobmff/sample-entry.ts';
import { writeEncryptionParameters } from '#core/isobmff/sample-groups.ts';
import type { MediaTicks } from '#core/time.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import { expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { decryptFragment, withoutEncryptionBoxes } from './decrypt-fragment.ts';
import { createFragmentEncrypter } from './encrypt-fragment.ts';
import { protectInit } from './protect-init.ts';

const kidOf = (number: number): KeyId => new Uint8Array(16).fill(number) as KeyId;
const keyOf = (kid: KeyId): ContentKey => new Uint8Array(16).map((_, i) => (kid[0] as number) * 3 + i) as ContentKey;

type Plan = {
  readonly scheme: 'cenc' | 'cbcs';
  readonly ivSize: 0 | 8 | 16;
  readonly constantIv: Uint8Array;
  readonly crypt: number;
  readonly skip: number;
  readonly subsamples: boolean;
  readonly storage: 'senc' | 'saiz';
  readonly groups: 'none' | 'fragment' | 'table';
  /** Per sample: parts of clear and protected bytes, its group (0 = track, 3 = clear). */
  readonly samples: readonly { readonly parts: readonly (readonly [number, number])[]; readonly group: number }[];
};

const plans: fc.Arbitrary<Plan> = fc
  .record({
    scheme: fc.constantFrom<Plan['scheme']>('cenc', 'cbcs'),
    ivSize: fc.constantFrom<Plan['ivSize']>(0, 8, 16),
    constantIv: fc.constantFrom(8, 16).chain((length) => fc.uint8Array({ minLength: length, maxLength: length })),
    crypt: fc.integer({ min: 1, max: 15 }),
    skip: fc.integer({ min: 0, max: 15 }),
    subsamples: fc.boolean(),
    storage: fc.constantFrom<Plan['storage']>('senc', 'saiz'),
    groups: fc.constantFrom<Plan['groups']>('none', 'fragment', 'table'),
    samples: fc.array(fc.record({ parts: fc.array(fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 400 })), { minLength: 1, maxLength: 4 }), group: fc.nat({ max: 3 }) }), {
      minLength: 1,
      maxLength: 6,
    }),
  })
  .map((plan) => (plan.scheme === 'cenc' && plan.ivSize === 0 ? { ...plan, ivSize: 8 as const } : plan));

const parametersOf = (plan: Plan, group: number): EncryptionParameters => ({
  isProtected: group !== 3,
  ivSize: group === 3 ? 0 : plan.ivSize,
  kid: kidOf(group + 1),
  cryptBlocks: plan.scheme === 'cbcs' ? plan.crypt : 0,
  skipBlocks: plan.scheme === 'cbcs' ? plan.skip : 0,
  ...(group !== 3 && plan.ivSize === 0 ? { constantIv: plan.constantIv } : {}),
});
const groupOf = (plan: Plan, group: number): number => (plan.groups === 'none' ? 0 : group);

/** One AES block. */
const block = (key: Uint8Array, input: Uint8Array): Uint8Array => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(input);

/** Ciphers one sample in place the slow way. */
const encryptSample = (plan: Plan, sample: Uint8Array, parts: readonly (readonly [number, number])[], parameters: EncryptionParameters, iv: Uint8Array): void => {
  const key = keyOf(parameters.kid);
  const start = new Uint8Array(16);
  start.set(iv);
  let counter = 0;
  let at = 0;
  for (const [clear, length] of parts) {
    at += clear;
    let chain = start;
    for (let i = 0; i < length; i++) {
      if (plan.scheme === 'cenc') {
        const input = start.slice();
        let carry = Math.floor(counter / 16);
        for (let n = 15; n >= 0 && carry > 0; n--) {
          carry += input[n] as number;
          input[n] = carry & 255;
          carry >>= 8;
        }
        sample[at + i] = (sample[at + i] as number) ^ (block(key, input)[counter % 16] as number);
        counter++;
      } else if (i % 16 === 0 && i + 16 <= length && (i / 16) % (plan.crypt + plan.skip) < plan.crypt) {
        const mixed = sample.slice(at + i, at + i + 16).map((byte, n) => byte ^ (chain[n] as number));
        chain = new Uint8Array(block(key, mixed));
        sample.set(chain, at + i);
      }
    }
    at += length;
  }
};

const clearFragment = (plan: Plan): Uint8Array =>
  writeFragment({
    sequenceNumber: 1,
    trackId: 1,
    baseMediaDecodeTime: 5n as MediaTicks,
    samples: plan.samples.map(({ parts }, i) => ({
      data: Uint8Array.from({ length: parts.reduce((sum, [clear, length]) => sum + clear + length, 0) }, (_, n) => (n * 7 + i * 13) & 255),
      duration: 1,
      flags: 0,
      compositionOffset: 0,
    })),
  });

/** The fragment of a plan, encrypted and signalled. */
const encryptNaively = (plan: Plan): Uint8Array => {
  const clear = clearFragment(plan);
  const [moof, mdat] = readBoxes(clear);
  if (moof === undefined || mdat === undefined) throw new Error('no fragment');
  const data = mdat.body.slice();
  const entries = plan.samples.map(({ group, parts }, i) => {
    const parameters = parametersOf(plan, groupOf(plan, group));
    const writer = new ByteWriter();
    const iv = Uint8Array.from({ length: plan.ivSize }, (_, n) => 0xf0 + n + i);
    const whole = plan.subsamples ? parts : [[0, parts.reduce((sum, [a, b]) => sum + a + b, 0)] as const];
    const offset = plan.samples.slice(0, i).reduce((sum, sample) => sum + sample.parts.reduce((inner, [a, b]) => inner + a + b, 0), 0);
    const length = parts.reduce((sum, [a, b]) => sum + a + b, 0);
    if (parameters.isProtected) encryptSample(plan, data.subarray(offset, offset + length), whole, parameters, parameters.constantIv ?? iv);
    if (parameters.isProtected && plan.ivSize > 0) writer.bytes(iv);
    if (plan.subsamples) {
      writer.u16(parts.length);
      for (const [a, b] of parts) writer.u16(a).u32(b);
    }
    return writer.finish();
  });
  const groups: Uint8Array[] = [];
  if (plan.groups !== 'none') {
    const runs = plan.samples.map(({ group }) => (group === 0 ? 0 : group + (plan.groups === 'fragment' ? 0x10000 : 0)));
    groups.push(writeFullBox('sbgp', 0, 0, runs.reduce((writer, index) => writer.u32(1).u32(index), new ByteWriter().text('seig').u32(runs.length)).finish()));
    if (plan.groups === 'fragment') groups.push(description(plan));
  }
  const senc = writeFullBox('senc', 0, plan.subsamples ? 2 : 0, new ByteWriter().u32(entries.length).finish(), ...entries);
  // Auxiliary information in another place than senc is what a reader of saiz and saio has to find.
  const hidden = writeBox('skip', new Uint8Array(8), ...entries);
  const saiz = writeFullBox(
    'saiz',
    0,
    0,
    new ByteWriter()
      .u8(0)
      .u32(entries.length)
      .bytes(Uint8Array.from(entries, (entry) => entry.length))
      .finish(),
  );
  const before = moof.bytes.length + groups.reduce((sum, box) => sum + box.length, 0) + saiz.length + 20;
  const saio = writeFullBox(
    'saio',
    0,
    0,
    new ByteWriter()
      .u32(1)
      .u32(before + 16)
      .finish(),
  );
  const added = [...groups, ...(plan.storage === 'senc' ? [senc] : [saiz, saio, hidden])];
  const growth = added.reduce((sum, box) => sum + box.length, 0);
  const grown = editChildren(moof, 0, (traf) =>
    traf.type !== 'traf'
      ? undefined
      : editChildren(
          traf,
          0,
          (box) => {
            if (box.type !== 'trun') return undefined;
            const copy = box.bytes.slice();
            const view = new DataView(copy.buffer);
            view.setInt32(16, view.getInt32(16) + growth);
            return copy;
          },
          added,
        ),
  );
  return concatBytes(grown, writeBox('mdat', data));
};

/** `sgpd` with the entries of groups 1-3, each with its own length. */
const description = (plan: Plan): Uint8Array =>
  writeFullBox(
    'sgpd',
    1,
    0,
    new ByteWriter().text('seig').u32(0).u32(3).finish(),
    ...[1, 2, 3].flatMap((group) => {
      const entry = writeEncryptionParameters(parametersOf(plan, group));
      return [new ByteWriter().u32(entry.length).finish(), entry];
    }),
  );

const trackOf = (plan: Plan): Track => ({
  ...smallClip('aac').track,
  protection: { scheme: plan.scheme, defaults: parametersOf(plan, 0) },
  seig: plan.groups === 'table' ? [1, 2, 3].map((group) => parametersOf(plan, group)) : [],
});
/** Sample data of a fragment. */
const dataOf = (bytes: Uint8Array): number[] => [...(readBoxes(bytes).find((box) => box.type === 'mdat')?.body ?? [])];

describe('decryptFragment', () => {
  it('undoes a naive encryptor in every combination', async () => {
    const cipher = createSampleCipher();
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const bytes = encryptNaively(plan);
        const expected = dataOf(clearFragment(plan));
        const sync = decryptFragment(bytes, [trackOf(plan)], keyOf, nodeSampleAes);
        expect('clear' in sync ? dataOf(sync.clear) : sync).toEqual(expected);
        const asynchronous = await cipher.decryptFragment(bytes, [trackOf(plan)], keyOf);
        expect(asynchronous).toEqual(sync);
      }),
      { numRuns: 150 },
    );
  });

  const sealed = (name: 'avc' | 'aac', scheme: 'cenc' | 'cbcs'): { bytes: Uint8Array; tracks: readonly Track[]; clear: Uint8Array } => {
    const clip = smallClip(name);
    const constant = scheme === 'cbcs' ? { constantIv: new Uint8Array(16).fill(4) } : {};
    const clear = clip.fragments[0] as Uint8Array;
    const encrypter = createFragmentEncrypter({ scheme, track: clip.track, aes: nodeSampleAes, signalling: 'fragment', psshInFragments: true });
    const { bytes } = encrypter.encrypt(clear, { kid: kidOf(1), key: keyOf(kidOf(1)), ...(scheme === 'cenc' ? { firstIv: 1n } : constant) });
    return { bytes, tracks: parseInit(protectInit(clip.init, { scheme, defaultKid: kidOf(9), ...constant })).tracks, clear };
  };

  it('answers the missing key as a value and leaves the input alone', () => {
    const { bytes, tracks } = sealed('avc', 'cbcs');
    const before = bytes.slice();
    expect(decryptFragment(bytes, tracks, () => undefined, nodeSampleAes)).toEqual({ missing: kidOf(1) });
    decryptFragment(bytes, tracks, keyOf, nodeSampleAes);
    expect(bytes).toEqual(before);
  });

  it('passes clear fragments through and strips boxes without decrypting', () => {
    const clip = smallClip('avc');
    expect(decryptFragment(clip.fragments[0] as Uint8Array, [clip.track], () => undefined, nodeSampleAes)).toEqual({ clear: clip.fragments[0], samples: 5 });
    const { bytes, clear } = sealed('aac', 'cenc');
    expect(withoutEncryptionBoxes(bytes).length).toBe(clear.length);
  });

  it('names what does not fit', () => {
    const { bytes, tracks } = sealed('avc', 'cenc');
    const change = (type: string, edit: (view: DataView) => void): Uint8Array =>
      editBoxes(bytes, (moof) =>
        moof.type !== 'moof'
          ? undefined
          : editChildren(moof, 0, (traf) =>
              traf.type !== 'traf'
                ? undefined
                : editChildren(traf, 0, (box) => {
                    if (box.type !== type) return undefined;
                    const copy = box.bytes.slice();
                    edit(new DataView(copy.buffer));
                    return copy;
                  }),
            ),
      );
    const open =
      (changed: Uint8Array, of: readonly Track[] = tracks): (() => unknown) =>
      () =>
        decryptFragment(changed, of, keyOf, nodeSampleAes);
    const failing = (code: string): unknown => expect.objectContaining({ code });
    expect(open(change('senc', (view) => view.setUint32(12, 4)))).toThrow(failing('media-malformed'));
    expect(open(change('senc', (view) => view.setUint32(26, 7)))).toThrow(failing('media-malformed'));
    expect(open(change('sbgp', (view) => view.setUint32(24, 0x10002)))).toThrow(/group/);
    expect(open(change('sbgp', (view) => view.setUint32(16, 0xffffffff)))).toThrow(failing('media-truncated'));
    expect(open(change('sgpd', (view) => view.setUint32(20, 0xffffffff)))).toThrow(failing('media-truncated'));
    const other = tracks.map((track) => ({ ...track, protection: { scheme: 'cens', defaults: (track.protection as NonNullable<Track['protection']>).defaults } }));
    expect(open(bytes, other)).toThrow(failing('media-unsupported'));
  });

  it('survives hostile variations', () => {
    for (const [name, scheme] of [
      ['avc', 'cenc'],
      ['avc', 'cbcs'],
      ['aac', 'cenc'],
      ['aac', 'cbcs'],
    ] as const) {
      const { bytes, tracks } = sealed(name, scheme);
      const headSize = readBoxes(bytes).find((box) => box.type === 'moof')?.bytes.length ?? 0;
      fc.assert(
        fc.property(hostile(bytes.subarray(0, headSize)), (head) =>
          expectTypedOutcome(() => decryptFragment(concatBytes(head, bytes.subarray(headSize)), tracks, keyOf, nodeSampleAes)),
        ),
        { numRuns: 400 },
      );
    }
  });
});
