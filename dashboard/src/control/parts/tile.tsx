// SPDX-License-Identifier: Apache-2.0
/** One figure of the overview: name, value, unit and a small trace of the last minutes. */
import { figure } from '../../ui/format.ts';

type Props = {
  readonly label: string;
  /** Undefined: nothing of this kind runs in this process. */
  readonly value: number | undefined;
  readonly unit?: string;
  readonly format?: (value: number) => string;
  readonly trace?: readonly (number | undefined)[];
};

const WIDTH = 120;
const HEIGHT = 28;

const pathOf = (trace: readonly (number | undefined)[]): string => {
  const values = trace.slice(-WIDTH).map((value) => value ?? 0);
  const top = Math.max(...values, 1e-9);
  const step = WIDTH / Math.max(values.length - 1, 1);
  return values.map((value, i) => `${i === 0 ? 'M' : 'L'}${(i * step).toFixed(1)} ${(HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1)}`).join('');
};

export const Tile = (props: Props) => (
  <div class="tile card">
    <h2>{props.label}</h2>
    <p class="value">
      {props.value === undefined ? <span class="muted" title="Not reported by this process">–</span> : (props.format ?? figure)(props.value)}
      {props.value === undefined || props.unit === undefined ? null : <small>{props.unit}</small>}
    </p>
    {props.trace === undefined || props.trace.length < 2 ? null : (
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true"><path d={pathOf(props.trace)} /></svg>
    )}
  </div>
);
