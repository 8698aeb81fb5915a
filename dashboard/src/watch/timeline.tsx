// SPDX-License-Identifier: Apache-2.0
/**
 * A minute of media time around the playhead: what is unlocked, by which renewal, what is received but sealed.
 *
 * Invariant: it shows what the session has opened, not what the page hopes for; outside the unlocked range everything is drawn sealed.
 */
import type { Reading } from './viewing.ts';

const BEHIND = 20;
const AHEAD = 40;
const SPAN = BEHIND + AHEAD;
const TICK = 10;

const clock = (seconds: number, live: boolean): string =>
  live ? new Date(seconds * 1000).toISOString().slice(11, 19) : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

export const Timeline = (props: { reading: Reading; live: boolean }) => {
  const { reading, live } = props;
  const { playhead, opened, grants, bufferedTo, step } = reading;
  if (playhead === undefined) return <div class="strip" aria-hidden="true"><div class="track-keys" /></div>;
  const start = playhead - BEHIND;
  const share = (at: number): number => (Math.min(Math.max(at - start, 0), SPAN) / SPAN) * 100;
  const place = (from: number, to: number) => ({ left: `${share(from)}%`, width: `${Math.max(0, share(to) - share(from))}%` });
  const visible = grants.map((grant) => ({ from: Math.max(grant.from, opened.from), to: grant.to })).filter((grant) => share(grant.to) > share(grant.from));
  const ticks = Array.from({ length: SPAN / TICK + 1 }, (_, i) => Math.ceil(start / TICK) * TICK + i * TICK).filter((at) => at >= 0 && at <= start + SPAN);
  const borders = step * 2 > SPAN || step <= 0 ? [] : Array.from({ length: Math.floor(SPAN / step) + 1 }, (_, i) => (Math.ceil(start / step) + i) * step).filter((at) => at < start + SPAN);
  const left = Math.max(0, Math.round(opened.to - playhead));
  return (
    <div class="strip" role="img" aria-label={`${left} seconds unlocked ahead of the playhead; everything after that is sealed`}>
      <div class="track-keys">
        {visible.map((grant) => <span key={grant.to} class="unlocked" style={place(grant.from, grant.to)} />)}
        {bufferedTo === undefined ? null : <span class="received" style={place(playhead, bufferedTo)} />}
        {borders.map((at) => <span key={`border-${at}`} class="border" style={{ left: `${share(at)}%` }} />)}
        <span class="head" style={{ left: `${share(playhead)}%` }} />
      </div>
      <div class="ticks">{ticks.map((at) => <span key={at} style={{ left: `${share(at)}%` }}>{clock(at, live)}</span>)}</div>
    </div>
  );
};
