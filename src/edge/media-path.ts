// SPDX-License-Identifier: Apache-2.0
/**
 * Takes a media address apart: token, asset, file, and the query members that belong to the file.
 *
 * docs/wire/media.md. Only the listed names exist, spelled one way: an address with percent escapes, dots, empty
 * segments or leading zeros is no address, so one object has one cache key and nothing can climb out of an asset.
 * Invariant: `key` is made of checked parts only and holds no token.
 */
import type { RequestAddress } from '#core/token/uri-rules.ts';
import { type AssetId, isAssetId, isRepresentationId } from '#core/ids.ts';

/** What an address names; the label of metrics. */
export type MediaKind = 'manifest' | 'init' | 'segment' | 'part' | 'subtitle' | 'keys';

/** A well-formed address. `pathToken` is not verified. */
export type MediaAddress = {
  /** Token of the virtual path, if there is one. */
  readonly pathToken: string | undefined;
  readonly asset: AssetId;
  readonly kind: MediaKind;
  /** `{asset}/{file}{?query}`: what is asked of the origin, and the cache key. */
  readonly key: string;
  /** `{rep}` and `{file}` of what lies in a representation, and the number of its segment; of others empty and -1. */
  readonly representation: string;
  readonly file: string;
  readonly number: number;
};

const PREFIX = '/media/';
/** Folder of pace information at an origin (ETSI TS 104 002 clause 5.7): no viewer may read it. */
export const PACE_FOLDER = 'WMPaceInfo';
/** Asset ids are at most 40 characters without a dot; tokens are longer or hold one. */
const MAX_ASSET = 40;
const MAX_ADDRESS = 8192;
const SEGMENT = /^(?:0|[1-9][0-9]{0,15})(\.(?:0|[1-9][0-9]{0,3}))?\.m4s$/;
const SUBTITLE = /^(?:0|[1-9][0-9]{0,15})\.vtt$/;
const COUNT = /^(?:0|[1-9][0-9]{0,15})$/;

const kindOf = (rest: readonly string[]): MediaKind | undefined => {
  const [first = '', second = ''] = rest;
  if (rest.length === 1) {
    if (first === 'manifest.mpd' || first === 'master.m3u8') return 'manifest';
    return first === 'imported-keys.json' || first === 'leaf.json' ? 'keys' : undefined;
  }
  if (rest.length !== 2 || !isRepresentationId(first)) return undefined;
  if (second === 'playlist.m3u8') return 'manifest';
  if (second === 'init.mp4') return 'init';
  const segment = SEGMENT.exec(second);
  if (segment !== null) return segment[1] === undefined ? 'segment' : 'part';
  return SUBTITLE.test(second) ? 'subtitle' : undefined;
};

/** Query members that change a playlist, in one order; others (token, CMCD) never reach the cache key or the origin. */
const playlistQuery = (query: string): string | undefined => {
  if (query === '') return '';
  const given = new URLSearchParams(query);
  const kept: string[] = [];
  const keyFormat = given.get('keyformat');
  if (keyFormat !== null) {
    if (keyFormat !== 'identity') return undefined;
    kept.push('keyformat=identity');
  }
  for (const name of ['_HLS_msn', '_HLS_part']) {
    const value = given.get(name);
    if (value === null) continue;
    if (!COUNT.test(value)) return undefined;
    kept.push(`${name}=${value}`);
  }
  return kept.length === 0 ? '' : `?${kept.join('&')}`;
};

/** Path and query of an absolute URL, without the cost of parsing the rest. */
const targetOf = (url: string): { path: string; query: string } => {
  const authority = url.indexOf('//');
  const start = authority < 0 ? -1 : url.indexOf('/', authority + 2);
  const hash = url.indexOf('#', start);
  const target = start < 0 ? '' : url.slice(start, hash < 0 ? undefined : hash);
  const question = target.indexOf('?');
  return question < 0 ? { path: target, query: '' } : { path: target.slice(0, question), query: target.slice(question + 1) };
};

/** What `url` asks for. `bad-query`: a known query member with a value it cannot have. `pace-info`: for edges only. */
export const parseMediaAddress = (url: string): (MediaAddress & { readonly query: string }) | 'not-found' | 'bad-query' | 'pace-info' => {
  if (url.length > MAX_ADDRESS) return 'not-found';
  const { path, query } = targetOf(url);
  if (!path.startsWith(PREFIX)) return 'not-found';
  const segments = path.slice(PREFIX.length).split('/');
  const first = segments[0] ?? '';
  const pathToken = first.includes('.') || first.length > MAX_ASSET ? segments.shift() : undefined;
  const asset = segments.shift() ?? '';
  const kind = kindOf(segments);
  if (segments.includes(PACE_FOLDER)) return 'pace-info';
  if (kind === undefined || !isAssetId(asset)) return 'not-found';
  const kept = kind === 'manifest' ? playlistQuery(query) : '';
  if (kept === undefined) return 'bad-query';
  // What is left after the asset is the file; cutting it out is cheaper than joining its parts.
  const file = path.slice(PREFIX.length + (pathToken === undefined ? 0 : pathToken.length + 1));
  const [representation = '', name = ''] = segments.length === 2 ? segments : [];
  const number = kind === 'segment' || kind === 'part' ? Number.parseInt(name, 10) : -1;
  return { pathToken, asset, kind, key: file + kept, query, representation, file: name, number };
};

/** The address a token's rules are matched against: what was asked, without the token in path or query. */
export const addressWithoutToken = (url: string, pathToken: string | undefined, tokenMembers: readonly string[]): RequestAddress => {
  const { protocol, hostname, port } = new URL(url);
  const { path, query } = targetOf(url);
  const kept = query.split('&').filter((member) => !tokenMembers.includes(member.slice(0, Math.max(0, member.indexOf('=')))));
  return {
    scheme: protocol.slice(0, -1),
    host: hostname,
    port,
    path: pathToken === undefined ? path : `${PREFIX}${path.slice(PREFIX.length + pathToken.length + 1)}`,
    query: kept.join('&'),
  };
};
