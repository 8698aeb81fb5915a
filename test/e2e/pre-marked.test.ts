// SPDX-License-Identifier: Apache-2.0
/** Pre-marked variants as docs/guide/variants.md has them: two ffmpeg sources, one event, every viewer its own sequence of both. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { assetId } from '#core/ids.ts';
import { startStack, type Stack } from '../interop/stack.ts';

const EVENT = assetId('pre-marked');
const sources: ChildProcess[] = [];
let stack: Stack;

/** One variant on the UTC grid; a box in a corner stands for a mark. */
const startVariant = (name: string, colour: string, { url, credential }: { url: string; credential: string }): void => {
  const graph = `testsrc2=s=320x180:r=25,drawbox=x=0:y=0:w=24:h=24:color=${colour}:t=fill,settb=1/25,realtime=limit=10,setpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*25/1000000),PREV_OUTPTS+1)'`;
  sources.push(
    spawn(
      findTool('ffmpeg'),
      ['-nostdin', '-hide_banner', '-loglevel', 'error', '-f', 'lavfi', '-i', graph, '-fps_mode', 'passthrough', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-bf', '0', '-sc_threshold', '0', '-pix_fmt', 'yuv420p', '-b:v', '300k', '-threads', '1',
        '-g', '1000', '-force_key_frames', 'expr:eq(mod(floor(t*25+0.5),50),0)', '-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+frag_discont+skip_trailer', '-frag_duration', '200000', '-avoid_negative_ts', 'disabled', '-flush_packets', '1',
        '-method', 'PUT', '-chunked_post', '1', '-send_expect_100', '0', '-headers', `Authorization: Bearer ${credential}\r\n`, '-content_type', 'video/mp4', `${url}/${name}/Streams(v180.cmfv)`],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    ),
  );
};

beforeAll(async () => {
  stack = await startStack();
  const made = await stack.platform.actions?.createEvent({ asset: EVENT, name: 'Pre-marked', scheme: 'cenc', clearKey: 'off', marked: { variants: 2, book: 'aligned', delivery: 'always-on', viewers: 1e6, edges: [], representations: ['v180' as never] } });
  if (made === undefined) throw new Error('no event');
  startVariant('a', 'red', made.ingest);
  startVariant('b', 'blue', made.ingest);
}, 60_000);
afterAll(async () => {
  for (const source of sources) source.kill('SIGTERM');
  await stack.stop();
});

test('viewers get segments of both variants, each by its own sequence, live', async () => {
  const sessions = await Promise.all(['ann', 'ben', 'cat', 'dan', 'eve'].map((account) => stack.session(EVENT, { account })));
  const fetchAs = async (token: string, number: number): Promise<{ status: number; hash: string }> => {
    const response = await fetch(`${stack.url}/media/${EVENT}/v180/${number}.m4s`, { headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, hash: createHash('sha256').update(new Uint8Array(await response.arrayBuffer())).digest('hex') };
  };
  const origin = async (variant: string, number: number): Promise<string> => {
    const response = await stack.platform.roles.packager?.originHandler(new Request(`http://origin/origin/${EVENT}/v180/${variant}/${number}.m4s`));
    return createHash('sha256').update(new Uint8Array((await response?.arrayBuffer()) ?? new ArrayBuffer(0))).digest('hex');
  };
  const [first] = sessions;
  // Ready once a whole segment of both variants is there.
  let number = 0;
  for (const deadline = performance.now() + 40_000; ; ) {
    const statuses = await Promise.all([1, 2].map(async (back) => (await fetchAs(first?.mediaToken ?? '', Math.floor(Date.now() / 2000) - back)).status));
    if (statuses.every((status) => status === 200)) {
      number = Math.floor(Date.now() / 2000) - 2;
      break;
    }
    if (performance.now() > deadline) throw new Error(`no live segment: ${statuses.join()}`);
    await new Promise((wake) => setTimeout(wake, 500));
  }
  const used = new Set<string>();
  const words = sessions.map(() => '');
  for (let step = 0; step < 5; step++, number++) {
    while (Date.now() < (number + 1) * 2000 + 500) await new Promise((wake) => setTimeout(wake, 100));
    const [a, b] = await Promise.all([origin('a', number), origin('b', number)]);
    expect(a).not.toBe(b);
    for (const [viewer, session] of sessions.entries()) {
      const { status, hash } = await fetchAs(session.mediaToken, number);
      expect([status, hash === a || hash === b]).toEqual([200, true]);
      const name = hash === a ? 'a' : 'b';
      used.add(name);
      words[viewer] += name;
    }
  }
  expect([...used].sort()).toEqual(['a', 'b']);
  expect(new Set(words).size).toBeGreaterThan(1);
  const [row] = stack.platform.roles.edge?.traffic() ?? [];
  expect(row).toMatchObject({ asset: EVENT });
  for (const session of sessions) await session.stop();
}, 90_000);
