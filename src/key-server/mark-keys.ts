// SPDX-License-Identifier: Apache-2.0
/**
 * Mark keys of epochs and the viewer key, from an asset's mark secret MW.
 *
 * Design section 5: mark key = HMAC(MW, "mark" | u64 epoch); viewer key = HMAC(MW, "viewer-id"); box key MEK = HMAC(MW,
 * "mark-box-epoch" | u32 epoch); choice key = HMAC(MW, "mark-choice"). Only tracer and key server hold MW. Invariant: the secret is asked for at every use and never leaves this file.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { msg } from '#core/keys/encoding.ts';
import { boxEpochMessage, markChoiceMessage } from '#core/mark/index.ts';
import { markKey } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { MarkKeySource } from '#ports';

const MAX_EPOCHS = 4096;
/** `wmkeyver` of keys derived from the first mark secret. */
const VERSION = 1;

const requireEpochs = (from: number, to: number, what: string): void => {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from || to - from > MAX_EPOCHS) throw new SealcastError('bad-request', `${what}: epochs [from, to), at most ${MAX_EPOCHS}`);
};

/** `secret` answers the 32 bytes MW of an asset. */
export const createMarkKeys = (options: { secret: (asset: AssetId) => Promise<Uint8Array> }): MarkKeySource => ({
  async markKeys({ asset, from, to }) {
    requireEpochs(from, to, 'mark keys');
    const secret = await options.secret(asset);
    return {
      version: VERSION,
      viewerKey: hmacSha256(secret, msg('viewer-id')),
      keys: Array.from({ length: to - from }, (_, index) => ({ epoch: from + index, key: markKey(hmacSha256, secret, from + index) })),
    };
  },
  async boxKeys({ asset, from, to }) {
    requireEpochs(from, to, 'box keys');
    const secret = await options.secret(asset);
    return {
      choiceKey: hmacSha256(secret, markChoiceMessage()),
      keys: Array.from({ length: to - from }, (_, index) => ({ epoch: from + index, key: hmacSha256(secret, boxEpochMessage(from + index)) })),
    };
  },
});
