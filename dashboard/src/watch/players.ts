// SPDX-License-Identifier: Apache-2.0
/** The three stock players, each a chunk of its own that is loaded when it is first chosen, and ours, which decrypts without EME. */
import { hasCodecs } from '../../../src/player/codecs-player.ts';
import type { DashLibrary, HlsLibrary, ShakaLibrary } from '../../../src/player/play.ts';

export type PlayerName = 'shaka' | 'hls' | 'dash' | 'decrypting' | 'codecs';
export const PLAYERS: readonly { readonly name: PlayerName; readonly label: string }[] = [
  { name: 'shaka', label: 'Shaka' },
  { name: 'hls', label: 'hls.js' },
  { name: 'dash', label: 'dash.js' },
  { name: 'decrypting', label: 'WebCrypto' },
  ...(hasCodecs() ? [{ name: 'codecs', label: 'WebCodecs' } as const] : []),
];

export type LoadedPlayer =
  | { readonly player: 'shaka'; readonly library: ShakaLibrary }
  | { readonly player: 'hls'; readonly library: HlsLibrary }
  | { readonly player: 'dash'; readonly library: DashLibrary }
  | { readonly player: 'decrypting' }
  | { readonly player: 'codecs' };

/** A CommonJS build arrives as the default export, an ES module as itself. */
const moduleOf = (loaded: object): unknown => ('default' in loaded ? loaded.default : loaded);

/** `abandon` ends a player that is still loading; one that plays is ended by its playback. */
export type PlayerChoice = { readonly loaded: LoadedPlayer; readonly abandon: () => Promise<void> };

/**
 * Shaka's `load` settles only when media has come. Without a handle on the player, choosing something else meanwhile would
 * leave it asking for segments for ever.
 */
const abandonable = (library: ShakaLibrary): PlayerChoice => {
  const made: InstanceType<ShakaLibrary['Player']>[] = [];
  const Player = class {
    constructor() {
      const player = new library.Player();
      made.push(player);
      return player;
    }
  } as unknown as ShakaLibrary['Player'];
  return {
    loaded: { player: 'shaka', library: { polyfill: library.polyfill, Player } },
    abandon: async () => void (await Promise.allSettled(made.map((player) => player.destroy()))),
  };
};

const nothingToAbandon = (): Promise<void> => Promise.resolve();

/** Rejects with a sentence for the viewer. */
export const loadPlayer = (player: PlayerName): Promise<PlayerChoice> =>
  importPlayer(player).catch((cause: unknown) => {
    // The chunk's name is gone after an update of the server; a reload brings the new names.
    throw new Error('This player could not be loaded. Please reload the page.', { cause });
  });

const importPlayer = async (player: PlayerName): Promise<PlayerChoice> => {
  if (player === 'decrypting' || player === 'codecs') return { loaded: { player }, abandon: nothingToAbandon };
  if (player === 'shaka') return abandonable(moduleOf(await import('shaka-player')) as ShakaLibrary);
  if (player === 'hls') return { loaded: { player, library: moduleOf(await import('hls.js')) as HlsLibrary }, abandon: nothingToAbandon };
  const loaded: object = await import('dashjs');
  return { loaded: { player, library: ('MediaPlayer' in loaded ? loaded : moduleOf(loaded)) as DashLibrary }, abandon: nothingToAbandon };
};
