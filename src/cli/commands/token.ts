// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast token mint|verify --key FILE`: media tokens of other makers' formats, for operators and interoperability tests.
 *
 * docs/wire/media.md, "Other makers' tokens". The key file holds one element of a bundle's `tokenKeys`; for minting with
 * ES256 its key is a private JWK. Keys come from files and claims from stdin, so neither shows in the process list.
 * Invariant: nothing of a key is ever printed; `verify` prints claims only of tokens that are valid.
 */
import { readFile } from 'node:fs/promises';
import { defineCommand, type CommandDef } from 'citty';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { parseTokenKey } from '#core/edge-bundle/token-key.ts';
import { SealcastError } from '#core/errors.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import type { AccessClaims } from '#core/token/access-claims.ts';
import { isJsonObject, type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';
import { CLAIM_KEYS } from '#core/token/wm-claims.ts';
import type { SigningSecret } from '#crypto/cose.ts';
import { importEs256Private } from '#crypto/ecdsa.ts';
import { createTokenKeys, type TokenKeys } from '#crypto/token-keys.ts';
import { type MintedClaims, mintAccessToken, verifyAccessToken } from '#crypto/wm-token.ts';
import { EXIT, type ExitCode, jsonArg, numberOption, printJson, say, usageError } from '../command.ts';

const MAX_INPUT = 65_536;

/** A key file taken apart. `sign` is absent where the file has no secret to sign with. */
export type KeyFile = { readonly format: 'cwt' | 'jwt'; readonly kid: string; readonly keys: TokenKeys; readonly sign?: SigningSecret };

/** Reads one element of `tokenKeys`, or a list whose first is for signing. Throws `key-unavailable` with the rule it breaks. */
export const readKeyFile = async (text: string): Promise<KeyFile> => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new SealcastError('key-unavailable', 'the key file must be JSON');
  }
  const items: readonly unknown[] = Array.isArray(parsed) ? (parsed as unknown[]) : [parsed];
  const first = items[0];
  if (!isJsonObject(first)) throw new SealcastError('key-unavailable', 'the key file must hold an object, or a list of them');
  const { key } = first;
  const isPrivate = first['alg'] === 'ES256' && isJsonObject(key) && typeof key['d'] === 'string';
  const publicPart = (): JsonObject => {
    const { d: _secret, ...open } = key as JsonObject;
    return { ...first, key: open };
  };
  const list = [isPrivate ? publicPart() : first, ...items.slice(1)].map(parseTokenKey);
  const [own] = list;
  if (own === undefined || (own.alg !== 'HS256' && own.alg !== 'ES256')) throw new SealcastError('key-unavailable', 'the first key must be HS256 or ES256');
  const keys = createTokenKeys(list);
  const common = { format: own.format, kid: own.kid, keys };
  if (own.alg === 'HS256') return { ...common, sign: { alg: 'HS256', key: own.key } };
  return isPrivate ? { ...common, sign: { alg: 'ES256', key: await importEs256Private(key as Parameters<typeof importEs256Private>[0]) } } : common;
};

/** JSON claims as the format writes them: in a CWT `wmpattern` and `cti` are bytes, `catu` and `catr` maps of integers. */
export const claimsOf = (json: JsonObject, format: KeyFile['format']): MintedClaims => {
  const integerMap = (value: unknown): unknown => (isJsonObject(value) ? new Map(Object.entries(value).map(([name, item]) => [Number(name), integerMap(item)])) : value);
  const convert = (name: string, value: unknown): unknown => {
    if (format === 'jwt') return value;
    if (!(name in CLAIM_KEYS)) throw new SealcastError('bad-request', `a CWT has no claim ${name.slice(0, 32)}`);
    if ((name === 'wmpattern' || name === 'cti') && typeof value === 'string') return decodeBase64url(value);
    return name === 'catu' || name === 'catr' ? integerMap(value) : value;
  };
  return Object.fromEntries(Object.entries(json).map(([name, value]) => [name, convert(name, value)]));
};

const shown = (claims: AccessClaims, pattern: Uint8Array | undefined): object => {
  const { mark, uri, expiresAt, issuedAt, notBefore, ...rest } = claims;
  const seconds = (at: Micros | undefined): number | undefined => (at === undefined ? undefined : at / 1e6);
  const { pattern: _sealed, ...marked } = mark ?? {};
  return {
    ...rest,
    exp: seconds(expiresAt),
    iat: seconds(issuedAt),
    nbf: seconds(notBefore),
    ...(uri !== undefined && { addressRules: uri.length }),
    ...(mark !== undefined && { mark: { ...marked, ...(pattern !== undefined && { pattern: encodeBase64url(pattern) }) } }),
  };
};

const readInput = async (): Promise<string> => {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_INPUT) throw new SealcastError('payload-too-large', `stdin may have at most ${MAX_INPUT} bytes`);
    parts.push(chunk);
  }
  return decodeUtf8(Buffer.concat(parts)).trim();
};

const keyFileAt = async (path: string): Promise<KeyFile> => {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    throw usageError('--key must name a readable file');
  }
  return readKeyFile(text);
};

const keyArg = { key: { type: 'string', required: true, description: 'JSON file with one key of a bundle\'s tokenKeys', valueHint: 'FILE' } } as const;

const mint: CommandDef<any> = defineCommand({
  meta: { name: 'mint', description: 'sign the JSON claims on stdin' },
  args: {
    ...keyArg,
    tag: { type: 'boolean', default: false, description: 'put the CWT tag 61 in front' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const file = await keyFileAt(args.key);
    if (file.sign === undefined) throw usageError('--key must hold a secret: HS256, or ES256 with a private JWK');
    const claims = parseStrictObject(await readInput());
    if (claims === undefined) throw new SealcastError('bad-request', 'stdin must be one JSON object of claims, without repeated names');
    const { format, kid } = file;
    const token = await mintAccessToken({ format, secret: file.sign, ...(kid !== '' && { kid }), claims: claimsOf(claims, format), cwtTag: args.tag });
    if (args.json) printJson({ token, format, alg: file.sign.alg });
    else process.stdout.write(`${token}\n`);
    return EXIT.done;
  },
});

const verify: CommandDef<any> = defineCommand({
  meta: { name: 'verify', description: 'check the token on stdin; exit 1 if an edge would refuse it' },
  args: {
    ...keyArg,
    at: { type: 'string', description: 'Unix time to check at, instead of now', valueHint: 'SECONDS' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const file = await keyFileAt(args.key);
    const seconds = numberOption('at', args.at, { min: 0, max: 2 ** 33 }) ?? Date.now() / 1000;
    const verdict = await verifyAccessToken(await readInput(), { keys: file.keys, now: microsFromSeconds(seconds) });
    const answer = verdict.ok ? { ok: true, format: verdict.format, claims: shown(verdict.claims, verdict.pattern) } : { ok: false, code: verdict.code, detail: verdict.detail };
    if (args.json) printJson(answer);
    else if (verdict.ok) process.stdout.write(`${JSON.stringify(shown(verdict.claims, verdict.pattern), undefined, 2)}\n`);
    else say(`${verdict.code}: ${verdict.detail}`);
    return verdict.ok ? EXIT.done : EXIT.negative;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'token', description: 'media tokens of ETSI TS 104 002, CTA-5007 and RFC 9246' }, subCommands: { mint, verify } });
export default command;
