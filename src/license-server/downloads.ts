// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/downloads: a media token for fetching one title whole, and the leaf that opens it.
 *
 * docs/wire/subscription.md, "Downloads" (B132, B135). The root is the credential, as for leaves: what is fetched stays encrypted.
 * Invariant: no session is started and no place of the account's streams is taken; a marked title comes with the viewer's own mark.
 */
import { SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { makeSessionId } from '#core/license/session-id.ts';
import { membersOf } from '#core/license/shape.ts';
import { parseRootClaims, ROOT_TYPE } from '#core/subscription/root.ts';
import type { Micros } from '#core/time.ts';
import { markClaimsOf } from '#core/token/viewer-id.ts';
import { importVerifyKey, verifyJws } from '#crypto/jose.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import type { CatalogueStore, Clock, CollectionStore, DeviceStore, Random } from '#ports';
import type { LeavesAnswer } from './leaves.ts';
import type { Marking } from './marking.ts';
import type { MasterSecrets } from './master-secrets.ts';
import type { ServerSecrets } from './server-secrets.ts';

/** Answer to POST /v1/downloads. */
export type DownloadAnswer = { readonly leaf: string; readonly mediaToken: string; readonly mediaTokenExpires: Micros; readonly time: Micros };

/** Long enough for a few dozen segments on a slow line, short enough for a revocation to be felt. */
const LIFE = 600_000_000;

/** Answers the body of POST /v1/downloads. Throws what POST /v1/leaves does, and `forbidden` where plan or title are for streaming only. */
export const createDownloads = async (options: {
  readonly secrets: ServerSecrets;
  readonly leaves: (body: unknown) => Promise<LeavesAnswer>;
  readonly catalogue: Pick<CatalogueStore, 'get'>;
  readonly collections: CollectionStore;
  readonly devices: DeviceStore;
  readonly marking: Marking;
  readonly masterSecrets: MasterSecrets;
  /** Index of the zone that tokens are made for. */
  readonly zone: number;
  readonly random: Random;
  readonly clock: Clock;
}): Promise<(body: unknown) => Promise<DownloadAnswer>> => {
  const { leaves, catalogue, collections, devices, marking, masterSecrets, zone, random, clock } = options;
  const verifyKey = await importVerifyKey(options.secrets.signingJwk);
  return async (body) => {
    const now = clock.now();
    const members = membersOf(body, 'body', 'bad-request', ['root', 'title']);
    const asset = assetId(members.value('title'));
    // Root, device and membership are judged where leaves are.
    const { leaves: [leaf] } = await leaves({ root: members.value('root'), titles: [asset] });
    if (leaf === undefined) throw new SealcastError('not-found', 'the plan holds no such title');
    const root = parseRootClaims(await verifyJws(String(members.value('root')), { typ: ROOT_TYPE, key: verifyKey }));
    const [memberships = []] = await collections.ofAssets([asset]);
    const allowed = root.actions.includes('download') && memberships.some(({ collection, actions }) => collection === root.collection && actions.includes('download'));
    if (!allowed) throw new SealcastError('forbidden', 'the plan or the title is for streaming only');
    const [device, title] = await Promise.all([devices.get(root.device), catalogue.get(asset)]);
    if (device === undefined || title === undefined) throw new SealcastError('device-unknown', 'the device is not registered any more');
    const epoch = masterSecrets.current(now);
    const keys = masterSecrets.keysOf(epoch.epoch, zone, now);
    const mark = await marking.viewerId(title, { account: device.account, device: root.device });
    const mediaTokenExpires = (now + LIFE) as Micros;
    const claims = { session: makeSessionId(epoch.epoch, zone, random.bytes(16)), asset, issuedAt: now, expiresAt: mediaTokenExpires, ...(mark !== undefined && { mark: markClaimsOf(mark) }) };
    return { leaf, mediaToken: mintMediaToken({ key: keys.mediaTokenKey, kid: { epoch: keys.epoch, zone: keys.zone.index }, claims }), mediaTokenExpires, time: now };
  };
};
