// SPDX-License-Identifier: Apache-2.0
/** What a playback says about pictures and keys at their instants, as the page shows it. */
import type { Session } from '../../../src/client/session-types.ts';
import type { ReleaseStatistics } from '../../../src/client/release/statistics.ts';
import type { Playback } from '../../../src/player/play.ts';
import type { PlayoutReading } from '../../../src/player/playout-control.ts';

export type InStep = {
  readonly playout: PlayoutReading;
  /** µs. */
  readonly clockError: number | undefined;
  /** Timed events only; δ in ms. */
  readonly releases: (ReleaseStatistics & { readonly delta: number | undefined; readonly edges: number; readonly fallback: boolean; /** Why no edge releases. */ readonly heldBy: string | undefined }) | undefined;
  /** Goes to where everybody is. */
  readonly rejoin: () => void;
};

/** The reader of one playback; it answers undefined for what is not kept in step. */
export const createInStepReader = (session: Session, playback: Playback): (() => InStep | undefined) => {
  const { releases } = session;
  let held: string | undefined;
  releases?.on('held', ({ reason }) => (held = reason));
  return () => {
    const { playout } = playback;
    if (playout === undefined) return undefined;
    return {
      playout: playout.read(),
      clockError: playback.clockError(),
      rejoin: playout.rejoin,
      releases: releases === undefined ? undefined : {
        ...releases.statistics,
        delta: releases.plan === undefined ? undefined : releases.plan.delta / 1000,
        edges: releases.connections.filter(({ up }) => up).length,
        fallback: releases.fallback,
        heldBy: held,
      },
    };
  };
};
