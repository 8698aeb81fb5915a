// SPDX-License-Identifier: Apache-2.0
/** The figures beside the picture, and the switch that shows what a cut renewal does. */
import type { ComponentChildren } from 'preact';
import { shortId } from '../ui/format.ts';
import type { Reading, ViewingState } from './viewing.ts';

const seconds = (value: number | undefined, digits = 1): string => (value === undefined || !Number.isFinite(value) ? '–' : `${Math.max(0, value).toFixed(digits)} s`);

const STATES: Readonly<Record<Reading['state'], readonly [tone: string, text: string]>> = {
  active: ['good', 'Active'],
  degraded: ['warn', 'Renewals fail'],
  expired: ['bad', 'Keys used up'],
  idle: ['', 'Paused'],
  ended: ['', 'Ended'],
};

const Row = (props: { label: string; children: ComponentChildren }) => (
  <div class="row"><dt>{props.label}</dt><dd>{props.children}</dd></div>
);

export const SessionCard = (props: { reading: Reading; phase: ViewingState['phase']; live: boolean; account: string | undefined }) => {
  const { reading, phase, live, account } = props;
  const [tone, text] = phase === 'starting' ? ['', 'Starting'] : STATES[reading.state];
  return (
    <section class="card panel" aria-label="Session">
      <header><h2>Session</h2><span class={`badge ${tone}`} role="status">{text}</span></header>
      <dl>
        {live ? <Row label="Glass to glass"><strong>{seconds(reading.latency, 2)}</strong></Row> : null}
        <Row label="Picture">{reading.height === 0 ? '–' : `${reading.height}p`}</Row>
        <Row label="Dropped frames">{reading.frames === 0 ? '–' : <>{reading.dropped} <span class="muted">of {reading.frames}</span></>}</Row>
        {account === undefined ? null : <Row label="Watching as"><span class="mono">{account}</span></Row>}
        <Row label="Session id"><span class="mono" title={reading.session}>{shortId(reading.session)}</span></Row>
      </dl>
    </section>
  );
};

export const InStepSwitch = (props: { on: boolean; onChange: (on: boolean) => void }) => (
  <section class="card panel" aria-label="Other screens">
    <label class="switch">
      <input type="checkbox" role="switch" checked={props.on} onChange={(event) => props.onChange(event.currentTarget.checked)} />
      <span class="track" aria-hidden="true" />
      <span><strong>Keep in step</strong><small>Shows each frame at the same moment as every other screen that does.</small></span>
    </label>
  </section>
);

export const RenewalCard = (props: { reading: Reading; running: boolean; blocked: boolean; onBlock: (blocked: boolean) => void }) => {
  const { reading, running, blocked, onBlock } = props;
  const { next, step } = reading;
  const failing = running && (reading.state === 'degraded' || reading.state === 'expired' || blocked);
  const share = Math.min(1, Math.max(0, reading.left / 30));
  return (
    <section class="card panel" aria-label="Renewals">
      <header><h2>Renewals</h2><span class="muted small">{reading.renewals} so far</span></header>
      <dl>
        <Row label="Unlocked ahead"><strong class={running && reading.left < 3 ? 'low' : ''}>{running ? seconds(reading.left) : '–'}</strong></Row>
      </dl>
      <div class={`meter ${failing ? 'failing' : ''}`} role="meter" aria-label="Unlocked ahead" aria-valuemin={0} aria-valuemax={30} aria-valuenow={Math.round(Math.max(0, reading.left))}>
        <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect width={share * 100} height="4" /></svg>
      </div>
      <dl>
        <Row label="Grows in steps of">{step === 0 ? '–' : `${step} s`}</Row>
        <Row label="Last renewal">{reading.renewals === 0 ? '–' : `${seconds(reading.renewedAgo, 0)} ago`}</Row>
        <Row label="Next">{failing ? <span class="muted">{blocked ? 'blocked' : 'trying'}</span> : next === undefined ? (running && reading.state === 'idle' ? 'when you play on' : '–') : next <= 0 ? 'now' : `in ${Math.ceil(next)} s`}</Row>
      </dl>
      <label class="switch">
        <input type="checkbox" role="switch" checked={blocked} onChange={(event) => onBlock(event.currentTarget.checked)} />
        <span class="track" aria-hidden="true" />
        <span><strong>Block renewals</strong><small>Drops every renewal request of this page, as a firewall would.</small></span>
      </label>
      <p class="muted small" aria-live="polite">
        {!blocked || !running ? 'Each renewal unlocks the next few seconds. Without one, nothing further can be decrypted.'
          : reading.left > 0.5 ? `The picture stops in about ${Math.max(1, Math.round(reading.left))} s, when the unlocked keys are used up.`
            : 'The keys are used up. The media still arrives, but it stays sealed. Stop blocking and it goes on.'}
      </p>
    </section>
  );
};
