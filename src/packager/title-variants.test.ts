// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { representationId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { MediaProbe } from '#ports';
import { planTitle } from './title-plan.ts';
import type { PackedTrack } from './title-track.ts';
import { mergeVariants } from './title-variants.ts';

const SEGMENT = 2_000_000 as Micros;
const probe: MediaProbe = {
  streams: [
    { index: 0, kind: 'video', codec: 'h264', profile: 'High', pixelFormat: 'yuv420p', language: 'und', captions: false, width: 640, height: 360, frameRate: { numerator: 25, denominator: 1 } },
    { index: 1, kind: 'audio', codec: 'aac', profile: 'LC', language: 'en', captions: false, channels: 2 },
  ],
};
const packed = (change: Partial<PackedTrack> = {}): PackedTrack => ({
  track: { kind: 'video', id: representationId('v360'), bandwidth: change.bytes ?? 100 } as unknown as PackedTrack['track'],
  timescale: 1000,
  start: 0n,
  durations: [2000, 2000, 500],
  bytes: 100,
  header: Uint8Array.of(1, 2, 3),
  ...change,
});

test('variants are planned per rendition, coded and not copied, sound once', () => {
  const { media, copiesVideo } = planTitle(probe, { segmentDuration: SEGMENT, variants: 3, heights: [360, 180] });
  expect(copiesVideo).toBe(false);
  expect(media.map(({ id, variant }) => `${id}${variant === undefined ? '' : `/${variant}`}`)).toEqual(['v360/a', 'v360/b', 'v360/c', 'v180/a', 'v180/b', 'v180/c', 'a-en']);
  expect(media.map(({ conversion }) => ('variant' in conversion ? conversion.variant : undefined))).toEqual([0, 1, 2, 0, 1, 2, undefined]);
  const sound = { streams: probe.streams.slice(1) };
  expect(() => planTitle(sound, { segmentDuration: SEGMENT, variants: 2 })).toThrow(expect.objectContaining({ code: 'media-unsupported' }));
  expect(planTitle(probe, { segmentDuration: SEGMENT }).media.every(({ variant }) => variant === undefined)).toBe(true);
});

test('variants become one track with the rates of the largest', () => {
  const { media } = planTitle(probe, { segmentDuration: SEGMENT, variants: 2 });
  const merged = mergeVariants(media, [packed(), packed({ bytes: 130 }), packed({ header: Uint8Array.of(9) })], SEGMENT);
  expect(merged).toHaveLength(2);
  expect(merged[0]).toMatchObject({ variants: 2, bytes: 230, copied: false, track: { bandwidth: 130 } });
  expect(merged[1]).toMatchObject({ copied: true });
  expect(merged[1]?.variants).toBeUndefined();
});

test('variants that cannot be switched are refused, and so are sources with gaps', () => {
  const { media } = planTitle(probe, { segmentDuration: SEGMENT, variants: 2 });
  const sound = packed();
  for (const other of [packed({ header: Uint8Array.of(1, 2, 4) }), packed({ durations: [2000, 2500] }), packed({ durations: [2000, 2000, 501] }), packed({ start: 40n })]) {
    expect(() => mergeVariants(media, [packed(), other, sound], SEGMENT)).toThrow(expect.objectContaining({ code: 'media-unsupported' }));
  }
  const gap = packed({ durations: [2000, 4000, 2000, 500] });
  expect(() => mergeVariants(media, [gap, gap, sound], SEGMENT)).toThrow(/gap/);
});
