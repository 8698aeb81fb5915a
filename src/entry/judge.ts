// SPDX-License-Identifier: Apache-2.0
/**
 * Comes to a verdict of its own from an observation that was reported: with the mark secret of the asset, where this
 * installation has one.
 *
 * Invariant: no mark secret is made here; an asset without one cannot be judged.
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { replayWithGrowth } from '#core/trace/index.ts';
import { markKeys } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { OperationsOptions } from '#operations/index.ts';
import type { SecretBox, SecretStore } from '#ports';

/** A judge with the mark secrets of a data folder. */
export const createJudge = ({ secrets, box }: { readonly secrets: SecretStore; readonly box: SecretBox }): NonNullable<OperationsOptions['judge']> => async (observation) => {
  const name = `mark/${observation.header.asset}`;
  const sealed = await secrets.get(name);
  if (sealed === undefined) return undefined;
  const secret = decodeBase64url(decodeUtf8(await box.open(sealed, `secret/${name}`)));
  return replayWithGrowth(observation, markKeys(hmacSha256, secret));
};
