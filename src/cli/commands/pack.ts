// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast pack INPUT -o DIR`: a file in, a folder with CMAF segments, HLS and DASH manifests out.
 *
 * `--title` takes the keys from the platform's data folder, so that its licences open what is packed. Without it and without
 * `--key` every crypto period gets a random key; they are written to `DIR/keys.json`, readable by the owner only, because
 * without them nobody can ever play the folder.
 * `--mark` puts marks inside the bitstream, which edges switch on per viewer; `--variants M` makes M faintly different copies of every segment and keeps what `sealcast trace` needs in the data folder.
 * A plain `pack` does not load the database that `--title` and `--variants` need.
 * Invariant: keys are never printed.
 */
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { createFfmpegTool } from '#adapters/ffmpeg/index.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { assetId, isAssetId } from '#core/ids.ts';
import type { AssetId, ContentKey, KeyGroup, KeyId, ProtectionScheme } from '#core/ids.ts';
import { groupOf, microsFromSeconds, secondsFromMicros } from '#core/time.ts';
import type { CryptoPeriod, KeySchedule, Micros } from '#core/time.ts';
import { packTitle } from '#packager/index.ts';
import type { PackedTitle, PackTitleOptions, TitleKeys } from '#packager/index.ts';
import { loadConfig, type Config } from '#entry/config/index.ts';
import { startSchedule } from '#core/watermark/index.ts';
import type { Patterns } from '#core/picture/index.ts';
import type { AssetMarking, ContentKeySource, Log, PeriodKey } from '#ports';
import { capacityLines, packWithMarks, PLANNED_VIEWERS, titleMarking, type RenditionCapacity } from '../marking.ts';
import { EXIT, type ExitCode, jsonArg, numberOption, printJson, say, usageError } from '../command.ts';

/** What `pack` does, for callers that bring their own keys. */
export type PackOptions = {
  readonly input: string;
  readonly output: string;
  readonly asset: AssetId;
  readonly keys: TitleKeys;
  /** Seconds. */
  readonly segment: number;
  /** Marks of the variants to make. */
  readonly variants?: Patterns;
  /** Pad the variants of a segment to one length. */
  readonly equalSize?: boolean;
  /** Marks inside the bitstream. */
  readonly marks?: NonNullable<PackTitleOptions['marks']>;
  readonly onProgress?: (fraction: number | undefined) => void;
  readonly log?: Log;
};

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** Packs one file into an empty or new folder. */
export const packFile = async (options: PackOptions): Promise<PackedTitle> => {
  await mkdir(options.output, { recursive: true });
  return packTitle({
    asset: options.asset,
    file: options.input,
    keys: options.keys,
    // A folder that is packed again after loss of power is cheaper than flushing the disk for every segment.
    store: createFileObjectStore({ root: options.output, durability: 'process' }),
    folder: '',
    tool: createFfmpegTool(),
    aes: nodeSampleAes,
    random: systemRandom,
    clock: systemClock,
    log: options.log ?? silent,
    segmentDuration: microsFromSeconds(options.segment),
    ...(options.variants === undefined ? {} : { variants: options.variants, equalSize: options.equalSize === true }),
    ...(options.marks === undefined ? {} : { marks: options.marks }),
    onProgress: ({ done, total }) => options.onProgress?.(total === undefined ? undefined : Math.min(1, done / total)),
  });
};

/** A key source that draws a random key for every period and remembers it. */
export const createRandomKeys = (options: {
  scheme: ProtectionScheme;
  schedule: KeySchedule;
}): ContentKeySource & { list(): readonly { keyGroup: KeyGroup; period: number; kid: string; key: string }[]; readonly entryKid: KeyId } => {
  const entryKid = systemRandom.bytes(16) as KeyId;
  const salt = systemRandom.bytes(16);
  const made = new Map<string, PeriodKey & { keyGroup: KeyGroup }>();
  return {
    entryKid,
    keying: async (asset) => ({ asset, kind: 'title', scheme: options.scheme, mode: 'untimed', gen: 1, salt, schedule: options.schedule, entryKid }),
    async contentKeys({ keyGroup, from, to }) {
      return Array.from({ length: to - from }, (_, index) => {
        const period = (from + index) as CryptoPeriod;
        const name = `${keyGroup}|${period}`;
        const key = made.get(name) ?? {
          keyGroup,
          period,
          group: groupOf(period, options.schedule),
          kid: systemRandom.bytes(16) as KeyId,
          key: systemRandom.bytes(16) as ContentKey,
        };
        made.set(name, key);
        return key;
      });
    },
    list: () => [...made.values()].map(({ keyGroup, period, kid, key }) => ({ keyGroup, period, kid: encodeHex(kid), key: encodeHex(key) })),
  };
};

const schemeOf = (text: string): ProtectionScheme | 'none' => {
  if (text !== 'cenc' && text !== 'cbcs' && text !== 'none') throw usageError('--scheme must be cenc, cbcs or none');
  return text;
};

/** The message names the shape, never the value: it is a key. */
const fixedKey = (text: string, scheme: ProtectionScheme): TitleKeys => {
  const match = /^([0-9a-f]{32}):([0-9a-f]{32})$/i.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw usageError(`--key must be KIDHEX:KEYHEX, 32 hexadecimal digits each; got ${text.length} characters`);
  return { kind: 'fixed', scheme, kid: decodeHex(match[1]) as KeyId, key: decodeHex(match[2]) as ContentKey };
};

/** A legal asset id from a file name. */
const assetOf = (input: string): AssetId => {
  const name = basename(input)
    .replace(/\.[^.]*$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 40);
  return assetId(name === '' ? 'title' : name);
};

/** Old segments between new ones would be served as if they belonged together. */
const requireEmpty = async (folder: string): Promise<void> => {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw usageError(`-o ${folder} is not a folder`);
  });
  if (names.length > 0) throw usageError(`-o ${folder} is not empty; choose a new folder`);
};

/** Packs with variants: marks from the title's secret, and the reference that a leak is compared with. */
const packVariants = async (options: Omit<PackOptions, 'variants'>, alphabet: number, config: Config): Promise<PackedTitle> => {
  const { openLocalTracing } = await import('#entry/tracing.ts');
  const tracing = await openLocalTracing(config);
  try {
    const variants = await tracing.tracer.patterns(options.asset, alphabet);
    const packed = await packFile({ ...options, variants });
    const schedule = startSchedule({ alphabet, viewers: PLANNED_VIEWERS });
    const marking = { asset: options.asset, alphabet, book: { kind: 'aligned', schedule } as const, segment: microsFromSeconds(options.segment), segments: packed.tracks.find((track) => track.variants !== undefined)?.segments ?? 0 };
    await tracing.tracer.record({ marking, file: options.input });
    return packed;
  } finally {
    tracing.close();
  }
};

/** What edges need to choose among the variants. */
const markingOf = (packed: PackedTitle, alphabet: number, segment: Micros): AssetMarking => {
  const marked = packed.tracks.filter((track) => track.variants !== undefined);
  const schedule = startSchedule({ alphabet, viewers: PLANNED_VIEWERS });
  return { sequencing: true, representations: marked.map(({ id }) => id), names: 'letters', pace: 'number', alphabet, book: 'aligned', schedule, segment, segments: Math.max(...marked.map(({ segments }) => segments)) };
};

const progressLine = (quiet: boolean): ((fraction: number | undefined) => void) => {
  let shown = -1;
  return (fraction) => {
    const percent = fraction === undefined ? -1 : Math.floor(fraction * 100);
    if (quiet || !process.stderr.isTTY || percent === shown) return;
    shown = percent;
    process.stderr.write(`\rpacking ${percent} %`);
  };
};

type Text = { readonly type: 'string'; readonly description: string; readonly valueHint: string };
const args: {
  readonly input: { readonly type: 'positional'; readonly required: true; readonly description: string };
  readonly output: Text & { readonly alias: 'o'; readonly required: true };
  readonly scheme: Text & { readonly default: string };
  readonly segment: Text & { readonly default: string };
  readonly period: Text & { readonly default: string };
  readonly key: Text;
  readonly mark: { readonly type: 'boolean'; readonly description: string; readonly default: false };
  readonly 'require-mark': { readonly type: 'boolean'; readonly description: string; readonly default: false };
  readonly embed: Text & { readonly default: string };
  readonly variants: Text;
  readonly 'equal-size': { readonly type: 'boolean'; readonly description: string; readonly default: false };
  readonly title: Text;
  readonly config: Text;
  readonly data: Text;
  readonly json: typeof jsonArg.json;
} = {
  input: { type: 'positional', required: true, description: 'media file: mp4, mov, mkv, webm, ts, mp3, flac...' },
  output: { type: 'string', alias: 'o', required: true, valueHint: 'DIR', description: 'new or empty folder for the segments and manifests' },
  scheme: { type: 'string', default: 'cenc', valueHint: 'cenc|cbcs|none', description: 'protection scheme; none is for comparison only' },
  segment: { type: 'string', default: '4', valueHint: 'SECONDS', description: 'segment length; copied video keeps its own key frames' },
  period: { type: 'string', default: '30', valueHint: 'SECONDS', description: 'crypto period: a new content key this often (not with --key)' },
  key: { type: 'string', valueHint: 'KIDHEX:KEYHEX', description: 'one fixed key for the whole title' },
  mark: { type: 'boolean', default: false, description: 'put marks inside the bitstream: edges switch them on per viewer, so that a leaked copy can be traced' },
  'require-mark': { type: 'boolean', default: false, description: 'with --mark: the folder is unwatchable until an edge has marked it' },
  embed: { type: 'string', default: 'picture', valueHint: 'picture|bitstream', description: 'how --variants differ: a faint picture before coding, or marks in the coded video (no second encode, equal sizes)' },
  variants: { type: 'string', valueHint: 'M', description: 'make M marked variants (2-5) of the video, so that a leaked copy can be traced' },
  'equal-size': { type: 'boolean', default: false, description: 'pad the variants of a segment to one length, so that sizes tell nothing' },
  title: { type: 'string', valueHint: 'ID', description: 'title of the platform whose keys are used; made if it is new' },
  config: { type: 'string', valueHint: 'FILE', description: 'configuration of the platform, for --title, --mark and --variants' },
  data: { type: 'string', valueHint: 'DIR', description: 'data folder of the platform, for --title, --mark and --variants (default ./sealcast-data)' },
  ...jsonArg,
};

const command: CommandDef<typeof args> = defineCommand({
  meta: { name: 'pack', description: 'pack a media file into protected HLS and DASH' },
  args,
  run: async ({ args: given }): Promise<ExitCode> => {
    const scheme = schemeOf(given.scheme);
    const segment = numberOption('segment', given.segment, { min: 0.5, max: 30 }) ?? 4;
    const variants = numberOption('variants', given.variants, { min: 2, max: 5 });
    if (variants !== undefined && !Number.isInteger(variants)) throw usageError('--variants must be a whole number from 2 to 5');
    if (given.embed !== 'picture' && given.embed !== 'bitstream') throw usageError('--embed must be picture or bitstream');
    if (given.embed === 'bitstream' && variants === undefined) throw usageError('--embed says how --variants differ: give both');
    if (given['require-mark'] && !given.mark) throw usageError('--require-mark needs --mark');
    if (given.mark && variants !== undefined) throw usageError('--mark and --variants exclude each other: marks are in one copy, or in several');
    const period = numberOption('period', given.period, { min: 0.1, max: 86_400 }) ?? 30;
    if (given.title !== undefined && !isAssetId(given.title)) throw usageError('--title must be 1-40 characters of a-z, 0-9 and -');
    if (given.key !== undefined && scheme === 'none') throw usageError('--key and --scheme none exclude each other');
    const asset = given.title === undefined ? assetOf(given.input) : assetId(given.title);
    await requireEmpty(given.output);
    const schedule: KeySchedule = { period: microsFromSeconds(period), periodsPerGroup: 1 };
    const config = (): Config => loadConfig(given.config, given.data === undefined ? {} : { data: given.data });
    const own = given.title !== undefined && given.key === undefined && scheme !== 'none' ? await (await import('#entry/local-keys.ts')).openLocalTitle({ config: config(), asset, scheme, schedule }) : undefined;
    const random = scheme === 'none' || given.key !== undefined || own !== undefined ? undefined : createRandomKeys({ scheme, schedule });
    const keys: TitleKeys =
      own !== undefined ? { kind: 'source', source: own.source } : random !== undefined ? { kind: 'source', source: random } : scheme === 'none' || given.key === undefined ? { kind: 'none' } : fixedKey(given.key, scheme);
    const began = performance.now();
    const options: PackOptions = { input: given.input, output: given.output, asset, keys, segment, equalSize: given['equal-size'], onProgress: progressLine(given.json) };
    const segmentMicros = microsFromSeconds(segment);
    const inBitstream = given.mark || given.embed === 'bitstream';
    const packing = inBitstream
      ? packWithMarks({ asset, segment: segmentMicros, config: config(), requireMark: given['require-mark'], ...(variants === undefined ? {} : { variants }) }, (marks) => packFile({ ...options, marks }))
      : (variants === undefined ? packFile(options) : packVariants(options, variants, config())).then((packed) => ({ packed, capacity: undefined }));
    const { packed, capacity } = await packing.catch((error: unknown) => {
      own?.close();
      throw error;
    });
    const marking = given.mark ? titleMarking(packed, segmentMicros) : variants === undefined ? undefined : markingOf(packed, variants, segmentMicros);
    await own?.register(basename(given.input), packed.duration, marking);
    own?.close();
    const seconds = (performance.now() - began) / 1000;
    if (process.stderr.isTTY && !given.json) process.stderr.write('\r');
    if (random !== undefined) {
      const file = join(given.output, 'keys.json');
      await writeFile(
        file,
        JSON.stringify(
          {
            asset,
            scheme,
            periodSeconds: period,
            entryKid: encodeHex(random.entryKid),
            keys: random.list().filter((key) => key.period * period < secondsFromMicros(packed.duration)),
          },
          undefined,
          1,
        ),
        { mode: 0o600, flag: 'wx' },
      );
      await chmod(file, 0o600);
      say(`warning: the random content keys are in ${file}; keep the file, and never publish it with the folder`);
    }
    report(packed, seconds, given.json, capacity);
    return EXIT.done;
  },
});
export default command;

const report = (packed: PackedTitle, seconds: number, json: boolean, capacity: readonly RenditionCapacity[] | undefined): void => {
  const duration = secondsFromMicros(packed.duration);
  if (json) {
    printJson({ ok: true, asset: packed.asset, scheme: packed.scheme, duration, bytes: packed.bytes, seconds: Number(seconds.toFixed(3)), tracks: packed.tracks, ...(capacity !== undefined && { marks: capacity }) });
    return;
  }
  process.stdout.write(`${packed.asset}: ${duration.toFixed(1)} s, ${packed.scheme}, ${(packed.bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(1)} s\n`);
  for (const track of packed.tracks) process.stdout.write(`  ${track.id}  ${track.codec}  ${track.language}  ${track.segments} segments${track.variants === undefined ? '' : ` x ${track.variants} variants`}${track.copied ? '' : '  (coded again)'}\n`);
  for (const line of capacityLines(capacity ?? [])) process.stdout.write(`${line}\n`);
};
