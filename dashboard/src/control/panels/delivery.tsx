// SPDX-License-Identifier: Apache-2.0
/** Inner delivery: how many variants of marked assets each edge fetches, and which edges give viewers copies of their own. */
import { useState } from 'preact/hooks';
import type { DeliveryView, Figures } from '../../../../src/operations/api.ts';
import { when } from '../../ui/format.ts';
import { useEndpoint, useRoom } from '../live.ts';
import type { PanelProps } from '../panels.ts';
import { Chart, type Series } from '../parts/chart.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Await, Empty } from '../parts/states.tsx';

export const id = 'delivery';
export const title = 'Delivery';
export const order = 28;

type Asset = DeliveryView['assets'][number];
type Edge = Asset['edges'][number];

const perSegment = ({ rates }: Figures): number | undefined => {
  const segments = rates['markedSegments'] ?? 0;
  return segments === 0 ? undefined : (rates['markedVariants'] ?? 0) / segments;
};
const VARIANTS: readonly Series[] = [{ label: 'Variants per segment', colour: '--accent', value: perSegment }];
const STRATEGY: Readonly<Record<Asset['delivery'], string>> = { 'always-on': 'every variant', prefix: 'prefix code', 'two-phase': 'two phases' };

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const ratio = ({ segments, variants }: Edge): string => (segments === 0 ? 'nothing yet' : (variants / segments).toFixed(3));

const Edges = (props: { asset: Asset; onSwitch: (edge: Edge) => void }) => (
  <div class="scroll">
    <table>
      <thead><tr><th>Edge</th><th class="number">Segments</th><th class="number">Variants per segment</th><th class="number">MB fetched</th><th class="number">MB of one copy</th><th>Heard</th><th>Copies</th></tr></thead>
      <tbody>
        {props.asset.edges.map((edge) => (
          <tr key={edge.edge}>
            <td class="mono">{edge.edge}</td>
            <td class="number">{edge.segments}</td>
            <td class="number"><strong>{ratio(edge)}</strong></td>
            <td class="number">{megabytes(edge.bytes)}</td>
            <td class="number">{megabytes(edge.plainBytes)}</td>
            <td class="muted">{edge.heardAt === undefined ? 'never' : when(edge.heardAt)}</td>
            <td>{props.asset.delivery === 'two-phase' ? <button type="button" class="button small" onClick={() => props.onSwitch(edge)}>{edge.copies === 'own' ? 'own, give common' : 'common, give own'}</button> : <span class="badge">{edge.copies}</span>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

export const Panel = (_: PanelProps) => {
  const { live, client } = useRoom();
  const view = useEndpoint<DeliveryView>('/v1/operations/delivery', 1000);
  const [switching, setSwitching] = useState<{ asset: string; edge: Edge } | undefined>(undefined);
  const wanted = switching?.edge.copies === 'own' ? 'common' : 'own';
  return (
    <div class="stack">
      <div class="charts"><Chart title="Variants per edge and segment, this process" unit="" figures={live.figures} series={VARIANTS} least={2} /></div>
      <Await of={view}>
        {({ assets }) =>
          assets.length === 0 ? (
            <Empty title="Nothing is marked">Events and titles with variants appear here.</Empty>
          ) : (
            <>
              {assets.map((asset) => (
                <section key={asset.asset} class="card list" aria-label={asset.name}>
                  <header><h2>{asset.name}</h2><span class="muted small">{asset.alphabet} variants, {STRATEGY[asset.delivery]}{asset.variantsPerSegment === undefined ? '' : `: ${asset.variantsPerSegment.toFixed(3)} per edge and segment`}</span></header>
                  {asset.edges.length === 0 ? <p class="muted">No edge has fetched any of it yet.</p> : <Edges asset={asset} onSwitch={(edge) => setSwitching({ asset: asset.asset, edge })} />}
                </section>
              ))}
            </>
          )
        }
      </Await>
      {switching === undefined ? null : (
        <Dialog
          title={`Give viewers at ${switching.edge.edge} ${wanted === 'own' ? 'copies of their own' : 'the common copy'}?`}
          action={wanted === 'own' ? 'Give own copies' : 'Give the common copy'}
          onClose={() => setSwitching(undefined)}
          onSubmit={async () => {
            await client.post(`/v1/events/${encodeURIComponent(switching.asset)}/copies`, { edge: switching.edge.edge, copies: wanted });
            view.reload();
          }}
        >
          <p class="muted">{wanted === 'own' ? 'From some seconds on this edge fetches the variants its viewers need, and a leak there can be traced to one of them.' : 'From some seconds on this edge fetches one variant again; a leak there names the edge only.'}</p>
        </Dialog>
      )}
    </div>
  );
};
