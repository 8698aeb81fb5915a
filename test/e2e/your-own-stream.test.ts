// SPDX-License-Identifier: Apache-2.0
/**
 * Follows docs/guide/your-own-stream.md: the guide's own code blocks are taken from the page and run, with only the port,
 * the folder and the input replaced.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { createViewer, openDevice, startSession } from '#client/index.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(join(ROOT, 'docs/guide/your-own-stream.md'), 'utf8');
const blocks = (language: string): string[] => [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] as string);
const block = (language: string, holding: string): string => {
  const found = blocks(language).find((text) => text.includes(holding));
  if (found === undefined) throw new Error(`the guide has no ${language} block with ${holding}`);
  return found;
};

const folder = mkdtempSync(join(tmpdir(), 'sealcast-guide-'));
const children: ChildProcess[] = [];
let log = '';
let url = '';

const until = async <T>(what: string, attempt: () => Promise<T | undefined> | T | undefined, limit = 30_000): Promise<T> => {
  const end = Date.now() + limit;
  for (;;) {
    const value = await attempt();
    if (value !== undefined) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${limit} ms\n${log.slice(-3000)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
/** A command line of the guide, in a shell, with `sealcast` from this clone. */
const shell = (script: string, env: Record<string, string> = {}): string =>
  execFileSync('bash', ['-euo', 'pipefail', '-c', script.replaceAll('npx sealcast', `"${process.execPath}" "${ROOT}bin/sealcast.js"`).replaceAll('http://localhost:8080', url).replace(/^node -e/m, `"${process.execPath}" -e`)], { cwd: folder, encoding: 'utf8', env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });

beforeAll(async () => {
  shell(block('sh', 'generateKey'));
  writeFileSync(join(folder, 'sealcast.yaml'), block('yaml', 'entitlements:'));
  const up = block('sh', 'sealcast up --config').trim().replace('npx sealcast ', '').split(' ');
  const child = spawn(process.execPath, [join(ROOT, 'bin/sealcast.js'), ...up, '--port', '0'], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
  url = await until('the platform starts', () => /is up at (\S+)/.exec(log)?.[1]);
}, 60_000);

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

test('an encoder, a backend and a viewer, as the guide says', async () => {
  const token = await until('the operator token is printed', () => /so_[\w-]+/.exec(log)?.[0]);
  const env = { SEALCAST_OPERATOR_TOKEN: token };
  const created = shell(`${block('sh', 'event create').trim()} --url ${url}`, env);
  const credential = /^credential\s+(\S+)/m.exec(created)?.[1] ?? '';
  expect(credential).not.toBe('');

  const ffmpeg = findTool('ffmpeg');
  execFileSync(ffmpeg, ['-nostdin', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=s=640x360:r=25', '-f', 'lavfi', '-i', 'sine=440:r=48000', '-t', '4', '-c:v', 'libx264', '-preset', 'ultrafast', '-c:a', 'aac', join(folder, 'input.mp4')]);
  // A smaller picture, because this machine also runs the other tests.
  const line = block('sh', 'stream_loop').replace(/^ffmpeg /, `exec "${ffmpeg}" -nostdin -loglevel error `).replace('scale=1280:720', 'scale=320:180').replaceAll('2500k', '300k').replaceAll('http://localhost:8080', url);
  const encoder = spawn('bash', ['-c', line], { cwd: folder, env: { ...process.env, INGEST_CREDENTIAL: credential }, stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(encoder);
  encoder.stderr?.setEncoding('utf8').on('data', (text: string) => (log += `ffmpeg: ${text}`));

  const code = block('js', 'export const entitle').replace("from 'jose'", `from '${pathToFileURL(join(ROOT, 'node_modules/jose/dist/webapi/index.js')).href}'`).replace("'backend-private.json'", JSON.stringify(join(folder, 'backend-private.json')));
  writeFileSync(join(folder, 'entitle.mjs'), code);
  const { entitle } = (await import(pathToFileURL(join(folder, 'entitle.mjs')).href)) as { entitle(account: string, asset: string): Promise<string> };

  const started = await startSession({ servers: [url], device: await openDevice(), asset: 'match', entitlement: () => entitle('anna', 'match') });
  if (!started.ok) throw new Error(started.denial.detail);
  const { session } = started;
  const listed = async (): Promise<true | undefined> => {
    const response = await fetch(`${url}/media/match/manifest.mpd`, { headers: { authorization: `Bearer ${session.mediaToken}` } });
    return response.ok && (await response.text()).includes('v720') ? true : undefined;
  };
  await until('the event is on air', listed);
  const viewer = createViewer({ session, baseUrl: `${url}/` });
  await until('frames are decrypted', () => (viewer.stats().frames >= 100 ? true : undefined));
  expect(viewer.stats()).toMatchObject({ implausible: 0 });
  await viewer.stop();
  await session.stop();

  execFileSync(ffmpeg, ['-nostdin', '-loglevel', 'error', '-y', '-i', join(folder, 'input.mp4'), '-c', 'copy', join(folder, 'film.mkv')]);
  expect(shell(`${block('sh', 'title add').trim()} --url ${url}`, env)).toContain('ready, 4 s');
  expect(shell(`${block('sh', 'event end').trim()} --url ${url}`, env)).toContain('match has ended');
  const late = await startSession({ servers: [url], device: await openDevice(), asset: 'film', entitlement: () => entitle('anna', 'film') });
  expect(late.ok).toBe(true);
  if (late.ok) await late.session.stop();
}, 120_000);
