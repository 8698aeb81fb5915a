// SPDX-License-Identifier: Apache-2.0
/** Slice headers against an independent parser: ffmpeg's `trace_headers` prints every field with its bit position. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { parseSliceHeader } from '#core/avc/slice-header.ts';
import type { SliceHeader } from '#core/avc/slice-header.ts';
import { parseFragment } from '#core/isobmff/fragment.ts';
import { ffmpeg, generatedVideo, naturalClips, VIDEO_CODINGS } from './clips.ts';
import type { Cmaf } from './clips.ts';

// Each test runs several ffmpeg processes, beside whatever else the machine does.
vi.setConfig({ testTimeout: 120_000 });

type TracedSlice = { readonly fields: Map<string, number>; readonly endBit: number };

/** Slices as ffmpeg reads them; `endBit` counts from the NAL header byte. */
const traced = (clip: Cmaf): readonly TracedSlice[] => {
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-trace-'));
  try {
    const file = join(folder, 'clip.mp4');
    writeFileSync(file, Buffer.concat([clip.init, ...clip.fragments]));
    const { stderr } = ffmpeg(['-i', file, '-c', 'copy', '-bsf:v', 'trace_headers', '-f', 'null', '-']);
    const slices: { fields: Map<string, number>; endBit: number }[] = [];
    let current: { fields: Map<string, number>; endBit: number } | undefined;
    for (const line of stderr.split('\n')) {
      const text = /^\[trace_headers @ [^\]]*\] (.*)$/.exec(line)?.[1];
      if (text === undefined) continue;
      const field = /^(\d+) +(\S+) +([01]+) = (-?\d+)$/.exec(text);
      if (field === null) {
        current = undefined;
        if (text === 'Slice Header') slices.push((current = { fields: new Map(), endBit: 0 }));
        continue;
      }
      const [, position, name, bits, value] = field as unknown as [string, string, string, string, string];
      if (current === undefined || name === 'cabac_alignment_one_bit') continue;
      current.fields.set(name, Number(value));
      current.endBit = Number(position) + bits.length;
    }
    return slices;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const parsed = (clip: Cmaf): readonly SliceHeader[] => {
  const configuration = avcConfigurationOf(clip.track);
  const sets = createParameterSets(configuration);
  return clip.fragments.flatMap((bytes) =>
    parseFragment(bytes, [clip.track]).tracks.flatMap((run) =>
      run.samples.flatMap((sample) => {
        const data = bytes.subarray(sample.offset, sample.offset + sample.size);
        return lengthPrefixedNals(data, configuration.lengthSize).flatMap((nal) => {
          const unit = data.subarray(nal.start, nal.end);
          sets.accept(unit);
          return nal.type === 1 || nal.type === 5 ? [parseSliceHeader(unit, sets)] : [];
        });
      }),
    ),
  );
};

const TYPES = ['P', 'B', 'I', 'SP', 'SI'];

const expectSame = (clip: Cmaf): void => {
  const theirs = traced(clip);
  const ours = parsed(clip);
  expect(ours.length).toBe(theirs.length);
  expect(ours.length).toBeGreaterThan(20);
  ours.forEach((slice, i) => {
    const { fields, endBit } = theirs[i] as TracedSlice;
    expect(slice.headerBits + 8).toBe(endBit);
    expect(slice.firstMb).toBe(fields.get('first_mb_in_slice'));
    expect(slice.type).toBe(TYPES[(fields.get('slice_type') as number) % 5]);
    expect(slice.frameNum).toBe(fields.get('frame_num'));
    expect(slice.sliceQpDelta).toBe(fields.get('slice_qp_delta'));
    expect(slice.picOrderCntLsb).toBe(fields.get('pic_order_cnt_lsb'));
    expect(slice.cabacInitIdc).toBe(fields.get('cabac_init_idc'));
    expect(slice.disableDeblockingIdc).toBe(fields.get('disable_deblocking_filter_idc') ?? 0);
    expect(slice.directSpatialMvPred ? 1 : 0).toBe(fields.get('direct_spatial_mv_pred_flag') ?? 0);
    if (fields.get('num_ref_idx_active_override_flag') === 1) expect(slice.numRefIdxL0).toBe(1 + (fields.get('num_ref_idx_l0_active_minus1') as number));
    expect(slice.weights?.lumaLog2Denominator).toBe(fields.get('luma_log2_weight_denom'));
  });
};

describe('slice headers agree with ffmpeg, field by field and to the last bit', () => {
  for (const name of Object.keys(VIDEO_CODINGS)) it(name, () => expectSame(generatedVideo(name)));
  for (const clip of naturalClips()) it(clip.name, () => expectSame(clip.load()));
});
