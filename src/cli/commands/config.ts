// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast config default` prints every option with its documentation; `sealcast config check [FILE]` validates a file.
 *
 * Invariant: `check` accepts exactly what `sealcast up --config FILE` accepts, because both use the same loader.
 */
import { type CommandDef, defineCommand } from 'citty';
import { EXIT, type ExitCode, jsonArg, printJson } from '../command.ts';
import { checkConfig, defaultYaml, loadConfig, problemLine, readConfigText } from '#entry/config/index.ts';

const printDefault: CommandDef<typeof jsonArg> = defineCommand({
  meta: { name: 'default', description: 'print a configuration file with every option, its meaning and its default' },
  args: jsonArg,
  run: ({ args }): ExitCode => {
    if (args.json) printJson(loadConfig(undefined));
    else process.stdout.write(defaultYaml());
    return EXIT.done;
  },
});

const fileArg: { file: { type: 'positional'; required: false; description: string } } = {
  file: { type: 'positional', required: false, description: 'YAML or JSON file' },
};

const check: CommandDef<typeof fileArg & typeof jsonArg> = defineCommand({
  meta: { name: 'check', description: 'validate a configuration file; without one, the built-in defaults' },
  args: { ...fileArg, ...jsonArg },
  run: ({ args }): ExitCode => {
    const checked = checkConfig(args.file === undefined ? '' : readConfigText(args.file));
    const problems = 'problems' in checked ? checked.problems : [];
    const name = args.file ?? 'the built-in defaults';
    if (args.json) printJson({ ok: problems.length === 0, file: args.file ?? null, problems });
    else if (problems.length === 0) process.stdout.write(`${name}: valid\n`);
    else
      process.stdout.write(
        `${[`${name}: ${problems.length === 1 ? '1 problem' : `${problems.length} problems`}`, ...problems.map((problem) => `  ${problemLine(problem)}`)].join('\n')}\n`,
      );
    return problems.length === 0 ? EXIT.done : EXIT.negative;
  },
});

const command: CommandDef = defineCommand({
  meta: { name: 'config', description: 'print or check the configuration' },
  subCommands: { default: printDefault, check },
});
export default command;
