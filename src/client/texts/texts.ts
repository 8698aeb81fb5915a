// SPDX-License-Identifier: Apache-2.0
/**
 * What a viewer reads when something stops: one sentence per code, in the app's language.
 *
 * Codes are API, sentences are not: an app passes `texts` for the codes it wants to word itself, a whole catalogue (`de`, `fr`,
 * `es`) or both, and reads English for the rest.
 */
import type { ErrorCode } from '#core/errors.ts';
import { ERRORS } from '#core/errors.ts';
import { type Reason, reasonText } from '#core/license/reasons.ts';

/** Every code that comes with a sentence. `connection-lost`: opened content is used up and no server answers. */
export type TextCode = Exclude<Reason, 'none'> | ErrorCode | 'connection-lost';
/** Sentences in place of the English ones, for all codes or some. */
export type Texts = { readonly [Code in TextCode]?: string };

const CONNECTION_LOST = 'The connection to the service was lost. Playback goes on as soon as it is back.';

/** The sentence for `code`: the app's own, else the English one. */
export const textOf = (code: Reason | TextCode, texts: Texts = {}): string => {
  const own = code === 'none' ? '' : texts[code];
  if (own !== undefined) return own;
  if (code === 'connection-lost') return CONNECTION_LOST;
  return Object.hasOwn(ERRORS, code) ? ERRORS[code as ErrorCode].viewer : reasonText(code as Reason);
};
