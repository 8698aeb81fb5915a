// SPDX-License-Identifier: Apache-2.0
/** The set-up step against a fake apt-get on a PATH of its own: nothing on this machine is installed or asked. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EnsureToolOptions, ensureTool, requireTool } from './setup.ts';

let folder = '';
let written: string[] = [];
const bin = (): string => join(folder, 'bin');
const script = (name: string, body: string): void => {
  writeFileSync(join(bin(), name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bin(), name), 0o755);
};
const options = (change: Partial<EnsureToolOptions> = {}): EnsureToolOptions => ({
  env: { PATH: bin() },
  output: { write: (text: string) => written.push(text) },
  isRoot: true,
  lockWaitMillis: 1000,
  ...change,
});
const calls = (): string[] => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n');
/** Logs its arguments; `install` prints apt's status lines and puts a tool on PATH. */
const fakeApt = (install: string): void => script('apt-get', `echo "$DEBIAN_FRONTEND $*" >> '${folder}/calls'\nif [ "$1" = install ]; then\n${install}\nfi`);
const makeTool = (name: string): string => `printf '#!/bin/sh\\n' > '${join('BIN', name)}' && /bin/chmod 755 '${join('BIN', name)}'`.replaceAll('BIN', bin());

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-setup-'));
  mkdirSync(bin());
  written = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('finding', () => {
  it('takes a tool from PATH without installing', async () => {
    script('chromium-browser', '');
    expect(await ensureTool('chromium', options())).toEqual({ path: join(bin(), 'chromium-browser') });
    expect(written).toEqual([]);
  });

  it('prefers the file that the environment names, and does not replace a wrong one silently', async () => {
    script('ffmpeg', '');
    script('mine', '');
    expect(await ensureTool('ffmpeg', options({ env: { PATH: bin(), SEALCAST_FFMPEG: join(bin(), 'mine') } }))).toEqual({ path: join(bin(), 'mine') });
    expect(await ensureTool('ffmpeg', options({ env: { PATH: bin(), SEALCAST_FFMPEG: join(folder, 'absent') } }))).toMatchObject({
      reason: 'SEALCAST_FFMPEG does not name an executable file',
    });
    expect(await ensureTool('font', options({ env: { PATH: '', SEALCAST_FONT: join(bin(), 'mine') } }))).toEqual({ path: join(bin(), 'mine') });
  });

  it('ignores folders and files that cannot be run', async () => {
    mkdirSync(join(bin(), 'ffmpeg'));
    expect(await ensureTool('ffmpeg', options())).toMatchObject({ reason: expect.stringContaining('no apt-get') });
    rmSync(join(bin(), 'ffmpeg'), { recursive: true });
    writeFileSync(join(bin(), 'ffmpeg'), '');
    expect(await ensureTool('ffmpeg', options())).toHaveProperty('missing');
  });

  it('only looks when told so', async () => {
    fakeApt(makeTool('ffmpeg'));
    expect(await ensureTool('ffmpeg', options({ install: false }))).toEqual({
      missing: 'sudo apt-get install -y --no-install-recommends ffmpeg fonts-dejavu-core',
      reason: 'it is not installed',
    });
  });
});

describe('installing', () => {
  it('updates, installs the named packages and nothing else, without questions, with progress', async () => {
    fakeApt(
      `for p in 0 50.5 100; do echo "dlstatus:1:$p:Retrieving file"; done\necho 'Unpacking things'\nfor p in 0 60 100; do echo "pmstatus:ffmpeg:$p:Installing ffmpeg"; done\n${makeTool('ffmpeg')}`,
    );
    expect(await ensureTool('ffmpeg', options())).toEqual({ path: join(bin(), 'ffmpeg') });
    const [update, install] = calls();
    expect(update).toBe('noninteractive update -q');
    expect(install).toMatch(/^noninteractive install -y -q --no-install-recommends .* ffmpeg fonts-dejavu-core$/);
    const subject = 'installing ffmpeg fonts-dejavu-core (Debian packages)';
    expect(written).toEqual([
      `${subject}: 0 %  reading package lists\n`,
      `${subject}: 25 %  Retrieving file\n`,
      `${subject}: 50 %  Retrieving file\n`,
      `${subject}: 80 %  Installing ffmpeg\n`,
      `${subject}: 100 %  Installing ffmpeg\n`,
      `${subject}: done\n`,
    ]);
  });

  it('rewrites one line on a terminal', async () => {
    fakeApt(`echo "dlstatus:1:50:Retrieving"\n${makeTool('chromium')}`);
    await ensureTool('chromium', options({ output: { write: (text) => written.push(text), isTTY: true } }));
    expect(written.at(-1)).toBe('\r\x1b[2Kinstalling chromium (Debian packages): done\n');
    expect(written.slice(0, -1).every((text) => text.startsWith('\r\x1b[2K') && !text.includes('\n'))).toBe(true);
  });

  it('goes on when an update fails, since one repository may be unreachable', async () => {
    fakeApt(makeTool('ffmpeg'));
    script('apt-get', `if [ "$1" = update ]; then echo 'E: Failed to fetch' >&2; exit 100; fi\n${makeTool('ffmpeg')}`);
    expect(await ensureTool('ffmpeg', options())).toHaveProperty('path');
  });

  it('waits for another package manager, saying so', async () => {
    fakeApt(
      `if [ ! -e '${folder}/second' ]; then : > '${folder}/second'; echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (apt)' >&2; exit 100; fi\n${makeTool('ffmpeg')}`,
    );
    expect(await ensureTool('ffmpeg', options({ output: { write: (text) => written.push(text), isTTY: true } }))).toHaveProperty('path');
    expect(written.join('')).toContain('waiting for another package manager to finish');
    expect(calls().filter((call) => call.includes('install'))).toHaveLength(2);
  });

  it('gives up on a lock that is never released', async () => {
    fakeApt("echo 'E: Could not get lock /var/lib/dpkg/lock-frontend' >&2; exit 100");
    expect(await ensureTool('ffmpeg', options({ lockWaitMillis: 100 }))).toMatchObject({ reason: 'apt-get failed: E: Could not get lock /var/lib/dpkg/lock-frontend' });
  });

  it('says what apt-get said when it fails', async () => {
    fakeApt("echo 'W: something' >&2; echo 'E: Unable to locate package ffmpeg' >&2; exit 100");
    expect(await ensureTool('ffmpeg', options())).toMatchObject({
      missing: expect.stringContaining('apt-get install'),
      reason: 'apt-get failed: E: Unable to locate package ffmpeg',
    });
    expect(written.at(-1)).toContain('Unable to locate package');
  });

  it('does not believe an installation that brought nothing', async () => {
    fakeApt(':');
    expect(await ensureTool('ffmpeg', options())).toMatchObject({ reason: 'the packages were installed but the tool is still not found' });
  });
});

describe('rights', () => {
  it('uses sudo when it asks no password, with the settings passed through it', async () => {
    script('sudo', `echo "sudo $*" >> '${folder}/sudo'\nif [ "$2" = true ]; then exit 0; fi\nshift; exec /usr/bin/"$@"`);
    fakeApt(makeTool('ffmpeg'));
    expect(await ensureTool('ffmpeg', options({ isRoot: false }))).toHaveProperty('path');
    expect(readFileSync(join(folder, 'sudo'), 'utf8')).toMatch(/^sudo -n true\nsudo -n env DEBIAN_FRONTEND=noninteractive LC_ALL=C \S+apt-get update -q\n/);
    expect(calls()[0]).toMatch(/^noninteractive/);
  });

  it.each([
    ['there is no sudo', undefined],
    ['sudo wants a password', 'exit 1'],
  ])('names the command when %s', async (_, sudo) => {
    if (sudo !== undefined) script('sudo', sudo);
    fakeApt(makeTool('ffmpeg'));
    expect(await ensureTool('ffmpeg', options({ isRoot: false }))).toEqual({
      missing: 'sudo apt-get install -y --no-install-recommends ffmpeg fonts-dejavu-core',
      reason: 'it is not installed, and installing it needs root rights that this process does not have',
    });
    expect(written).toEqual([]);
  });

  it.each([
    ['apk', 'sudo apk add ffmpeg font-dejavu'],
    ['dnf', 'sudo dnf install -y ffmpeg-free dejavu-sans-mono-fonts'],
    ['pacman', 'sudo pacman -S --noconfirm ffmpeg ttf-dejavu'],
    ['brew', 'brew install ffmpeg'],
  ])('names the command of a system with %s', async (manager, command) => {
    script(manager, '');
    expect(await ensureTool('ffmpeg', options())).toMatchObject({ missing: command });
  });
});

it('throws tool-missing with the command, for callers that cannot go on', async () => {
  await expect(requireTool('ffmpeg', options())).rejects.toMatchObject({ code: 'tool-missing', message: expect.stringMatching(/Install it with: .*ffmpeg/) });
  script('ffmpeg', '');
  expect(await requireTool('ffmpeg', options())).toBe(join(bin(), 'ffmpeg'));
});
