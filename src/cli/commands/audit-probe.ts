// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast audit probe`: an independent probe of one edge; signs when each secret of a timed event really arrived.
 *
 * docs/wire/audit.md, "Probe receipts". Run it on another operator's machine near the edge, with a clock that NTP keeps: what it says is worth as much as
 * that clock is. Its key is made at the first run; the public part beside it goes to whoever verifies.
 * Invariant: entitlement and keys come from files; the private key is readable by its owner only and never printed.
 */
import { existsSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { type CommandDef, defineCommand } from 'citty';
import { systemClock } from '#adapters/node/clock.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { openDevice, startSession } from '#client/index.ts';
import { type Probe, startProbe } from '#client/race/probe.ts';
import type { OpenSocket } from '#client/release/edge-link.ts';
import { assetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { importJwsKey, type JwsKey, signJws } from '#crypto/jose.ts';
import { CommandExit, EXIT, type ExitCode, jsonArg, numberOption, printJson, say, usageError } from '../command.ts';

type Access = { readonly token: string; readonly urls: readonly string[]; readonly keys: readonly { readonly kid: string }[] };
const NAME = /^[a-z0-9][a-z0-9-]{0,63}$/;
const openSocket: OpenSocket = (url, protocol) => new WebSocket(url, protocol) as never;

/** The probe's signing key; made, with its public part in `{file}.public.json`, if there is none. */
const signingKey = async (file: string, kid: string): Promise<JwsKey> => {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    const pair = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify'])) as unknown as { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };
    text = JSON.stringify(await crypto.subtle.exportKey('jwk', pair.privateKey));
    const { kty, crv, x } = await crypto.subtle.exportKey('jwk', pair.publicKey);
    await writeFile(file, `${text}\n`, { mode: 0o600, flag: 'wx' });
    await writeFile(`${file}.public.json`, `${JSON.stringify({ kty, crv, x, kid })}\n`);
  }
  try {
    return await importJwsKey(JSON.parse(text) as never, 'EdDSA');
  } catch {
    throw usageError(`--key ${file} must hold a private Ed25519 JWK`);
  }
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'probe', description: 'receive releases of one edge like a client, and sign when they came' },
  args: {
    event: { type: 'positional', required: true, description: 'the timed event' },
    server: { type: 'string', required: true, description: 'address of the licence server' },
    edge: { type: 'string', description: 'address of the edge to watch (default: the first that the session names)' },
    'entitlement-file': { type: 'string', required: true, description: 'file with an entitlement for the event' },
    key: { type: 'string', default: 'probe.key.json', description: 'file of the signing key, made if it does not exist' },
    name: { type: 'string', default: 'probe', description: 'name of this probe' },
    out: { type: 'string', alias: 'o', default: 'receipts.jsonl', description: 'receipts; must not exist yet' },
    'clock-error': { type: 'string', default: '5', description: 'how wrong this host\'s clock may be, milliseconds' },
    seconds: { type: 'string', description: 'stop after so long (default: at a signal)' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const { name, out, key: keyFile } = args as unknown as { readonly name: string; readonly out: string; readonly key: string };
    if (!NAME.test(name)) throw usageError('--name takes lower-case letters, digits and hyphens');
    const event = assetId(args.event);
    const error = ((numberOption('clock-error', String(args['clock-error']), { min: 0, max: 10_000 }) ?? 5) * 1000) as Micros;
    const seconds = numberOption('seconds', args.seconds as string | undefined, { min: 1, max: 1_000_000 });
    if (existsSync(out)) throw usageError(`${out} exists: every start of a probe has a file of its own`);
    let entitlement: string;
    try {
      entitlement = (await readFile(String(args['entitlement-file']), 'utf8')).trim();
    } catch {
      throw usageError('--entitlement-file cannot be read');
    }
    const key = await signingKey(keyFile, name);
    let access: Access | undefined;
    let token = '';
    const started = await startSession({
      servers: [String(args.server)], asset: event, device: await openDevice({ name: 'probe' }), entitlement: async () => entitlement, release: { openSocket: null },
      fetch: async (request) => {
        const { pathname } = new URL(request.url);
        // The session lives for its token; what it would show is nobody's business here.
        if (/\/release(?:\/|$)/.test(pathname)) return new Response(null, { status: 503 });
        const response = await fetch(request);
        token = response.headers.get('sealcast-release-token') ?? token;
        if (pathname === '/v1/sessions' && request.method === 'POST' && response.ok) {
          access = ((await response.clone().json()) as { release?: Access }).release;
          token = access?.token ?? token;
        }
        return response;
      },
    });
    if (!started.ok) throw new CommandExit(EXIT.negative, `no session: ${started.denial.code}`);
    const { session } = started;
    let probe: Probe | undefined;
    try {
      if (access === undefined) throw new CommandExit(EXIT.negative, `${event} is not a timed event`);
      const told: Access = access;
      const url = new URL((args.edge as string | undefined) ?? told.urls[0] ?? '/', String(args.server)).href;
      const keys = new Map<string, JwsKey>(await Promise.all(told.keys.map(async (jwk): Promise<[string, JwsKey]> => [jwk.kid, await importJwsKey(jwk as never, 'ES256')])));
      const time = createPreciseTime();
      probe = startProbe({
        probe: name, kid: name, sign: (payload) => signJws(payload, { typ: 'release-receipts+jwt', key, kid: name }), url, event, token: () => token, keyOf: (kid) => keys.get(kid ?? ''), openSocket, timers: systemClock,
        bound: () => {
          const { utc, within } = time.system();
          const wide = error + Math.ceil((within ?? 0) * 1000);
          return { earliest: (utc - wide) as Micros, latest: (utc + wide) as Micros };
        },
        hash: nodeLadderHash, append: (text) => appendFile(out, text),
      });
      if (!args.json) say(`watching ${url}; receipts go to ${out}, the public key is ${keyFile}.public.json`);
      await new Promise<void>((resolve) => {
        process.once('SIGINT', resolve);
        process.once('SIGTERM', resolve);
        if (seconds !== undefined) setTimeout(resolve, seconds * 1000);
      });
    } finally {
      await probe?.stop();
      await session.stop();
    }
    const { received, edge } = probe;
    if (args.json) printJson({ ok: received > 0, probe: name, edge: edge ?? null, received, receipts: out });
    else process.stdout.write(`${received} receipts of ${edge ?? 'no edge'}\n`);
    return received > 0 ? EXIT.done : EXIT.negative;
  },
});
export default command;
