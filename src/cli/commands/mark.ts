// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast mark DIR --viewer ID -o FILE`: one viewer's copy of a folder packed with marks or variants, as the edge would serve it.
 *
 * Takes the highest video rendition unless told, and decrypts it where the keys are at hand: `DIR/keys.json`, or the title's
 * keys in the data folder. Whoever can run this can frame a viewer, so every run stands in the audit log first.
 * Invariant: the file is complete or absent; nothing is written before the audit entry.
 */
import { readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { decryptFragment, type KeyLookup } from '#core/cenc/decrypt-fragment.ts';
import { unprotectInit } from '#core/cenc/protect-init.ts';
import { assetId, type AssetId, isAssetId, type ContentKey } from '#core/ids.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';
import type { Micros } from '#core/time.ts';
import { position, type ViewerNumber, viewerNumber } from '#core/watermark/index.ts';
import { type LocalTracing, openLocalTracing } from '#entry/tracing.ts';
import { hasMarkBox, viewerSegment } from '#entry/viewer-copy.ts';
import { variantName } from '#packager/index.ts';
import { CommandExit, EXIT, type ExitCode, jsonArg, numberOption, printJson, usageError } from '../command.ts';
import { configOf } from '../tracing.ts';

/** What `pack` left beside the segments where it drew the keys itself: their list, and the asset's id. */
const keysBeside = async (folder: string): Promise<{ readonly asset: string; readonly keyOf: KeyLookup } | undefined> => {
  const text = await readFile(join(folder, 'keys.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { asset, keys } = JSON.parse(text) as { asset: string; keys: { kid: string; key: string }[] };
  const known = new Map(keys.map(({ kid, key }) => [kid, decodeHex(key) as ContentKey]));
  return { asset, keyOf: (kid) => known.get(encodeHex(kid)) };
};

/** A segment in the clear, or as it is where a key is missing. */
const opened = (segment: Uint8Array, tracks: readonly Track[], keyOf: KeyLookup): Uint8Array | undefined => {
  const parts: Uint8Array[] = [];
  const splitter = createBoxSplitter();
  for (const { bytes } of splitter.push(segment)) {
    const answer = decryptFragment(bytes, tracks, keyOf, nodeSampleAes);
    if ('missing' in answer) return undefined;
    parts.push(answer.clear);
  }
  splitter.end();
  return concatBytes(...parts);
};

/** Renditions of a folder that are marked, in variants or inside their bitstream, the tallest first. */
const renditionsOf = async (folder: string): Promise<readonly string[]> => {
  const names = await readdir(folder).catch(() => {
    throw usageError(`${folder} is not a folder`);
  });
  const found: string[] = [];
  for (const name of names) {
    const inside = await readdir(join(folder, name)).catch((): string[] => []);
    if (inside.includes(variantName(1)) || (inside.includes('0.m4s') && hasMarkBox(new Uint8Array(await readFile(join(folder, name, '0.m4s')))))) found.push(name);
  }
  const height = (name: string): number => Number(/\d+/.exec(name)?.[0] ?? 0);
  return found.sort((a, b) => height(b) - height(a));
};

type Copies = { readonly segment: Micros; readonly segments: number; copy(number: number): Promise<Uint8Array> };

/** A viewer's segments, whichever way the folder is marked; undefined without a reference. */
const markedCopies = async (options: { tracing: LocalTracing; asset: AssetId; viewer: ViewerNumber; rendition: string; at: string }): Promise<Copies | undefined> => {
  const { tracing, asset, viewer, rendition, at } = options;
  const files = (await readdir(at)).filter((name) => /^\d+\.m4s$/.test(name)).length;
  if (files > 0) {
    const inBand = await tracing.inBand(asset);
    if (inBand === undefined) return undefined;
    const { slots, codeBook, segmentLength } = inBand;
    const copy = async (number: number): Promise<Uint8Array> =>
      viewerSegment({ asset, representation: rendition, number, segment: new Uint8Array(await readFile(join(at, `${number}.m4s`))), slots, viewer, book: codeBook, keys: tracing.boxKeys });
    return { segment: segmentLength, segments: files, copy };
  }
  const inBand = await tracing.inBand(asset);
  if (inBand?.variants !== undefined) {
    const segments = (await readdir(join(at, variantName(0)))).length;
    const { codeBook, segmentLength } = inBand;
    const copy = async (number: number): Promise<Uint8Array> => new Uint8Array(await readFile(join(at, variantName(codeBook.symbol(viewer, position(number))), `${number}.m4s`)));
    return { segment: segmentLength, segments, copy };
  }
  const reference = await tracing.reference(asset);
  if (reference === undefined) return undefined;
  const book = await tracing.book(reference);
  const copy = async (number: number): Promise<Uint8Array> => new Uint8Array(await readFile(join(at, variantName(book.symbol(viewer, position(number))), `${number}.m4s`)));
  return { segment: reference.segment, segments: reference.segments, copy };
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'mark', description: "write one viewer's copy of a title packed with --mark or --variants" },
  args: {
    folder: { type: 'positional', required: true, description: 'folder that `sealcast pack --mark` or `--variants` made' },
    viewer: { type: 'string', required: true, valueHint: 'ID', description: 'viewer number' },
    output: { type: 'string', alias: 'o', required: true, valueHint: 'FILE', description: 'mp4 file to write' },
    title: { type: 'string', valueHint: 'ID', description: 'title it was packed as (default: as its keys.json says, else the name of the folder)' },
    rendition: { type: 'string', valueHint: 'NAME', description: 'e.g. v360 (default: the tallest)' },
    config: { type: 'string', valueHint: 'FILE', description: 'configuration of the platform' },
    data: { type: 'string', valueHint: 'DIR', description: 'data folder (default ./sealcast-data)' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const viewer = viewerNumber(numberOption('viewer', args.viewer, { min: 0, max: 2 ** 44 }) ?? 0);
    const beside = await keysBeside(args.folder);
    const title: string = args.title ?? beside?.asset ?? basename(resolve(args.folder));
    if (!isAssetId(title)) throw usageError('--title must be 1-40 characters of a-z, 0-9 and -');
    const asset = assetId(title);
    const renditions = await renditionsOf(args.folder);
    const rendition: string | undefined = args.rendition ?? renditions[0];
    if (rendition === undefined || !renditions.includes(rendition)) throw usageError(renditions.length === 0 ? `${args.folder} is not marked; pack it with --mark` : `--rendition must be one of ${renditions.join(', ')}`);
    const tracing = await openLocalTracing(configOf(args));
    try {
      const at = join(args.folder, rendition);
      const marked = await markedCopies({ tracing, asset, viewer, rendition, at });
      if (marked === undefined) throw new CommandExit(EXIT.negative, `there is no tracing reference of ${asset} in the data folder`);
      await tracing.audit('mark', asset, { viewer, rendition });
      const init = new Uint8Array(await readFile(join(at, 'init.mp4')));
      const { tracks } = parseInit(init);
      const keyOf = tracks.some(({ protection }) => protection !== undefined) ? (beside?.keyOf ?? (await tracing.keysOf({ asset, segment: marked.segment, segments: marked.segments }))) : undefined;
      const segments: Uint8Array[] = [];
      let clear = keyOf !== undefined;
      for (let number = 0; number < marked.segments; number++) segments.push(await marked.copy(number));
      const decrypted = keyOf === undefined ? undefined : segments.map((segment) => opened(segment, tracks, keyOf));
      if (decrypted?.includes(undefined) === true) clear = false;
      const unfinished = `${args.output}.part`;
      try {
        await writeFile(unfinished, concatBytes(...(clear && decrypted !== undefined ? [unprotectInit(init), ...(decrypted as Uint8Array[])] : [init, ...segments])), { mode: 0o600 });
        await rename(unfinished, args.output);
      } finally {
        await rm(unfinished, { force: true });
      }
      const isProtected = !clear && tracks.some(({ protection }) => protection !== undefined);
      if (args.json) printJson({ ok: true, title: asset, viewer, rendition, segments: segments.length, protected: isProtected });
      else process.stdout.write(`${args.output}: viewer ${viewer}'s ${rendition} of ${asset}, ${segments.length} segments${isProtected ? ', still encrypted' : ''}\n`);
      return EXIT.done;
    } finally {
      tracing.close();
    }
  },
});
export default command;
