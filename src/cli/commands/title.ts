// SPDX-License-Identifier: Apache-2.0
/** `sealcast title add|list`: titles (files packed once) of a running service. */
import { basename, extname, resolve } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { CommandExit, EXIT, type ExitCode, jsonArg, numberOption, printJson, say, usageError } from '../command.ts';
import { markingArgs, markingMembers } from '../marking-options.ts';
import { membershipArgs, membershipMembers } from '../membership-options.ts';
import { callOperator, operatorArgs } from '../operator-api.ts';

type TitleView = { readonly asset: string; readonly name: string; readonly state: string; readonly duration?: number; readonly liveSessions: number };

/** An id out of a file name: `My Film (2).mkv` → `my-film-2`. */
const idFrom = (file: string): string =>
  basename(file, extname(file)).toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 40);

const add = defineCommand({
  meta: { name: 'add', description: 'pack a file that the packager can read; waits until it is ready' },
  args: {
    file: { type: 'positional', required: true, description: 'video or audio file on the machine that packs' },
    id: { type: 'string', description: 'title id (default: from the file name)' },
    name: { type: 'string', description: 'name that viewers see (default: the file name)' },
    scheme: { type: 'enum', options: ['cenc', 'cbcs'], default: 'cenc', description: 'protection scheme' },
    'clear-key': { type: 'enum', options: ['off', 'detect'], default: 'off', description: 'detect: plain Clear Key players may have the keys' },
    mark: { type: 'boolean', default: false, description: 'put marks inside the bitstream of the video: edges switch them on per viewer, so that a leaked copy can be traced' },
    variants: { type: 'string', description: 'make M marked variants (2-5) of the video, so that a leaked copy can be traced', valueHint: 'M' },
    'equal-size': { type: 'boolean', default: false, description: 'pad the variants of a segment to one length, so that sizes tell nothing' },
    ...markingArgs,
    collection: { type: 'string', description: 'the title joins this collection of subscriptions', valueHint: 'C' },
    ...membershipArgs,
    'no-wait': { type: 'boolean', default: false, description: 'return once the title is accepted' },
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const asset = args.id ?? idFrom(args.file);
    const variants = numberOption('variants', args.variants, { min: 2, max: 5 });
    if (args['equal-size'] && variants === undefined) throw usageError('--equal-size needs --variants');
    if (args.mark && variants !== undefined) throw usageError('--mark and --variants exclude each other: marks are in one copy, or in several');
    const planned = markingMembers(args, variants, ['always-on', 'prefix']);
    const place = membershipMembers(args);
    if (args.collection === undefined && Object.keys(place).length > 0) throw usageError('--published, --scope, --actions and --owner need --collection');
    const body = { asset, name: args.name ?? basename(args.file), scheme: args.scheme, clearKey: args['clear-key'], source: resolve(args.file), ...(variants !== undefined && { variants }), ...planned, ...(args.collection !== undefined && { collection: args.collection }), ...place, ...(args['equal-size'] && { equalSize: 'yes' }), ...(args.mark && { mark: 'yes' }) };
    let { title } = await callOperator<{ title: TitleView }>(args, 'POST', '/v1/titles', body);
    if (!args['no-wait']) say(`packing ${asset} ...`);
    while (!args['no-wait'] && title.state === 'created') {
      await new Promise((wake) => setTimeout(wake, 500));
      title = await callOperator<TitleView>(args, 'GET', `/v1/titles/${asset}`);
    }
    if (title.state === 'failed') throw new CommandExit(EXIT.negative, `${asset} could not be packed; the control room and the log say why`);
    if (args.json) printJson({ title });
    else process.stdout.write(`title       ${title.asset} (${title.name}), ${title.state}${title.duration === undefined ? '' : `, ${Math.round(title.duration / 1_000_000)} s`}\nwatch page  ${args.url.replace(/\/+$/, '')}/#asset=${title.asset}\n`);
    return EXIT.done;
  },
});

const list = defineCommand({
  meta: { name: 'list', description: 'list titles' },
  args: { ...operatorArgs, ...jsonArg },
  run: async ({ args }): Promise<ExitCode> => {
    const { titles } = await callOperator<{ titles: readonly TitleView[] }>(args, 'GET', '/v1/titles');
    if (args.json) printJson({ titles });
    else process.stdout.write(titles.length === 0 ? 'no titles yet; add one with: sealcast title add FILE\n' : `${titles.map(({ asset, state, liveSessions, name }) => `${asset.padEnd(24)} ${state.padEnd(8)} ${String(liveSessions).padStart(6)} watching  ${name}`).join('\n')}\n`);
    return EXIT.done;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'title', description: 'titles: add, list' }, subCommands: { add, list } });
export default command;
