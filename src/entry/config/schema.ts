// SPDX-License-Identifier: Apache-2.0
/**
 * Every configuration option there is: meaning, unit, range, default and trade-off, in one place.
 *
 * `sealcast config default`, `docs/reference/configuration.md` and the validation at start are all made from this object.
 * Length: one object on purpose, so that documents, defaults and validation cannot disagree.
 * Invariant: the defaults alone are a valid configuration of a single process on loopback.
 */
import type { CollectionLimit, Config, EnrolledEdge, EntitlementCallbackAddress, EntitlementKey, Listen, ServiceCredential, WebhookAddress, Zone } from './config.ts';
import { enforcementSection } from './enforcement-options.ts';
import { tracingSection } from './tracing-options.ts';
import { releaseSection } from './release-options.ts';
import { flag, numeric, oneOf, path, publicJwk, type Section, someOf, text, texts, url, urls } from './option.ts';

const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[?[0-9A-Fa-f:.]{2,45}\]?)$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,39}$/;
const COLLECTION = /^[a-z0-9][a-z0-9-]{0,63}$/;

const listenSection = (doc: string, port: number, optional: boolean): Section<Listen> => ({
  is: 'section',
  doc,
  optional,
  options: {
    host: text({
      doc: 'Address to bind.',
      tradeOff:
        '`127.0.0.1` keeps the service to this machine; `0.0.0.0` or `::` opens it to the network, which is refused while keys are development keys unless stated on the command line.',
      type: 'a host name or IP address',
      pattern: HOST,
      default: '127.0.0.1',
    }),
    port: numeric({ doc: 'TCP port; 0 takes any free one and prints it.', min: 0, max: 65_535, default: port }),
  },
});

const zoneSection: Section<Zone> = {
  is: 'section',
  doc: 'The renewal zone of this process: its zone key serves the sessions that carry this index.',
  options: {
    index: numeric({ doc: 'Number of the zone, readable in every session id. Never reuse one.', min: 0, max: 255, default: 0 }),
    name: text({ doc: 'Name of the zone in logs, metrics and the control room.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, default: 'default' }),
  },
};

const entitlementKeySection: Section<EntitlementKey> = {
  is: 'section',
  doc: 'A key that signs entitlements. Give exactly one of `jwk`, `jwkFile` and `secretFile`.',
  required: ['kid', 'alg'],
  options: {
    kid: text({ doc: 'The `kid` in the header of the entitlements it signs.', type: '1-128 visible characters', pattern: /^[\x21-\x7e]{1,128}$/, example: 'backend-2026' }),
    alg: oneOf(['ES256', 'EdDSA', 'HS256'], {
      doc: 'Signature algorithm; entitlements with another one are refused.',
      tradeOff: 'With HS256 whoever can verify can also sign: keep it for back ends that cannot do better.',
      example: 'ES256',
    }),
    jwk: publicJwk({ doc: 'The public key itself (ES256, EdDSA).' }),
    jwkFile: path({ doc: 'File with the public key as JSON (ES256, EdDSA).', example: './backend-public.json' }),
    secretFile: path({ doc: 'File with the shared secret (HS256): its bytes as they are, at least 32, without line ends at its end.' }),
  },
};

const serviceCredentialSection: Section<ServiceCredential> = {
  is: 'section',
  doc: 'One credential, as its hash.',
  required: ['role', 'sha256'],
  options: {
    role: oneOf(['packager', 'license-server', 'key-server'], { doc: 'What it opens: content keys for a packager, grant keys for a licence server, event keys for a replica that gives release secrets to edges.', example: 'packager' }),
    sha256: text({ doc: 'SHA-256 of the credential, base64url.', type: '43 base64url characters', pattern: /^[A-Za-z0-9_-]{43}$/, example: 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ' }),
  },
};

const enrolledEdgeSection: Section<EnrolledEdge> = {
  is: 'section',
  doc: 'One edge.',
  required: ['id', 'publicFile'],
  options: {
    id: text({ doc: 'The `edge.id` of that process.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, example: 'edge-2' }),
    publicFile: path({ doc: 'The file with its public keys that it wrote into its data folder at first start.', example: './edge-2.public.json' }),
    zone: numeric({ doc: 'Index of the zone it serves.', min: 0, max: 255, default: 0 }),
    renews: flag({ doc: 'Gives it the zone key, so that it can answer renewals.', tradeOff: 'A stolen zone key opens sessions of its zone whose licence the thief also holds, until the epoch ends.', default: false }),
  },
};

const webhookSection: Section<WebhookAddress> = {
  is: 'section',
  doc: 'One address.',
  required: ['url', 'secretFile'],
  options: {
    url: url({ doc: 'Where alerts are posted.', tradeOff: 'Use https beyond your own network: the signature shows who sent an alert, but hides nothing.', example: 'https://ops.example.com/hooks/sealcast' }),
    secretFile: path({ doc: 'File with the secret that signs them: 24-64 bytes as base64, with or without `whsec_`.', example: '/run/secrets/sealcast-webhook' }),
  },
};

const entitlementCallbackSection: Section<EntitlementCallbackAddress> = {
  is: 'section',
  doc: 'Your back end is asked about every start whose token is not a signed entitlement. `url` and `secretFile` go together.',
  optional: true,
  required: ['url', 'secretFile'],
  options: {
    url: url({ doc: 'Where questions are posted.', tradeOff: 'Starts wait for it, running sessions do not: a signed entitlement needs no such address.', example: 'https://shop.example.com/may-watch' }),
    secretFile: path({ doc: 'File with the secret that signs the questions: its bytes as they are, at least 32, without line ends at its end.', example: '/run/secrets/sealcast-callback' }),
    timeoutMillis: numeric({ doc: 'How long a start waits for the answer. Five failures in a row, and starts are refused at once until it answers again.', unit: 'milliseconds', min: 10, max: 10_000, default: 300 }),
  },
};

const collectionLimitSection: Section<CollectionLimit> = {
  is: 'section',
  doc: 'A limit for the titles and events of one collection, beside that of the account: the tighter one holds.',
  required: ['name', 'limit'],
  options: {
    name: text({ doc: 'The collection, as its titles and events name it.', type: '1-64 characters of a-z, 0-9 and -', pattern: COLLECTION, example: 'sport' }),
    limit: numeric({ doc: 'Streams per account at a time within it.', unit: 'streams', min: 1, max: 100_000, example: 2 }),
  },
};

/** The schema; its order is the order of the generated file. */
export const SCHEMA: Section<Config> = {
  is: 'section',
  doc: 'Relative paths start at the working directory.',
  options: {
    data: path({
      doc: 'Folder of the database, media objects, generated keys and journals. Created with access for its owner only.',
      tradeOff: 'Losing it loses devices, sessions, titles and, with a generated key-encryption key, every content key.',
      default: './sealcast-data',
    }),
    roles: someOf(['packager', 'key-server', 'license-server', 'renewal', 'edge', 'operations'], {
      doc: 'The parts of the service that this process runs; all of them unless told.',
      tradeOff: 'One process is simplest. Apart, edges and renewal nodes hold no content keys and can be many.',
      default: ['packager', 'key-server', 'license-server', 'renewal', 'edge', 'operations'],
    }),
    listen: listenSection('Where viewers, sources and peers reach this process.', 8080, false),
    adminListen: listenSection('A second address for operator endpoints, the control room, metrics and health; absent means the same port as everything else.', 8081, true),
    publicUrl: url({
      doc: 'Address of this service as viewers see it, without a trailing path; absent means the listening address. Stands in licences, manifests and answers.',
      example: 'https://watch.example.com',
    }),
    hosts: texts({
      doc: 'Names accepted in the Host header of operator endpoints. Loopback names and the host of `publicUrl` are always accepted.',
      tradeOff: 'The list stops pages of other sites from reaching the control room by DNS rebinding: add names, do not open it.',
      type: 'a list of host names',
      pattern: HOST,
      default: [],
    }),
    tls: {
      is: 'section',
      doc: 'HTTPS. Browsers give protected playback only to HTTPS and loopback pages.',
      options: {
        mode: oneOf(['off', 'auto', 'files'], {
          doc: '`off`: plain HTTP, for loopback or behind a TLS proxy. `auto`: a self-signed certificate made in the data folder. `files`: the two files below.',
          tradeOff: '`auto` needs no set-up, but every viewer has to accept the certificate by hand.',
          default: 'off',
        }),
        certFile: path({ doc: 'PEM file with the certificate chain, for mode `files`.', example: './tls/fullchain.pem' }),
        keyFile: path({ doc: 'PEM file with the private key, for mode `files`.', example: './tls/privkey.pem' }),
      },
    },
    zone: zoneSection,
    zones: {
      is: 'list',
      doc: 'All renewal zones that the licence server gives sessions to and that a core renewal fleet can renew; empty means only `zone`.',
      item: zoneSection,
      example: [
        { index: 0, name: 'core' },
        { index: 1, name: 'europe' },
      ],
    },
    keyEncryptionKey: {
      is: 'section',
      doc: 'Where the 32-byte key comes from that encrypts all other keys at rest. Absent: one is generated into the data folder, with a warning at each start, and only loopback is served.',
      options: {
        file: path({ doc: 'File with the key, base64url, readable by its owner only.', example: '/run/secrets/sealcast-kek' }),
        env: text({
          doc: 'Environment variable with the key, base64url.',
          type: 'the name of an environment variable',
          pattern: /^[A-Za-z_][A-Za-z0-9_]{0,127}$/,
          example: 'SEALCAST_KEK',
        }),
      },
    },
    licensing: {
      is: 'section',
      doc: 'Licences and their renewal. A session that may not continue opens nothing later than its last renewal plus the term of its level (level 3: `durationSeconds`) plus one grant group.',
      options: {
        intervalSeconds: numeric({
          doc: 'A client renews this often: on enforcement level 3, and with `levels: strict` every client.',
          unit: 'seconds',
          tradeOff: 'Shorter: a stopped session stops sooner and concurrency is counted more exactly. Longer: fewer requests; 1,000,000 viewers at 180 s are 5,600 requests/s.',
          min: 1,
          max: 3600,
          default: 180,
        }),
        durationSeconds: numeric({
          doc: 'What one licence or renewal opens, from the moment it is given: on enforcement level 3, and with `levels: strict` for everybody. At least `intervalSeconds`.',
          unit: 'seconds',
          tradeOff: 'The excess over the interval is how long an outage of the renewal service stays invisible; it is also how long a denied session goes on.',
          min: 2,
          max: 86_400,
          default: 300,
        }),
        horizonSeconds: numeric({
          doc: 'How far ahead a licence carries sealed grants that renewals can open. After that the client asks for a new licence.',
          unit: 'seconds',
          tradeOff: 'Longer horizons make licences larger (40 bytes per grant group) and new licences rarer.',
          min: 2,
          max: 86_400,
          default: 14_400,
        }),
        maxLiveGrantSeconds: numeric({
          doc: 'No grant for a live, timed or marked event opens more than this, whatever its terms say.',
          unit: 'seconds',
          tradeOff: 'Bounds what an account that is not counted strictly may keep after it is denied.',
          min: 2,
          max: 86_400,
          default: 900,
        }),
        levels: oneOf(['strict', 'adaptive'], {
          doc: 'Terms of accounts. `adaptive`: accounts start with licences as long as the content, move to half of it and to the terms above when they hold renewals back, and return after a quiet week; the figures are in `enforcement`. `strict`: everybody has the terms above.',
          tradeOff: '`adaptive` asks for fewer renewals and makes outages invisible to well-behaved accounts, which may keep a whole title; `strict` stops everybody within one term.',
          default: 'adaptive',
        }),
        epochHours: numeric({
          doc: 'Life of a master secret; sessions started under it are renewed until it and its overlap end. Third-party runtimes want 6 or less.',
          unit: 'hours',
          tradeOff: 'Shorter: a stolen zone key is worth less. Longer: fewer sessions need a new licence in the middle.',
          min: 1,
          max: 168,
          default: 24,
        }),
        renewUrls: urls({
          doc: 'Renewal addresses given to clients, in the order to try; empty means this service. Name at least one core address when edges renew.',
          default: [],
        }),
        licenseUrls: urls({ doc: 'Licence addresses given to clients, in the order to try; empty means this service.', default: [] }),
        startsAtOnce: numeric({
          doc: 'Session starts that this process works on at the same time; more are told to come back in two seconds.',
          tradeOff: 'Lower: renewals beside a rush of new viewers are answered sooner. Higher: fewer of these viewers have to ask again.',
          min: 1,
          max: 100_000,
          default: 100,
        }),
      },
    },
    concurrency: {
      is: 'section',
      doc: 'How many streams an account may watch at a time, and what happens beyond that.',
      options: {
        slotFreedBy: oneOf(['stop', 'expiry'], {
          doc: 'What frees the place of a session that its viewer stopped: the stop itself, or the end of its licence. With `stop` an account on enforcement level 3 waits for one crypto period.',
          tradeOff: '`stop`: a viewer who changes rooms can go on at once; whoever forges a player can say that it stopped and watch what is open to the end of its term. `expiry`: nothing is gained by saying so.',
          default: 'stop',
        }),
        mode: oneOf(['detection-only', 'deny-new', 'terminate-oldest'], {
          doc: 'What a start over the limit does: it is served and noted; refused, with the sessions the viewer can end instead; or served, while the oldest session ends.',
          default: 'detection-only',
        }),
        limit: numeric({ doc: 'Streams per account at a time; 0 means any number.', min: 0, max: 100_000, default: 0 }),
        collections: { is: 'list', doc: 'Limits of collections.', item: collectionLimitSection, example: [{ name: 'sport', limit: 2 }] },
        uncounted: oneOf(['serve', 'well-behaved', 'refuse'], {
          doc: 'New sessions while streams cannot be counted: serve all, only those of accounts below level 3, or none. Running sessions always go on.',
          default: 'well-behaved',
        }),
        recordUrls: texts({
          doc: 'Redis or Valkey that counts for several processes, `redis://` or `rediss://`; several addresses mean a cluster. Empty: this process counts for itself.',
          type: 'a list of redis or rediss URLs',
          pattern: /^rediss?:\/\/[^\s]{1,255}$/,
          default: [],
        }),
        recordTimeoutMillis: numeric({
          doc: 'How long a start or renewal waits for the record before it goes on without it. Five failures in a row start emergency mode.',
          unit: 'milliseconds',
          min: 10,
          max: 10_000,
          default: 250,
        }),
        emergencyFactor: numeric({
          doc: 'While the record cannot be reached, a renewal lasts so many times its normal term, at most `emergencyMaxSeconds` and never less than normal.',
          tradeOff: 'Higher: longer outages pass unnoticed at level 3. Lower: who is over a limit meanwhile plays on for less.',
          min: 1,
          max: 100,
          default: 3,
        }),
        emergencyMaxSeconds: numeric({ doc: 'Most that an emergency lengthens a term to.', unit: 'seconds', min: 1, max: 604_800, default: 1800 }),
      },
    },
    enforcement: enforcementSection,
    time: {
      is: 'section',
      doc: 'A server whose clock steps by more than a second gives no licences and answers no renewals until that is settled: its clients ask the next address.',
      options: {
        peers: urls({
          doc: 'Other servers of this service, by base address. Their `/v1/time` is compared with this clock once a minute; it has to agree with the median of theirs within a second.',
          tradeOff: 'With peers a step is believed only when they confirm it, and a clock that was wrong at start is found. Without, see `acceptStepsAfterSeconds`.',
          default: [],
        }),
        acceptStepsAfterSeconds: numeric({ doc: 'Without peers: a step that is not undone is believed after so long, as after a suspend; 0 means not before a restart.', unit: 'seconds', min: 0, max: 86_400, default: 60 }),
      },
    },
    usage: {
      is: 'section',
      doc: 'Metering: what devices report of what they played.',
      options: {
        countedAfterSeconds: numeric({
          doc: 'A play counts for payouts when this much of the title was played, or half of a shorter title.',
          unit: 'seconds',
          tradeOff: 'Short counts trailers and zapping; long leaves out songs.',
          min: 1, max: 3600, default: 30,
        }),
      },
    },
    devices: {
      is: 'section',
      doc: 'Which devices may play.',
      options: {
        unregistered: oneOf(['allow', 'deny'], {
          doc: 'Whether a device that was never registered may start a session, with a key pair made for that session.',
          tradeOff: '`allow` lets private windows and guests play; `deny` makes the device limit a hard one.',
          default: 'allow',
        }),
        max: numeric({ doc: 'Registered, unrevoked devices per account.', unit: 'devices', min: 1, max: 1000, default: 5 }),
      },
    },
    entitlements: {
      is: 'section',
      doc: 'Who may say that an account may watch.',
      options: {
        keys: {
          is: 'list',
          doc: 'Keys of your back end, tried by `kid`. Empty: only entitlements of the built-in demo issuer are accepted.',
          item: entitlementKeySection,
          example: [{ kid: 'backend-2026', alg: 'ES256', jwkFile: './backend-public.json' }],
        },
        callback: entitlementCallbackSection,
      },
    },
    packager: {
      is: 'section',
      doc: 'How events and titles are cut, encrypted and listed.',
      options: {
        scheme: oneOf(['cenc', 'cbcs'], {
          doc: 'Protection scheme of new events and titles.',
          tradeOff: '`cenc` packs faster and plays everywhere but on Apple platforms; `cbcs` is what those need, and current players take it everywhere.',
          default: 'cenc',
        }),
        segmentSeconds: numeric({
          doc: 'Length of a segment. Sources must start a picture that needs no earlier one at each boundary.',
          unit: 'seconds',
          tradeOff: 'Shorter: faster joining and switching. Longer: better compression and fewer requests.',
          min: 0.5,
          max: 30,
          fraction: 0.001,
          default: 2,
        }),
        requireMark: flag({
          doc: 'Whether renditions with marks inside their bitstream are unwatchable until an edge has marked them.',
          tradeOff: 'On: what leaks from the origin or a cache on the way shows noise. Off: a segment that no edge marked still plays, and a fault of the edge can be bridged.',
          default: false,
        }),
        chunkMillis: numeric({
          doc: 'Length of the pieces in which a live segment is delivered while it is made.',
          unit: 'milliseconds',
          tradeOff: 'Shorter: lower latency. Longer: fewer parts in playlists and fewer requests of low-latency HLS players.',
          min: 20,
          max: 30_000,
          default: 200,
        }),
        periodSeconds: numeric({
          doc: 'Crypto period of live events: how often their content key changes. A whole multiple or fraction of the segment length.',
          unit: 'seconds',
          tradeOff: 'Shorter periods release and cut finer and need more keys in players.',
          min: 0.1,
          max: 3600,
          fraction: 0.001,
          default: 10,
        }),
        titlePeriodSeconds: numeric({
          doc: 'Crypto period of titles. A whole multiple or fraction of the segment length.',
          unit: 'seconds',
          min: 0.1,
          max: 3600,
          fraction: 0.001,
          default: 30,
        }),
        groupPeriods: numeric({
          doc: 'Crypto periods per grant group, the smallest stretch that a renewal opens.',
          unit: 'periods',
          tradeOff: 'The group length is added to how long a denied session goes on; smaller groups make licences larger.',
          min: 1,
          max: 65_535,
          default: 3,
        }),
        windowSeconds: numeric({
          doc: 'How far back viewers of a live event may seek; older segments are deleted.',
          unit: 'seconds',
          tradeOff: 'Longer windows make HLS playlists larger, and need 0.9 GB of disk per hour at 2 Mb/s.',
          min: 6,
          max: 86_400,
          default: 60,
        }),
        latencySeconds: numeric({
          doc: 'Distance from the live edge that players aim for.',
          unit: 'seconds',
          tradeOff: 'Lower is closer to live and stalls sooner on uneven networks.',
          min: 0.5,
          max: 60,
          fraction: 0.001,
          default: 2,
        }),
        maxBehindSeconds: numeric({
          doc: 'A source whose media is older than this is refused, so that its supervisor starts it again on the clock.',
          unit: 'seconds',
          tradeOff: 'Lower finds an encoder that cannot keep up sooner; higher suits contributions with long delays.',
          min: 2,
          max: 3600,
          default: 120,
        }),
      },
    },
    keyServer: {
      is: 'section',
      doc: 'Where a packager or licence server without a key server in its process gets keys, and who may get them from here.',
      options: {
        name: text({ doc: 'Name of this key server among those that give release secrets to edges.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, default: 'keys-1' }),
        url: url({ doc: 'Address of the key server; absent means the one in this process.', example: 'https://keys.example.com' }),
        credentialFile: path({ doc: 'File with the credential that this process shows to the key server, 32-256 base64url characters.', example: '/run/secrets/sealcast-keys' }),
        credentials: {
          is: 'list',
          doc: 'Credentials that this key server accepts from packagers and licence servers in other processes.',
          item: serviceCredentialSection,
          example: [{ role: 'packager', sha256: 'LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ' }],
        },
      },
    },
    edges: {
      is: 'list',
      doc: 'Edges in other processes that may get bundles from this licence server.',
      item: enrolledEdgeSection,
      example: [{ id: 'edge-2', publicFile: './edge-2.public.json', zone: 0, renews: false }],
    },
    origin: {
      is: 'section',
      doc: 'The packager as the origin of edges in other processes.',
      options: {
        credentialFile: path({
          doc: 'File with the credential that edges show to the origin, the same on both sides, 32-256 base64url characters. Without it the origin answers only an edge in its own process.',
          example: '/run/secrets/sealcast-origin',
        }),
      },
    },
    edge: {
      is: 'section',
      doc: 'The delivery part.',
      options: {
        id: text({ doc: 'Name under which this edge is enrolled, in logs and in the control room.', type: '1-40 characters of a-z, 0-9 and -', pattern: NAME, default: 'edge-1' }),
        cacheMemoryMegabytes: numeric({
          doc: 'Memory for segments and manifests.',
          unit: 'MB (10^6 bytes)',
          tradeOff: 'What is not in memory is read from disk or fetched again.',
          min: 1,
          max: 1_048_576,
          default: 256,
        }),
        cacheDiskMegabytes: numeric({
          doc: 'Disk for segments, in the data folder; 0 keeps them in memory only.',
          unit: 'MB (10^6 bytes)',
          min: 0,
          max: 1_073_741_824,
          default: 2048,
        }),
        withoutMarkPlaces: oneOf(['serve', 'refuse'], {
          doc: 'Segments of marked renditions whose coding has no places for marks (interlaced, all intra).',
          tradeOff: '`serve` keeps such material watchable, as erasures that no trace can use. `refuse` lets nothing out that carries no mark.',
          default: 'serve',
        }),
        unmarkable: oneOf(['serve', 'refuse'], {
          doc: 'Segments of marked renditions without a mark box, with one that does not open, or altered after they were packaged.',
          tradeOff: '`refuse` answers 502 and raises an alert. `serve` keeps a broken packager on air, with copies that nobody can trace.',
          default: 'refuse',
        }),
        originUrl: url({ doc: 'Where segments and manifests are fetched from; absent means the packager in this process.', example: 'https://origin.example.com' }),
        bundleUrl: url({ doc: 'Where keys and revocations come from; absent means the licence server in this process.', example: 'https://license.example.com' }),
      },
    },
    log: {
      is: 'section',
      doc: 'Logs on stderr. No level ever shows a key, a token or a licence.',
      options: {
        level: oneOf(['debug', 'info', 'warn', 'error'], {
          doc: 'The least severe kind of line that is written.',
          tradeOff: '`debug` writes a line per request.',
          default: 'info',
        }),
        format: oneOf(['auto', 'json', 'text'], { doc: '`json` for collectors, `text` for people, `auto` chooses by whether stderr is a terminal.', default: 'auto' }),
      },
    },
    metrics: {
      is: 'section',
      doc: 'Prometheus metrics at `/metrics`.',
      options: {
        public: flag({
          doc: 'Serves them without an operator token.',
          tradeOff: 'Spares the collector a token; tells anyone who reaches the port how many people are watching.',
          default: false,
        }),
      },
    },
    release: releaseSection,
    tracing: tracingSection,
    webhooks: {
      is: 'list',
      doc: 'Where each alert (one that the control room shows in red) is posted, signed in the form of Standard Webhooks and repeated until it is taken. Up to 1000 alerts wait per address, for at most a day, also over restarts.',
      item: webhookSection,
      example: [{ url: 'https://ops.example.com/hooks/sealcast', secretFile: '/run/secrets/sealcast-webhook' }],
    },
  },
};

/** Rules between options; each answers the option to name and what is wrong. */
export const RULES: readonly ((config: Config) => readonly { readonly at: string; readonly problem: string }[])[] = [
  ({ licensing: { intervalSeconds, durationSeconds, horizonSeconds } }) => [
    ...(durationSeconds < intervalSeconds ? [{ at: 'licensing.durationSeconds', problem: 'must be at least licensing.intervalSeconds, or playback stops between renewals' }] : []),
    ...(horizonSeconds < durationSeconds ? [{ at: 'licensing.horizonSeconds', problem: 'must be at least licensing.durationSeconds' }] : []),
  ],
  ({ licensing: { maxLiveGrantSeconds, intervalSeconds } }) =>
    maxLiveGrantSeconds < intervalSeconds
      ? [{ at: 'licensing.maxLiveGrantSeconds', problem: 'must be at least licensing.intervalSeconds, or live playback stops between renewals' }]
      : [],
  ({ licensing: { horizonSeconds }, packager: { periodSeconds, titlePeriodSeconds, groupPeriods } }) => {
    const groups = Math.ceil(horizonSeconds / (Math.min(periodSeconds, titlePeriodSeconds) * groupPeriods));
    return groups > 4096
      ? [{ at: 'licensing.horizonSeconds', problem: `spans ${groups} grant groups; a licence holds at most 4096: shorten it or raise packager.groupPeriods` }]
      : [];
  },
  ({ packager: { segmentSeconds, ...periods } }) =>
    (['periodSeconds', 'titlePeriodSeconds'] as const)
      .filter((name) => !isMultiple(periods[name], segmentSeconds) && !isMultiple(segmentSeconds, periods[name]))
      .map((name) => ({ at: `packager.${name}`, problem: 'must be a whole multiple or fraction of packager.segmentSeconds' })),
  ({ packager: { chunkMillis, segmentSeconds } }) => (chunkMillis > segmentSeconds * 1000 ? [{ at: 'packager.chunkMillis', problem: 'must not exceed packager.segmentSeconds' }] : []),
  ({ tls }) =>
    tls.mode === 'files' && (tls.certFile === undefined || tls.keyFile === undefined)
      ? [{ at: 'tls', problem: 'mode `files` needs certFile and keyFile' }]
      : tls.mode !== 'files' && (tls.certFile !== undefined || tls.keyFile !== undefined)
        ? [{ at: 'tls.mode', problem: 'must be `files` when certFile or keyFile is given' }]
        : [],
  ({ keyEncryptionKey: { file, env } }) => (file !== undefined && env !== undefined ? [{ at: 'keyEncryptionKey', problem: 'takes `file` or `env`, not both' }] : []),
  ({ zone, zones }) => [
    ...(zones.length > 0 && !zones.some(({ index, name }) => index === zone.index && name === zone.name) ? [{ at: 'zones', problem: 'must contain `zone`, or be empty' }] : []),
    ...(new Set(zones.map(({ index }) => index)).size < zones.length ? [{ at: 'zones', problem: 'has an index twice' }] : []),
  ],
  ({ concurrency: { collections } }) => (new Set(collections.map(({ name }) => name)).size < collections.length ? [{ at: 'concurrency.collections', problem: 'has a name twice' }] : []),
  ({ entitlements: { keys } }) => [
    ...(new Set(keys.map(({ kid }) => kid)).size < keys.length ? [{ at: 'entitlements.keys', problem: 'has a kid twice' }] : []),
    ...keys.flatMap((key, position) => {
      const at = `entitlements.keys[${position}]`;
      if ([key.jwk, key.jwkFile, key.secretFile].filter((source) => source !== undefined).length !== 1)
        return [{ at, problem: 'needs exactly one of jwk, jwkFile and secretFile' }];
      if ((key.alg === 'HS256') !== (key.secretFile !== undefined)) return [{ at, problem: 'uses secretFile with HS256, and jwk or jwkFile with the others' }];
      return [];
    }),
  ],
];

const isMultiple = (long: number, short: number): boolean => Math.round(long * 1000) % Math.round(short * 1000) === 0;
