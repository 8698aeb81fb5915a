// SPDX-License-Identifier: Apache-2.0
/**
 * Takes media from encoders: DASH-IF Live Media Ingest 1.1, interface 1 (CMAF), at `/ingest/{event}/...`.
 *
 * PUT and POST mean the same. One request may carry one segment or, as ffmpeg sends it, a whole track without end; boxes are
 * found wherever the reads fall. Refusals: 401 without a credential (a challenge), 403 with a wrong one, 404 no such event, 412 no header yet, 415 a content type that is
 * not media, 400 otherwise. ffmpeg reads no answers, so every refusal is logged and put before the operator with its reason.
 * Invariant: memory per connection is bounded by the splitter; what was taken before a fault stays taken.
 */
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { isAssetId } from '#core/ids.ts';
import type { AssetId, RepresentationId } from '#core/ids.ts';
import { type PaceIngest, parsePaceIngest } from '#core/pace/pace-info.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { Clock, EventSink, Log, Metrics } from '#ports';
import { problemResponse } from './http.ts';
import type { LiveEvent } from './live-event.ts';
import type { LiveTrack } from './live-track.ts';
import { ingestTarget, variantTrack } from './track-name.ts';

/** What the operator allows for an event; `undefined` where there is no such event. */
export type IngestAccess = {
  /** SHA-256 of the ingest credential, base64url. */
  readonly credentialHash: string;
  /** False once the event has ended. */
  readonly open: boolean;
};

/** What ingest asks of its surroundings. */
export type IngestOptions = {
  readonly access: (asset: AssetId) => Promise<IngestAccess | undefined>;
  readonly event: (asset: AssetId) => Promise<LiveEvent>;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  readonly metrics: Metrics;
  /** Largest source chunk in bytes. Default 32 MiB. */
  readonly maxChunk?: number;
};

const ROUTE = /^\/ingest\/([^/]+)\/(.+)$/;
const MEDIA_TYPES = /^(?:video\/|audio\/|application\/(?:mp4|octet-stream|dash\+xml|vnd\.apple\.mpegurl|x-mpegurl|vnd\.ms-sstr\+xml)\b|text\/xml\b|application\/xml\b)/i;
const MANIFEST_LIMIT = 4 << 20;

/** The handler of `/ingest/{event}/...`. Every outcome is a response; it never rejects. */
export const createIngest = (options: IngestOptions): ((request: Request) => Promise<Response>) => {
  const { log, events, metrics, clock } = options;

  const refuse = (error: unknown, where: { asset?: AssetId; track?: RepresentationId }): Response => {
    const response = problemResponse(error);
    // Without the challenge ffmpeg's dash muxer never sends the user and password of its address (RFC 7617).
    if (response.status === 401) response.headers.set('www-authenticate', 'Basic realm="ingest", charset="UTF-8"');
    const code = isSealcastError(error) ? error.code : 'internal';
    const reason = isSealcastError(error) ? error.message : 'unexpected fault';
    log.warn('ingest refused', { ...where, code, status: response.status, reason, ...(isSealcastError(error) ? {} : { fault: String(error) }) });
    events({
      at: clock.now(),
      kind: 'ingest.refused',
      severity: 'warning',
      message: `Ingest${where.track === undefined ? '' : ` of ${where.track}`} was refused: ${reason}`,
      ...(where.asset === undefined ? {} : { asset: where.asset }),
      data: { code, status: response.status, ...(where.track === undefined ? {} : { track: where.track }) },
    });
    metrics.count('sealcast_packager_ingest_refused_total', 'Ingest requests refused, by reason.', { code });
    return response;
  };

  const admit = async (request: Request, name: string): Promise<{ asset: AssetId; event: LiveEvent }> => {
    const access = isAssetId(name) ? await options.access(name) : undefined;
    if (access === undefined || !isAssetId(name)) throw new SealcastError('not-found', 'there is no such event');
    if (!request.headers.has('authorization')) throw new SealcastError('token-missing', 'send the ingest credential as HTTP Basic password or Bearer token');
    if (!credentialFits(request.headers.get('authorization'), access.credentialHash))
      throw new SealcastError('credential-invalid', 'the ingest credential is wrong; it is the HTTP Basic password or the Bearer token');
    if (!access.open) throw new SealcastError('not-found', 'the event has ended');
    const event = await options.event(name);
    if (event.ended) throw new SealcastError('not-found', 'the event has ended');
    return { asset: name, event };
  };

  return async (request) => {
    const where: { asset?: AssetId; track?: RepresentationId } = {};
    try {
      const route = ROUTE.exec(decodePath(new URL(request.url).pathname));
      if (route?.[1] === undefined || route[2] === undefined) throw new SealcastError('not-found', 'ingest addresses are /ingest/{event}/{track}');
      const { asset, event } = await admit(request, route[1]);
      where.asset = asset;
      // Sources tidy up what they think they stored; nothing here is theirs to delete.
      if (request.method === 'DELETE') return new Response(null, { status: 204 });
      if (request.method !== 'PUT' && request.method !== 'POST') throw new SealcastError('method-not-allowed', 'ingest takes PUT and POST');
      const type = request.headers.get('content-type');
      if (type !== null && !MEDIA_TYPES.test(type))
        throw new SealcastError('unsupported-media-type', `ingest takes video/mp4, audio/mp4 or application/mp4; got ${type.slice(0, 60)}`);
      const target = ingestTarget(route[2]);
      if (target.kind === 'unknown') throw new SealcastError('bad-request', 'the path names no track; use Streams(NAME.cmfv) or NAME-NUMBER.m4s');
      if (target.kind === 'manifest') return await discard(request);
      where.track = target.track;
      const pace = paceOf(request, target.variant);
      await receive(request, event, variantTrack(target.track, pace?.variant ?? target.variant ?? 0), pace);
      return new Response(null, { status: 200, headers: { 'dash-if-ingest': '1.1' } });
    } catch (error) {
      return refuse(error, where);
    }
  };

  /** A manifest of the source's own; ours is made from the media. */
  async function discard(request: Request): Promise<Response> {
    let size = 0;
    for await (const bytes of bodyOf(request)) {
      size += bytes.length;
      if (size > MANIFEST_LIMIT) throw new SealcastError('payload-too-large', `a manifest of more than ${MANIFEST_LIMIT} bytes`);
    }
    return new Response(null, { status: 200 });
  }

  async function receive(request: Request, event: LiveEvent, id: RepresentationId, pace: PaceIngest | undefined): Promise<void> {
    const splitter = createBoxSplitter(options.maxChunk === undefined ? {} : { maxChunk: options.maxChunk });
    const { asset } = event;
    let track = event.tracks.get(id);
    let announced = false;
    let chunks = 0;
    let unaligned = false;
    let fault: unknown;
    try {
      for await (const bytes of bodyOf(request)) {
        metrics.count('sealcast_packager_ingest_bytes_total', 'Bytes received from sources.', { asset, track: id }, bytes.length);
        for (const piece of splitter.push(bytes)) {
          const arrived = clock.monotonic();
          if (piece.kind === 'init') {
            track = await event.header(id, piece.bytes);
            if (!announced) events({ at: clock.now(), kind: 'ingest.started', severity: 'info', message: `Track ${id} is coming in.`, asset, data: { track: id } });
            announced = true;
            continue;
          }
          if (track === undefined) throw new SealcastError('ingest-init-missing', `track ${id} has no header yet; send the CMAF header (ftyp, moov) first`);
          if (track.ended) throw new SealcastError('ingest-out-of-order', `track ${id} was closed by its last segment (lmsg); send its header again to go on`);
          unaligned = (await takeChunk(track, piece.bytes, asset, unaligned)) || unaligned;
          if (pace !== undefined && track.window.latest !== undefined) event.pace.note(track.window.latest, pace.position);
          chunks += 1;
          metrics.observe('sealcast_packager_publish_seconds', 'From a complete chunk to its availability at the origin.', (clock.monotonic() - arrived) / 1000, {
            kind: track.source.media.kind,
          });
        }
      }
      splitter.end();
    } catch (error) {
      fault = error;
    }
    await track?.window.flush();
    // Where every segment is a request of its own, the end of the header's request is not the end of the track.
    if (announced && chunks > 0) events({ at: clock.now(), kind: 'ingest.stopped', severity: 'warning', message: `Track ${id} stopped coming in.`, asset, data: { track: id } });
    if (fault instanceof SourceGone) log.warn('the connection of a source was lost', { asset, track: id });
    else if (fault !== undefined) throw fault;
  }

  /** Answers whether a segment began without a key frame; `known` keeps a source with another grid from filling the log. */
  async function takeChunk(track: LiveTrack, bytes: Uint8Array, asset: AssetId, known: boolean): Promise<boolean> {
    const taken = await track.take(bytes);
    metrics.count('sealcast_packager_chunks_total', 'Source chunks, by what became of them.', { asset, track: track.id, result: taken.result });
    if (taken.result === 'duplicate') {
      log.debug('chunk was there already', { asset, track: track.id });
      return false;
    }
    if (taken.gap) {
      log.warn('media is missing before this chunk', { asset, track: track.id });
      events({ at: clock.now(), kind: 'ingest.gap', severity: 'warning', message: `Media of track ${track.id} is missing.`, asset, data: { track: track.id } });
    }
    if (taken.unaligned && !known) {
      log.warn('a segment does not start with a key frame; players cannot join there (ffmpeg: -force_key_frames on the UTC grid)', { asset, track: track.id });
      events({
        at: clock.now(),
        kind: 'ingest.unaligned',
        severity: 'warning',
        message: `A segment of track ${track.id} does not start with a key frame.`,
        asset,
        data: { track: track.id },
      });
    }
    return taken.unaligned;
  }
};

/** What an encoder says of the variant it sends; the path may say it too, but not otherwise. Throws `bad-request`. */
const paceOf = (request: Request, variant: number | undefined): PaceIngest | undefined => {
  const header = request.headers.get('wmpaceinfoingest');
  if (header === null) return undefined;
  const pace = parsePaceIngest(header);
  if (variant !== undefined && variant !== pace.variant) throw new SealcastError('bad-request', 'WMPaceInfoIngest names another variant than the path');
  return pace;
};

const decodePath = (path: string): string => {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new SealcastError('bad-request', 'the path is not percent-encoded UTF-8');
  }
};

/** The password of HTTP Basic, or a Bearer token, hashed and compared in constant time. */
const credentialFits = (header: string | null, expectedHash: string): boolean => {
  const [, scheme, value] = /^(basic|bearer)\s+(\S+)$/i.exec(header ?? '') ?? [];
  if (scheme === undefined || value === undefined) return false;
  let secret = value;
  if (scheme.toLowerCase() === 'basic') {
    try {
      const text = decodeUtf8(Uint8Array.from(atob(value), (character) => character.charCodeAt(0)));
      secret = text.slice(text.indexOf(':') + 1);
    } catch {
      return false;
    }
  }
  return equalBytes(sha256(encodeUtf8(secret)), decodeBase64url(expectedHash));
};

/** A source that goes away in the middle of its media is an outage of the source, not an offence. */
class SourceGone extends Error {}

async function* bodyOf(request: Request): AsyncGenerator<Uint8Array> {
  const reader = request.body?.getReader();
  if (reader === undefined) return;
  let finished = false;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        throw new SourceGone('the connection was lost', { cause });
      });
      if (done) {
        finished = true;
        return;
      }
      yield value as Uint8Array;
    }
  } finally {
    // The rest of a refused body is not read; the server closes the connection.
    if (!finished) reader.cancel().catch(() => undefined);
  }
}
