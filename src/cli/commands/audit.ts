// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast audit verify FILE...`: proves from files alone that no release of a timed event was early, and who released what when.
 *
 * docs/wire/audit.md. Files in any order: release logs of edges, receipts of probes, blocks of released secrets, public keys of edges, probes and key servers.
 * Invariant: exit 0 only if every signature, hash, instant and commitment that was given agrees and something was proven.
 */
import { type CommandDef, defineCommand } from 'citty';
import { auditFiles } from '../auditing.ts';
import { EXIT, type ExitCode, jsonArg, numberOption, printJson, usageError } from '../command.ts';

const MAX_SHOWN = 20;
const micros = (value: number): string => `${(value / 1000).toFixed(3)} ms`;
const instant = (utc: number): string => `${new Date(Math.floor(utc / 1000)).toISOString().slice(0, -1)}${String(utc % 1000).padStart(3, '0')}Z`;

const verify: CommandDef<any> = defineCommand({
  meta: { name: 'verify', description: 'prove offline that nothing left early and who released what when' },
  args: {
    files: { type: 'positional', required: false, description: 'release logs, probe receipts, blocks of released secrets, public keys' },
    period: { type: 'string', description: 'print who released this period, when and in which order' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const files = (args._ as readonly string[]).map(String);
    if (files.length === 0) throw usageError('give the files to verify');
    const period = numberOption('period', args.period as string | undefined, { min: 0, max: Number.MAX_SAFE_INTEGER });
    const began = performance.now();
    const { entriesOf, ...audit } = await auditFiles(files);
    const seconds = (performance.now() - began) / 1000;
    const entries = period === undefined ? [] : entriesOf(period as never);
    if (args.json) printJson({ ...audit, ...(period !== undefined && { entries }), seconds });
    else {
      const lines = [
        `${audit.ok ? 'proven' : 'NOT proven'}: ${audit.releases} releases, ${audit.early} early; ${audit.faults.length} faults`,
        ...audit.edges.flatMap((edge) => [
          `  ${edge.edge} ${edge.event}: periods ${edge.from} to ${edge.to}, ${edge.periods} released, ${edge.writes} writes, ${edge.skipped} skipped; clock ${edge.clocks.join(', ')}`,
          `    after the instant p50 ${micros(edge.lateness.p50)}, p99 ${micros(edge.lateness.p99)}, most ${micros(edge.lateness.most)}; first to last write p99 ${micros(edge.spread.p99)}`,
          ...(edge.uncommitted > 0 ? [`    ${edge.uncommitted} periods whose signed schedule is not in this log before their instant`] : []),
          ...edge.gaps.slice(0, MAX_SHOWN).map((gap) => `    not released: ${gap.from} to ${gap.to} (${gap.because})`),
        ]),
        `  receipts: ${audit.receipts.onTime} on time, ${audit.receipts.early} early, ${audit.receipts.undecided} undecided, of ${audit.receipts.probes.length} probes; secrets proven: ${audit.secretsProven}; heads agreed: ${audit.heads.agreed}; unsigned lines at the end: ${audit.unsigned}`,
        ...audit.faults.slice(0, MAX_SHOWN).map(({ file, line, what }) => `  fault: ${file}:${line}: ${what}`),
        ...entries.map((entry) => `  period ${entry.period} of ${entry.event}: ${entry.edge} worker ${entry.worker}, instant ${instant(entry.releaseAt)}, first write ${instant(entry.first)}, last ${instant(entry.last)}, ${entry.sent} sent, ${entry.skipped} skipped, order of seed ${entry.seed}`),
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    }
    return audit.ok ? EXIT.done : EXIT.negative;
  },
});

const command: CommandDef<any> = defineCommand({ meta: { name: 'audit', description: 'release logs of timed events, and probes that check edges' }, subCommands: { verify, probe: () => import('./audit-probe.ts').then((loaded) => loaded.default as CommandDef<any>) } });
export default command;
