// SPDX-License-Identifier: Apache-2.0
/**
 * What the stream has brought so far, and the hooks by which panels read it and the endpoints.
 *
 * Invariant: both lists are bounded; a panel re-renders only for the part it reads.
 */
import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import type { FeedLine, Figures, Summary } from '../../../src/operations/api.ts';
import { type OperatorClient, RequestError, type StreamState } from './client.ts';

const SECONDS = 300;
const LINES = 500;

/** A value with listeners: the smallest thing that lets a chart follow a stream without re-rendering the shell. */
export type Cell<T> = { readonly get: () => T; readonly set: (value: T) => void; readonly subscribe: (listener: () => void) => () => void };
export const cell = <T>(initial: T): Cell<T> => {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
};

export type Live = { readonly figures: Cell<readonly Figures[]>; readonly lines: Cell<readonly FeedLine[]>; readonly state: Cell<StreamState> };

/** Opens the stream; `stop` closes it. */
export const followStream = (client: OperatorClient, refused: () => void): { live: Live; stop: () => void } => {
  const live: Live = { figures: cell<readonly Figures[]>([]), lines: cell<readonly FeedLine[]>([]), state: cell<StreamState>({ phase: 'connecting' }) };
  const stop = client.stream({
    refused,
    state: live.state.set,
    history: (figures) => live.figures.set(figures.slice(-SECONDS)),
    figures: (figures) => live.figures.set([...live.figures.get(), figures].slice(-SECONDS)),
    line(line) {
      const known = live.lines.get();
      if (known[0] === undefined || line.id > known[0].id) live.lines.set([line, ...known].slice(0, LINES));
    },
  });
  return { live, stop };
};

export type Room = { readonly client: OperatorClient; readonly summary: Summary; readonly live: Live; readonly mayOperate: boolean };
export const RoomContext = createContext<Room | undefined>(undefined);
export const useRoom = (): Room => {
  const room = useContext(RoomContext);
  if (room === undefined) throw new Error('outside the control room');
  return room;
};

export const useCell = <T>(of: Cell<T>): T => {
  const [value, setValue] = useState(of.get());
  useEffect(() => {
    setValue(() => of.get());
    return of.subscribe(() => setValue(() => of.get()));
  }, [of]);
  return value;
};

export type Loaded<T> = { readonly data: T | undefined; readonly error: RequestError | undefined; readonly reload: () => void };

/** GETs `path` now and every `every` milliseconds; keeps the last data while a reload fails. */
export const useEndpoint = <T>(path: string, every = 5000): Loaded<T> => {
  const { client } = useRoom();
  const [data, setData] = useState<{ path: string; value: T } | undefined>(undefined);
  const [error, setError] = useState<RequestError | undefined>(undefined);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let stopped = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      try {
        const value = await client.get<T>(path);
        if (stopped) return;
        setData({ path, value });
        setError(undefined);
      } catch (failure) {
        if (stopped) return;
        setError(failure instanceof RequestError ? failure : new RequestError(0, 'unknown', 'The answer could not be read.'));
      }
      timer = setTimeout(() => void load(), every);
    };
    void load();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [client, path, every, round]);
  return { data: data?.path === path ? data.value : undefined, error, reload: () => setRound((last) => last + 1) };
};
