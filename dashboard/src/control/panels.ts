// SPDX-License-Identifier: Apache-2.0
/**
 * The control room's panels: every file in `panels/` is one, found at build time. Adding a panel is adding a file.
 *
 * A panel exports `id` (its address), `title`, `order` (its place in the navigation) and `Panel`.
 */
import type { FunctionComponent } from 'preact';

export type PanelProps = { /** What stands behind the panel's id in the address, '' if nothing. */ readonly rest: string };
export type PanelModule = { readonly id: string; readonly title: string; readonly order: number; readonly Panel: FunctionComponent<PanelProps> };

export const panels: readonly PanelModule[] = Object.values(import.meta.glob<PanelModule>('./panels/*.tsx', { eager: true })).toSorted((a, b) => a.order - b.order);

/** `#/events/cup` → the events panel with rest `cup`; anything unknown → the first panel. */
export const panelOf = (hash: string): { readonly panel: PanelModule; readonly rest: string } => {
  const [, id = '', rest = ''] = /^#\/([^/]*)\/?(.*)$/.exec(hash) ?? [];
  const panel = panels.find((candidate) => candidate.id === id) ?? panels[0];
  if (panel === undefined) throw new Error('the control room was built without panels');
  return { panel, rest: decodeURIComponent(rest) };
};
