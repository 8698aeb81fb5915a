// SPDX-License-Identifier: Apache-2.0
/**
 * Who an operator is: `Authorization: Bearer` (RFC 6750 section 2.1) against hashed tokens, with roles and a limit on guesses.
 *
 * Cookies and URL parameters are never read: the first would let another site act for the operator, the second ends up in logs.
 * Invariant: a token exists in clear only in the answer of `issue`; a correct token is never locked out by somebody else's guesses.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { Clock, OperatorRecord, OperatorRole, OperatorStore, Random } from '#ports';

const TOKEN_BYTES = 32;
const TOKEN = /^so_[A-Za-z0-9_-]{43}$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
const RANK: Readonly<Record<OperatorRole, number>> = { view: 0, operate: 1, keys: 2 };
/** Wrong tokens per address and minute that are still answered one by one. */
const GUESSES_PER_MINUTE = 10;
const MINUTE = 60_000;
/** Addresses remembered; the oldest is forgotten first, so that the table cannot be grown from outside. */
const ADDRESSES = 4096;

/** Who acts; `name` goes into the audit log. */
export type Operator = { readonly name: string; readonly role: OperatorRole };
/** `first` tells the caller that this is the address's first refusal of the minute, worth one line in the feed. */
export type GateAnswer =
  | { readonly ok: true; readonly operator: Operator }
  | { readonly ok: false; readonly code: 'operator-token-required' | 'forbidden' | 'rate-limited'; readonly detail: string; readonly guess: 'none' | 'first' | 'repeated' };

/** Recognises operators and makes new ones. */
export type OperatorGate = {
  /** Checks a request for a role; `view` < `operate` < `keys`. */
  readonly admit: (request: Request, needed: OperatorRole, address: string) => Promise<GateAnswer>;
  /** Makes an operator and answers the token, once. Throws `already-exists` for a taken name, `bad-request` for a bad one. */
  readonly issue: (name: string, role: OperatorRole) => Promise<string>;
  /** At first start (no operator yet): the token of `admin` with all roles. Undefined ever after. */
  readonly firstStartToken: () => Promise<string | undefined>;
};

const hashOf = (token: string): Uint8Array => sha256(encodeUtf8(token));

const bearerOf = (request: Request): string | undefined => /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];

/** A gate over the stored operators; it keeps counts of wrong tokens in memory only. */
export const createOperatorGate = (options: { operators: OperatorStore; clock: Clock; random: Random }): OperatorGate => {
  const { operators, clock, random } = options;
  const guesses = new Map<string, { count: number; until: number }>();

  const recognise = async (token: string): Promise<OperatorRecord | undefined> => {
    if (!TOKEN.test(token)) return undefined;
    const hash = hashOf(token);
    const record = await operators.byTokenHash(encodeBase64url(hash));
    // The store may compare as it likes; what decides is this comparison, in constant time.
    return record !== undefined && equalBytes(encodeUtf8(record.tokenHash), encodeUtf8(encodeBase64url(hash))) ? record : undefined;
  };

  const countGuess = (address: string): number => {
    const now = clock.monotonic();
    const known = guesses.get(address);
    const entry = known !== undefined && known.until > now ? known : { count: 0, until: now + MINUTE };
    entry.count++;
    guesses.delete(address);
    guesses.set(address, entry);
    const oldest = guesses.size > ADDRESSES ? guesses.keys().next().value : undefined;
    if (oldest !== undefined) guesses.delete(oldest);
    return entry.count;
  };

  const issue = async (name: string, role: OperatorRole): Promise<string> => {
    if (!NAME.test(name)) throw new SealcastError('bad-request', `operator name must be 1-32 characters of a-z, 0-9 and -; got ${name.length} characters`);
    const token = `so_${encodeBase64url(random.bytes(TOKEN_BYTES))}`;
    const made = await operators.create({ name, role, tokenHash: encodeBase64url(hashOf(token)), createdAt: clock.now() });
    if (!made) throw new SealcastError('already-exists', `operator ${name} exists already`);
    return token;
  };

  return {
    issue,
    async firstStartToken() {
      return (await operators.list()).length === 0 ? issue('admin', 'keys') : undefined;
    },
    async admit(request, needed, address) {
      const token = bearerOf(request);
      if (token === undefined) return { ok: false, code: 'operator-token-required', detail: 'send Authorization: Bearer <operator token>', guess: 'none' };
      const record = await recognise(token);
      if (record === undefined) {
        const count = countGuess(address);
        const guess = count === 1 ? 'first' : 'repeated';
        return count > GUESSES_PER_MINUTE
          ? { ok: false, code: 'rate-limited', detail: `more than ${GUESSES_PER_MINUTE} wrong tokens in a minute`, guess }
          : { ok: false, code: 'operator-token-required', detail: `operator token not recognised; got ${token.length} characters`, guess };
      }
      if (RANK[record.role] < RANK[needed]) return { ok: false, code: 'forbidden', detail: `this needs role ${needed}; ${record.name} has ${record.role}`, guess: 'none' };
      return { ok: true, operator: { name: record.name, role: record.role } };
    },
  };
};
