// SPDX-License-Identifier: Apache-2.0
/**
 * Appends and removals of one SourceBuffer, one after the other (W3C Media Source Extensions, section 3.5).
 *
 * Invariant: nothing is appended while the buffer updates; after an error or `stop` nothing is appended at all; a full buffer gives up its oldest media first.
 */

/** A SourceBuffer's work, in order. */
export type AppendQueue = {
  append(bytes: Uint8Array): Promise<void>;
  /** Takes [from, to) seconds out. */
  remove(from: number, to: number): Promise<void>;
  stop(): void;
};

/** A full buffer drops what is older than this behind the playhead, s. */
const KEPT_WHEN_FULL = 10;

/** A queue on an attached SourceBuffer; `position` is the playhead, s. */
export const createAppendQueue = (buffer: SourceBuffer, position: () => number): AppendQueue => {
  let tail: Promise<void> = Promise.resolve();
  let stopped = false;

  const updated = (start: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const done = (): void => {
        buffer.removeEventListener('updateend', end);
        buffer.removeEventListener('error', failed);
      };
      const end = (): void => {
        done();
        resolve();
      };
      const failed = (): void => {
        done();
        stopped = true;
        reject(new Error('the browser could not read decrypted media'));
      };
      buffer.addEventListener('updateend', end);
      buffer.addEventListener('error', failed);
      try {
        start();
      } catch (error) {
        done();
        reject(error instanceof Error ? error : new Error('media could not be appended'));
      }
    });

  const inOrder = (run: () => Promise<void>): Promise<void> => {
    const next = tail.then(async () => {
      if (!stopped) await run();
    });
    tail = next.catch(() => undefined);
    return next;
  };

  const put = (bytes: Uint8Array): Promise<void> => updated(() => buffer.appendBuffer(bytes as Uint8Array<ArrayBuffer>));

  return {
    append: (bytes) =>
      inOrder(async () => {
        try {
          await put(bytes);
        } catch (error) {
          if (!(error instanceof Error) || error.name !== 'QuotaExceededError') throw error;
          await updated(() => buffer.remove(0, Math.max(0.1, position() - KEPT_WHEN_FULL)));
          await put(bytes);
        }
      }),
    remove: (from, to) =>
      inOrder(async () => {
        if (buffer.buffered.length > 0 && to > from) await updated(() => buffer.remove(from, to));
      }),
    stop() {
      stopped = true;
    },
  };
};
