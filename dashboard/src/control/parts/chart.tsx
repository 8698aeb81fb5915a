// SPDX-License-Identifier: Apache-2.0
/**
 * A streaming line chart on uPlot: one point per second, colours from the theme, redrawn when the theme or the width changes.
 *
 * Invariant: data goes to the canvas directly; the component renders once, whatever the stream does.
 */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Figures } from '../../../../src/operations/api.ts';
import { figure } from '../../ui/format.ts';
import type { Cell } from '../live.ts';

export type Series = {
  readonly label: string;
  /** Name of a theme token, e.g. `--accent`. */
  readonly colour: string;
  /** Undefined leaves a gap. */
  readonly value: (figures: Figures) => number | undefined;
};
type Props = {
  readonly title: string;
  readonly unit: string;
  readonly figures: Cell<readonly Figures[]>;
  readonly series: readonly Series[];
  /** Least upper end of the scale, so that an idle line does not look like noise. */
  readonly least?: number;
  readonly height?: number;
};

/** Seconds shown: what there is, at least one minute, at most five. */
const LEAST_WINDOW = 60;
const MOST_WINDOW = 300;
const HEIGHT = 170;

const dataOf = (figures: readonly Figures[], series: readonly Series[]): uPlot.AlignedData => [
  figures.map((sample) => sample.at / 1e6),
  ...series.map((line) => figures.map((sample) => line.value(sample) ?? null)),
];

const build = (host: HTMLElement, props: Props): uPlot => {
  const style = getComputedStyle(host);
  const token = (name: string) => style.getPropertyValue(name).trim();
  // light-dark() is resolved by a property that takes colours, not by a custom one.
  const probe = document.createElement('span');
  host.append(probe);
  const colour = (name: string) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const axis = { stroke: colour('--text-3'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: `11px ${token('--sans')}` };
  const chart = new uPlot(
    {
      width: host.clientWidth,
      height: props.height ?? HEIGHT,
      // Half a time of day stands out at the right.
      padding: [12, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: {
        x: { time: true, range: (_, min, max) => [max - Math.min(Math.max(max - min, LEAST_WINDOW), MOST_WINDOW), max] },
        y: { range: (_, __, max) => [0, Math.max(max * 1.15, props.least ?? 1)] },
      },
      axes: [
        { ...axis, size: 26, space: 80, values: (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })), incrs: [15, 30, 60] },
        { ...axis, size: 46, space: 36, values: (_, splits) => splits.map(figure) },
      ],
      series: [{}, ...props.series.map((line) => ({ label: line.label, stroke: colour(line.colour), width: 1.75, points: { show: false }, fill: `color-mix(in oklab, ${colour(line.colour)} 9%, transparent)` }))],
    },
    dataOf(props.figures.get(), props.series),
    host,
  );
  probe.remove();
  return chart;
};

export const Chart = (props: Props) => {
  const host = useRef<HTMLDivElement>(null);
  const legend = useRef<HTMLUListElement>(null);
  useEffect(() => {
    const element = host.current;
    if (element === null) return undefined;
    let chart = build(element, props);
    const showLatest = (): void => {
      const latest = props.figures.get().at(-1);
      legend.current?.querySelectorAll('b').forEach((cell, i) => {
        const value = latest === undefined ? undefined : props.series[i]?.value(latest);
        cell.textContent = value === undefined ? '–' : `${figure(value)} ${props.unit}`;
      });
    };
    const unsubscribe = props.figures.subscribe(() => {
      chart.setData(dataOf(props.figures.get(), props.series));
      showLatest();
    });
    const resizer = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: props.height ?? HEIGHT }));
    resizer.observe(element);
    const theme = matchMedia('(prefers-color-scheme: dark)');
    const repaint = (): void => {
      chart.destroy();
      chart = build(element, props);
    };
    theme.addEventListener('change', repaint);
    showLatest();
    return () => {
      unsubscribe();
      resizer.disconnect();
      theme.removeEventListener('change', repaint);
      chart.destroy();
    };
  }, [props.figures]);
  return (
    <section class="chart card" aria-label={`${props.title}, last five minutes`}>
      <header>
        <h2>{props.title}</h2>
        <ul class="legend" ref={legend}>
          {props.series.map((line) => <li key={line.label} class={`dot${line.colour.slice(1)}`}>{line.label} <b>–</b></li>)}
        </ul>
      </header>
      <div ref={host} class="plot" />
    </section>
  );
};
