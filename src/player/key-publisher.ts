// SPDX-License-Identifier: Apache-2.0
/**
 * Moves content keys into Clear Key sessions of our own on a MediaKeys object, and takes them out again.
 *
 * W3C EME section 9.1; the media element shares the keys of all its sessions, so a stock player's own session with the
 * entry key stays untouched. Chromium refuses a whole JWK set for one bad member and stops for good on a wrong key.
 * Invariant: no empty set, no key that is not 16 bytes, no key twice; a session holds at most 100 keys and is closed as soon
 * as none of them is wanted, so that hours of rotation leave nothing behind.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';

/** A content key and the id that samples name it by. */
export type PublishedKey = { readonly kid: KeyId; readonly key: ContentKey };

/** Keys per MediaKeySession before a new one is opened. */
export const KEYS_PER_SESSION = 100;
const KEY_BYTES = 16;

type Slot = { readonly session: MediaKeySession; readonly kids: Set<string>; used: number };

/** Keys on one MediaKeys object. */
export type KeyPublisher = {
  readonly mediaKeys: MediaKeys;
  /** Makes exactly these keys available: adds the missing ones, then closes sessions that hold none of them. Calls run one after another. */
  publish(keys: readonly PublishedKey[]): Promise<void>;
  /** Closes every session: the picture stops within about 0.2 s. The publisher can be used again. */
  clear(): Promise<void>;
  /** Hex KIDs that are available now. */
  readonly published: ReadonlySet<string>;
};

const jwkSet = (keys: readonly PublishedKey[]): BufferSource =>
  new TextEncoder().encode(JSON.stringify({ keys: keys.map(({ kid, key }) => ({ kty: 'oct', kid: encodeBase64url(kid), k: encodeBase64url(key) })), type: 'temporary' }));
const keyIds = (keys: readonly PublishedKey[]): BufferSource => new TextEncoder().encode(JSON.stringify({ kids: keys.map(({ kid }) => encodeBase64url(kid)) }));

/** A publisher without keys; it opens its first session with the first key. */
export const createKeyPublisher = (mediaKeys: MediaKeys): KeyPublisher => {
  let slots: Slot[] = [];
  const published = new Set<string>();
  let queue: Promise<void> = Promise.resolve();

  const inOrder = (run: () => Promise<void>): Promise<void> => {
    const next = queue.then(run);
    queue = next.catch(() => undefined);
    return next;
  };

  const close = async (closing: readonly Slot[]): Promise<void> => {
    slots = slots.filter((slot) => !closing.includes(slot));
    for (const { kids } of closing) for (const kid of kids) published.delete(kid);
    // A session the browser closed by itself (element gone) rejects; there is nothing left to take back then.
    await Promise.all(closing.map(({ session }) => session.close().catch(() => undefined)));
  };

  const add = async (keys: readonly PublishedKey[]): Promise<void> => {
    let rest = keys;
    while (rest.length > 0) {
      let slot = slots.at(-1);
      const fresh = slot === undefined || slot.used >= KEYS_PER_SESSION;
      if (slot === undefined || fresh) slot = { session: mediaKeys.createSession('temporary'), kids: new Set(), used: 0 };
      const batch = rest.slice(0, KEYS_PER_SESSION - slot.used);
      rest = rest.slice(batch.length);
      if (fresh) {
        await slot.session.generateRequest('keyids', keyIds(batch));
        slots.push(slot);
      }
      await slot.session.update(jwkSet(batch));
      slot.used += batch.length;
      for (const { kid } of batch) {
        slot.kids.add(encodeHex(kid));
        published.add(encodeHex(kid));
      }
    }
  };

  return {
    mediaKeys,
    published,
    publish: (keys) =>
      inOrder(async () => {
        const wanted = new Map(keys.filter(({ kid, key }) => kid.length === KEY_BYTES && key.length === KEY_BYTES).map((item) => [encodeHex(item.kid), item]));
        await add([...wanted].filter(([kid]) => !published.has(kid)).map(([, item]) => item));
        // The newest session stays open even when a seek left all its keys behind, unless it is full.
        const idle = slots.filter((slot) => slot.used >= KEYS_PER_SESSION || slot !== slots.at(-1)).filter((slot) => [...slot.kids].every((kid) => !wanted.has(kid)));
        await close(idle);
      }),
    clear: () => inOrder(() => close(slots)),
  };
};
