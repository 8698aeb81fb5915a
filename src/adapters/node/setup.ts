// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the tools that npm cannot bring (ffmpeg with a font, Chromium, servers for tests) or installs them from the
 * system's packages, saying what it does.
 *
 * Invariant: never asks a question, never touches anything but the named packages, and answers with the command a person
 * can run when it could not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { SealcastError } from '#core/errors.ts';

/** What can be asked for. `font` is the file that the demo's source draws its clock with. */
export type Tool = 'ffmpeg' | 'font' | 'chromium' | 'redis-server' | 'postgresql';

/** Where the tool is, or how to get it: `missing` is the command to run, `reason` why it was not run here. */
export type ToolOutcome = { readonly path: string } | { readonly missing: string; readonly reason: string };

/** How to look and whom to tell. */
export type EnsureToolOptions = {
  /** Environment to look in (`PATH`, `SEALCAST_FFMPEG`...); the process's own unless told. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** False only looks. */
  readonly install?: boolean;
  /** Where progress is written; stderr unless told. */
  readonly output?: { write(text: string): unknown; readonly isTTY?: boolean };
  /** How long to wait for another package manager to finish; 300,000 unless told. */
  readonly lockWaitMillis?: number;
  /** Whether this process may install; asked of the system unless told. */
  readonly isRoot?: boolean;
};

type Recipe = {
  /** Environment variable that names the file outright. */
  readonly variable: string;
  /** Names to look for on PATH. */
  readonly names: readonly string[];
  /** Files to look for where packages put them outside PATH; `*` stands for one folder. */
  readonly files: readonly string[];
  readonly packages: { readonly apt: string; readonly apk: string; readonly dnf: string; readonly pacman: string; readonly brew: string };
};

const FONT_FILE = '/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf';
const RECIPES: Readonly<Record<Tool, Recipe>> = {
  ffmpeg: {
    variable: 'SEALCAST_FFMPEG',
    names: ['ffmpeg'],
    files: [],
    packages: { apt: 'ffmpeg fonts-dejavu-core', apk: 'ffmpeg font-dejavu', dnf: 'ffmpeg-free dejavu-sans-mono-fonts', pacman: 'ffmpeg ttf-dejavu', brew: 'ffmpeg' },
  },
  font: {
    variable: 'SEALCAST_FONT',
    names: [],
    files: [
      FONT_FILE,
      '/usr/share/fonts/dejavu/DejaVuSansMono-Bold.ttf',
      '/usr/share/fonts/dejavu-sans-mono-fonts/DejaVuSansMono-Bold.ttf',
      '/usr/share/fonts/TTF/DejaVuSansMono-Bold.ttf',
      '/System/Library/Fonts/Menlo.ttc',
    ],
    packages: { apt: 'fonts-dejavu-core', apk: 'font-dejavu', dnf: 'dejavu-sans-mono-fonts', pacman: 'ttf-dejavu', brew: 'font-dejavu' },
  },
  chromium: {
    variable: 'SEALCAST_CHROMIUM',
    names: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
    files: ['/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'],
    packages: { apt: 'chromium', apk: 'chromium', dnf: 'chromium', pacman: 'chromium', brew: 'chromium' },
  },
  'redis-server': {
    variable: 'SEALCAST_REDIS_SERVER',
    names: ['redis-server', 'valkey-server'],
    files: [],
    packages: { apt: 'redis-server', apk: 'redis', dnf: 'valkey', pacman: 'valkey', brew: 'redis' },
  },
  postgresql: {
    variable: 'SEALCAST_POSTGRES',
    names: ['postgres'],
    files: ['/usr/lib/postgresql/*/bin/postgres', '/usr/libexec/postgresql*/postgres'],
    packages: { apt: 'postgresql', apk: 'postgresql', dnf: 'postgresql-server', pacman: 'postgresql', brew: 'postgresql' },
  },
};

const isUsable = (file: string, executable: boolean): boolean => {
  try {
    accessSync(file, executable ? constants.X_OK : constants.R_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
};

const onPath = (name: string, env: EnsureToolOptions['env']): string | undefined =>
  (env?.['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => folder !== '')
    .map((folder) => join(folder, name))
    .find((file) => isUsable(file, true));

/** Files that match a pattern with at most one `*` in one folder name, newest version first. */
const matching = (pattern: string): string[] => {
  const star = pattern.indexOf('*');
  if (star < 0) return [pattern];
  const parent = pattern.slice(0, pattern.lastIndexOf('/', star) + 1);
  const [before, after] = [pattern.slice(parent.length, star), pattern.slice(star + 1)];
  try {
    return readdirSync(parent)
      .filter((name) => name.startsWith(before))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((name) => `${parent}${name}${after}`);
  } catch {
    return [];
  }
};

const find = (tool: Tool, env: EnsureToolOptions['env']): string | undefined => {
  const { names, files } = RECIPES[tool];
  const named = names.map((name) => onPath(name, env)).find((file) => file !== undefined);
  return named ?? files.flatMap(matching).find((file) => isUsable(file, tool !== 'font'));
};

const commandFor = (tool: Tool, env: EnsureToolOptions['env']): string => {
  const { packages } = RECIPES[tool];
  if (onPath('apt-get', env)) return `sudo apt-get install -y --no-install-recommends ${packages.apt}`;
  if (onPath('apk', env)) return `sudo apk add ${packages.apk}`;
  if (onPath('dnf', env)) return `sudo dnf install -y ${packages.dnf}`;
  if (onPath('pacman', env)) return `sudo pacman -S --noconfirm ${packages.pacman}`;
  if (onPath('brew', env) || process.platform === 'darwin') return `brew install ${tool === 'chromium' || tool === 'font' ? '--cask ' : ''}${packages.brew}`;
  return `apt-get install -y --no-install-recommends ${packages.apt}`;
};

type Ended = { readonly code: number | null; readonly errors: string };

/** Runs without a terminal; every complete line of stdout goes to `onLine`. */
const runQuietly = (command: readonly string[], env: EnsureToolOptions['env'], onLine: (line: string) => void = () => undefined): Promise<Ended> =>
  new Promise((done) => {
    const [program = '', ...args] = command;
    let child: ChildProcess;
    let errors = '';
    let rest = '';
    try {
      child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } });
    } catch (error) {
      done({ code: null, errors: error instanceof Error ? error.message : 'cannot start' });
      return;
    }
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    child.on('error', (error) => done({ code: null, errors: error.message }));
    child.on('close', (code) => done({ code, errors }));
  });

/** One line that is rewritten on a terminal; elsewhere a new line each time another quarter is done. */
const createProgress = (output: NonNullable<EnsureToolOptions['output']>, subject: string) => {
  let shown = -1;
  const show = (percent: number, doing: string): void => {
    const whole = Math.max(shown, Math.min(100, Math.floor(percent)));
    if (output.isTTY === true) output.write(`\r\x1b[2K${subject}: ${String(whole).padStart(3)} %  ${doing.slice(0, 60)}`);
    else if (shown < 0 || Math.floor(whole / 25) > Math.floor(shown / 25)) output.write(`${subject}: ${whole} %  ${doing}\n`);
    shown = whole;
  };
  const end = (result: string): void => {
    output.write(`${output.isTTY === true ? '\r\x1b[2K' : ''}${subject}: ${result}\n`);
  };
  return { show, end };
};

const IS_LOCKED = /could not get lock|unable to acquire the dpkg|unable to lock|is held by process/i;
const STATUS = /^(dl|pm)status:[^:]*:(\d+(?:\.\d+)?):(.*)$/;

/** Runs apt-get, again while another package manager holds the lock. */
const apt = async (
  prefix: readonly string[],
  args: readonly string[],
  options: Required<Pick<EnsureToolOptions, 'env' | 'lockWaitMillis'>>,
  onLine: (line: string) => void,
  onLocked: () => void,
): Promise<Ended> => {
  const pause = Math.min(2000, options.lockWaitMillis / 10);
  for (let waited = 0; ; waited += pause) {
    const ended = await runQuietly([...prefix, ...args], options.env, onLine);
    if (ended.code === 0 || !IS_LOCKED.test(ended.errors) || waited >= options.lockWaitMillis) return ended;
    onLocked();
    await wait(pause);
  }
};

const lastLine = (text: string): string =>
  text
    .trim()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .at(-1)
    ?.trim() ?? '';

/**
 * Finds the tool; if it is missing and this process may, installs it with apt-get. Resolves with its path, or with the
 * command that would install it and the reason why that was not done. Throws nothing on purpose.
 */
export const ensureTool = async (tool: Tool, options: EnsureToolOptions = {}): Promise<ToolOutcome> => {
  const { env = process.env, install = true, output = process.stderr, lockWaitMillis = 300_000, isRoot = process.getuid?.() === 0 } = options;
  const { variable, packages } = RECIPES[tool];
  const missing = (reason: string): ToolOutcome => ({ missing: commandFor(tool, env), reason });

  const chosen = env[variable];
  if (chosen !== undefined && chosen !== '') {
    return isUsable(chosen, tool !== 'font') ? { path: resolve(chosen) } : missing(`${variable} does not name ${tool === 'font' ? 'a readable' : 'an executable'} file`);
  }
  const present = find(tool, env);
  if (present !== undefined) return { path: present };
  if (!install) return missing('it is not installed');
  const aptGet = onPath('apt-get', env);
  if (aptGet === undefined) return missing('it is not installed, and this system has no apt-get to install it with');
  const sudo = onPath('sudo', env);
  // `env` carries the settings through sudo, which drops the environment.
  const asRoot = isRoot ? [aptGet] : sudo === undefined ? undefined : [sudo, '-n', 'env', 'DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C', aptGet];
  if (asRoot === undefined || (!isRoot && (await runQuietly([sudo ?? '', '-n', 'true'], env)).code !== 0)) {
    return missing('it is not installed, and installing it needs root rights that this process does not have');
  }

  const progress = createProgress(output, `installing ${packages.apt} (Debian packages)`);
  let percent = 0;
  const locked = (): void => progress.show(percent, 'waiting for another package manager to finish');
  progress.show(0, 'reading package lists');
  // A failed update is no reason to stop: one unreachable repository fails it, and the lists may be good enough.
  await apt(asRoot, ['update', '-q'], { env, lockWaitMillis }, () => undefined, locked);
  const ended = await apt(
    asRoot,
    [
      'install',
      '-y',
      '-q',
      '--no-install-recommends',
      '-o',
      'APT::Status-Fd=1',
      '-o',
      'Dpkg::Options::=--force-confdef',
      '-o',
      'Dpkg::Options::=--force-confold',
      ...packages.apt.split(' '),
    ],
    { env, lockWaitMillis },
    (line) => {
      const [, phase, share = '0', doing = ''] = STATUS.exec(line) ?? [];
      if (phase === undefined) return;
      // Download and installation take about as long as each other.
      percent = phase === 'dl' ? Number(share) / 2 : 50 + Number(share) / 2;
      progress.show(percent, doing);
    },
    locked,
  );
  const installed = find(tool, env);
  if (ended.code === 0 && installed !== undefined) {
    progress.end('done');
    return { path: installed };
  }
  const reason = ended.code === 0 ? 'the packages were installed but the tool is still not found' : `apt-get failed: ${lastLine(ended.errors) || `exit code ${ended.code}`}`;
  progress.end(reason);
  return missing(reason);
};

/** The tool's path; throws `tool-missing` with the command that installs it. */
export const requireTool = async (tool: Tool, options: EnsureToolOptions = {}): Promise<string> => {
  const outcome = await ensureTool(tool, options);
  if ('path' in outcome) return outcome.path;
  throw new SealcastError('tool-missing', `${tool} is missing (${outcome.reason}). Install it with: ${outcome.missing}`, { extra: { tool, install: outcome.missing } });
};
