// SPDX-License-Identifier: Apache-2.0
/**
 * The keys of other makers' tokens in the form a verifier asks for them: by format, algorithm and key id.
 *
 * Invariant: a look-up answers at most one key, and that key only for the one algorithm it was given for.
 */
import { encodeTokenKey, type TokenKey } from '#core/edge-bundle/token-key.ts';
import type { SigningSecret, TokenAlgorithm } from '#crypto/cose.ts';
import { importEs256Public } from '#crypto/ecdsa.ts';

type SigningKey = Extract<TokenKey, { alg: TokenAlgorithm }>;
type PatternKey = Exclude<TokenKey, { alg: TokenAlgorithm }>;

/** Keys of one bundle. */
export type TokenKeys = {
  /** Number of keys of all kinds. */
  readonly size: number;
  /** Equal for equal lists. */
  readonly fingerprint: string;
  /** The key that tokens of this format, algorithm and key id (empty: none given) are verified with. */
  signing(format: TokenKey['format'], alg: TokenAlgorithm, kid: string): { readonly key: SigningKey; secret(): Promise<SigningSecret> } | undefined;
  /** The key that opens sealed patterns. */
  pattern<A extends PatternKey['alg']>(alg: A, kid: string): Extract<TokenKey, { alg: A }> | undefined;
};

const idOf = (format: string, alg: string, kid: string): string => `${format} ${alg} ${kid}`;

/** Public keys are imported when first asked for. */
export const createTokenKeys = (list: readonly TokenKey[]): TokenKeys => {
  const signing = new Map<string, { readonly key: SigningKey; secret(): Promise<SigningSecret> }>();
  const patterns = new Map<string, PatternKey>();
  for (const item of list) {
    if (item.alg === 'HS256') {
      const secret: SigningSecret = { alg: 'HS256', key: item.key };
      signing.set(idOf(item.format, item.alg, item.kid), { key: item, secret: async () => secret });
    } else if (item.alg === 'ES256') {
      let imported: Promise<SigningSecret> | undefined;
      signing.set(idOf(item.format, item.alg, item.kid), { key: item, secret: () => (imported ??= importEs256Public(item.key).then((key) => ({ alg: 'ES256', key }))) });
    } else {
      patterns.set(idOf('', item.alg, item.kid), item);
    }
  }
  return {
    size: list.length,
    fingerprint: JSON.stringify(list.map(encodeTokenKey)),
    signing: (format, alg, kid) => signing.get(idOf(format, alg, kid)),
    pattern: <A extends PatternKey['alg']>(alg: A, kid: string) => patterns.get(idOf('', alg, kid)) as Extract<TokenKey, { alg: A }> | undefined,
  };
};
