// SPDX-License-Identifier: Apache-2.0
/**
 * Device tickets: after one full proof a device shows later starts that it is the same with one HMAC in place of a signature.
 *
 * docs/wire/session.md, "Device ticket". The ticket names an epoch, an expiry and an account; its secret is derived from the
 * epoch's ticket key, the ticket and both device keys, so any licence server knows it and none stores it.
 * Invariant: whoever knows a secret got it in a licence that only the device's agree key opens; a ticket alone proves nothing.
 */
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { SealcastError } from '#core/errors.ts';
import { msg } from '#core/keys/encoding.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { Micros } from '#core/time.ts';

/** No ticket lasts longer, µs: 24 h. */
export const TICKET_LIFETIME: Micros = 86_400_000_000 as Micros;
/** Bytes of a ticket, of its secret and of a proof made with it. */
export const TICKET_LENGTH: number = 1 + 1 + 8 + 32 + 16;
export const TICKET_SECRET_LENGTH = 32;
export const TICKET_PROOF_LENGTH = 32;
const RANDOM_LENGTH = 16;
const VERSION = 1;

/** What a ticket says; only its secret proves any of it. */
export type DeviceTicket = {
  /** Low byte of the master-secret epoch. */
  readonly epochByte: number;
  readonly expiresAt: Micros;
  /** SHA-256 of the account id. */
  readonly accountHash: Uint8Array;
};

/** Ticket bytes; `random` is 16 bytes. */
export const encodeTicket = ({ epochByte, expiresAt, accountHash }: DeviceTicket, random: Uint8Array): Uint8Array => {
  if (random.length !== RANDOM_LENGTH || accountHash.length !== 32) throw new RangeError('a ticket takes a 32-byte account hash and 16 random bytes');
  return new ByteWriter(TICKET_LENGTH).u8(VERSION).u8(epochByte).u64(BigInt(expiresAt)).bytes(accountHash).bytes(random).finish();
};

/** Throws `ticket-invalid` for anything but exactly one version-1 ticket. Nothing of it is proven yet. */
export const decodeTicket = (bytes: Uint8Array): DeviceTicket => {
  const reader = new ByteReader(bytes, 'device ticket', 'ticket-invalid');
  if (reader.u8() !== VERSION) throw new SealcastError('ticket-invalid', 'device ticket: version must be 1');
  const epochByte = reader.u8();
  const expires = reader.u64();
  if (expires > BigInt(Number.MAX_SAFE_INTEGER)) throw new SealcastError('ticket-invalid', 'device ticket: an instant must be below 2^53 microseconds');
  const accountHash = reader.take(32);
  reader.take(RANDOM_LENGTH);
  reader.end();
  return { epochByte, expiresAt: Number(expires) as Micros, accountHash };
};

/** The secret of a ticket for the device with these thumbprints (32 bytes each). Licence servers only. */
export const ticketSecret = (hash: LadderHash, ticketKey: Uint8Array, ticket: Uint8Array, device: Uint8Array, agree: Uint8Array): Uint8Array =>
  hash.hmac(ticketKey, msg('ticket-secret', ticket, device, agree));

/** What a start is bound to: as a signed proof, so that nothing can be exchanged on the way. `entitlement`: its SHA-256. */
export type TicketStart = { readonly entitlement: Uint8Array; readonly nonce: string; readonly asset: string };

/** What the secret authenticates. */
export const ticketMessage = ({ entitlement, nonce, asset }: TicketStart): Uint8Array => msg('ticket-start', entitlement, nonce, asset);
