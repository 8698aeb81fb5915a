// SPDX-License-Identifier: Apache-2.0
/**
 * The parameter sets in force while a stream is read: those of `avcC`, then those met in-band (`avc3`, or repeated).
 *
 * Invariant: a PPS is parsed with the SPS in force when it is used, because its syntax depends on it.
 */
import { SealcastError } from '#core/errors.ts';
import type { AvcConfiguration } from './avc-configuration.ts';
import { NAL_PPS, NAL_SPS } from './nal.ts';
import { parsePps, ppsIds } from './pps.ts';
import type { PictureParameters } from './pps.ts';
import { parseSps } from './sps.ts';
import type { SequenceParameters } from './sps.ts';

/** Sequence and picture parameter sets by id, the newest of each. One per track: it changes while the stream is read. */
export type ParameterSets = {
  /** Takes a NAL unit of type 7 or 8 (header byte included); others are ignored. Bytes are copied. */
  accept(nal: Uint8Array): void;
  /** The PPS of that id and its SPS; throws `media-malformed` if one of them never came. */
  get(ppsId: number): { readonly pps: PictureParameters; readonly sps: SequenceParameters };
};

/** Starts with the sets of `configuration`; throws `media-malformed` or `media-truncated` where one of them is damaged. */
export const createParameterSets = (configuration?: AvcConfiguration): ParameterSets => {
  const spsById = new Map<number, SequenceParameters>();
  const ppsById = new Map<number, { readonly nal: Uint8Array; readonly spsId: number }>();
  const parsed = new Map<number, { readonly pps: PictureParameters; readonly sps: SequenceParameters }>();
  const sets: ParameterSets = {
    accept(nal) {
      const type = (nal[0] ?? 0) & 31;
      if (type === NAL_SPS) {
        const sps = parseSps(nal);
        spsById.set(sps.id, sps);
        parsed.clear();
      } else if (type === NAL_PPS) {
        const { id, spsId } = ppsIds(nal);
        ppsById.set(id, { nal: nal.slice(), spsId });
        parsed.delete(id);
      }
    },
    get(ppsId) {
      const known = parsed.get(ppsId);
      if (known !== undefined) return known;
      const raw = ppsById.get(ppsId);
      const sps = raw === undefined ? undefined : spsById.get(raw.spsId);
      if (raw === undefined || sps === undefined) throw new SealcastError('media-malformed', `a slice names picture parameter set ${ppsId}, which is not there`);
      const entry = { pps: parsePps(raw.nal, sps), sps };
      parsed.set(ppsId, entry);
      return entry;
    },
  };
  for (const nal of [...(configuration?.sps ?? []), ...(configuration?.pps ?? [])]) sets.accept(nal);
  return sets;
};
