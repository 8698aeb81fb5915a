// SPDX-License-Identifier: Apache-2.0
/**
 * A session of the service whose plays are recorded like those from this device.
 *
 * docs/wire/subscription.md, "Usage" (B136). Invariant: the session itself is not changed; its record is finished at its end,
 * whoever ends it.
 */
import type { Session } from '../session-types.ts';
import type { PlayWatch } from './offline-session.ts';

/** `session` with `watch` told of its playhead, its pauses and its end. */
export const followSession = (session: Session, watch: PlayWatch): Session => {
  session.on('ended', () => void watch.end().catch(() => undefined));
  const own = {
    playhead(mediaTime: Parameters<Session['playhead']>[0]): void {
      session.playhead(mediaTime);
      if (session.state !== 'ended') watch.playhead(mediaTime);
    },
    playing(isPlaying: boolean): void {
      session.playing(isPlaying);
      watch.playing(isPlaying);
    },
    async stop(): Promise<boolean> {
      const stopped = await session.stop();
      await watch.end();
      return stopped;
    },
  };
  // Its properties are live, so each is read from the session itself.
  return new Proxy(session, { get: (target, name) => (Object.hasOwn(own, name) ? own[name as keyof typeof own] : (Reflect.get(target, name) as unknown)) });
};
