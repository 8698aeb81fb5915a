// SPDX-License-Identifier: Apache-2.0
/** The three stock players, each a chunk of its own that is loaded when it is first chosen. */
import type { DashLibrary, HlsLibrary, ShakaLibrary } from '../../../src/player/play.ts';

export type PlayerName = 'shaka' | 'hls' | 'dash';
export const PLAYERS: readonly { readonly name: PlayerName; readonly label: string }[] = [
  { name: 'shaka', label: 'Shaka' },
  { name: 'hls', label: 'hls.js' },
  { name: 'dash', label: 'dash.js' },
];

export type LoadedPlayer =
  | { readonly player: 'shaka'; readonly library: ShakaLibrary }
  | { readonly player: 'hls'; readonly library: HlsLibrary }
  | { readonly player: 'dash'; readonly library: DashLibrary };

/** A CommonJS build arrives as the default export, an ES module as itself. */
const moduleOf = (loaded: object): unknown => ('default' in loaded ? loaded.default : loaded);

export const loadPlayer = async (player: PlayerName): Promise<LoadedPlayer> => {
  if (player === 'shaka') return { player, library: moduleOf(await import('shaka-player')) as ShakaLibrary };
  if (player === 'hls') return { player, library: moduleOf(await import('hls.js')) as HlsLibrary };
  const loaded: object = await import('dashjs');
  return { player, library: ('MediaPlayer' in loaded ? loaded : moduleOf(loaded)) as DashLibrary };
};
