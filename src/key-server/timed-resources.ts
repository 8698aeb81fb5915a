// SPDX-License-Identifier: Apache-2.0
/**
 * Timed resources at the key server: sealed here, so that their keys never leave before their time.
 *
 * docs/wire/release.md, "Timed resources". A packager gets keys 60 s ahead at most; odds and results are published hours
 * ahead, so the content comes to the keys instead.
 * Invariant: the plain content is not kept; what is stored may be handed to anybody.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { MAX_RESOURCE, periodFrom, resourceName, resourceType } from '#core/release/resource.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type CryptoPeriod, groupOf, type Micros } from '#core/time.ts';
import { sealResource } from '#crypto/timed-resource.ts';
import type { Clock, GrantKeySource, ObjectStore, Random } from '#ports';
import type { ReleaseSecrets, TimedEvents } from './timed-events.ts';

/** Makes and gives timed resources. */
export type TimedResources = {
  /** Seals and stores; answers the period that opens it, and its instant. Throws `not-found`, `bad-request`, `payload-too-large`, `too-early` for an instant that is past. */
  put(event: AssetId, resource: { readonly name: string; readonly type: string; readonly at: Micros; readonly content: Uint8Array }): Promise<{ readonly period: CryptoPeriod; readonly releaseAt: Micros }>;
  /** The sealed bytes. */
  get(event: AssetId, name: string): Promise<Uint8Array | undefined>;
};

const pathOf = (event: AssetId, name: string): string => `resources/${event}/${name}`;
/** A resource comes to its clients before its instant, or it is none. */
const LEAD: Micros = 1_000_000 as Micros;

/** `keys`: grant keys of this key server. */
export const createTimedResources = (options: { events: Pick<TimedEvents, 'find'>; secrets: Pick<ReleaseSecrets, 'secret'>; keys: Pick<GrantKeySource, 'keying' | 'grantKeys'>; store: ObjectStore; random: Random; clock: Clock }): TimedResources => {
  const { events, secrets, keys, store, random, clock } = options;
  return {
    async put(event, resource) {
      const timed = await events.find(event);
      if (timed === undefined) throw new SealcastError('not-found', 'no running timed event of this id');
      const name = resourceName(resource.name);
      const type = resourceType(resource.type);
      if (resource.content.length > MAX_RESOURCE) throw new SealcastError('payload-too-large', `a resource has at most ${MAX_RESOURCE} bytes; got ${resource.content.length}`);
      if (resource.at < clock.now() + LEAD) throw new SealcastError('bad-request', 'at must be at least a second from now: what is public already needs no key');
      const period = periodFrom(timed.info, resource.at);
      const keying = await keys.keying(event);
      const group = groupOf(period, keying.schedule);
      const [grant] = await keys.grantKeys({ asset: event, from: group, to: (group + 1) as typeof group });
      if (grant === undefined) throw new SealcastError('key-unavailable', 'the grant key of this period is not available');
      const sealed = await sealResource({ grant: grant.key, secret: await secrets.secret(timed.info, period), binding: keying }, { name, type, period, iv: random.bytes(12), content: resource.content });
      await store.put(pathOf(event, name), sealed);
      return { period, releaseAt: releaseInstant(timed.info, period) };
    },
    get: (event, name) => store.get(pathOf(event, resourceName(name))),
  };
};
