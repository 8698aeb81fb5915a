// SPDX-License-Identifier: Apache-2.0
/**
 * What the terminal shows while the demo runs: the addresses once, then a compact status that is rewritten in place, or a
 * line now and then where no person is watching.
 */
import type { Stage } from '#entry/demo/stage.ts';
import type { Watching } from '#entry/demo/watching.ts';
import { ownAddresses } from '#entry/tls.ts';
import { say } from './command.ts';

const SOURCES: Readonly<Record<Stage['source']['kind'], string>> = {
  scene: 'generated scene, 720p25 + 360p25 + AAC',
  file: 'looped file',
  relay: 'relayed contribution',
  none: 'no source', 'bundled-clip': 'bundled clip (ffmpeg is missing)',
};

const welcome = (stage: Stage): void => {
  const { url, adminUrl, firstToken } = stage.platform;
  say('');
  say('  Sealcast demo');
  say(`  watch page     ${url}/`);
  say(`  control room   ${adminUrl}/control`);
  if (firstToken !== undefined) say(`  operator token ${firstToken}   (shown only this once)`);
  else say('  operator token: printed at the first start; remove the data folder to start anew');
  if (url.startsWith('https:')) for (const address of ownAddresses()) say(`  other machines https://${address.includes(':') ? `[${address}]` : address}:${new URL(url).port}/   (accept the generated certificate; needs --host 0.0.0.0)`);
  say(`  live event     ${stage.event}: ${SOURCES[stage.source.kind]}; 360p marked for each viewer`);
  if (stage.timed !== undefined) say(`  timed event    ${stage.timed}: the same picture, nobody opens it before its instant`);
  say(`  terms          renew every ${stage.terms.interval / 1000} s, a right lasts ${stage.terms.duration / 1000} s, keys open ${stage.terms.group / 1000} s at a time`);
  say('');
};

/** Starts showing; `stop` leaves the last status on the screen. */
export const showStatus = (stage: Stage, audience: { watching: () => readonly Watching[] }): { stop(): void } => {
  welcome(stage);
  const terminal = process.stderr.isTTY === true;
  const { metrics } = stage.platform;
  let previous = { renewals: 0, requests: 0 };
  let ticks = 0;
  const line = (): string => {
    const watching = audience.watching();
    const frames = watching.reduce((sum, { viewer }) => sum + viewer.stats().frames, 0);
    const latency = watching.map(({ viewer }) => viewer.stats().latencyMs?.mean).filter((value) => value !== undefined);
    const renewals = metrics.total('sealcast_renewals_total', { act: 'extend' });
    const requests = metrics.total('sealcast_edge_answers_total');
    const text = [
      new Date().toISOString().slice(11, 19),
      `viewers ${watching.length}`,
      `frames decrypted ${frames}`,
      `renewals ${renewals} (+${renewals - previous.renewals})`,
      `edge requests ${requests} (+${requests - previous.requests})`,
      `latency ${latency.length === 0 ? '-' : `${(latency.reduce((sum, value) => sum + value, 0) / latency.length / 1000).toFixed(2)} s`}`,
      `source restarts ${stage.source.live.restarts}`,
      `memory ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB`,
    ].join(' · ');
    previous = { renewals, requests };
    return text;
  };
  const timer = setInterval(() => {
    ticks++;
    if (terminal) process.stderr.write(`\r\u001b[2K  ${line().slice(0, Math.max(20, (process.stderr.columns ?? 120) - 3))}`);
    else if (ticks % 10 === 1) say(`  ${line()}`);
  }, 1000);
  return {
    stop() {
      clearInterval(timer);
      if (terminal) process.stderr.write('\n');
    },
  };
};
