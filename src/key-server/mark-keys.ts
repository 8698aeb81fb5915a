// SPDX-License-Identifier: Apache-2.0
/**
 * Mark keys of epochs and the viewer key, from an asset's mark secret MW.
 *
 * Design section 5: mark key = HMAC(MW, "mark" | u64 epoch); viewer key = HMAC(MW, "viewer-id"). Only tracer and key server
 * hold MW. Invariant: the secret is asked for at every use and never leaves this file.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { msg } from '#core/keys/encoding.ts';
import { markKey } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { MarkKeySource } from '#ports';

const MAX_EPOCHS = 4096;
/** `wmkeyver` of keys derived from the first mark secret. */
const VERSION = 1;

/** `secret` answers the 32 bytes MW of an asset. */
export const createMarkKeys = (options: { secret: (asset: AssetId) => Promise<Uint8Array> }): MarkKeySource => ({
  async markKeys({ asset, from, to }) {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from || to - from > MAX_EPOCHS) throw new SealcastError('bad-request', `mark keys: epochs [from, to), at most ${MAX_EPOCHS}`);
    const secret = await options.secret(asset);
    return {
      version: VERSION,
      viewerKey: hmacSha256(secret, msg('viewer-id')),
      keys: Array.from({ length: to - from }, (_, index) => ({ epoch: from + index, key: markKey(hmacSha256, secret, from + index) })),
    };
  },
});
