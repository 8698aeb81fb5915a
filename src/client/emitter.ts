// SPDX-License-Identifier: Apache-2.0
/**
 * Typed events of a session, small enough for every runtime.
 *
 * Invariant: a listener that throws stops neither the other listeners nor the session; its error goes to the runtime, which
 * reports it as it reports every uncaught one.
 */
/** Listeners of named events; `Events` maps each name to what its listeners get. */
export type Emitter<Events extends object> = {
  /** Calls `listener` at every event of this name; returns a function that removes it again. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;
  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void;
};

const toRuntime = (error: unknown): void =>
  queueMicrotask(() => {
    throw error;
  });

/** An emitter without listeners. `report` is told what listeners throw. */
export const createEmitter = <Events extends object>(report: (error: unknown) => void = toRuntime): Emitter<Events> => {
  const listeners = new Map<keyof Events, Set<(event: never) => void>>();
  return {
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set.add(listener));
      return () => set.delete(listener);
    },
    emit(name, event) {
      for (const listener of [...(listeners.get(name) ?? [])]) {
        try {
          (listener as (event: Events[typeof name]) => void)(event);
        } catch (error) {
          report(error);
        }
      }
    },
  };
};
