// SPDX-License-Identifier: Apache-2.0
/**
 * The key server over HTTP: `/v1/keys/{asset}/...` with bearer service credentials.
 *
 * docs/wire/keys.md, "Service interface". Invariant: packager credentials open keying and content keys, licence-server ones
 * keying, grant keys, the entry key, imported keys, mark keys, roots and leaves, and neither opens the other's.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { problemOf, SealcastError } from '#core/errors.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import { COLLECTION } from '#core/subscription/root-keys.ts';
import type { CryptoPeriod, GrantGroup } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { AssetKeying, ContentKeySource, GrantKeySource, LeafKeySource, Log, MarkKeySource } from '#ports';
import { answerLeaves, answerRoots, MAX_LEAVES_BODY } from './leaf-routes.ts';

/** What a service credential is for. */
export type ServiceRole = 'packager' | 'license-server' | 'key-server';
/** A credential as the server keeps it: SHA-256 (base64url) of the bearer token. */
export type ServiceCredential = { readonly role: ServiceRole; readonly tokenHash: string };

/** SHA-256 of a bearer token, base64url, as credentials are kept. */
export const hashCredential = (token: string): string => encodeBase64url(sha256(encodeUtf8(token)));

const MAX_BODY = 1024;
const HEADERS = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };
const PATH = /^\/v1\/keys\/([^/]+)(?:\/(content|grants|entry|imported|marks|boxes))?$/;
/** Roots and leaves are not of one asset; a dash cannot be an asset's id. */
const COLLECTION_PATH = /^\/v1\/keys\/-\/(roots|leaves)$/;
type OfAsset = 'keying' | 'content' | 'grants' | 'entry' | 'imported' | 'marks' | 'boxes';
type What = OfAsset | 'roots' | 'leaves';

const ALLOWED: Readonly<Record<ServiceRole, readonly What[]>> = {
  packager: ['keying', 'content', 'boxes'],
  'license-server': ['keying', 'grants', 'entry', 'imported', 'marks', 'boxes', 'roots', 'leaves'],
  // A replica that gives release secrets has a route of its own (release-feed.ts) and needs nothing of these.
  'key-server': [],
};

type Sources = ContentKeySource & GrantKeySource & LeafKeySource & Partial<MarkKeySource>;
/** Routes with a body. */
const POSTED: readonly What[] = ['content', 'grants', 'marks', 'boxes', 'roots', 'leaves'];

/** The `/v1/keys/` routes over the key server's ports; any other path is `not-found`. */
export const createKeyServerHandler = (options: { sources: Sources; credentials: readonly ServiceCredential[]; log: Log }): ((request: Request) => Promise<Response>) => {
  const { sources, credentials, log } = options;
  return async (request) => {
    try {
      const { asset, what } = routeOf(request);
      authorize(request, what, credentials);
      return new Response(JSON.stringify(asset === undefined ? await answerCollection(sources, what, request) : await answer(sources, asset, what, request)), { headers: { ...HEADERS, 'Content-Type': 'application/json' } });
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === 'internal') log.error('key request failed', { error: error instanceof Error ? error.name : typeof error });
      const challenge = problem.code === 'token-missing' ? { 'WWW-Authenticate': 'Bearer realm="sealcast keys"' } : {};
      return new Response(JSON.stringify(problem), { status: problem.status, headers: { ...HEADERS, ...challenge, 'Content-Type': 'application/problem+json' } });
    }
  };
};

const routeOf = (request: Request): { asset: undefined; what: 'roots' | 'leaves' } | { asset: AssetId; what: OfAsset } => {
  const { pathname } = new URL(request.url);
  const collection = COLLECTION_PATH.exec(pathname);
  const match = collection ?? PATH.exec(pathname);
  if (match === null) throw new SealcastError('not-found', 'no such route of the key server');
  const what = (collection?.[1] ?? match[2] ?? 'keying') as What;
  const method = POSTED.includes(what) ? 'POST' : 'GET';
  if (request.method !== method) throw new SealcastError('method-not-allowed', `${what} takes ${method}`);
  return what === 'roots' || what === 'leaves' ? { asset: undefined, what } : { asset: assetId(match[1]), what };
};

/** Compares hashes, all of them, so that time tells nothing about a credential. */
const authorize = (request: Request, what: What, credentials: readonly ServiceCredential[]): void => {
  if (!heldRoles(request, credentials).some((role) => ALLOWED[role].includes(what))) throw new SealcastError('forbidden', `the service credential does not open ${what}`);
};

/** Roles of the request's bearer credential. Throws `token-missing`, `credential-invalid`. */
export const heldRoles = (request: Request, credentials: readonly ServiceCredential[]): readonly ServiceRole[] => {
  const token = /^Bearer ([\x21-\x7e]{1,256})$/.exec(request.headers.get('authorization') ?? '')?.[1];
  if (token === undefined) throw new SealcastError('token-missing', 'a service credential is required');
  const given = encodeUtf8(hashCredential(token));
  const held = credentials.filter(({ tokenHash }) => equalBytes(encodeUtf8(tokenHash), given));
  if (held.length === 0) throw new SealcastError('credential-invalid', 'the service credential is not known');
  return held.map(({ role }) => role);
};

const readBody = async (request: Request, most: number = MAX_BODY): Promise<string> => {
  const length = Number(request.headers.get('content-length') ?? '0');
  if (length > most) throw new SealcastError('payload-too-large', `a body has at most ${most} bytes`);
  let bytes = 0;
  let text = '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of request.body ?? []) {
      bytes += chunk.length;
      if (bytes > most) throw new SealcastError('payload-too-large', `a body has at most ${most} bytes`);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    throw error instanceof TypeError ? new SealcastError('bad-request', 'the body must be UTF-8') : error;
  }
};

const answerCollection = async (sources: Sources, what: 'roots' | 'leaves', request: Request): Promise<unknown> =>
  what === 'roots' ? answerRoots(sources, await readBody(request)) : answerLeaves(sources, await readBody(request, MAX_LEAVES_BODY));

const answer = async (sources: Sources, asset: AssetId, what: OfAsset, request: Request): Promise<unknown> => {
  switch (what) {
    case 'keying':
      return encodeKeying(await sources.keying(asset));
    case 'content': {
      const body = membersOf(jsonObject(await readBody(request), 'body', 'bad-request'), 'body', 'bad-request', ['keyGroup', 'from', 'to'], ['bundle']);
      const [from, to] = [body.integer('from', 0, Number.MAX_SAFE_INTEGER), body.integer('to', 0, Number.MAX_SAFE_INTEGER)];
      const keys = await sources.contentKeys({ asset, keyGroup: body.oneOf('keyGroup', ['video', 'audio']), from: from as CryptoPeriod, to: to as CryptoPeriod, ...(body.value('bundle') !== undefined && { bundle: body.text('bundle', { most: 64, pattern: COLLECTION }) }) });
      return { keys: keys.map(({ period, group, kid, key, leaf }) => ({ period, group, kid: encodeBase64url(kid), key: encodeBase64url(key), ...(leaf !== undefined && { leafMonth: leaf.month, leafWrap: encodeBase64url(leaf.wrap) }) })) };
    }
    case 'grants': {
      const body = membersOf(jsonObject(await readBody(request), 'body', 'bad-request'), 'body', 'bad-request', ['from', 'to']);
      const [from, to] = [body.integer('from', 0, 2 ** 32), body.integer('to', 0, 2 ** 32)];
      const keys = await sources.grantKeys({ asset, from: from as GrantGroup, to: to as GrantGroup });
      return { keys: keys.map(({ group, key }) => ({ group, key: encodeBase64url(key) })) };
    }
    case 'marks': {
      if (sources.markKeys === undefined) throw new SealcastError('key-unavailable', 'this key server has no mark secrets');
      const body = membersOf(jsonObject(await readBody(request), 'body', 'bad-request'), 'body', 'bad-request', ['from', 'to']);
      const [from, to] = [body.integer('from', 0, Number.MAX_SAFE_INTEGER), body.integer('to', 0, Number.MAX_SAFE_INTEGER)];
      // A mark secret is made when it is first asked for: only for assets that exist.
      await sources.keying(asset);
      const { version, viewerKey, keys } = await sources.markKeys({ asset, from, to });
      return { version, viewerKey: encodeBase64url(viewerKey), keys: keys.map(({ epoch, key }) => ({ epoch, key: encodeBase64url(key) })) };
    }
    case 'boxes': {
      if (sources.boxKeys === undefined) throw new SealcastError('key-unavailable', 'this key server has no mark secrets');
      const body = membersOf(jsonObject(await readBody(request), 'body', 'bad-request'), 'body', 'bad-request', ['from', 'to']);
      const [from, to] = [body.integer('from', 0, 2 ** 32), body.integer('to', 0, 2 ** 32)];
      await sources.keying(asset);
      const { choiceKey, keys } = await sources.boxKeys({ asset, from, to });
      return { choiceKey: encodeBase64url(choiceKey), keys: keys.map(({ epoch, key }) => ({ epoch, key: encodeBase64url(key) })) };
    }
    case 'entry': {
      const { kid, key } = await sources.entryKey(asset);
      return { kid: encodeBase64url(kid), key: encodeBase64url(key) };
    }
    case 'imported': {
      const keys = await sources.importedKeys(asset);
      return { keys: keys.map(({ kid, key, keyGroup, from, to }) => ({ kid: encodeBase64url(kid), key: encodeBase64url(key), keyGroup, from, to })) };
    }
  }
};

const encodeKeying = (keying: AssetKeying): unknown => ({
  asset: keying.asset,
  kind: keying.kind,
  scheme: keying.scheme,
  mode: keying.mode,
  gen: keying.gen,
  salt: encodeBase64url(keying.salt),
  periodMicros: keying.schedule.period,
  periodsPerGroup: keying.schedule.periodsPerGroup,
  entryKid: encodeBase64url(keying.entryKid),
});
