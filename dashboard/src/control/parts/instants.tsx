// SPDX-License-Identifier: Apache-2.0
/**
 * The seven instants of a segment on one line: captured, packaged, sent, first client has it, last client has it, key at the edge, key pushed.
 *
 * B167. Invariant: drawn to scale from the capture on; an instant nobody reported is left out, never guessed.
 */
import type { ReleaseEventView } from '../../../../src/operations/api.ts';
import { clockTime } from '../../ui/format.ts';

type Segment = ReleaseEventView['segments'][number];

const INSTANTS = [
  ['captured', 'Captured', 'i1'],
  ['packaged', 'Packaged', 'i2'],
  ['sent', 'Sent', 'i3'],
  ['firstHeld', 'First client has it', 'i4'],
  ['lastHeld', 'Last client has it', 'i5'],
  ['keyAtEdge', 'Key at the edge', 'i6'],
  ['keyPushed', 'Key pushed', 'i7'],
] as const;

const WIDTH = 720;
const LEFT = 74;
const RIGHT = 24;
const ROW = 26;
const TOP = 26;

export const Instants = (props: { segments: readonly Segment[] }) => {
  const segments = props.segments.slice(0, 6);
  const ends = segments.flatMap((segment) => [segment.releaseAt, ...INSTANTS.map(([name]) => segment[name] ?? segment.captured)].map((at) => (at - segment.captured) / 1e6));
  const span = Math.max(1, Math.ceil(Math.max(...ends, 1)));
  const x = (seconds: number): number => LEFT + (Math.max(0, seconds) / span) * (WIDTH - LEFT - RIGHT);
  const height = TOP + segments.length * ROW + 8;
  return (
    <figure class="instants">
      <svg viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label="Seven instants of the newest segments, seconds after capture">
        {Array.from({ length: span + 1 }, (_, second) => (
          <g key={second} class="tick"><line x1={x(second)} x2={x(second)} y1={TOP - 6} y2={height - 8} /><text x={x(second)} y={14}>{second} s</text></g>
        ))}
        {segments.map((segment, row) => {
          const y = TOP + row * ROW + ROW / 2;
          const known = INSTANTS.flatMap(([name, label, tone]) => {
            const at = segment[name];
            return at === undefined ? [] : [{ label, tone, at: (at - segment.captured) / 1e6 }];
          });
          return (
            <g key={segment.segment} class={segment.inOrder ? 'segment' : 'segment wrong'}>
              <text class="name" x={LEFT - 10} y={y + 4}>{clockTime(segment.captured)}</text>
              <line x1={x(0)} x2={x(Math.max(...known.map(({ at }) => at), 0))} y1={y} y2={y} />
              <line class="release" x1={x((segment.releaseAt - segment.captured) / 1e6)} x2={x((segment.releaseAt - segment.captured) / 1e6)} y1={y - 9} y2={y + 9}><title>Release instant</title></line>
              {known.map(({ label, tone, at }) => <circle key={label} class={tone} cx={x(at)} cy={y} r={4.5}><title>{`${label}: ${at.toFixed(2)} s`}</title></circle>)}
            </g>
          );
        })}
      </svg>
      <figcaption>
        <ul class="legend">{INSTANTS.map(([name, label, tone]) => <li key={name} class={tone}>{label}</li>)}<li class="release">Release instant</li></ul>
      </figcaption>
    </figure>
  );
};
