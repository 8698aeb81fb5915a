// SPDX-License-Identifier: Apache-2.0
/**
 * The options of timed release: how fine and how late, who gives secrets to this edge, where its clients connect.
 *
 * docs/wire/release.md, docs/guide/timed-release.md. Invariant: the defaults of the two modes are `TIMED_DEFAULTS`.
 */
import { TIMED_DEFAULTS, type TimedMode } from '#core/release/schedule.ts';
import { flag, numeric, oneOf, path, type Section, type SectionList, text, url, urls } from './option.ts';

/** Periods and offsets of one mode. */
export type TimedModeOptions = { readonly periodMillis: number; readonly deltaMillis: number; readonly fallbackDeltaMillis: number };
/** A key server that this edge asks for grants. */
export type ReleaseKeyServer = { readonly name: string; readonly url: string; readonly publicFile: string };
/** Another edge, asked for the time. */
export type ReleasePeer = { readonly name: string; readonly url: string };
/** Who may ask for the epoch: a bet engine, by the hash of its credential. */
export type ReleaseCredential = { readonly name: string; readonly sha256: string };

/** Names as in `docs/reference/configuration.md`. */
export type ReleaseOptions = {
  readonly latencySeconds: number;
  readonly groupSeconds: number;
  readonly standard: TimedModeOptions;
  readonly strict: TimedModeOptions;
  readonly host?: string;
  readonly singleHost: 'auto' | 'off';
  readonly chrony: boolean;
  readonly urls: readonly string[];
  readonly keyServers: readonly ReleaseKeyServer[];
  readonly peers: readonly ReleasePeer[];
  readonly credentials: readonly ReleaseCredential[];
  readonly workers: number;
  readonly workerHost: string;
  readonly workerPort: number;
  readonly maxConnections: number;
  readonly suspendMillis: number;
  readonly log?: string;
  readonly pad: boolean;
};

const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;

const modeSection = (mode: TimedMode): Section<TimedModeOptions> => {
  const { period, delta, fallbackDelta } = TIMED_DEFAULTS[mode];
  return {
    is: 'section',
    doc: mode === 'standard' ? 'Events created with `--timed standard`.' : 'Events created with `--timed strict`: one frame per period, no B-frames.',
    options: {
      periodMillis: numeric({ doc: 'Crypto period: one release opens so much.', unit: 'milliseconds', tradeOff: 'Whoever shows a key at once is ahead of everybody else by up to this and `deltaMillis`; shorter costs more pushes.', min: 20, max: 10_000, default: period / 1000 }),
      deltaMillis: numeric({ doc: 'From the release of a period to its first picture, the same for everybody.', unit: 'milliseconds', tradeOff: 'Shorter: less to gain by cheating. Longer: more clients have the key in time.', min: 20, max: 2000, default: delta / 1000 }),
      fallbackDeltaMillis: numeric({ doc: 'The same for clients without WebCodecs.', unit: 'milliseconds', min: 20, max: 2000, default: fallbackDelta / 1000 }),
    },
  };
};

const keyServers: SectionList<ReleaseKeyServer> = {
  is: 'list',
  doc: 'Key servers in other processes that this edge asks for release secrets; two or more survive the loss of one. Empty means the one in this process.',
  item: {
    is: 'section',
    doc: 'One key server.',
    required: ['name', 'url', 'publicFile'],
    options: {
      name: text({ doc: 'Its `keyServer.name`.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, example: 'keys-1' }),
      url: url({ doc: 'Its address.', example: 'https://keys-1.example.com' }),
      publicFile: path({ doc: 'The file with its public release keys that it wrote into its data folder at first start.', example: './keys-1.release.json' }),
    },
  },
  example: [{ name: 'keys-1', url: 'https://keys-1.example.com', publicFile: './keys-1.release.json' }],
};
const peers: SectionList<ReleasePeer> = {
  is: 'list',
  doc: 'Other edges, asked for the time: a second opinion beside the key servers.',
  item: {
    is: 'section',
    doc: 'One edge.',
    required: ['name', 'url'],
    options: { name: text({ doc: 'Its name in logs.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, example: 'edge-2' }), url: url({ doc: 'Its address.', example: 'https://edge-2.example.com' }) },
  },
  example: [{ name: 'edge-2', url: 'https://edge-2.example.com' }],
};
const credentials: SectionList<ReleaseCredential> = {
  is: 'list',
  doc: 'Who may ask `/v1/events/{id}/epoch` without an operator token: bet engines.',
  item: {
    is: 'section',
    doc: 'One credential, as its hash.',
    required: ['name', 'sha256'],
    options: {
      name: text({ doc: 'Whose it is.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, example: 'bets' }),
      sha256: text({ doc: 'SHA-256 of the credential, base64url.', type: '43 base64url characters', pattern: /^[A-Za-z0-9_-]{43}$/, example: 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ' }),
    },
  },
  example: [{ name: 'bets', sha256: 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ' }],
};

/** The section `release`. */
export const releaseSection: Section<ReleaseOptions> = {
  is: 'section',
  doc: 'Timed events: content that everybody holds and nobody opens before its instant.',
  options: {
    latencySeconds: numeric({ doc: 'From the camera to the picture of a timed event. Segments are delivered in the time before.', unit: 'seconds', tradeOff: 'Shorter: closer to live. Longer: more clients hold the bytes before their key comes.', min: 2, max: 60, fraction: 0.001, default: 5 }),
    groupSeconds: numeric({ doc: 'Grant group of timed events, the smallest stretch that a renewal opens.', unit: 'seconds', min: 1, max: 600, default: 30 }),
    standard: modeSection('standard'),
    strict: modeSection('strict'),
    host: text({ doc: 'Name of this host among those that have edges; absent means the name the system gives it.', type: '1-64 characters of a-z, A-Z, 0-9, . and -', pattern: /^[A-Za-z0-9.-]{1,64}$/, example: 'rack-7' }),
    singleHost: oneOf(['auto', 'off'], { doc: '`auto`: with the key server in this process, no other one and no peers, this host\'s clock is right by definition until an edge on another host is enrolled. `off`: the time always needs two sources that agree.', default: 'auto' }),
    chrony: flag({ doc: 'Asks chrony, where it runs, for the clock\'s own error bound, as one more source.', default: true }),
    urls: urls({ doc: 'Addresses of all edges of timed events, as viewers see them; clients use two of them. Empty means this process.', default: [], example: ['https://edge-1.example.com', 'https://edge-2.example.com'] }),
    keyServers,
    peers,
    credentials,
    workers: numeric({ doc: 'Threads that own the sockets of release clients, on a port of their own; 0 keeps them on the main port and thread.', tradeOff: 'A worker per reserved core keeps releases punctual under load; one carries about 2,500 TLS clients at 100 ms.', min: 0, max: 64, default: 0 }),
    workerHost: text({ doc: 'Address that the workers bind.', type: 'a host name or IP address', pattern: /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[?[0-9A-Fa-f:.]{2,45}\]?)$/, default: '127.0.0.1' }),
    workerPort: numeric({ doc: 'TCP port of the workers, shared by all of them; 0 takes any free one and prints it.', min: 0, max: 65_535, default: 8090 }),
    maxConnections: numeric({ doc: 'Release clients of one thread.', unit: 'connections', min: 1, max: 1_000_000, default: 20_000 }),
    suspendMillis: numeric({ doc: 'A thread that did not look at its clocks for so long counts as suspended, and stops releasing until the time is sure again.', unit: 'milliseconds', tradeOff: '100 on a reserved core. On a shared one longer: it is starved for a while now and then, and a real suspend shows in the system clock anyway.', min: 20, max: 60_000, default: 2000 }),
    log: path({ doc: 'Folder of the signed release logs; absent means `release` in the data folder.', example: '/var/log/sealcast/release' }),
    pad: flag({ doc: 'Pads every picture and sound of a timed event to one of few sizes, so that nobody sees a goal in the sizes.', tradeOff: 'Costs about 6 % more bytes. Off: a source with a constant rate is needed.', default: true }),
  },
};
