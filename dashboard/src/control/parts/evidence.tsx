// SPDX-License-Identifier: Apache-2.0
/**
 * How the evidence of a leak grew, segment by segment, against the bound it had to reach.
 *
 * Invariant: drawn as one SVG whose figures are in its label too; no point is made up between looks.
 */
import type { LeakView } from '../../../../src/operations/api.ts';

const WIDTH = 640;
const HEIGHT = 200;
const LEFT = 44;
const RIGHT = 12;
const TOP = 14;
const BOTTOM = 30;

/** Round steps of an axis up to `top`. */
const steps = (top: number): number[] => {
  const rough = top / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= rough) ?? rough;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => i * step);
};

export const EvidencePlot = (props: { leak: LeakView }) => {
  const { growth, bound, evidence } = props.leak;
  if (growth.length < 2) return <p class="muted small">The report came without the observation: how the evidence grew is not known here.</p>;
  const first = growth[0]?.position ?? 0;
  const last = growth[growth.length - 1]?.position ?? first;
  const top = Math.max(bound, evidence, ...growth.map((point) => point.evidence)) * 1.08;
  const x = (position: number): number => LEFT + ((position - first + 1) / Math.max(1, last - first + 1)) * (WIDTH - LEFT - RIGHT);
  const y = (nats: number): number => HEIGHT - BOTTOM - (Math.max(0, nats) / top) * (HEIGHT - TOP - BOTTOM);
  const line = [`M${LEFT} ${y(0)}`, ...growth.map((point) => `L${x(point.position).toFixed(1)} ${y(point.evidence).toFixed(1)}`)].join('');
  return (
    <svg class="evidence" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Evidence grew to ${evidence.toFixed(1)} nats over ${last - first + 1} segments; ${bound.toFixed(1)} were needed`}>
      {steps(top).map((nats) => (
        <g key={nats}>
          <line class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(nats)} y2={y(nats)} />
          <text x={LEFT - 8} y={y(nats) + 4} text-anchor="end">{nats}</text>
        </g>
      ))}
      <path class="area" d={`${line}L${x(last).toFixed(1)} ${y(0)}Z`} />
      <path class="line" d={line} />
      {growth.map((point) => <circle key={point.position} cx={x(point.position)} cy={y(point.evidence)} r="2.5"><title>{`segment ${point.position}: ${point.evidence.toFixed(2)} nats`}</title></circle>)}
      <line class="bound" x1={LEFT} x2={WIDTH - RIGHT} y1={y(bound)} y2={y(bound)} />
      <text class="bound-text" x={LEFT + 6} y={y(bound) - 6}>needed: {bound.toFixed(1)} nats</text>
      <text x={WIDTH - RIGHT} y={HEIGHT - 8} text-anchor="end">{last - first + 1} segments</text>
      <text x={LEFT} y={HEIGHT - 8}>nats in favour, by segment of the copy</text>
    </svg>
  );
};
