// SPDX-License-Identifier: Apache-2.0
/**
 * Independent readers of what we encrypt: mediabunny (single key; it does not know key rotation) and ffmpeg (one
 * fragment at a time, its reader of several encrypted fragments is broken in 5.1).
 */
import { ALL_FORMATS, BufferSource, EncodedPacketSink, Input } from 'mediabunny';
import { describe, expect, it, vi } from 'vitest';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { createFragmentEncrypter } from '#core/cenc/encrypt-fragment.ts';
import { protectInit } from '#core/cenc/protect-init.ts';
import type { ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { ffmpeg, generatedAudio, generatedVideo, naturalClips } from './clips.ts';
import type { Cmaf } from './clips.ts';

// Each test runs several ffmpeg processes, beside whatever else the machine does.
vi.setConfig({ testTimeout: 120_000 });

const fill = (value: number): Uint8Array => new Uint8Array(16).map((_, i) => value + i);
const ENTRY = fill(0x10) as KeyId;
const KID = fill(0x30) as KeyId;
const KEY = fill(0x50) as ContentKey;
const IV = fill(0x70);

/** The clip under one key, named by the init segment (`track`) or by every fragment. */
const protect = (clip: Cmaf, scheme: ProtectionScheme, signalling: 'fragment' | 'track'): { init: Uint8Array; fragments: readonly Uint8Array[] } => {
  const constant = scheme === 'cbcs' ? { constantIv: IV } : {};
  const encrypter = createFragmentEncrypter({ scheme, track: clip.track, aes: nodeSampleAes, signalling });
  let nextIv = 0xfffffff0n;
  const fragments = clip.fragments.map((fragment) => {
    const result = encrypter.encrypt(fragment, { kid: KID, key: KEY, ...constant, ...(scheme === 'cenc' ? { firstIv: nextIv } : {}) });
    nextIv = result.nextIv;
    return result.bytes;
  });
  return { init: protectInit(clip.init, { scheme, defaultKid: signalling === 'track' ? KID : ENTRY, ...constant }), fragments };
};

/** Packets as mediabunny reads them: time, and bytes. */
const packets = async (file: Uint8Array): Promise<readonly { at: number; data: Uint8Array }[]> => {
  const input = new Input({
    source: new BufferSource(file),
    formats: ALL_FORMATS,
    formatOptions: { isobmff: { resolveKeyId: ({ keyId }) => (keyId === encodeHex(KID) ? KEY : new Uint8Array(16)) } },
  });
  const [track] = await input.getTracks();
  if (track === undefined) throw new Error('mediabunny found no track');
  const sink = new EncodedPacketSink(track);
  const found: { at: number; data: Uint8Array }[] = [];
  for (let packet = await sink.getFirstPacket(); packet !== null; packet = await sink.getNextPacket(packet)) found.push({ at: packet.timestamp, data: packet.data });
  return found;
};

/** MD5 of every decoded frame, by ffmpeg reading a pipe. */
const frameHashes = (file: Uint8Array, key?: Uint8Array): string => {
  const { stdout } = ffmpeg(['-v', 'error', ...(key === undefined ? [] : ['-decryption_key', encodeHex(key)]), '-i', 'pipe:0', '-f', 'framemd5', '-'], file);
  return stdout
    .toString('latin1')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
};

const clips: readonly { name: string; load(): Cmaf }[] = [
  ...['main, CABAC, B frames', 'baseline, CAVLC, four slices', 'high, CABAC, slices of 200 bytes', 'high, interlaced MBAFF'].map((name) => ({
    name,
    load: () => generatedVideo(name),
  })),
  ...naturalClips(),
  { name: 'AAC audio', load: () => generatedAudio() },
];

for (const scheme of ['cenc', 'cbcs'] as const) {
  describe(`mediabunny reads ${scheme}`, () => {
    for (const clip of clips) {
      it(clip.name, async () => {
        const source = clip.load();
        const sealed = protect(source, scheme, 'track');
        const clear = await packets(concatBytes(source.init, ...source.fragments));
        const opened = await packets(concatBytes(sealed.init, ...sealed.fragments));
        expect(opened.length).toBe(clear.length);
        expect(clear.length).toBeGreaterThan(40);
        clear.forEach((packet, i) => {
          expect(opened[i]?.at).toBe(packet.at);
          expect(Buffer.compare(packet.data, opened[i]?.data ?? new Uint8Array())).toBe(0);
        });
      });
    }
  });

  describe(`ffmpeg reads ${scheme}, each fragment naming its key`, () => {
    for (const clip of clips) {
      it(clip.name, () => {
        const source = clip.load();
        const sealed = protect(source, scheme, 'fragment');
        const startsWithSync = source.fragments.flatMap((bytes, i) => (onlyTrackFragment(parseFragment(bytes, [source.track])).samples[0]?.sync === true ? [i] : []));
        for (const i of new Set([0, startsWithSync.at(-1) ?? 0])) {
          const clear = frameHashes(concatBytes(source.init, source.fragments[i] as Uint8Array));
          const file = concatBytes(sealed.init, sealed.fragments[i] as Uint8Array);
          expect(clear.length).toBeGreaterThan(0);
          expect(frameHashes(file, KEY)).toBe(clear);
          if (i === 0) expect(wrongKeyHashes(file)).not.toBe(clear);
        }
      });
    }
  });
}

/** A wrong key must not give the clear frames; ffmpeg may also give up. */
const wrongKeyHashes = (file: Uint8Array): string => {
  try {
    return frameHashes(file, fill(0x51));
  } catch {
    return 'refused';
  }
};
