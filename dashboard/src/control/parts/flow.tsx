// SPDX-License-Identifier: Apache-2.0
/** Accounts per enforcement level and the moves between them in the last day, as one picture: columns, arrows, counts. */
import type { LevelsView, LevelView } from '../../../../src/operations/api.ts';

const LEVELS: readonly LevelView[] = [1, 2, 3];
const NAMES: Readonly<Record<LevelView, string>> = { 1: 'Detection only', 2: 'Light', 3: 'Strict' };
const MOVES: readonly (readonly [from: LevelView, to: LevelView])[] = [[1, 2], [2, 3], [1, 3], [2, 1], [3, 2], [3, 1]];

const WIDTH = 640;
const HEIGHT = 246;
const BOX = { width: 128, height: 64, top: 96 };
const centre = (level: LevelView): number => [90, 320, 550][level - 1] ?? 0;

/** Up in a bow above the boxes, down below them; the wide bows skip level 2. */
const bow = (from: LevelView, to: LevelView): { path: string; x: number; y: number } => {
  const up = to > from;
  const edge = up ? BOX.top : BOX.top + BOX.height;
  const wide = Math.abs(to - from) === 2;
  const height = (wide ? 104 : 34) * (up ? -1 : 1);
  const shift = up ? 18 : -18;
  const [a, b] = [centre(from) + (wide ? 0 : shift), centre(to) - (wide ? 0 : shift)];
  return { path: `M${a} ${edge}C${a} ${edge + height} ${b} ${edge + height} ${b} ${edge + (up ? -5 : 5)}`, x: (a + b) / 2, y: edge + height * 0.75 + (up ? -6 : 14) };
};

export const LevelFlow = (props: { levels: LevelsView }) => {
  const { accounts, flows } = props.levels;
  const countOf = (from: LevelView, to: LevelView): number => flows.find((flow) => flow.from === from && flow.to === to)?.count ?? 0;
  const shown = MOVES.filter(([from, to]) => Math.abs(from - to) === 1 || countOf(from, to) > 0);
  const words = LEVELS.map((level) => `${accounts[level]} on level ${level}`).join(', ');
  return (
    <svg class="flow" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Accounts: ${words}. Moves in 24 hours: ${shown.map(([from, to]) => `${countOf(from, to)} from ${from} to ${to}`).join(', ')}.`}>
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" class="tip" /></marker>
      </defs>
      {shown.map(([from, to]) => {
        const { path, x, y } = bow(from, to);
        const count = countOf(from, to);
        return (
          <g key={`${from}${to}`} class={count === 0 ? 'move none' : to > from ? 'move up' : 'move down'}>
            <path d={path} stroke-width={count === 0 ? 1 : Math.min(6, 1.5 + Math.log2(count + 1) / 2)} marker-end="url(#tip)" />
            <text x={x} y={y}>{count}</text>
          </g>
        );
      })}
      {LEVELS.map((level) => (
        <g key={level} class={`level l${level}`}>
          <rect x={centre(level) - BOX.width / 2} y={BOX.top} width={BOX.width} height={BOX.height} rx="10" />
          <text class="count" x={centre(level)} y={BOX.top + 30}>{accounts[level]}</text>
          <text class="name" x={centre(level)} y={BOX.top + 50}>{level} · {NAMES[level]}</text>
        </g>
      ))}
    </svg>
  );
};
