// SPDX-License-Identifier: Apache-2.0
/**
 * The release of a timed event as this screen sees it: keys at their instant, pictures at theirs, and the time both rest on.
 *
 * Invariant: every figure is this page's own measurement since it was opened; none is a promise.
 */
import type { ComponentChildren } from 'preact';
import type { InStep } from './in-step.ts';

const millis = (value: number | undefined, digits = 0): string => (value === undefined || !Number.isFinite(value) ? '–' : `${value.toFixed(digits)} ms`);
const Row = (props: { label: string; title?: string; children: ComponentChildren }) => (
  <div class="row" title={props.title}><dt>{props.label}</dt><dd>{props.children}</dd></div>
);

/** Off by more than this is not in step, ms. */
const CATCHING_UP = 100;
const STATES = { joining: ['warn', 'Joining'], 'in-step': ['good', 'In step'], elsewhere: ['', 'Time-shifted'] } as const;

export const ReleaseCard = (props: { inStep: InStep }) => {
  const { playout, releases, clockError } = props.inStep;
  const behind = playout.state === 'in-step' && playout.error !== undefined && Math.abs(playout.error) > CATCHING_UP;
  const [tone, text] = behind ? (['warn', 'Catching up'] as const) : STATES[playout.state];
  return (
    <section class="card panel" aria-label="Timed release">
      <header><h2>{releases === undefined ? 'In step with other screens' : 'Timed release'}</h2><span class={`badge ${tone}`} role="status">{text}</span></header>
      <dl>
        <Row label="Picture off its instant" title="Positive: early. The same frame has the same instant on every screen."><strong>{playout.error === undefined ? '–' : `${playout.error > 0 ? '+' : ''}${playout.error.toFixed(0)} ms`}</strong></Row>
        {releases === undefined ? null : (
          <>
            <Row label="Pictures, p50 / p95">{millis(releases.displayP50)} <span class="muted">/ {millis(releases.displayP95)}</span></Row>
            <Row label="Keys, p50 / p99">{millis(releases.arrivalP50)} <span class="muted">/ {millis(releases.arrivalP99)}</span></Row>
            <Row label="Late / skipped">{releases.late} <span class="muted">/ {releases.skipped}</span></Row>
            <Row label="Media held at release">{Number.isNaN(releases.held) ? '–' : `${(100 * releases.held).toFixed(1)} %`}</Row>
            <Row label="Release to picture">{millis(releases.delta)}</Row>
            <Row label="Edges connected">{releases.edges}</Row>
          </>
        )}
        <Row label="Clock, within">± {millis(clockError === undefined ? undefined : clockError / 1000, 1)}</Row>
        <Row label="Speed, jumps">{playout.rate.toFixed(3)} <span class="muted">/ {playout.seeks}</span></Row>
      </dl>
      <p class="muted small" aria-live="polite">
        {releases?.heldBy !== undefined ? `Releases are suspended (${releases.heldBy}). The picture goes on when they do.`
          : releases?.fallback === true ? 'This player cannot decode frame by frame (WebCodecs), so it shows pictures 150 ms after their release instead of 120 ms.'
            : 'Open this page in a second window: the clocks in both pictures agree.'}
      </p>
    </section>
  );
};
