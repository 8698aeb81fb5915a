// SPDX-License-Identifier: Apache-2.0
/**
 * The certificate of `--tls`: the operator's own PEM files, or one generated into the data folder.
 *
 * Browsers offer EME and WebCrypto only in secure contexts, so a second machine cannot watch over plain http.
 * Invariant: a generated key is readable by its owner only, and lives until its names or its year run out.
 */
import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { SealcastError } from '#core/errors.ts';

/** PEM texts of a key and its certificate chain. */
export type TlsFiles = { readonly key: string; readonly cert: string };

const read = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SealcastError('config-invalid', `TLS file ${path} cannot be read`, { cause });
  }
};

/** Addresses under which other machines reach this one. */
export const ownAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((each) => !each.internal && !(each.family === 'IPv6' && each.address.startsWith('fe80')))
    .map((each) => each.address);

const covers = (certificate: X509Certificate, names: readonly string[]): boolean =>
  new Date(certificate.validTo).getTime() > Date.now() + 7 * 86_400_000 &&
  names.every((name) => (/^[\d.]+$|:/.test(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined);

const generated = async (folder: string): Promise<TlsFiles> => {
  const paths = { key: join(folder, 'tls-key.pem'), cert: join(folder, 'tls-cert.pem') };
  const names = ['localhost', '127.0.0.1', '::1', hostname(), ...ownAddresses()];
  try {
    const kept = { key: await readFile(paths.key, 'utf8'), cert: await readFile(paths.cert, 'utf8') };
    if (covers(new X509Certificate(kept.cert), names)) return kept;
  } catch {
    // Absent or unreadable: a new one is made below.
  }
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: hostname() }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notAfterDate: new Date(Date.now() + 365 * 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: names.map((name) => (/^[\d.]+$|:/.test(name) ? { type: 7, ip: name } : { type: 2, value: name })) },
    ],
  });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(paths.key, made.private, { mode: 0o600 });
  await chmod(paths.key, 0o600);
  await writeFile(paths.cert, made.cert);
  return { key: made.private, cert: made.cert };
};

/** The PEM texts to serve with; undefined when TLS is off. Throws `config-invalid` for unreadable files. */
export const loadTls = async (tls: { readonly mode: 'off' | 'auto' | 'files'; readonly certFile?: string; readonly keyFile?: string }, dataFolder: string): Promise<TlsFiles | undefined> => {
  if (tls.mode === 'off') return undefined;
  if (tls.mode === 'auto') return generated(dataFolder);
  return { key: await read(tls.keyFile ?? ''), cert: await read(tls.certFile ?? '') };
};
