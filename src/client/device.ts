// SPDX-License-Identifier: Apache-2.0
/**
 * A device: one P-256 pair that signs proofs (ECDSA) and one that opens licences (ECDH).
 *
 * docs/wire/session.md; the device id is the RFC 7638 thumbprint of the signing key.
 * Invariant: private keys are non-extractable unless the injected storage says that it can only keep text; they leave
 * this module in no other form than that storage's.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import type { DeviceId } from '#core/ids.ts';
import { ticketMessage, type TicketStart } from '#core/license/device-ticket.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import type { Micros } from '#core/time.ts';
import { type JwsType, signJws, thumbprint } from '#crypto/jose.ts';

/** The two key pairs as a storage keeps them. Structured-cloneable: IndexedDB stores them without exporting. */
export type DeviceKeyPairs = { readonly sign: CryptoKeyPair; readonly agree: CryptoKeyPair };

/** Where a device keeps its keys between visits. */
export interface DeviceKeyStorage {
  /** True if this storage can only keep text, so that keys have to be made extractable. Browsers: false. */
  readonly extractable: boolean;
  load(): Promise<DeviceKeyPairs | undefined>;
  save(keys: DeviceKeyPairs): Promise<void>;
  /** The newest ticket, where the storage can keep one; a lost ticket costs one signature. */
  loadTicket?(): Promise<DeviceTicket | undefined>;
  saveTicket?(ticket: DeviceTicket | undefined): Promise<void>;
}

/** A ticket as a device keeps it: `key` signs (HMAC SHA-256) and cannot be exported. Structured-cloneable. */
export type DeviceTicket = { readonly value: Uint8Array; readonly key: CryptoKey; readonly expiresAt: Micros };

/** Purposes a device signs for; each is one JOSE `typ`, so that no proof can be used as another. */
export type ProofType = Extract<JwsType, 'session-proof+jwt' | 'license-proof+jwt' | 'device-proof+jwt' | 'root-proof+jwt' | 'usage+jwt' | 'stop+jwt'>;

/** An opened device: what it tells servers, and what it can prove and open. */
export type Device = {
  readonly id: DeviceId;
  /** Shown to the account's owner; at most 64 characters. */
  readonly name: string;
  /** True if the keys outlive this page or process. */
  readonly stored: boolean;
  /** What the server is told: public keys and the name. */
  readonly description: { readonly sign: PublicJwk; readonly agree: PublicJwk; readonly name: string };
  /** RFC 7638 thumbprint of the agree key. */
  readonly agreeThumbprint: string;
  /** For opening sealed licences only. */
  readonly agreeKey: CryptoKey;
  /** Compact JWS (ES256) of `payload` by the sign key. */
  prove(type: ProofType, payload: object): Promise<string>;
  /** Ticket and MAC for a start, in place of a proof; undefined without a ticket that is good at `now`. */
  proveByTicket(start: TicketStart, now: Micros): Promise<{ readonly ticket: string; readonly mac: string } | undefined>;
  /** Takes the ticket of a licence; undefined forgets the one that is held. */
  keepTicket(ticket: SealedTicket | undefined): Promise<void>;
};

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const ECDH = { name: 'ECDH', namedCurve: 'P-256' } as const;
const MAX_NAME = 64;

const publicJwk = async (key: CryptoKey): Promise<PublicJwk> => {
  const { x, y } = await crypto.subtle.exportKey('jwk', key);
  if (x === undefined || y === undefined) throw new SealcastError('bad-request', 'a device key must be an elliptic-curve key on P-256');
  return { kty: 'EC', crv: 'P-256', x, y };
};

const makePairs = async (extractable: boolean): Promise<DeviceKeyPairs> => ({
  sign: (await crypto.subtle.generateKey(ECDSA, extractable, ['sign', 'verify'])) as CryptoKeyPair,
  agree: (await crypto.subtle.generateKey(ECDH, extractable, ['deriveBits'])) as CryptoKeyPair,
});

/**
 * Opens the device kept in `storage`, making and saving its keys at the first visit. Without storage, or where the
 * storage fails (private windows), the keys live as long as the returned object: the server's policy decides whether
 * such a device may play. Throws `bad-request` where there is no WebCrypto, which is the case in insecure contexts.
 */
export const openDevice = async (options: { name?: string; storage?: DeviceKeyStorage } = {}): Promise<Device> => {
  if (globalThis.crypto?.subtle === undefined) throw new SealcastError('bad-request', 'WebCrypto is missing: the page has to be opened over https or on localhost');
  let stored = options.storage !== undefined;
  let pairs: DeviceKeyPairs | undefined;
  try {
    pairs = await options.storage?.load();
  } catch {
    stored = false;
  }
  if (pairs === undefined) {
    pairs = await makePairs(options.storage?.extractable ?? false);
    if (stored) await options.storage?.save(pairs).catch(() => (stored = false));
  }
  return describe(pairs, (options.name ?? 'web browser').slice(0, MAX_NAME), stored, options.storage);
};

const HMAC = { name: 'HMAC', hash: 'SHA-256' } as const;

/** The newest ticket, here and in the storage; a storage that fails means that the page forgets it. */
const ticketHolder = (storage: DeviceKeyStorage | undefined): Pick<Device, 'proveByTicket' | 'keepTicket'> => {
  let held: Promise<DeviceTicket | undefined> | undefined;
  const load = (): Promise<DeviceTicket | undefined> => (held ??= Promise.resolve(storage?.loadTicket?.()).catch(() => undefined));
  return {
    async proveByTicket(start, now) {
      const ticket = await load();
      if (ticket === undefined || ticket.expiresAt <= now) return undefined;
      const mac = new Uint8Array(await crypto.subtle.sign('HMAC', ticket.key, ticketMessage(start) as Uint8Array<ArrayBuffer>));
      return { ticket: encodeBase64url(ticket.value), mac: encodeBase64url(mac) };
    },
    async keepTicket(sealed) {
      const ticket = sealed === undefined ? undefined : { value: sealed.value, expiresAt: sealed.expiresAt, key: await crypto.subtle.importKey('raw', sealed.secret as Uint8Array<ArrayBuffer>, HMAC, false, ['sign']) };
      held = Promise.resolve(ticket);
      await storage?.saveTicket?.(ticket).catch(() => undefined);
    },
  };
};

const describe = async (pairs: DeviceKeyPairs, name: string, stored: boolean, storage: DeviceKeyStorage | undefined): Promise<Device> => {
  const [sign, agree] = await Promise.all([publicJwk(pairs.sign.publicKey), publicJwk(pairs.agree.publicKey)]);
  return {
    id: await thumbprint(sign),
    name,
    stored,
    description: { sign, agree, name },
    agreeThumbprint: await thumbprint(agree),
    agreeKey: pairs.agree.privateKey,
    ...ticketHolder(storage),
    prove: (typ, payload) => signJws(payload, { typ, key: { alg: 'ES256', key: pairs.sign.privateKey } }),
  };
};

/** Keeps the keys in memory: for tests, and for several sessions of one headless viewer. */
export const memoryDeviceStorage = (): DeviceKeyStorage => {
  let kept: DeviceKeyPairs | undefined;
  let ticket: DeviceTicket | undefined;
  return {
    extractable: false,
    load: async () => kept,
    save: async (keys) => {
      kept = keys;
    },
    loadTicket: async () => ticket,
    saveTicket: async (newest) => {
      ticket = newest;
    },
  };
};

type StoredJwks = { readonly sign: JsonWebKey; readonly agree: JsonWebKey };

/**
 * Keeps the keys as private JWKs in a text that `read` and `write` move, e.g. from and to a file of mode 0600.
 * For headless devices: whoever can read the text is the device.
 */
export const textDeviceStorage = (io: { read(): Promise<string | undefined>; write(text: string): Promise<void> }): DeviceKeyStorage => ({
  extractable: true,
  async load() {
    const text = await io.read();
    if (text === undefined) return undefined;
    const { sign, agree } = JSON.parse(text) as StoredJwks;
    return { sign: await importPair(sign, ECDSA, ['sign'], ['verify']), agree: await importPair(agree, ECDH, ['deriveBits'], []) };
  },
  async save(keys) {
    const stored: StoredJwks = {
      sign: await crypto.subtle.exportKey('jwk', keys.sign.privateKey),
      agree: await crypto.subtle.exportKey('jwk', keys.agree.privateKey),
    };
    await io.write(JSON.stringify(stored));
  },
});

const importPair = async (jwk: JsonWebKey, algorithm: typeof ECDSA | typeof ECDH, privateUses: KeyUsage[], publicUses: KeyUsage[]): Promise<CryptoKeyPair> => {
  const { kty, crv, x, y, d } = jwk;
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined || d === undefined) throw new SealcastError('bad-request', 'stored device key must be a private P-256 JWK');
  return {
    privateKey: await crypto.subtle.importKey('jwk', { kty, crv, x, y, d }, algorithm, true, privateUses),
    publicKey: await crypto.subtle.importKey('jwk', { kty, crv, x, y }, algorithm, true, publicUses),
  };
};
