// SPDX-License-Identifier: Apache-2.0
/**
 * Records that only this device can have written: text and a MAC under a secret of its own agree key.
 *
 * docs/wire/subscription.md, "Trusted clock": the secret is ECDH of the key pair with itself, so that it needs no storage and
 * cannot be had without the private key. Invariant: an edited record, one of another device and one under another name read as
 * not being there.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { msg } from '#core/keys/encoding.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import type { Device } from '../device.ts';

/** Marks and checks records. */
export type DeviceSeal = {
  seal(name: string, text: string): string;
  /** The text, or undefined for anything that this device did not seal under this name. */
  open(name: string, sealed: string): string | undefined;
};

/** The seal of a device. */
export const createDeviceSeal = async (device: Pick<Device, 'agreeKey' | 'description'>): Promise<DeviceSeal> => {
  const own = await crypto.subtle.importKey('jwk', { ...device.description.agree }, { name: 'ECDH', namedCurve: 'P-256' }, false, []);
  const shared = new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: own }, device.agreeKey, 256));
  const key = hash.hmac(shared, msg('device-record'));
  const mac = (name: string, text: string): Uint8Array => hash.hmac(key, msg('device-record', name, hash.sha256(encodeUtf8(text))));
  return {
    seal: (name, text) => `${encodeBase64url(mac(name, text))}.${text}`,
    open(name, sealed) {
      const at = sealed.indexOf('.');
      const text = sealed.slice(at + 1);
      try {
        return at > 0 && equalBytes(decodeBase64url(sealed.slice(0, at)), mac(name, text)) ? text : undefined;
      } catch {
        return undefined;
      }
    },
  };
};
