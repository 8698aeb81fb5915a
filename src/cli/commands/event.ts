// SPDX-License-Identifier: Apache-2.0
/** `sealcast event create|list|end|copies|edges|publish`: live events of a running service. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type CommandDef, defineCommand } from 'citty';
import { EXIT, type ExitCode, jsonArg, numberOption, printJson, usageError } from '../command.ts';
import { markingArgs, markingMembers } from '../marking-options.ts';
import { callOperator, operatorArgs } from '../operator-api.ts';

type EventView = { readonly asset: string; readonly name: string; readonly state: string; readonly liveSessions: number };

const create = defineCommand({
  meta: { name: 'create', description: 'make an event: its keys, its page, and a credential for the source (shown once)' },
  args: {
    id: { type: 'positional', required: true, description: 'event id: 1-40 characters of a-z, 0-9 and -' },
    name: { type: 'string', description: 'name that viewers see (default: the id)' },
    scheme: { type: 'enum', options: ['cenc', 'cbcs'], default: 'cenc', description: 'protection scheme' },
    'clear-key': { type: 'enum', options: ['off', 'detect'], default: 'off', description: 'detect: plain Clear Key players may have the keys of a sliding window' },
    timed: { type: 'enum', options: ['standard', 'strict'], description: 'deliver early, open at the instant: standard = 100 ms periods, strict = one frame' },
    bundle: { type: 'string', description: 'collection whose subscribers open it without a request at key changes; its media is kept and stays watchable after its end. Its streams are counted by sessions only', valueHint: 'C' },
    owner: { type: 'string', description: 'with --bundle: who is paid for its plays', valueHint: 'NAME' },
    mark: { type: 'string', description: 'names of the video tracks to mark inside the bitstream, separated by commas: edges switch the marks on per viewer', valueHint: 'TRACKS' },
    variants: { type: 'string', description: 'the source sends M pre-marked variants (2-8) of the tracks in --marked', valueHint: 'M' },
    marked: { type: 'string', description: 'names of the tracks that come in variants, separated by commas', valueHint: 'TRACKS' },
    ...markingArgs,
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const variants = numberOption('variants', args.variants, { min: 2, max: 8 });
    if ((variants === undefined) !== (args.marked === undefined)) throw usageError('--variants and --marked belong together');
    if (args.mark !== undefined && variants !== undefined) throw usageError('--mark and --variants exclude each other: marks are in one copy, or in several');
    if (args.bundle !== undefined && args.timed !== undefined) throw usageError('--bundle and --timed exclude each other: an in-band leaf opens its group at once');
    const planned = markingMembers(args, variants, ['always-on', 'prefix', 'two-phase']);
    const body = { asset: args.id, name: args.name ?? args.id, scheme: args.scheme, clearKey: args['clear-key'], ...(args.timed !== undefined && { timed: args.timed }), ...(args.bundle !== undefined && { bundle: args.bundle }), ...(args.owner !== undefined && { owner: args.owner }), ...(args.mark !== undefined && { mark: args.mark }), ...(variants !== undefined && { variants, marked: args.marked }), ...planned };
    const made = await callOperator<{ event: EventView; ingest: { url: string; credential: string } }>(args, 'POST', '/v1/events', body);
    if (args.json) printJson(made);
    else {
      process.stdout.write(`event       ${made.event.asset} (${made.event.name})\ningest      ${made.ingest.url}/Streams(NAME.cmfv)\ncredential  ${made.ingest.credential}   (shown only this once; HTTP Bearer token or Basic password)\nwatch page  ${args.url.replace(/\/+$/, '')}/#asset=${made.event.asset}\n`);
    }
    return EXIT.done;
  },
});

const list = defineCommand({
  meta: { name: 'list', description: 'list events' },
  args: { ...operatorArgs, ...jsonArg },
  run: async ({ args }): Promise<ExitCode> => {
    const { events } = await callOperator<{ events: readonly EventView[] }>(args, 'GET', '/v1/events');
    if (args.json) printJson({ events });
    else process.stdout.write(events.length === 0 ? 'no events yet; make one with: sealcast event create ID\n' : `${events.map(({ asset, state, liveSessions, name }) => `${asset.padEnd(24)} ${state.padEnd(8)} ${String(liveSessions).padStart(6)} watching  ${name}`).join('\n')}\n`);
    return EXIT.done;
  },
});

const end = defineCommand({
  meta: { name: 'end', description: 'end an event: its source and its sessions stop' },
  args: { id: { type: 'positional', required: true, description: 'event id' }, ...operatorArgs, ...jsonArg },
  run: async ({ args }): Promise<ExitCode> => {
    const event = await callOperator<EventView>(args, 'POST', `/v1/events/${encodeURIComponent(args.id)}/end`, {});
    if (args.json) printJson({ event });
    else process.stdout.write(`${event.asset} has ended\n`);
    return EXIT.done;
  },
});

const copies = defineCommand({
  meta: { name: 'copies', description: "two-phase delivery: give an edge's viewers copies of their own, or the edge's common copy again" },
  args: {
    id: { type: 'positional', required: true, description: 'event id' },
    edge: { type: 'string', required: true, description: 'name of the edge', valueHint: 'NAME' },
    give: { type: 'enum', options: ['own', 'common'], default: 'own', description: 'which copies its viewers get from some seconds from now on' },
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const answer = await callOperator<{ from: number }>(args, 'POST', `/v1/events/${encodeURIComponent(args.id)}/copies`, { edge: args.edge, copies: args.give });
    if (args.json) printJson({ event: args.id, edge: args.edge, copies: args.give, ...answer });
    else process.stdout.write(`${args.edge} gives ${args.give} copies of ${args.id} from segment ${answer.from} on\n`);
    return EXIT.done;
  },
});

const edges = defineCommand({
  meta: { name: 'edges', description: "timed events: which edges may have the release secrets; the others' end within ten seconds" },
  args: {
    id: { type: 'positional', required: true, description: 'event id' },
    edges: { type: 'positional', required: true, description: 'names separated by commas, `all` or `none`' },
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const event = await callOperator<EventView>(args, 'POST', `/v1/events/${encodeURIComponent(args.id)}/release-edges`, { edges: args.edges });
    if (args.json) printJson({ event });
    else process.stdout.write(`${event.asset}: release secrets go to ${args.edges}\n`);
    return EXIT.done;
  },
});

const publish = defineCommand({
  meta: { name: 'publish', description: 'timed events: something else that opens at an instant: odds, a result, a trailer' },
  args: {
    id: { type: 'positional', required: true, description: 'event id' },
    file: { type: 'positional', required: true, description: 'the content, at most 8 MiB' },
    name: { type: 'string', description: 'its name: 1-64 of a-z, 0-9, . and - (default: the name of the file)', valueHint: 'NAME' },
    at: { type: 'string', required: true, description: 'when it opens: a UTC time such as 2026-07-19T20:00:00Z, or +SECONDS', valueHint: 'TIME' },
    type: { type: 'string', default: 'application/octet-stream', description: 'its media type', valueHint: 'TYPE' },
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const at = /^\+\d+(?:\.\d+)?$/.test(args.at) ? Date.now() + Number(args.at) * 1000 : Date.parse(args.at);
    if (!Number.isFinite(at)) throw usageError('--at takes a UTC time such as 2026-07-19T20:00:00Z, or +SECONDS');
    const name = args.name ?? basename(args.file);
    const made = await callOperator<{ name: string; period: number; releaseAt: number; url: string }>(args, 'POST', `/v1/events/${encodeURIComponent(args.id)}/resources?name=${encodeURIComponent(name)}&at=${Math.ceil(at * 1000)}`, { type: args.type, bytes: await readFile(args.file) });
    if (args.json) printJson(made);
    else process.stdout.write(`${made.name} opens at ${new Date(made.releaseAt / 1000).toISOString()} (period ${made.period}); anybody may fetch it now: ${args.url.replace(/\/+$/, '')}${made.url}\n`);
    return EXIT.done;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'event', description: 'live events: create, list, end, copies, edges, publish' }, subCommands: { create, list, end, copies, edges, publish } });
export default command;
