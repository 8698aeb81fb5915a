// SPDX-License-Identifier: Apache-2.0
/**
 * The key server's ports over HTTP, for packagers and licence servers that run apart from it.
 *
 * docs/wire/keys.md, "Service interface". Invariant: an answer is used only if every member has its type and every key its
 * size; errors name the route and carry neither credential nor body.
 */
import { ERRORS, type ErrorCode, SealcastError } from '#core/errors.ts';
import type { AssetId, ContentKey, GrantKey, KeyId } from '#core/ids.ts';
import { assetId } from '#core/ids.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { parseOpenNode } from '#core/license/open-node.ts';
import { jsonObject, type Members, membersOf } from '#core/license/shape.ts';
import { MAX_LEAF_LENGTH } from '#core/subscription/leaf.ts';
import { END_OF_MONTHS, FIRST_MONTH } from '#core/subscription/root-keys.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import type { AssetKeying, ContentKeySource, Fetch, GrantKeySource, LeafKeySource, MarkKeySource } from '#ports';

/** Where the key server is and who asks. */
export type HttpKeysOptions = {
  /** Origin of the key server, e.g. `https://keys.example`. */
  readonly baseUrl: string;
  /** Bearer service credential. */
  readonly credential: string;
  readonly fetch?: Fetch;
  /** Deadline of one request, ms. */
  readonly timeout?: number;
};

const CODE: ErrorCode = 'key-unavailable';
const MAX_KEYS = 4096;
const MAX_ROOT_NODES = 64;
const MAX_INDEX = Number.MAX_SAFE_INTEGER;

const isCode = (code: unknown): code is ErrorCode => typeof code === 'string' && Object.hasOwn(ERRORS, code);

/** All ports; which of their methods work depends on the credential. Throws the server's code, else `key-unavailable`. */
export const createHttpKeys = (options: HttpKeysOptions): ContentKeySource & GrantKeySource & LeafKeySource & MarkKeySource => {
  const { baseUrl, credential, fetch = (request) => globalThis.fetch(request), timeout = 5000 } = options;

  const ask = async (asset: AssetId | '-', what: string, body: object | undefined, required: readonly string[]): Promise<Members> => {
    const url = `${baseUrl.replace(/\/$/, '')}/v1/keys/${asset}${what}`;
    const init: RequestInit = { signal: AbortSignal.timeout(timeout), headers: { Authorization: `Bearer ${credential}`, ...(body && { 'Content-Type': 'application/json' }) } };
    let response: Response;
    let text: string;
    try {
      response = await fetch(new Request(url, body === undefined ? init : { ...init, method: 'POST', body: JSON.stringify(body) }));
      text = await response.text();
    } catch (cause) {
      throw new SealcastError(CODE, `key server: keys/{asset}${what} could not be reached`, { cause });
    }
    const document = `key server answer to keys/{asset}${what}`;
    if (response.ok) return membersOf(jsonObject(text, document, CODE), document, CODE, required, [], true);
    throw refusalOf(response.status, text, what);
  };

  const keys = async <T>(members: Members, read: (item: Members) => T, required: readonly string[]): Promise<readonly T[]> =>
    members.list('keys', MAX_KEYS).map((item) => read(membersOf(item, 'key server answer', CODE, required, [], true)));

  return {
    keying: async (asset) => readKeying(await ask(asset, '', undefined, ['asset', 'kind', 'scheme', 'mode', 'gen', 'salt', 'periodMicros', 'periodsPerGroup', 'entryKid'])),

    contentKeys: async ({ asset, keyGroup, from, to, bundle }) =>
      keys(
        await ask(asset, '/content', { keyGroup, from, to, ...(bundle !== undefined && { bundle }) }, ['keys']),
        (item) => ({
          period: item.integer('period', from, to - 1) as CryptoPeriod,
          group: item.integer('group', 0, 2 ** 32 - 1) as GrantGroup,
          kid: item.bytes('kid', 16) as KeyId,
          key: item.bytes('key', 16) as ContentKey,
          ...(bundle !== undefined && { leaf: { month: item.integer('leafMonth', FIRST_MONTH, END_OF_MONTHS - 1), wrap: item.bytes('leafWrap', 40) } }),
        }),
        ['period', 'group', 'kid', 'key', ...(bundle === undefined ? [] : ['leafMonth', 'leafWrap'])],
      ),

    grantKeys: async ({ asset, from, to }) =>
      keys(
        await ask(asset, '/grants', { from, to }, ['keys']),
        (item) => ({ group: item.integer('group', from, to - 1) as GrantGroup, key: item.bytes('key', 32) as GrantKey }),
        ['group', 'key'],
      ),

    async entryKey(asset) {
      const answer = await ask(asset, '/entry', undefined, ['kid', 'key']);
      return { kid: answer.bytes('kid', 16) as KeyId, key: answer.bytes('key', 16) };
    },

    importedKeys: async (asset) =>
      keys(
        await ask(asset, '/imported', undefined, ['keys']),
        (item) => {
          const from = item.integer('from', 0, MAX_INDEX) as CryptoPeriod;
          return {
            kid: item.bytes('kid', 16) as KeyId,
            key: item.bytes('key', 16) as ContentKey,
            keyGroup: item.oneOf('keyGroup', ['video', 'audio']),
            from,
            to: item.integer('to', from + 1, MAX_INDEX) as CryptoPeriod,
          };
        },
        ['kid', 'key', 'keyGroup', 'from', 'to'],
      ),

    async markKeys({ asset, from, to }) {
      const answer = await ask(asset, '/marks', { from, to }, ['version', 'viewerKey', 'keys']);
      const found = await keys(answer, (item) => ({ epoch: item.integer('epoch', from, to - 1), key: item.bytes('key', 32) }), ['epoch', 'key']);
      // Keys of other epochs, or too few, would have an edge refuse viewers it should serve.
      if (found.length !== to - from || found.some(({ epoch }, index) => epoch !== from + index)) throw new SealcastError(CODE, 'key server answer to keys/{asset}/marks: keys of every epoch asked for, in order');
      return { version: answer.integer('version', 0, 0xffff), viewerKey: answer.bytes('viewerKey', 32), keys: found };
    },

    async boxKeys({ asset, from, to }) {
      const answer = await ask(asset, '/boxes', { from, to }, ['choiceKey', 'keys']);
      const found = await keys(answer, (item) => ({ epoch: item.integer('epoch', from, to - 1), key: item.bytes('key', 32) }), ['epoch', 'key']);
      if (found.length !== to - from || found.some(({ epoch }, index) => epoch !== from + index)) throw new SealcastError(CODE, 'key server answer to keys/{asset}/boxes: keys of every epoch asked for, in order');
      return { choiceKey: answer.bytes('choiceKey', 32), keys: found };
    },

    async rootNodes({ collection, scope, account, from, to }) {
      const answer = await ask('-', '/roots', { collection, scope, account: encodeBase64url(account), from, to }, ['nodes']);
      return answer.list('nodes', MAX_ROOT_NODES).map(parseOpenNode);
    },

    async leaves({ account, orders }) {
      const answer = await ask('-', '/leaves', { account: encodeBase64url(account), orders }, ['leaves']);
      const found = answer.list('leaves', orders.length);
      if (found.length !== orders.length || !found.every((leaf): leaf is string | null => leaf === null || (typeof leaf === 'string' && leaf.length <= MAX_LEAF_LENGTH))) throw new SealcastError(CODE, 'key server answer to leaves: one text or null for every order');
      return found.map((leaf) => leaf ?? undefined);
    },
  };
};

const readKeying = (answer: Members): AssetKeying => ({
  asset: assetId(answer.value('asset')),
  kind: answer.oneOf('kind', ['event', 'title']),
  scheme: answer.oneOf('scheme', ['cenc', 'cbcs']),
  mode: answer.oneOf('mode', ['timed', 'untimed']),
  gen: answer.integer('gen', 0, 0xffff),
  salt: answer.bytes('salt', 16),
  schedule: { period: answer.integer('periodMicros', 1, 2 ** 40) as Micros, periodsPerGroup: answer.integer('periodsPerGroup', 1, 2 ** 20) },
  entryKid: answer.bytes('entryKid', 16) as KeyId,
});

/** The refusal's own code if it is a problem document of ours; a stranger's error page only says that there are no keys. */
const refusalOf = (status: number, text: string, what: string): SealcastError => {
  let code: unknown;
  try {
    code = (JSON.parse(text) as { code?: unknown }).code;
  } catch {
    code = undefined;
  }
  return new SealcastError(isCode(code) ? code : CODE, `key server: keys/{asset}${what} answered ${status}${isCode(code) ? ` ${code}` : ''}`);
};
