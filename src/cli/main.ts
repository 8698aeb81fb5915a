// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast`: finds the command, checks its flags strictly, runs it, and turns every outcome into an exit code.
 *
 * Invariant: an unknown flag or command is a usage error (2), a missing tool is 3 and names the command that installs it,
 * and no error printed here holds a secret (SealcastError messages never do; other errors are faults of ours).
 */
import { readFileSync } from 'node:fs';
import { type ArgsDef, type CommandDef, runCommand, showUsage } from 'citty';
import { isSealcastError } from '#core/errors.ts';
import { CommandExit, EXIT, type ExitCode, usageError } from './command.ts';

type AnyCommand = CommandDef<ArgsDef>;
const load = (module: Promise<{ default: unknown }>): Promise<AnyCommand> => module.then((loaded) => loaded.default as AnyCommand);

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/** Every command, loaded only when it is run. */
const COMMANDS: Readonly<Record<string, () => Promise<AnyCommand>>> = {
  demo: () => load(import('./commands/demo.ts')),
  up: () => load(import('./commands/up.ts')),
  event: () => load(import('./commands/event.ts')),
  title: () => load(import('./commands/title.ts')),
  collection: () => load(import('./commands/collection.ts')),
  usage: () => load(import('./commands/usage.ts')),
  pack: () => load(import('./commands/pack.ts')),
  sequence: () => load(import('./commands/sequence.ts')),
  token: () => load(import('./commands/token.ts')),
  mark: () => load(import('./commands/mark.ts')),
  detect: () => load(import('./commands/detect.ts')),
  trace: () => load(import('./commands/trace.ts')),
  bench: () => load(import('./commands/bench.ts')),
  audit: () => load(import('./commands/audit.ts')),
  config: () => load(import('./commands/config.ts')),
};

const root: AnyCommand = {
  meta: { name: 'sealcast', description: 'Protects live and subscription video from the edge.' },
  subCommands: COMMANDS,
};

const resolve = async <T>(value: T | Promise<T> | (() => T | Promise<T>)): Promise<T> => (typeof value === 'function' ? (value as () => T | Promise<T>)() : value);

/** Walks sub-commands; answers the command to run, its parent for the usage text, and the arguments left. */
const find = async (args: readonly string[]): Promise<{ command: AnyCommand; parent: AnyCommand; rest: string[] }> => {
  let parent = root;
  let command = root;
  let rest = [...args];
  for (;;) {
    const children = (await resolve(command.subCommands ?? {})) as Record<string, AnyCommand | (() => Promise<AnyCommand>)>;
    const names = Object.keys(children);
    if (names.length === 0) return { command, parent, rest };
    const name = rest[0];
    if (name === undefined || name.startsWith('-')) return { command, parent, rest };
    const child = children[name];
    if (child === undefined) throw usageError(`unknown command \`${name}\`; one of: ${names.join(', ')}`);
    parent = command;
    command = (await resolve(child)) as AnyCommand;
    rest = rest.slice(1);
  }
};

/** citty lets unknown flags pass; a script with a typo must not run with defaults instead. */
const checkFlags = async (command: AnyCommand, rest: readonly string[]): Promise<void> => {
  const args = await resolve(command.args ?? {});
  const known = new Set<string>();
  const valued = new Set<string>();
  for (const [name, definition] of Object.entries(args)) {
    const spelled = [name, ...[('alias' in definition ? definition.alias : undefined) ?? []].flat()];
    for (const each of spelled) {
      known.add(each);
      if (definition.type === 'boolean') known.add(`no-${each}`);
      if (definition.type === 'string' || definition.type === 'enum') valued.add(each);
    }
  }
  for (let index = 0; index < rest.length; index++) {
    const word = rest[index] ?? '';
    if (word === '--') return;
    const match = /^--?([^=]+)(=.*)?$/.exec(word);
    if (match === null || word === '-') continue;
    const name = match[1] ?? '';
    if (!known.has(name)) throw usageError(`unknown option \`${word.split('=')[0]}\`; --help lists what there is`);
    if (valued.has(name) && match[2] === undefined) {
      if (rest[index + 1] === undefined) throw usageError(`--${name} needs a value`);
      index += 1;
    }
  }
};

const run = async (args: readonly string[]): Promise<ExitCode> => {
  if (args.length === 1 && (args[0] === '--version' || args[0] === '-v')) {
    process.stdout.write(`${packageVersion()}\n`);
    return EXIT.done;
  }
  const { command, parent, rest } = await find(args);
  if (rest.includes('--help') || rest.includes('-h') || command.run === undefined) {
    await showUsage(command, command === parent ? undefined : parent);
    return rest.includes('--help') || rest.includes('-h') || args.length === 0 ? EXIT.done : EXIT.usage;
  }
  await checkFlags(command, rest);
  const { result } = await runCommand(command, { rawArgs: rest });
  return result === EXIT.negative ? EXIT.negative : EXIT.done;
};

const exitCodeOf = (error: unknown): ExitCode => {
  if (error instanceof CommandExit) {
    if (error.message !== '') process.stderr.write(`sealcast: ${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof Error && error.name === 'CLIError') {
    process.stderr.write(`sealcast: ${error.message}\n`);
    return EXIT.usage;
  }
  if (isSealcastError(error)) {
    process.stderr.write(`sealcast: ${error.message} [${error.code}]\n`);
    if (error.code === 'tool-missing' || error.code === 'config-invalid') return EXIT.environment;
    return EXIT.negative;
  }
  process.stderr.write(`sealcast: unexpected fault: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return EXIT.negative;
};

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
