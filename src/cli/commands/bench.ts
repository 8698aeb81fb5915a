// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast bench [NAME] [--full]`: runs the benchmarks of `bench/`, each a ratio to a baseline measured in the same run.
 *
 * A missed goal is reported as `ok: false` with its reason and makes the exit code 1; it is never hidden.
 * `--full` runs the long form and rewrites the benchmark's section of BENCHMARKS.md with its conditions.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type CommandDef, defineCommand } from 'citty';
import { CommandExit, EXIT, type ExitCode, jsonArg, printJson, say, usageError } from '../command.ts';

/** One measured number. `goal` is a readable rule such as `<= 1.6`; `baseline` names what the ratio is against. */
export type Figure = {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly baseline: string;
  readonly goal: string;
  readonly ok: boolean;
  readonly reason?: string;
};
/** What a file of `bench/` exports as `bench`. */
export type Bench = {
  readonly name: string;
  /** `appendix`: Markdown worked out from the figures, for below their table. */
  run(options: { readonly full: boolean; readonly mix?: string; log(line: string): void }): Promise<{ readonly figures: readonly Figure[]; readonly appendix?: string }>;
};
/** What `bench --json` prints for one benchmark. */
export type BenchReport = { readonly bench: string; readonly conditions: Record<string, string | number>; readonly figures: readonly Figure[]; readonly appendix?: string; readonly ok: boolean };

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const FOLDER = `${ROOT}bench/`;

/** Names of all benchmarks: the `.ts` files directly in `bench/`. */
export const benchNames = (): string[] =>
  existsSync(FOLDER)
    ? readdirSync(FOLDER)
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .map((file) => file.slice(0, -3))
        .sort()
    : [];

const git = async (...args: string[]): Promise<string> => {
  try {
    return (await promisify(execFile)('git', ['-C', ROOT, ...args])).stdout.trim();
  } catch {
    return 'unknown';
  }
};

const conditions = async (full: boolean): Promise<Record<string, string | number>> => ({
  date: new Date().toISOString().slice(0, 10),
  commit: await git('rev-parse', '--short', 'HEAD'),
  node: process.version,
  cpu: `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}`,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  loadAverage1m: Number((loadavg()[0] ?? 0).toFixed(2)),
  form: full ? 'full' : 'short',
});

/** Runs one benchmark and judges it by its own figures. */
export const runBench = async (name: string, options: { full: boolean; mix?: string; log(line: string): void }): Promise<BenchReport> => {
  const { bench } = (await import(`${FOLDER}${name}.ts`)) as { bench: Bench };
  const before = await conditions(options.full);
  const { figures, appendix } = await bench.run(options);
  return { bench: name, conditions: before, figures, ...(appendix !== undefined && { appendix }), ok: figures.every((figure) => figure.ok) };
};

const round = (value: number): string => (Number.isInteger(value) ? String(value) : Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

const section = (report: BenchReport): string => {
  const given = Object.entries(report.conditions).map(([name, value]) => `${name} ${value}`);
  const rows = report.figures.map(
    (figure) => `| ${figure.name} | ${round(figure.value)} ${figure.unit} | ${figure.baseline} | ${figure.goal} | ${figure.ok ? 'yes' : `**no**: ${figure.reason ?? 'goal missed'}`} |`,
  );
  return [`## ${report.bench}`, '', `Conditions: ${given.join(', ')}.`, '', '| figure | value | baseline (same run) | goal | ok |', '|---|---|---|---|---|', ...rows, '', ...(report.appendix === undefined ? [] : [report.appendix, ''])].join('\n');
};

const HEADER = `# Benchmarks

Written by \`sealcast bench NAME --full\`; every figure with its baseline from the same run. A missed goal says so.
`;

/** ms that a finished run waits for what it left open. */
const LINGER = 2000;

/** Replaces one benchmark's section of BENCHMARKS.md and keeps the others. */
export const writeSection = (existing: string, report: BenchReport): string => {
  const sections = new Map<string, string>();
  for (const part of existing.split(/^(?=## )/m)) {
    const name = /^## (\S+)/.exec(part)?.[1];
    if (name !== undefined) sections.set(name, part.trimEnd());
  }
  sections.set(report.bench, section(report).trimEnd());
  return `${HEADER}\n${[...sections].sort(([a], [b]) => a.localeCompare(b)).map(([, text]) => text).join('\n\n')}\n`;
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'bench', description: 'measure what BENCHMARKS.md claims, each figure against a baseline of the same run' },
  args: {
    name: { type: 'positional', required: false, description: 'one benchmark; all of them without it' },
    full: { type: 'boolean', default: false, description: 'the long form; rewrites BENCHMARKS.md' },
    mix: { type: 'string', required: false, description: 'release-sim: access networks or recorded reports in place of the bundled mix (JSON)' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const all = benchNames();
    if (all.length === 0) throw new CommandExit(EXIT.environment, 'benchmarks are part of the repository, not of the package: run this in a clone');
    const chosen = args.name === undefined ? all : [args.name];
    for (const name of chosen) if (!all.includes(name)) throw usageError(`no benchmark \`${name}\`; one of: ${all.join(', ')}`);
    const reports: BenchReport[] = [];
    for (const name of chosen) {
      say(`bench ${name}${args.full ? ' (full)' : ''} ...`);
      const report = await runBench(name, { full: args.full, ...(args.mix === undefined ? {} : { mix: String(args.mix) }), log: (line) => say(`  ${line}`) });
      reports.push(report);
      if (!args.json) process.stdout.write(`${section(report)}\n`);
      if (args.full) {
        const file = `${ROOT}BENCHMARKS.md`;
        writeFileSync(file, writeSection(existsSync(file) ? readFileSync(file, 'utf8') : '', report));
      }
    }
    if (args.json) printJson(reports.length === 1 ? reports[0] : { ok: reports.every((report) => report.ok), benches: reports });
    // What was measured is over; sockets of clients that were cheating until the end may not be.
    setTimeout(() => process.exit(), LINGER).unref();
    return reports.every((report) => report.ok) ? EXIT.done : EXIT.negative;
  },
});
export default command;
