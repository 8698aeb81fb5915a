// SPDX-License-Identifier: Apache-2.0
/**
 * Line plots as SVG text: enough for the benchmarks' figures, without a dependency.
 *
 * Invariant: the same series give the same bytes, so a regenerated figure changes only when its data do.
 */

export type Series = { readonly name: string; readonly points: readonly (readonly [number, number])[]; readonly dashed?: boolean; readonly colour: number };
export type Plot = { readonly title: string; readonly x: string; readonly y: string; readonly logY: boolean; readonly series: readonly Series[] };

const COLOURS = ['#1f5fbf', '#c2410c', '#15803d', '#7e22ce', '#b91c1c', '#0e7490'];
const WIDTH = 720;
const HEIGHT = 440;
const LEFT = 76;
const RIGHT = 160;
const TOP = 44;
const BOTTOM = 52;

const escapeText = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const short = (value: number): string => (value >= 1e4 || (value < 0.01 && value > 0) ? `1e${Math.round(Math.log10(value))}` : String(Number(value.toPrecision(3))));

const linearTicks = (low: number, high: number): number[] => {
  const rough = (high - low) / 6;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * unit >= rough) ?? 10) * unit;
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
};

/** The plot as one SVG document. */
export const linePlot = ({ title, x, y, logY, series }: Plot): string => {
  const all = series.flatMap(({ points }) => points);
  const xs = all.map(([value]) => value);
  const ys = all.map(([, value]) => value);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const y0 = logY ? 10 ** Math.floor(Math.log10(Math.min(...ys))) : 0;
  const y1 = logY ? 10 ** Math.ceil(Math.log10(Math.max(...ys))) : Math.max(...ys) * 1.05;
  const placeX = (value: number): number => LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const placeY = (value: number): number => {
    const share = logY ? (Math.log10(value) - Math.log10(y0)) / (Math.log10(y1) - Math.log10(y0)) : (value - y0) / (y1 - y0);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
  };
  const ticksY = logY ? Array.from({ length: Math.round(Math.log10(y1 / y0)) + 1 }, (_, i) => y0 * 10 ** i) : linearTicks(y0, y1);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="13" role="img">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="24" font-size="15" font-weight="600">${escapeText(title)}</text>`,
  ];
  for (const tick of ticksY) {
    const at = placeY(tick).toFixed(1);
    lines.push(`<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#e3e6ea"/>`, `<text x="${LEFT - 8}" y="${at}" dy="4" text-anchor="end">${short(tick)}</text>`);
  }
  for (const tick of linearTicks(x0, x1)) {
    const at = placeX(tick).toFixed(1);
    lines.push(`<line x1="${at}" x2="${at}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM + 5}" stroke="#444"/>`, `<text x="${at}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${short(tick)}</text>`);
  }
  lines.push(
    `<path d="M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}" fill="none" stroke="#444"/>`,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 12}" text-anchor="middle">${escapeText(x)}</text>`,
    `<text transform="translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeText(y)}</text>`,
  );
  series.forEach(({ name, points, dashed, colour }, i) => {
    const stroke = COLOURS[colour % COLOURS.length] as string;
    const dash = dashed === true ? ' stroke-dasharray="5 4"' : '';
    const path = points.map(([px, py], n) => `${n === 0 ? 'M' : 'L'}${placeX(px).toFixed(1)} ${placeY(py).toFixed(1)}`).join('');
    const legend = TOP + 8 + 20 * i;
    lines.push(
      `<path d="${path}" fill="none" stroke="${stroke}" stroke-width="2"${dash}/>`,
      `<line x1="${WIDTH - RIGHT + 12}" x2="${WIDTH - RIGHT + 40}" y1="${legend}" y2="${legend}" stroke="${stroke}" stroke-width="2"${dash}/>`,
      `<text x="${WIDTH - RIGHT + 46}" y="${legend}" dy="4">${escapeText(name)}</text>`,
    );
  });
  return `${[...lines, '</svg>'].join('\n')}\n`;
};
