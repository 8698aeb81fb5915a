// SPDX-License-Identifier: Apache-2.0
/**
 * Seals small secrets at rest: AES-256-GCM under the key-encryption key (KEK), and where that key comes from.
 *
 * Format: u8 version 1 | 12 random bytes | ciphertext | 16-byte tag; the context string is authenticated data, so a sealed
 * secret moved to another record does not open. NIST SP 800-38D allows 2^32 random nonces per key; secrets are made by the dozen.
 * Invariant: the KEK itself is never written except as the development key, in a file only its owner can read, with a warning.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeHex } from '#core/bytes/hex.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { Log, SecretBox } from '#ports';

const VERSION = 1;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const KEK_LENGTH = 32;

/** `kek` is 32 random bytes. Throws `config-invalid` for any other length. */
export const createSecretBox = (kek: Uint8Array): SecretBox => {
  if (kek.length !== KEK_LENGTH) throw new SealcastError('config-invalid', `a key-encryption key is ${KEK_LENGTH} bytes; got ${kek.length}`);
  return {
    async seal(plain, context) {
      const nonce = randomBytes(NONCE_LENGTH);
      const cipher = createCipheriv('aes-256-gcm', kek, nonce).setAAD(encodeUtf8(context));
      return new Uint8Array(Buffer.concat([Uint8Array.of(VERSION), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
    },
    async open(sealed, context) {
      if (sealed.length < 1 + NONCE_LENGTH + TAG_LENGTH || sealed[0] !== VERSION) throw new SealcastError('config-invalid', `a sealed secret of version ${VERSION} was expected; got ${sealed.length} bytes`);
      const body = sealed.subarray(1 + NONCE_LENGTH, sealed.length - TAG_LENGTH);
      const decipher = createDecipheriv('aes-256-gcm', kek, sealed.subarray(1, 1 + NONCE_LENGTH), { authTagLength: TAG_LENGTH }).setAAD(encodeUtf8(context)).setAuthTag(sealed.subarray(sealed.length - TAG_LENGTH));
      try {
        return new Uint8Array(Buffer.concat([decipher.update(body), decipher.final()]));
      } catch {
        throw new SealcastError('config-invalid', `a stored secret (${context.split('/')[0]}) does not open: it was sealed under another key-encryption key, or altered`);
      }
    },
  };
};

/** Where the key-encryption key comes from; at most one of `file` and `environment`. */
export type KekSource = {
  /** File with the key: 32 raw bytes, or 64 hex or 43 base64url characters. */
  readonly file?: string;
  /** Text of an environment variable, in hex or base64url. */
  readonly environment?: string;
  /** Data folder for the generated development key, used when neither is given. */
  readonly developmentFolder?: string;
};

const DEVELOPMENT_FILE = 'development-kek';

/**
 * The key-encryption key from exactly one source, `file` and `environment` being mutually exclusive. Without either, a
 * development key is made in the data folder once, and every start warns about it. Throws `config-invalid`.
 */
export const loadKeyEncryptionKey = async (source: KekSource, log: Log): Promise<{ readonly kek: Uint8Array; readonly development: boolean }> => {
  if (source.file !== undefined && source.environment !== undefined) throw new SealcastError('config-invalid', 'key-encryption key: give a file or an environment variable, not both');
  if (source.file !== undefined) return { kek: parseKek(await readKek(source.file), 'file'), development: false };
  if (source.environment !== undefined) return { kek: parseKek(encodeUtf8(source.environment), 'environment variable'), development: false };
  if (source.developmentFolder === undefined) throw new SealcastError('config-invalid', 'key-encryption key: a file, an environment variable or a data folder for a development key is required');
  const path = join(source.developmentFolder, DEVELOPMENT_FILE);
  const kek = parseKek(await developmentKey(source.developmentFolder, path), 'development key file');
  log.warn('DEVELOPMENT KEY IN USE: whoever can read the data folder can read every title key. Set a key-encryption key before going live.', { file: path });
  return { kek, development: true };
};

const readKek = async (path: string): Promise<Uint8Array> => {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new SealcastError('config-invalid', 'key-encryption key: the file cannot be read', { cause });
  }
};

const parseKek = (bytes: Uint8Array, from: string): Uint8Array => {
  if (bytes.length === KEK_LENGTH) return new Uint8Array(bytes);
  const text = Buffer.from(bytes).toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return decodeHex(text.toLowerCase());
  if (/^[A-Za-z0-9_-]{43}$/.test(text)) return decodeBase64url(text);
  throw new SealcastError('config-invalid', `key-encryption key: the ${from} must hold 32 bytes, 64 hex or 43 base64url characters; got ${bytes.length} bytes`);
};

/** Two processes may start at once: the key is written aside and linked into place, so that both read the first one's. */
const developmentKey = async (folder: string, path: string): Promise<Uint8Array> => {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new SealcastError('config-invalid', 'the development key cannot be read', { cause: error });
  }
  await mkdir(folder, { recursive: true });
  const aside = `${path}.${process.pid}.${encodeBase64url(randomBytes(6))}`;
  const handle = await open(aside, 'wx', 0o600);
  try {
    await handle.writeFile(`${encodeBase64url(randomBytes(KEK_LENGTH))}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await link(aside, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(aside, { force: true });
  return readFile(path);
};
