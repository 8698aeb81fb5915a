// SPDX-License-Identifier: Apache-2.0
/** `sealcast usage report`: what devices played, summed for payouts and invoices. */
import { type CommandDef, defineCommand } from 'citty';
import { EXIT, type ExitCode, jsonArg, printJson, usageError } from '../command.ts';
import { dateOption } from '../membership-options.ts';
import { callOperator, operatorArgs } from '../operator-api.ts';

type Row = { readonly key: string; readonly plays: number; readonly offlinePlays: number; readonly uncertain: number; readonly downloads: number; readonly played: number };

const report = defineCommand({
  meta: { name: 'report', description: 'plays that count, by title, account or owner, most first' },
  args: {
    by: { type: 'enum', options: ['title', 'account', 'owner'], default: 'title', description: 'what to sum by' },
    from: { type: 'string', description: 'plays that began on or after this date, UTC', valueHint: 'DATE' },
    to: { type: 'string', description: 'plays that began before this date, UTC', valueHint: 'DATE' },
    ...operatorArgs,
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const [from, to] = [args.from === undefined ? undefined : dateOption('from', args.from), args.to === undefined ? undefined : dateOption('to', args.to)];
    if (from !== undefined && to !== undefined && to <= from) throw usageError('--to must be after --from');
    const query = new URLSearchParams({ by: args.by, ...(from !== undefined && { from: String(Math.floor(from / 1_000_000)) }), ...(to !== undefined && { to: String(Math.floor(to / 1_000_000)) }) });
    const answer = await callOperator<{ rows: readonly Row[] }>(args, 'GET', `/v1/usage/report?${query.toString()}`);
    if (args.json) {
      printJson(answer);
      return EXIT.done;
    }
    const lines = answer.rows.map(({ key, plays, offlinePlays, uncertain, downloads, played }) => `${(key === '' ? '(none)' : key).padEnd(40)} ${String(plays).padStart(8)} ${String(offlinePlays).padStart(8)} ${String(uncertain).padStart(9)} ${String(downloads).padStart(9)} ${(played / 3_600_000_000).toFixed(2).padStart(10)}`);
    const head = `${args.by.padEnd(40)} ${'plays'.padStart(8)} ${'offline'.padStart(8)} ${'uncertain'.padStart(9)} ${'downloads'.padStart(9)} ${'hours'.padStart(10)}`;
    process.stdout.write(answer.rows.length === 0 ? 'no usage was reported for that time\n' : `${[head, ...lines].join('\n')}\n`);
    return EXIT.done;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'usage', description: 'what was played: report' }, subCommands: { report } });
export default command;
